package server

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func (r routes) audit() {
	list := get(r, "list-audit", "/v1/audit", "List writes, with what each changed, newest first", r.s.listAudit)
	list.Description = "From history, and from memory what that does not have yet."
	get(r, "list-refusals", "/v1/audit/refusals", "List requests that this scheduler refused lately for who they were from", r.s.listRefusals)
}

func neverAudits(_, _ string) bool { return false }

// audits says whether c may read an entry of the audit trail: operators may, of
// the job, or of the whole team where it is about no one job.
func (c *caller) audits(job, team string) bool {
	switch {
	case c.free:
		return true
	case job != "":
		return c.MayJob(access.Operator, job)
	case team == "":
		team = access.AllTeams
	}
	return c.MayGive(access.Grant{Role: access.Operator, Team: team})
}

// seesEvent says whether c may see an event. What is about no job is for all who
// may read, but for the audit trail.
func seesEvent(c *caller, e *record.Event) bool {
	if e.Type == api.AuditType {
		return c.audits(e.Job, e.GetAudit().GetTeam())
	}
	return e.Job == "" || c.sees(e.Job)
}

type listAuditInput struct {
	Past
	Actor     string `query:"actor" maxLength:"1024" doc:"Who wrote: all of the name"`
	Token     string `query:"token" maxLength:"1024" doc:"Id of the token"`
	Operation string `query:"operation" maxLength:"64" doc:"put-job, scale-job: as the API calls it"`
	Object    string `query:"object" maxLength:"255" doc:"Id of a deploy group, webhook or token"`
}

// filter is what history is asked for. Of a team there is more than of its jobs.
func (in *listAuditInput) filter(ctx context.Context) (api.HistoryFilter, error) {
	f, err := in.Past.filter(ctx)
	f.Team, f.Types = "", []string{api.AuditType}
	f.Actor, f.Token, f.Operation, f.Object = in.Actor, in.Token, in.Operation, in.Object
	c := callerOf(ctx)
	f.Audits = func(job, team string) bool {
		if job != "" {
			team, _, _ = strings.Cut(job, "/")
		}
		return (in.Team == "" || in.Team == team) && c.audits(job, team)
	}
	return f, err
}

// chooses says whether a filter of this kind chooses an event, as history does.
func chooses(f api.HistoryFilter, job func(string) bool, e *record.Event) bool {
	a := e.GetAudit()
	if e.Type != api.AuditType || a == nil || e.At < f.From.UnixMilli() && !f.From.IsZero() || e.At >= f.To.UnixMilli() && !f.To.IsZero() {
		return false
	}
	if f.Job != "" && !job(e.Job) || f.Stage != "" && !strings.Contains(e.Job, "/"+f.Stage+"/") {
		return false
	}
	return (f.Actor == "" || f.Actor == e.Actor) && (f.Token == "" || f.Token == a.Token) && (f.Operation == "" || f.Operation == a.Operation) &&
		(f.Object == "" || f.Object == e.Object) && f.Audits(e.Job, a.Team)
}

// auditPlace is where a page of the trail begins: before an event, the last that was
// looked at in memory; then in history, at a cursor of its own.
type auditPlace struct {
	before engine.EventID
	at     int64 // when that was
	past   string
}

func (p auditPlace) String() string {
	return p.before.String() + " " + strconv.FormatInt(p.at, 10) + " " + p.past
}

// parseAuditPlace reads what a cursor has; "" is the newest.
func parseAuditPlace(cursor, text string) (p auditPlace, err error) {
	if text == "" {
		return p, nil
	}
	parts := strings.SplitN(text, " ", 3)
	if len(parts) == 3 {
		var err1, err2 error
		if parts[0] != (engine.EventID{}).String() { // nothing was in memory
			p.before, err1 = engine.ParseEventID(parts[0])
		}
		p.at, err2 = strconv.ParseInt(parts[1], 10, 64)
		p.past = parts[2]
		if err1 == nil && err2 == nil {
			return p, nil
		}
	}
	return p, wrongInput("query.cursor", cursor, "is not a cursor of this list: it is next of the page before, as it was answered")
}

