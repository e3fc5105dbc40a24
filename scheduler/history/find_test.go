package history

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// tasks are the ids of all that a filter chooses, newest first, page by page.
func (s *scheduler) tasks(f api.HistoryFilter) (ids []string) {
	s.p.Helper()
	for _, t := range everyPage(s, f, s.Tasks) {
		ids = append(ids, strings.TrimPrefix(t.Id, "b1x7-0000"))
	}
	return ids
}

func (s *scheduler) runs(f api.HistoryFilter) (ids []string) {
	s.p.Helper()
	for _, r := range everyPage(s, f, s.Runs) {
		ids = append(ids, r.Id)
	}
	return ids
}

func (s *scheduler) deploys(f api.HistoryFilter) (ids []string) {
	s.p.Helper()
	for _, d := range everyPage(s, f, s.Deploys) {
		ids = append(ids, fmt.Sprintf("%s/%d", d.Job, d.Number))
	}
	return ids
}

func (s *scheduler) events(f api.HistoryFilter) (ids []string) {
	s.p.Helper()
	for _, e := range everyPage(s, f, s.ListEvents) {
		ids = append(ids, strings.TrimPrefix(e.ID.String(), "b1x7-"))
	}
	return ids
}

type lister[T any] = func(context.Context, api.HistoryFilter) ([]T, string, error)

// everyPage reads all pages, of two each.
func everyPage[T any](s *scheduler, f api.HistoryFilter, list lister[T]) (all []T) {
	s.p.Helper()
	f.Limit = 2
	for range 1000 {
		page, next, err := list(s.p.Context(), f)
		require.NoError(s.p, err)
		require.LessOrEqual(s.p, len(page), 2)
		all = append(all, page...)
		if next == "" {
			return all
		}
		f.Cursor = next
	}
	s.p.Fatal("pages without end")
	return nil
}

// ran says when a task ran, from one to another minute, and where.
func ran(from, to int, host string) func(*record.Task) {
	return func(t *record.Task) {
		t.LaunchedAt, t.EndedAt, t.StateAt = at(time.Duration(from)*time.Minute), at(time.Duration(to)*time.Minute), at(time.Duration(to)*time.Minute)
		t.Agent, t.Host = "id-of-"+host, host
	}
}

func because(message string) func(*record.Task) {
	return func(t *record.Task) { t.Message = message }
}

func minute(n int) time.Time { return began.Add(time.Duration(n) * time.Minute) }

