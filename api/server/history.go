package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/cloudevent"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// History is where what left the live state is kept. Its errors are of the
// context, an api.Invalid about the filter, or say why it cannot be read now.
type History interface {
	// Tasks, Runs, Deploys and ListEvents return what a filter chooses, newest
	// first, and the cursor of the next page.
	Tasks(ctx context.Context, f api.HistoryFilter) ([]*record.Task, string, error)
	Runs(ctx context.Context, f api.HistoryFilter) ([]*record.Run, string, error)
	Deploys(ctx context.Context, f api.HistoryFilter) ([]*record.Deploy, string, error)
	ListEvents(ctx context.Context, f api.HistoryFilter) ([]engine.Published, string, error)
	// FindTask and the others return nil for what is not there.
	FindTask(ctx context.Context, id string) (*record.Task, error)
	FindRun(ctx context.Context, job, id string) (*record.Run, error)
	FindDeploy(ctx context.Context, job string, number uint32) (*record.Deploy, error)
	FindEvent(ctx context.Context, id engine.EventID) (*engine.Published, error)
	// State says how far it is.
	State(ctx context.Context) api.HistoryState
}

// past returns the history, or says that there is none.
func (s *Server) past() (History, error) {
	if s.History == nil {
		return nil, newProblem(http.StatusServiceUnavailable, "this scheduler keeps no history: its history.url is none").kind("no-history")
	}
	return s.History, nil
}

// unread is the problem when history was not read.
func unread(err error) error {
	var invalid api.Invalid
	switch {
	case errors.As(err, &invalid):
		p := newProblem(http.StatusUnprocessableEntity, "the request is not valid").kind("invalid")
		p.Errors = invalid
		return p
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusServiceUnavailable, "the history was not read in time").kind("history-unavailable").retryAfter(5)
	}
	return newProblem(http.StatusServiceUnavailable, "%v", err).kind("history-unavailable").retryAfter(5)
}

// Past is what all lists of history take.
type Past struct {
	Paging
	Job   string `query:"job" maxLength:"255" doc:"A pattern of team/stage/name: web/prod/*"`
	Team  string `query:"team" maxLength:"255"`
	Stage string `query:"stage" maxLength:"255"`
	From  string `query:"from" maxLength:"64" doc:"Only what ended at this time or later (RFC 3339)"`
	To    string `query:"to" maxLength:"64" doc:"Only what began before this time (RFC 3339)"`
}

func (p Past) filter(ctx context.Context) (f api.HistoryFilter, err error) {
	f = api.HistoryFilter{Job: p.Job, Team: p.Team, Stage: p.Stage, Limit: p.limit()}
	if p.Job != "" {
		if _, err := glob("query.job", p.Job); err != nil {
			return f, err
		}
	}
	if f.From, err = instant("query.from", p.From); err != nil {
		return f, err
	}
	if f.To, err = instant("query.to", p.To); err != nil {
		return f, err
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return f, wrongInput("query.to", p.To, "is not after query.from, %s", p.From)
	}
	if c := callerOf(ctx); !c.seesAll() {
		f.Sees = c.sees
	}
	f.Cursor, err = p.after()
	return f, err
}

func instant(where, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, wrongInput(where, text, "is not a time: write it as 2026-11-21T02:00:00Z, or with an offset for Z")
	}
	return t, nil
}

// states reads a list of states, each of which must be one of something that is
// over.
func states(text string, names []string, over func(int32) bool) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var known []string
	for n, name := range names {
		if n > 0 && over(int32(n)) {
			known = append(known, name)
		}
	}
	asked := strings.Split(text, ",")
	for i, a := range asked {
		asked[i] = strings.TrimSpace(a)
		found := false
		for _, k := range known {
			found = found || k == asked[i]
		}
		if !found {
			return nil, wrongInput("query.state", a, "is not a state of what is over: it is one of %s, or several separated by commas", strings.Join(known, ", "))
		}
	}
	return asked, nil
}

// pageOf answers a list of history.
type pageOf[T any] struct {
	Body api.HistoryPage[T]
}

// pastPage answers with what a filter chooses, each told by tell.
func pastPage[R, T any](ctx context.Context, s *Server, f api.HistoryFilter, list func(context.Context, api.HistoryFilter) ([]R, string, error), tell func(R) T) (*pageOf[T], error) {
	records, next, err := list(ctx, f)
	if err != nil {
		return nil, unread(err)
	}
	out := &pageOf[T]{api.HistoryPage[T]{Items: make([]T, 0, len(records))}}
	for _, r := range records {
		out.Body.Items = append(out.Body.Items, tell(r))
	}
	if next != "" {
		out.Body.Next = cursorOf(next)
	}
	out.Body.History = s.History.State(ctx).HistoryExtent
	out.Body.History.Gaps = gapsWithin(out.Body.History.Gaps, f.From, f.To)
	return out, nil
}

// gapsWithin are those at some time between two.
func gapsWithin(gaps []api.HistoryGap, from, to time.Time) (out []api.HistoryGap) {
	for _, g := range gaps {
		if (from.IsZero() || !g.To.Before(from)) && (to.IsZero() || g.From == nil || g.From.Before(to)) {
			out = append(out, g)
		}
	}
	return out
}

// asked is which history is asked, and for what as far as all of its lists have it.
func (s *Server) asked(ctx context.Context, in *Past) (h History, f api.HistoryFilter, err error) {
	if h, err = s.past(); err == nil {
		f, err = in.filter(ctx)
	}
	return h, f, err
}

