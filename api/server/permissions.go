package server

import (
	"fmt"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// permission is what an operation takes where access.mode is token.
type permission struct {
	role access.Role
	of   resource
	// read: access.reads may allow more. What tells secrets, or who does what, is
	// none.
	read bool
}

// resource is what a role is asked for.
type resource uint8

const (
	public      resource = iota // of nobody: everyone may
	known                       // of nobody, but who asks must be known
	someTeam                    // the role in any team; lists hold what the caller may see
	ofJob                       // the role for the job of the path
	ofTask                      // for the job of the task of the path
	ofPastTask                  // the same, also of one in history, of which the handler asks
	ofPastEvent                 // for the job of the event of the path, of which the handler asks
	ofGroup                     // for all jobs of the deploy group of the path
	ofToken                     // for the token of the path, or it is the caller's own
	ofWebhook                   // for all that the webhook of the path is told of
	ofBody                      // for what the body names: the handler asks
	ofCluster                   // in all teams
	ofPeer                      // of another scheduler, too
	ofScheduler                 // of another scheduler alone; to others there is nothing
)

// permissions are those of all operations, by id.
var permissions = map[string]permission{
	// What says nothing of the cluster, or is known to be asked before anybody
	// can show a token.
	"front":        {of: public},
	"alive":        {of: public},
	"ready":        {of: public}, // tells strangers less
	"describe":     {of: public},
	"get-executor": {of: public}, // its URL has a key
	"init-token":   {of: public}, // its body has a code
	"get-caller":   {of: known},

	// Reads.
	"metrics":            {access.Viewer, someTeam, true},
	"list-jobs":          {access.Viewer, someTeam, true},
	"get-job":            {access.Viewer, ofJob, true},
	"get-job-pending":    {access.Viewer, ofJob, true},
	"list-deploys":       {access.Viewer, ofJob, true},
	"get-deploy":         {access.Viewer, ofJob, true},
	"follow-deploy":      {access.Viewer, ofJob, true},
	"get-endpoints":      {access.Viewer, ofJob, true},
	"follow-endpoints":   {access.Viewer, ofJob, true},
	"list-deploy-groups": {access.Viewer, someTeam, true},
	"get-deploy-group":   {access.Viewer, ofGroup, true},
	"list-runs":          {access.Viewer, ofJob, true},
	"get-run":            {access.Viewer, ofJob, true},
	"list-job-tasks":     {access.Viewer, ofJob, true},
	"list-tasks":         {access.Viewer, someTeam, true},
	"get-task":           {access.Viewer, ofPastTask, true},
	"get-history":        {access.Viewer, someTeam, true},
	"list-past-tasks":    {access.Viewer, someTeam, true},
	"get-past-task":      {access.Viewer, ofPastTask, true},
	"list-past-runs":     {access.Viewer, someTeam, true},
	"get-past-run":       {access.Viewer, ofJob, true},
	"list-past-deploys":  {access.Viewer, someTeam, true},
	"get-past-deploy":    {access.Viewer, ofJob, true},
	"list-past-events":   {access.Viewer, someTeam, true},
	"get-past-event":     {access.Viewer, ofPastEvent, true},
	"list-pending":       {access.Viewer, someTeam, true},
	"list-agents":        {access.Viewer, someTeam, true},
	"get-agent":          {access.Viewer, someTeam, true},
	"get-scheduler":      {access.Viewer, ofPeer, true},
	"list-schedulers":    {access.Viewer, someTeam, true},
	"follow-events":      {access.Viewer, someTeam, true},
	"plan-job":           {access.Viewer, ofJob, false},

	// What tasks have written.
	"list-files":    {access.Viewer, ofTask, false},
	"read-file":     {access.Viewer, ofTask, false},
	"download-file": {access.Viewer, ofTask, false},

	// Changes of jobs.
	"put-job":             {access.Deployer, ofJob, false},
	"remove-job":          {access.Deployer, ofJob, false},
	"pause-job":           {access.Deployer, ofJob, false},
	"resume-job":          {access.Deployer, ofJob, false},
	"scale-job":           {access.Deployer, ofJob, false},
	"scale-job-for":       {access.Deployer, ofJob, false},
	"skip-health":         {access.Deployer, ofJob, false},
	"heed-health":         {access.Deployer, ofJob, false},
	"start-deploy":        {access.Deployer, ofJob, false},
	"pause-deploy":        {access.Deployer, ofJob, false},
	"resume-deploy":       {access.Deployer, ofJob, false},
	"promote-deploy":      {access.Deployer, ofJob, false},
	"cancel-deploy":       {access.Deployer, ofJob, false},
	"pulse-deploy":        {access.Deployer, ofJob, false},
	"roll-back":           {access.Deployer, ofJob, false},
	"bounce-job":          {access.Deployer, ofJob, false},
	"restart-instance":    {access.Deployer, ofJob, false},
	"start-runs":          {access.Deployer, ofJob, false},
	"cancel-run":          {access.Deployer, ofJob, false},
	"start-deploy-group":  {access.Deployer, ofBody, false},
	"cancel-deploy-group": {access.Deployer, ofGroup, false},

	// What operators do.
	"kill-task": {access.Operator, ofTask, false},
	"step-down": {access.Operator, ofCluster, false},

	// Webhooks: who makes one is told of all that happens, without a token.
	"create-webhook":         {access.Operator, ofBody, false},
	"list-webhooks":          {access.Operator, someTeam, false},
	"get-webhook":            {access.Operator, ofWebhook, false},
	"update-webhook":         {access.Operator, ofWebhook, false},
	"remove-webhook":         {access.Operator, ofWebhook, false},
	"rotate-webhook-secret":  {access.Operator, ofWebhook, false},
	"enable-webhook":         {access.Operator, ofWebhook, false},
	"disable-webhook":        {access.Operator, ofWebhook, false},
	"test-webhook":           {access.Operator, ofWebhook, false},
	"get-webhook-deliveries": {access.Operator, ofWebhook, false},
	"list-dead-letters":      {access.Operator, ofWebhook, false},
	"redeliver-dead-letters": {access.Operator, ofWebhook, false},
	"drop-dead-letters":      {access.Operator, ofWebhook, false},

	// All there is, secrets too.
	"backup-state": {access.Admin, ofCluster, false},

	// Who did what.
	"list-audit":    {access.Operator, someTeam, false},
	"list-refusals": {access.Admin, ofCluster, false},

	"note-token-uses": {of: ofScheduler},

	// Who may.
	"list-tokens":  {access.Admin, someTeam, false},
	"create-token": {access.Admin, ofBody, false},
	"revoke-token": {access.Admin, ofToken, false},
}

// protected is an operation with its permission.
type protected struct {
	id string
	permission
}

// protect has an operation ask for what its permission takes. It is an error to
// have none: a new operation would be everybody's.
func (s *Server) protect(id, method, path string) {
	p, ok := permissions[id]
	if !ok {
		s.unprotected = append(s.unprotected, fmt.Errorf("operation %s, %s %s, has no permission: see permissions.go", id, method, path))
	}
	s.protected[method+" "+path] = protected{id, p}
}

// authorize finds out who asks, and lets pass who may.
func (s *Server) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := responseOf(r.Context())
		c, p := s.authenticate(r)
		if p == nil {
			p = s.refuse(s.protected[r.Method+" "+w.route].permission, c, r)
		}
		if p != nil {
			s.refused(r, c, p)
			p.write(w)
			return
		}
		if s.seen(c) {
			s.tellRole(w)
		}
		next.ServeHTTP(rw, r.WithContext(withCaller(r.Context(), c)))
	})
}