// What ran on agent 17 on the night of the incident.
func TestFindsTasks(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		oom := because("killed by SIGKILL (out of memory?) after 4.6s")
		refused := because("exited with status 2; its last line on stderr: Connection REFUSED by db-7.example.com:5432")
		s.Record(loaded(1,
			entry(1,
				task("web/prod/shop", 1, finished, ran(0, 10, "h17")),
				task("web/prod/shop", 2, failed, ran(10, 20, "h17"), oom),
				task("web/test/shop", 3, finished, ran(15, 30, "h17")),
				task("etl/prod/load", 4, failed, ran(5, 600, "h17"), refused),
				task("etl/prod/load", 5, failed, ran(40, 41, "h18"), refused),
				task("etl/prod/load", 6, record.TaskState_TASK_STATE_LOST, ran(12, 13, "h18"), because("the agent went away")),
				task("etl/prod/load", 7, record.TaskState_TASK_STATE_KILLED, ran(200, 20_000, "h18"), because("refused to live")),
				task("etl/prod/load", 8, finished, ran(50, 51, "h17"), func(t *record.Task) { t.Run = "r1" }),
				task("etl/prod/more", 9, finished, ran(50, 52, "h17"), func(t *record.Task) { t.Run = "r1" }),
			)))
		s.through(1)
		for _, c := range []struct {
			what string
			f    api.HistoryFilter
			want string
		}{
			{"all, newest first", api.HistoryFilter{}, "07 04 09 08 05 03 02 06 01"},
			{"on an agent, by its host", api.HistoryFilter{Agent: "h17"}, "04 09 08 03 02 01"},
			{"by its id", api.HistoryFilter{Agent: "id-of-h18"}, "07 05 06"},
			{"on one that is not known", api.HistoryFilter{Agent: "h19"}, ""},
			{"at a time on an agent", api.HistoryFilter{Agent: "h17", From: minute(11), To: minute(14)}, "04 02"},
			{"that also ended before", api.HistoryFilter{Agent: "h17", From: minute(9), To: minute(14)}, "04 02 01"},
			{"and that began by then alone", api.HistoryFilter{Agent: "h17", To: minute(11)}, "04 02 01"},
			{"since a time", api.HistoryFilter{From: minute(45)}, "07 04 09 08"},
			{"at a time, anywhere", api.HistoryFilter{From: minute(11), To: minute(14)}, "04 02 06"},
			{"at a time, of a job", api.HistoryFilter{Job: "etl/prod/load", From: minute(11), To: minute(14)}, "04 06"},
			{"of a job", api.HistoryFilter{Job: "web/prod/shop"}, "02 01"},
			{"of jobs", api.HistoryFilter{Job: "*/prod/*o*"}, "07 04 09 08 05 02 06 01"},
			{"of a team", api.HistoryFilter{Team: "etl"}, "07 04 09 08 05 06"},
			{"of a stage", api.HistoryFilter{Stage: "test"}, "03"},
			{"of a team and stage", api.HistoryFilter{Team: "web", Stage: "prod"}, "02 01"},
			{"of no job", api.HistoryFilter{Job: "web/prod/no"}, ""},
			{"in a state", api.HistoryFilter{States: []string{"failed"}}, "04 05 02"},
			{"in states", api.HistoryFilter{States: []string{"failed", "lost"}}, "04 05 02 06"},
			{"in a state of a job", api.HistoryFilter{Job: "etl/prod/load", States: []string{"killed", "finished"}}, "07 08"},
			{"in a state on an agent at a time", api.HistoryFilter{Agent: "h17", States: []string{"failed"}, To: minute(12)}, "04 02"},
			{"in one that it cannot be in", api.HistoryFilter{States: []string{"pending"}}, ""},
			{"why it failed", api.HistoryFilter{Text: "connection refused"}, "04 05"},
			{"in any order and case", api.HistoryFilter{Text: "5432, CONNECTION"}, "04 05"},
			{"by a name with digits", api.HistoryFilter{Text: "db-7.example.com"}, "04 05"},
			{"whole words", api.HistoryFilter{Text: "connect"}, ""},
			{"and of a job and agent", api.HistoryFilter{Text: "refused", Job: "etl/*/load", Agent: "h18"}, "05"},
			{"and at a time", api.HistoryFilter{Text: "refused", From: minute(35), To: minute(42)}, "04 05"},
			{"of what was killed as asked no words", api.HistoryFilter{Text: "live"}, ""},
			{"of a run", api.HistoryFilter{Job: "etl/prod/load", Run: "r1"}, "08"},
		} {
			require.Equal(p, c.want, strings.Join(s.tasks(c.f), " "), c.what)
		}

		whole, err := s.FindTask(p.Context(), "b1x7-000004")
		require.NoError(p, err)
		want := task("etl/prod/load", 4, failed, ran(5, 600, "h17"), refused)
		require.True(p, proto.Equal(want, whole), "%v\n%v", want, whole)
		none, err := s.FindTask(p.Context(), "b1x7-000099")
		require.NoError(p, err)
		require.Nil(p, none)
		_, _, err = s.Tasks(p.Context(), api.HistoryFilter{Cursor: "nonsense", Limit: 10})
		require.ErrorAs(p, err, new(api.Invalid))
	})
}

