package server_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/history"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// gone is a job that ran and is removed, with the last of its tasks and runs.
func (w *world) gone(job string) (task, run string) {
	w.Helper()
	w.put(job, batch)
	written, err := w.StartRuns(ctx, job, []api.NewRun{{Parameters: map[string]string{"n": "7"}}}, client.WriteOptions{})
	require.NoError(w, err)
	task = w.running(job, 1)[0].ID
	w.end(task, 0)
	_, err = w.RemoveJob(ctx, job, client.WriteOptions{})
	require.NoError(w, err)
	w.eventually("the job is gone", func() bool { return w.engine.View().Job(job) == nil })
	w.kept()
	return task, written.Runs[0]
}

func TestHistory_HasWhatLeftTheLiveState(t *testing.T) {
	t.Parallel()
	w := begin(t, keeping)
	task, run := w.gone("etl/prod/load")
	require.Nil(t, w.engine.View().Task(task))

	got, err := w.Task(ctx, task)
	require.NoError(t, err)
	require.True(t, got.Archived)
	require.Equal(t, "finished", got.State)
	require.NotEmpty(t, got.Timeline)
	ended, err := w.Run(ctx, "etl/prod/load", run)
	require.NoError(t, err)
	require.True(t, ended.Archived)
	require.Equal(t, map[string]string{"n": "7"}, ended.Parameters)
	d, err := w.Deploy(ctx, "etl/prod/load", 1)
	require.NoError(t, err)
	require.True(t, d.Archived)
	require.Equal(t, "./work", d.Spec.Command)

	runs, err := w.PastRuns(ctx, api.HistoryFilter{Parameters: map[string]string{"n": "7"}})
	require.NoError(t, err)
	require.Len(t, runs.Items, 1)
	require.True(t, runs.Items[0].Archived)
	require.GreaterOrEqual(t, runs.History.Through, w.engine.View().Index)
	tasks, err := w.PastTasks(ctx, api.HistoryFilter{Job: "etl/prod/load", Run: run, Agent: "host-1"})
	require.NoError(t, err)
	require.Equal(t, task, tasks.Items[0].ID)
	events, err := w.PastEvents(ctx, api.HistoryFilter{Job: "etl/prod/load", Types: []string{"job.removed"}})
	require.NoError(t, err)
	require.Len(t, events.Items, 1)
	e, err := w.PastEvent(ctx, events.Items[0].ID)
	require.NoError(t, err)
	require.Equal(t, events.Items[0], *e)

	w.do("GET", "/v1/tasks/none", "").problem(http.StatusNotFound)
	w.do("GET", "/v1/jobs/etl/prod/load/runs/none", "").problem(http.StatusNotFound)
	w.do("GET", "/v1/jobs/etl/prod/load/deploys/9", "").problem(http.StatusNotFound)
	w.do("GET", "/v1/history/runs/etl/prod/load/none", "").problem(http.StatusNotFound)
}

// Lists of what is live say where those are that left it.
func TestHistory_IsNamedByLists(t *testing.T) {
	t.Parallel()
	w := begin(t, keeping)
	w.put("etl/prod/load", batch)
	page, err := w.Runs(ctx, "etl/prod/load", client.RunFilter{})
	require.NoError(t, err)
	require.Equal(t, "/v1/history/runs?job=etl/prod/load", page.Older)
	deploys, err := w.Deploys(ctx, "etl/prod/load", 1, "")
	require.NoError(t, err)
	require.Equal(t, "/v1/history/deploys?job=etl/prod/load", deploys.Older)
	require.Equal(t, http.StatusOK, w.do("GET", deploys.Older, "").status)
}

func TestHistory_PagesGoOn(t *testing.T) {
	t.Parallel()
	w := begin(t, keeping)
	w.put("etl/prod/load", batch)
	_, err := w.StartRuns(ctx, "etl/prod/load", make([]api.NewRun, 5), client.WriteOptions{})
	require.NoError(t, err)
	for _, task := range w.running("etl/prod/load", 5) {
		w.end(task.ID, 0)
	}
	w.kept()
	seen := map[string]bool{}
	f := api.HistoryFilter{Team: "etl", Limit: 2}
	for pages := 0; ; pages++ {
		page, err := w.PastTasks(ctx, f)
		require.NoError(t, err)
		for i, task := range page.Items {
			require.False(t, seen[task.ID])
			seen[task.ID] = true
			if i > 0 {
				require.False(t, task.EndedAt.After(*page.Items[i-1].EndedAt), "newest first")
			}
		}
		if f.Cursor = page.Next; f.Cursor == "" {
			require.Equal(t, 2, pages)
			break
		}
	}
	require.Len(t, seen, 5)
}

