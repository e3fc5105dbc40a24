package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Who may read, where access.mode is token.
const (
	// ReadsOpen: everybody, but for what tasks have written.
	ReadsOpen = "open"
	// ReadsAuthenticated: whoever has a role in any team, but for that.
	ReadsAuthenticated = "authenticated"
	// ReadsTeam: who has a role in the team and stage.
	ReadsTeam = "team"
)

// caller is who asks.
type caller struct {
	access.Principal
	free     bool   // everybody may do everything
	stranger bool   // nobody knows who it is
	token    bool   // it has shown a token of ours
	peer     bool   // another scheduler of the cluster
	reads    string // who may read
	from     string // address
	ends     int64  // when what was shown expires, Unix ms; 0: never
}

type callerKey struct{}

func withCaller(ctx context.Context, c *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf returns who the request comes from that ctx belongs to.
func callerOf(ctx context.Context) *caller { return ctx.Value(callerKey{}).(*caller) }

// seesAll says whether c may read of all jobs.
func (c *caller) seesAll() bool {
	return c.free || c.reads == ReadsOpen || c.reads == ReadsAuthenticated && c.MaySomewhere(access.Viewer) || c.MayCluster(access.Viewer)
}

// sees says whether c may read of a job.
func (c *caller) sees(job string) bool { return c.seesAll() || c.MayJob(access.Viewer, job) }

// seesGroup says whether c may read of all jobs of a deploy group.
func (c *caller) seesGroup(g *record.Group) bool {
	for _, m := range g.Members {
		if !c.sees(m.Job) {
			return false
		}
	}
	return true
}

// needs returns nil when c has a role for a job, and says what is missing
// otherwise. It says the same whether there is such a job or not.
func (c *caller) needs(role access.Role, job string) *problem {
	if c.free || c.MayJob(role, job) {
		return nil
	}
	team, rest, _ := strings.Cut(job, "/")
	stage, _, _ := strings.Cut(rest, "/")
	return c.forbidden("this takes %s", access.Grant{Role: role, Team: team, Stages: []string{stage}})
}

// administers says whether c may give tokens of a team and stages, and take them.
func (c *caller) administers(team string, stages []string) bool {
	return c.free || c.MayGive(access.Grant{Role: access.Admin, Team: team, Stages: stages})
}

// operates says whether c may have events of a team's jobs told, of those that a
// pattern matches ("": all).
func (c *caller) operates(team, jobs string) bool { return c.free || c.MayGive(toOperate(team, jobs)) }

// toOperate is the grant that a webhook takes.
func toOperate(team, jobs string) access.Grant {
	g := access.Grant{Role: access.Operator, Team: team}
	_, rest, _ := strings.Cut(jobs, "/")
	if stage, _, _ := strings.Cut(rest, "/"); jobPart.MatchString(stage) {
		g.Stages = []string{stage} // and no other matches
	}
	return g
}

// grants says what c may do, in words.
func (c *caller) grants() string {
	if len(c.Grants) == 0 {
		return "nothing"
	}
	all := make([]string, len(c.Grants))
	for i, g := range c.Grants {
		all[i] = g.String()
	}
	return strings.Join(all, "; ")
}

func (c *caller) forbidden(format string, args ...any) *problem {
	p := newProblem(http.StatusForbidden, format, args...).kind("forbidden")
	p.Detail += ", and " + c.Name + " is granted " + c.grants()
	p.header = http.Header{"Www-Authenticate": {`Bearer realm="perigee", error="insufficient_scope"`}}
	return p
}

// unauthorized asks for who it is. kind is "" when nothing was shown.
func unauthorized(kind, format string, args ...any) *problem {
	p := newProblem(http.StatusUnauthorized, format, args...).kind("unauthorized")
	challenge := `Bearer realm="perigee"`
	if kind != "" {
		p.kind(kind)
		challenge += `, error="invalid_token"`
	}
	p.header = http.Header{"Www-Authenticate": {challenge}}
	return p
}

// actor is who a write is by, as events and people have it. Who is known may say
// on behalf of whom.
func (c *caller) actor(said string) string {
	switch {
	case c.free && said != "":
		return said
	case c.free || c.stranger:
		return c.from
	case said != "" && said != c.Name:
		return c.Name + " for " + said
	}
	return c.Name
}

// scope is whose idempotency keys c's are.
func (c *caller) scope() string {
	if len(c.ID) <= 16 {
		return c.ID
	}
	sum := sha256.Sum256([]byte(c.ID)) // an issuer's subject, which may be long
	return hex.EncodeToString(sum[:8])
}

// seen says whether c may know of schedulers who leads.
func (s *Server) seen(c *caller) bool { return !c.stranger || c.reads == ReadsOpen }

type callerOutput struct{ Body api.Caller }

func (s *Server) getCaller(ctx context.Context, _ *struct{}) (*callerOutput, error) {
	c := callerOf(ctx)
	out := &callerOutput{api.Caller{Name: c.Name, ID: c.ID, Everything: c.free, From: c.from}}
	for _, g := range c.Grants {
		out.Body.Grants = append(out.Body.Grants, api.CallerGrant{Role: g.Role.String(), Team: g.Team, Stages: g.Stages})
	}
	return out, nil
}