func aRun(id string, ended int, change ...func(*record.Run)) *record.Run {
	r := &record.Run{Job: "etl/prod/load", Id: id, Deploy: 3, State: record.RunState_RUN_STATE_SUCCEEDED,
		CreatedAt: at(0), StartedAt: at(time.Minute), EndedAt: at(time.Duration(ended) * time.Minute), RequestedBy: "ci", Attempts: 1}
	for _, c := range change {
		c(r)
	}
	return r
}

func with(name, value string, more ...string) func(*record.Run) {
	return func(r *record.Run) {
		r.Parameters = map[string]string{name: value}
		for i := 0; i < len(more); i += 2 {
			r.Parameters[more[i]] = more[i+1]
		}
	}
}

func TestFindsRuns(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		long := strings.Repeat("möre ", 1000)
		s.Record(loaded(1, entry(1,
			aRun("a", 2, with("day", "2026-11-20")),
			aRun("b", 3, with("day", "2026-11-21", "note", long), func(r *record.Run) { r.Group = "backfill" }),
			aRun("c", 4, with("day", "2026-11-21"), func(r *record.Run) {
				r.State, r.Reason, r.RequestedBy = record.RunState_RUN_STATE_FAILED, "task b1x7-000007 exited with status 3", "anna"
			}),
			aRun("d", 5, func(r *record.Run) { r.State = record.RunState_RUN_STATE_MISSED; r.Missed = 1000; r.StartedAt = 0 }),
		)))
		s.through(1)
		for _, c := range []struct {
			what string
			f    api.HistoryFilter
			want string
		}{
			{"all", api.HistoryFilter{Job: "etl/prod/load"}, "d c b a"},
			{"with a parameter", api.HistoryFilter{Parameters: map[string]string{"day": "2026-11-21"}}, "c b"},
			{"with two", api.HistoryFilter{Parameters: map[string]string{"day": "2026-11-21", "note": long}}, "b"},
			{"with another's value", api.HistoryFilter{Parameters: map[string]string{"note": "2026-11-21"}}, ""},
			{"by somebody", api.HistoryFilter{Actor: "anna"}, "c"},
			{"of a group", api.HistoryFilter{Group: "backfill", States: []string{"succeeded"}}, "b"},
			{"why it failed", api.HistoryFilter{Text: "status 3"}, "c"},
			{"missed", api.HistoryFilter{States: []string{"missed"}, Stage: "prod"}, "d"},
			{"at a time", api.HistoryFilter{From: minute(3), To: minute(4)}, "d c b"},
		} {
			require.Equal(p, c.want, strings.Join(s.runs(c.f), " "), c.what)
		}
		run, err := s.FindRun(p.Context(), "etl/prod/load", "b")
		require.NoError(p, err)
		require.Equal(p, long, run.Parameters["note"])
		run, err = s.FindRun(p.Context(), "etl/prod/other", "b")
		require.NoError(p, err)
		require.Nil(p, run)
	})
}

func deploy(job string, number uint32, ended int, author, spec string) *record.Deploy {
	return &record.Deploy{Job: job, Number: number, Spec: []byte(spec), Digest: fmt.Sprint("digest of ", spec), Author: author, Message: "release " + fmt.Sprint(number),
		State: record.DeployState_DEPLOY_STATE_SUCCEEDED, CreatedAt: at(0), EndedAt: at(time.Duration(ended) * time.Minute)}
}