// passed says whether an event was on a page before.
func (p auditPlace) passed(id engine.EventID) bool {
	return id.Incarnation == p.before.Incarnation && id.Compare(p.before) >= 0
}

// listAudit answers with what is in memory and not yet in history, and then with
// history.
func (s *Server) listAudit(ctx context.Context, in *listAuditInput) (*pageOf[api.AuditEntry], error) {
	f, err := in.filter(ctx)
	if err != nil {
		return nil, err
	}
	place, err := parseAuditPlace(in.Cursor, f.Cursor)
	if err != nil {
		return nil, err
	}
	out := &pageOf[api.AuditEntry]{api.HistoryPage[api.AuditEntry]{Items: []api.AuditEntry{}}}
	out.Body.History = api.HistoryExtent{Problem: "this scheduler keeps no history (history.url is none): this is what it has in memory"}
	if s.History != nil {
		out.Body.History = s.History.State(ctx).HistoryExtent
		out.Body.History.Gaps = gapsWithin(out.Body.History.Gaps, f.From, f.To)
	}
	found, more := s.auditInMemory(f, &place, out.Body.History)
	if !more && s.History != nil {
		var past []engine.Published
		if past, more, err = s.auditInHistory(ctx, f, &place, f.Limit-len(found)); err != nil {
			return nil, err
		}
		found = append(found, past...)
	}
	for _, e := range found {
		out.Body.Items = append(out.Body.Items, s.auditEntry(e))
	}
	if more {
		out.Body.Next = cursorOf(place.String())
	}
	return out, nil
}

// auditInMemory finds entries that history does not have, and says whether there is
// more than the page has room for.
func (s *Server) auditInMemory(f api.HistoryFilter, place *auditPlace, has api.HistoryExtent) (found []engine.Published, more bool) {
	if place.past != "" {
		return nil, false
	}
	job := func(string) bool { return true }
	if f.Job != "" {
		job, _ = glob("query.job", f.Job) // which was looked at
	}
	through := uint64(0)
	if events := s.Scheduler.Recent(0); len(events) > 0 && events[0].ID.Incarnation == has.Incarnation {
		through = has.Through
	}
	for _, e := range slices.Backward(s.Scheduler.Recent(through)) {
		if place.passed(e.ID) || !chooses(f, job, e.Event) {
			continue
		}
		if len(found) == f.Limit {
			return found, true
		}
		found = append(found, e)
		place.before, place.at = e.ID, e.Event.At
	}
	return found, false
}

// auditInHistory goes on in history, which may have got what was in memory.
func (s *Server) auditInHistory(ctx context.Context, f api.HistoryFilter, place *auditPlace, room int) (found []engine.Published, more bool, err error) {
	if room == 0 {
		return nil, true, nil
	}
	if before := time.UnixMilli(place.at + 1); place.at != 0 && (f.To.IsZero() || before.Before(f.To)) {
		f.To = before
	}
	f.Limit, f.Cursor = room, place.past
	events, next, err := s.History.ListEvents(ctx, f)
	if err != nil {
		return nil, false, unread(err)
	}
	place.past = next
	return slices.DeleteFunc(events, func(e engine.Published) bool { return place.passed(e.ID) }), next != "", nil
}

func (s *Server) auditEntry(p engine.Published) api.AuditEntry {
	e := s.event(p)
	out := api.AuditEntry{ID: e.ID, Time: e.Time, Actor: e.Data.Actor, Job: e.Data.Job, Task: e.Data.Task, Run: e.Data.Run, Object: e.Data.Object}
	if a := e.Data.Audit; a != nil {
		out.Operation, out.Token, out.From, out.Key, out.Team, out.Before, out.After = a.Operation, a.Token, a.From, a.Key, a.Team, a.Before, a.After
	}
	return out
}

func (s *Server) listRefusals(_ context.Context, _ *struct{}) (*listed[api.RefusedRequest], error) {
	return &listed[api.RefusedRequest]{Body: api.Page[api.RefusedRequest]{Items: s.refusals.latest()}}, nil
}