// refuse says why a caller may not perform an operation, nil when they may. It
// is the same whether what the caller may not see exists or not.
func (s *Server) refuse(p permission, c *caller, r *http.Request) *problem {
	if p.of == ofScheduler {
		if isOtherScheduler(c, r) {
			return nil
		}
		return nothingAt(r.URL)
	}
	if c.free || p.of == public || p.of == ofPeer && c.peer {
		return nil
	}
	if p.read && c.reads == ReadsOpen {
		return nil
	}
	if c.stranger {
		return unauthorized("", "this takes a token: send it as Authorization: Bearer TOKEN")
	}
	if p.of == known || p.read && c.reads == ReadsAuthenticated && c.MaySomewhere(access.Viewer) {
		return nil
	}
	vars, v := mux.Vars(r), s.Scheduler.View()
	switch p.of {
	case ofJob:
		job := JobPath{vars["team"], vars["stage"], vars["name"]}.key()
		return c.needs(p.role, job)
	case ofTask:
		t, err := TaskPath{vars["task"]}.in(v)
		if err != nil || !c.sees(t.Job) {
			return TaskPath{vars["task"]}.missing()
		}
		return c.needs(p.role, t.Job)
	case ofPastTask, ofPastEvent:
		if !c.MaySomewhere(p.role) {
			return c.forbidden("this takes the role of %s", p.role)
		}
		return nil // what they may not see is not there to them
	case ofGroup:
		return s.refuseGroup(p, c, GroupPath{vars["group"]}, v)
	case ofToken:
		t, err := TokenPath{vars["token"]}.in(v)
		if err != nil || t.Id != c.ID && !c.administers(t.Team, t.Stages) {
			return TokenPath{vars["token"]}.missing()
		}
		return nil
	case ofWebhook:
		w, err := WebhookPath{vars["webhook"]}.in(v)
		if err != nil || !c.operates(w.Team, w.Job) {
			return WebhookPath{vars["webhook"]}.missing()
		}
		return nil
	case ofCluster:
		if !c.MayCluster(p.role) {
			return c.forbidden("this takes %s", access.Grant{Role: p.role, Team: access.AllTeams})
		}
		return nil
	}
	if !c.MaySomewhere(p.role) {
		return c.forbidden("this takes the role of %s", p.role)
	}
	return nil
}

func (s *Server) refuseGroup(p permission, c *caller, path GroupPath, v *engine.View) *problem {
	g, err := path.in(v)
	if err != nil || !c.seesGroup(g) {
		return path.missing()
	}
	for _, m := range g.Members {
		if p := c.needs(p.role, m.Job); p != nil {
			return p
		}
	}
	return nil
}