func TestFindsDeploys(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		large := strings.Repeat(`{"command":"x"}`, 8000)
		bad := deploy("web/prod/shop", 3, 9, "ben", `{"v":3}`)
		bad.State, bad.Reason = record.DeployState_DEPLOY_STATE_ROLLED_BACK, "instance 1 failed once"
		s.Record(loaded(1, entry(1,
			deploy("web/prod/shop", 1, 1, "anna", large),
			deploy("web/prod/shop", 2, 5, "ben", large), bad,
			deploy("web/prod/cart", 1, 7, "anna", `{"v":1}`),
		)))
		s.through(1)
		require.Equal(p, 3, s.rows("specs"), "each spec once")
		for _, c := range []struct {
			what string
			f    api.HistoryFilter
			want string
		}{
			{"all", api.HistoryFilter{}, "web/prod/shop/3 web/prod/cart/1 web/prod/shop/2 web/prod/shop/1"},
			{"by an author", api.HistoryFilter{Actor: "ben"}, "web/prod/shop/3 web/prod/shop/2"},
			{"by their outcome", api.HistoryFilter{States: []string{"rolled_back"}}, "web/prod/shop/3"},
			{"by their message", api.HistoryFilter{Text: "release 2"}, "web/prod/shop/2"},
			{"by why", api.HistoryFilter{Text: "instance failed"}, "web/prod/shop/3"},
			{"before a time", api.HistoryFilter{Job: "web/prod/*", To: minute(6), From: minute(6)}, "web/prod/shop/3 web/prod/cart/1"},
		} {
			require.Equal(p, c.want, strings.Join(s.deploys(c.f), " "), c.what)
		}
		d, err := s.FindDeploy(p.Context(), "web/prod/shop", 2)
		require.NoError(p, err)
		require.Equal(p, large, string(d.Spec))
		require.Equal(p, "ben", d.Author)
	})
}

func TestListsEvents(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		s.Record(loaded(1, entry(1, task("web/prod/shop", 1, finished), task("etl/prod/load", 2, finished, ran(0, 1, "h17")))))
		s.through(1)
		s.Record(entry(2, aRun("a", 2), deploy("web/prod/shop", 1, 1, "anna", "{}"), task("web/prod/shop", 3, finished)))
		s.through(2)
		token := entry(3)
		token.Events = []engine.Published{{ID: engine.EventID{Incarnation: "b1x7", Index: 3}, Event: &record.Event{Type: "token.created", At: at(3 * time.Minute), Actor: "anna", Object: "t1"}}}
		s.Record(token)
		s.through(3)
		for _, c := range []struct {
			what string
			f    api.HistoryFilter
			want string
		}{
			{"all, newest first", api.HistoryFilter{}, "3-0 2-2 2-1 2-0 1-1 1-0"},
			{"of a job", api.HistoryFilter{Job: "web/prod/shop"}, "2-2 2-1 1-0"},
			{"of jobs", api.HistoryFilter{Job: "etl/*/*"}, "2-0 1-1"},
			{"of a team", api.HistoryFilter{Team: "etl"}, "2-0 1-1"},
			{"of a type", api.HistoryFilter{Types: []string{"run.succeeded"}}, "2-0"},
			{"of types", api.HistoryFilter{Types: []string{"deploy.*", "token.created"}}, "3-0 2-1"},
			{"of other patterns", api.HistoryFilter{Types: []string{"*.succeeded"}}, "2-1 2-0"},
			{"by somebody", api.HistoryFilter{Actor: "anna"}, "3-0 2-1"},
			{"about something", api.HistoryFilter{Object: "t1"}, "3-0"},
			{"of a task", api.HistoryFilter{Task: "b1x7-000002"}, "1-1"},
			{"on an agent", api.HistoryFilter{Agent: "h17"}, "1-1"},
			{"since a time", api.HistoryFilter{From: minute(2)}, "3-0 2-2 2-1 2-0"},
			{"until a time", api.HistoryFilter{To: minute(2)}, "1-1 1-0"},
			{"of no job", api.HistoryFilter{Job: "no/such/job"}, ""},
		} {
			require.Equal(p, c.want, strings.Join(s.events(c.f), " "), c.what)
		}
		e, err := s.FindEvent(p.Context(), engine.EventID{Incarnation: "b1x7", Index: 2, Ordinal: 1})
		require.NoError(p, err)
		require.Equal(p, "deploy.succeeded", e.Event.Type)
		e, err = s.FindEvent(p.Context(), engine.EventID{Incarnation: "b1x7", Index: 2, Ordinal: 9})
		require.NoError(p, err)
		require.Nil(p, e)
	})
}