type pastTasksInput struct {
	Past
	Agent string `query:"agent" maxLength:"255" doc:"An agent's id or host"`
	State string `query:"state" maxLength:"255" doc:"finished, failed, killed or lost; several separated by commas"`
	Text  string `query:"text" maxLength:"1024" doc:"Whole words, in any order and case, that are all in why a task failed"`
	Run   string `query:"run" maxLength:"255" doc:"Only tasks of this run of the job"`
}

func (s *Server) listPastTasks(ctx context.Context, in *pastTasksInput) (*pageOf[api.Task], error) {
	h, f, err := s.asked(ctx, &in.Past)
	if err != nil {
		return nil, err
	}
	f.Agent, f.Text, f.Run = in.Agent, in.Text, in.Run
	if f.Run != "" && (in.Job == "" || strings.ContainsAny(in.Job, `*?[\`)) {
		return nil, wrongInput("query.run", in.Run, "is of one job: name that as query.job, team/stage/name")
	}
	f.States, err = states(in.State, taskStates, func(n int32) bool { return record.TaskState(n).Terminal() })
	if err != nil {
		return nil, err
	}
	v := s.Scheduler.View()
	return pastPage(ctx, s, f, h.Tasks, func(r *record.Task) api.Task {
		t := s.task(v, r)
		t.Archived = v.Task(r.Id) == nil
		return t
	})
}

type pastRunsInput struct {
	Past
	State     string   `query:"state" maxLength:"255" doc:"succeeded, failed, cancelled, skipped or missed; several separated by commas"`
	Parameter []string `query:"parameter,explode" maxItems:"20" doc:"A parameter's value, as NAME=VALUE; may be repeated"`
	Text      string   `query:"text" maxLength:"1024" doc:"Whole words, in any order and case, that are all in why a run failed"`
	Actor     string   `query:"actor" maxLength:"255" doc:"Who asked for it"`
	Group     string   `query:"group" maxLength:"255"`
}

func (s *Server) listPastRuns(ctx context.Context, in *pastRunsInput) (*pageOf[api.Run], error) {
	h, f, err := s.asked(ctx, &in.Past)
	if err != nil {
		return nil, err
	}
	f.Text, f.Actor, f.Group = in.Text, in.Actor, in.Group
	for _, p := range in.Parameter {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, wrongInput("query.parameter", p, "is not NAME=VALUE")
		}
		if f.Parameters == nil {
			f.Parameters = map[string]string{}
		}
		f.Parameters[name] = value
	}
	f.States, err = states(in.State, runStates, func(n int32) bool { return record.RunState(n).Terminal() })
	if err != nil {
		return nil, err
	}
	v := s.Scheduler.View()
	return pastPage(ctx, s, f, h.Runs, func(r *record.Run) api.Run {
		out := run(r)
		out.Archived = v.Run(r.Job, r.Id) == nil
		return out
	})
}

type pastDeploysInput struct {
	Past
	State string `query:"state" maxLength:"255" doc:"succeeded, failed, superseded, rolled_back or cancelled; several separated by commas"`
	Text  string `query:"text" maxLength:"1024" doc:"Whole words, in any order and case, that are all in a deploy's message or reason"`
	Actor string `query:"actor" maxLength:"255" doc:"Its author"`
}

func (s *Server) listPastDeploys(ctx context.Context, in *pastDeploysInput) (*pageOf[api.Deploy], error) {
	h, f, err := s.asked(ctx, &in.Past)
	if err != nil {
		return nil, err
	}
	f.Text, f.Actor = in.Text, in.Actor
	f.States, err = states(in.State, deployStates, func(n int32) bool { return record.DeployState(n).Terminal() })
	if err != nil {
		return nil, err
	}
	v := s.Scheduler.View()
	return pastPage(ctx, s, f, h.Deploys, func(d *record.Deploy) api.Deploy {
		out := deployOf(d)
		out.Archived = v.Deploy(d.Job, d.Number) == nil
		return out
	})
}

type pastEventsInput struct {
	Past
	Type   string `query:"type" maxLength:"1024" doc:"Patterns of types, separated by commas: deploy.*,task.failed"`
	Agent  string `query:"agent" maxLength:"255" doc:"An agent's id or host"`
	Actor  string `query:"actor" maxLength:"255" doc:"Who caused it"`
	Task   string `query:"task" maxLength:"255"`
	Run    string `query:"run" maxLength:"255"`
	Object string `query:"object" maxLength:"255" doc:"Id of what it is about that has no field of its own: a webhook, a token, a deploy group"`
}

func (s *Server) listPastEvents(ctx context.Context, in *pastEventsInput) (*pageOf[api.Event], error) {
	h, f, err := s.asked(ctx, &in.Past)
	if err != nil {
		return nil, err
	}
	f.Agent, f.Actor, f.Task, f.Run, f.Object = in.Agent, in.Actor, in.Task, in.Run, in.Object
	if in.Type != "" {
		for _, pattern := range strings.Split(in.Type, ",") {
			pattern = strings.TrimPrefix(strings.TrimSpace(pattern), cloudevent.Prefix)
			if _, err := glob("query.type", pattern); err != nil {
				return nil, err
			}
			f.Types = append(f.Types, pattern)
		}
	}
	f.Audits = neverAudits
	if c := callerOf(ctx); slices.ContainsFunc(f.Types, api.AsksForAudit) {
		f.Audits = c.audits
	}
	return pastPage(ctx, s, f, h.ListEvents, s.event)
}