func TestHistory_RefusesNonsense(t *testing.T) {
	t.Parallel()
	w := begin(t, keeping)
	for _, c := range []struct{ query, location, says string }{
		{"tasks?state=running", "query.state", "finished, failed, killed, lost"},
		{"runs?state=failed,nonsense", "query.state", "is not a state of what is over"},
		{"tasks?from=yesterday", "query.from", "2026-11-21T02:00:00Z"},
		{"tasks?from=2026-11-21T02:00:00Z&to=2026-11-21T02:00:00Z", "query.to", "is not after query.from"},
		{"tasks?job=[", "query.job", "is not a pattern"},
		{"events?type=[", "query.type", "is not a pattern"},
		{"runs?parameter=n", "query.parameter", "is not NAME=VALUE"},
		{"tasks?run=r1&job=etl/*/load", "query.run", "of one job"},
		{"tasks?cursor=*", "query.cursor", "is not a cursor"},
		{"tasks?cursor=bm9uZQ", "query.cursor", "is not a cursor"},
		{"events?cursor=bm9uZQ", "query.cursor", "is not a cursor"},
		{"events/17", "path.event", "incarnation-index-ordinal"},
		{"tasks?limit=5000", "query.limit", "1000"},
		{"tasks?host=host-1", "query.host", ""},
	} {
		p := w.do("GET", "/v1/history/"+c.query, "").problem(http.StatusUnprocessableEntity)
		require.Len(t, p.Errors, 1, c.query)
		require.Equal(t, c.location, p.Errors[0].Location, c.query)
		require.Contains(t, p.Errors[0].Message, c.says, c.query)
	}
}

// A history that is absent or down is told so; what is live is told as ever.
func TestHistory_ThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := begin(t)
	p := w.do("GET", "/v1/history/tasks", "").problem(http.StatusServiceUnavailable)
	require.Contains(t, p.Detail, "history.url is none")
	require.Equal(t, "urn:perigee:no-history", p.Type)
	w.do("GET", "/v1/tasks/none", "").problem(http.StatusNotFound)

	closed, err := history.New(history.Options{URL: "sqlite://" + t.TempDir() + "/none/of/these.db", Cluster: "test", Held: w.engine.Held})
	require.NoError(t, err)
	w = begin(t, func(w *world) { w.options.History = closed })
	w.put("web/prod/shop", service)
	task := w.running("web/prod/shop", 2)[0].ID
	_, err = w.Task(context.Background(), task)
	require.NoError(t, err)
	p = w.do("GET", "/v1/history/tasks", "").problem(http.StatusServiceUnavailable)
	require.Contains(t, p.Detail, "cannot be read now: it is not open yet")
	p = w.do("GET", "/v1/tasks/none", "").problem(http.StatusServiceUnavailable)
	require.Equal(t, "urn:perigee:history-unavailable", p.Type, "whether there is such a task is not known")
}

// Who may not see a job does not see its past either.
func TestHistory_IsSeenByThoseWhoMay(t *testing.T) {
	t.Parallel()
	w := begin(t, keeping, closed(server.ReadsTeam))
	admin := w.token("admin", "*")
	for _, job := range []string{"web/prod/shop", "etl/prod/load"} {
		require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/"+job, batch, admin).status)
		require.Equal(t, http.StatusOK, w.do("POST", "/v1/jobs/"+job+"/runs", `{"runs":[{}]}`, admin).status)
	}
	own := map[string]string{}
	w.eventually("both run", func() bool {
		for id, job := range w.taskJobs() {
			if w.engine.View().Task(id).GetState() == record.TaskState_TASK_STATE_RUNNING { // else it could not end
				own[job] = id
			}
		}
		return len(own) == 2
	})
	for _, id := range own {
		w.end(id, 0)
	}
	for job := range own {
		_, _, err := w.engine.Do(ctx, core.Request{Actor: "test", Op: core.RemoveJob{Job: job}})
		require.NoError(t, err)
	}
	w.eventually("both are gone", func() bool { return len(w.taskJobs()) == 0 })
	w.kept()
	web := w.token("viewer", "web")
	for _, path := range []string{"/v1/tasks/", "/v1/history/tasks/"} {
		require.Equal(t, http.StatusOK, w.do("GET", path+own["web/prod/shop"], "", web).status)
		hidden, none := w.do("GET", path+own["etl/prod/load"], "", web), w.do("GET", path+"none", "", web)
		require.Equal(t, http.StatusNotFound, hidden.status, hidden.body)
		require.Equal(t, none.status, hidden.status)
		require.Equal(t, http.StatusUnauthorized, w.do("GET", path+own["web/prod/shop"], "").status)
	}
	for _, list := range []string{"tasks", "runs", "deploys", "events"} {
		a := w.do("GET", "/v1/history/"+list, "", web)
		require.Equal(t, http.StatusOK, a.status, a.body)
		require.Contains(t, a.body, "web/prod/shop", list)
		require.NotContains(t, a.body, "etl/prod/load", list)
		a = w.do("GET", "/v1/history/"+list+"?team=etl", "", web)
		require.NotContains(t, a.body, "etl/prod/load", list)
		require.Contains(t, w.do("GET", "/v1/history/"+list, "", admin).body, "etl/prod/load")
	}
}

// taskJobs are the jobs of live tasks, by id of the task.
func (w *world) taskJobs() map[string]string {
	jobs := map[string]string{}
	for _, job := range []string{"web/prod/shop", "etl/prod/load"} {
		w.engine.View().JobTasks(job, "", func(r *record.Task) bool { jobs[r.Id] = job; return true })
	}
	return jobs
}
