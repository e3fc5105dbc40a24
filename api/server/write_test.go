package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

var ctx = context.Background()

func TestJob_LifeThroughTheClient(t *testing.T) {
	t.Parallel()
	w := begin(t)
	n := 2
	spec := &api.Spec{Job: "web/prod/hello", Kind: api.KindService, Command: "./hello", Instances: &n,
		Resources: api.Resources{CPUs: 0.1, Memory: 64 * api.MiB}, Ports: []string{"http"}}
	out, err := w.PutJob(ctx, spec, client.PutOptions{Message: "first", Create: true})
	require.NoError(t, err)
	require.True(t, out.Created)
	require.EqualValues(t, 1, out.Deploy)

	w.running("web/prod/hello", 2)
	job, err := w.Job(ctx, "web/prod/hello")
	require.NoError(t, err)
	require.Equal(t, api.KindService, job.Kind)
	require.Equal(t, 2, job.Instances)
	require.Equal(t, 2, job.Tasks.Running)
	require.Equal(t, "./hello", job.Spec.Command)
	require.NotNil(t, job.Spec.Restart, "the spec has its defaults filled in")
	require.Equal(t, "first", job.LatestDeploy.Message)
	require.Equal(t, "tester", job.LatestDeploy.Author)

	same, err := w.PutJob(ctx, spec, client.PutOptions{})
	require.NoError(t, err)
	require.False(t, same.Changed, "the same spec again changes nothing, and says so")

	_, err = w.ScaleJob(ctx, "web/prod/hello", 3, client.WriteOptions{IfMatch: &job.Revision})
	require.NoError(t, err)
	w.running("web/prod/hello", 3)
	_, err = w.PauseJob(ctx, "web/prod/hello", "maintenance", client.WriteOptions{})
	require.NoError(t, err)
	w.running("web/prod/hello", 0)
	job, err = w.Job(ctx, "web/prod/hello")
	require.NoError(t, err)
	require.Equal(t, "paused", job.State)
	require.Equal(t, "maintenance", job.PauseReason)
	_, err = w.ResumeJob(ctx, "web/prod/hello", client.WriteOptions{})
	require.NoError(t, err)
	tasks := w.running("web/prod/hello", 3)

	killed, err := w.KillTask(ctx, tasks[0].ID, "looks stuck", client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, tasks[0].ID, killed.Task)
	w.eventually("the killed task is over", func() bool {
		task, err := w.Task(ctx, tasks[0].ID)
		return err == nil && task.State == "killed"
	})
	task, err := w.Task(ctx, tasks[0].ID)
	require.NoError(t, err)
	require.NotEmpty(t, task.Timeline)
	require.Contains(t, task.Stopping, "looks stuck")

	_, err = w.RemoveJob(ctx, "web/prod/hello", client.WriteOptions{})
	require.NoError(t, err)
	w.eventually("the job is gone", func() bool {
		_, err := w.Job(ctx, "web/prod/hello")
		var p *api.Problem
		return errors.As(err, &p) && p.Status == http.StatusNotFound
	})
}

func TestRuns_StartManyListAndCancel(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("etl/prod/load", batch)
	runs := make([]api.NewRun, 250)
	for i := range runs {
		runs[i] = api.NewRun{Parameters: map[string]string{"n": fmt.Sprint(i)}, Group: "build-7"}
	}
	out, err := w.StartRuns(ctx, "etl/prod/load", runs, client.WriteOptions{})
	require.NoError(t, err)
	require.Len(t, out.Runs, 250)

	seen := map[string]string{}
	for r, err := range client.All(func(cursor string) (*api.Page[api.Run], error) {
		return w.Runs(ctx, "etl/prod/load", client.RunFilter{Group: "build-7", Limit: 100, Cursor: cursor})
	}) {
		require.NoError(t, err)
		seen[r.ID] = r.Parameters["n"]
	}
	require.Len(t, seen, 250)
	require.Equal(t, "17", seen[out.Runs[17]])

	_, err = w.CancelRun(ctx, "etl/prod/load", out.Runs[3], client.WriteOptions{})
	require.NoError(t, err)
	w.eventually("the run is cancelled", func() bool {
		r, err := w.Run(ctx, "etl/prod/load", out.Runs[3])
		return err == nil && r.State == "cancelled"
	})
	none, err := w.Runs(ctx, "etl/prod/load", client.RunFilter{Group: "another"})
	require.NoError(t, err)
	require.Empty(t, none.Items)
}

func TestIdempotencyKey_ExecutesOnceAndRefusesAnotherRequest(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("etl/prod/load", batch)
	body := `{"runs":[{},{}]}`
	first := w.do("POST", "/v1/jobs/etl/prod/load/runs", body, "Idempotency-Key: k-1")
	require.Equal(t, 200, first.status, first.body)
	require.Empty(t, first.header.Get(api.HeaderReplayed))
	again := w.do("POST", "/v1/jobs/etl/prod/load/runs", body, "Idempotency-Key: k-1")
	require.Equal(t, first.body, again.body, "the answer is that of the first time")
	require.Equal(t, "true", again.header.Get(api.HeaderReplayed))
	page, err := w.Runs(ctx, "etl/prod/load", client.RunFilter{})
	require.NoError(t, err)
	require.Len(t, page.Items, 2)

	p := w.do("POST", "/v1/jobs/etl/prod/load/runs", `{"runs":[{}]}`, "Idempotency-Key: k-1").problem(http.StatusConflict)
	require.Contains(t, p.Detail, "k-1")
	w.do("POST", "/v1/jobs/etl/prod/load/pause", "", "Idempotency-Key: k-1").problem(http.StatusConflict)
	p = w.do("POST", "/v1/jobs/etl/prod/load/runs", body, "Idempotency-Key: "+strings.Repeat("k", 256)).problem(http.StatusUnprocessableEntity)
	require.Equal(t, "header.Idempotency-Key", p.Errors[0].Location)
}

func TestIfMatch_OfTwoUsersOneIsRefused(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("web/prod/hello", service)
	got := w.do("GET", "/v1/jobs/web/prod/hello", "")
	tag := got.header.Get("ETag")
	require.NotEmpty(t, tag)

	var statuses [2]int
	var both sync.WaitGroup
	for i := range statuses {
		both.Go(func() {
			statuses[i] = w.do("PUT", "/v1/jobs/web/prod/hello/instances", fmt.Sprintf(`{"instances":%d}`, 3+i), "If-Match: "+tag).status
		})
	}
	both.Wait()
	require.ElementsMatch(t, []int{http.StatusOK, http.StatusPreconditionFailed}, statuses[:])

	w.do("PUT", "/v1/jobs/web/prod/hello", service, "If-None-Match: *").problem(http.StatusPreconditionFailed)
	w.do("PUT", "/v1/jobs/web/prod/new", service, `If-Match: "1"`).problem(http.StatusPreconditionFailed)
	w.do("DELETE", "/v1/jobs/web/prod/hello", "", "If-Match: soon").problem(http.StatusUnprocessableEntity)
	w.do("DELETE", "/v1/jobs/web/prod/hello", "", "If-Match: "+tag).problem(http.StatusPreconditionFailed)
}

// Every bad input is answered with what is wrong and where, and changes nothing.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("web/prod/hello", service)
	w.put("etl/prod/load", batch)
	w.running("web/prod/hello", 2)
	with := func(old, new string) string { return strings.Replace(service, old, new, 1) }
	put, runs := "PUT /v1/jobs/web/prod/hello", "POST /v1/jobs/etl/prod/load/runs"
	for _, c := range []struct {
		name, request, body string
		status              int
		where, says         string // of the first error, or of the detail when where is ""
	}{
		{"no JSON", put, `{"kind":`, 400, "", "ends in the middle"},
		{"empty body", put, ``, 400, "", "missing"},
		{"no map", put, `[]`, 422, "body", "map"},
		{"not UTF-8", put, "{\"command\":\"\xff\"}", 400, "", "UTF-8"},
		{"unknown field", put, with(`"command"`, `"comand"`), 422, "body.comand", `did you mean "command"`},
		{"wrong type", put, with(`"./serve"`, `7`), 422, "body.command", "string"},
		{"negative resources", put, with(`"cpus":0.1`, `"cpus":-1`), 422, "body.resources.cpus", "-1"},
		{"absurd resources", put, with(`"64MiB"`, `"64000TiB"`), 422, "body.resources.memory", "64000TiB"},
		{"duplicate port names", put, with(`"admin"`, `"http"`), 422, "body.ports[1]", "twice"},
		{"bad cron", "PUT /v1/jobs/ops/prod/tick", strings.Replace(cronjob, "0 3 * * *", "0 25 * * *", 1), 422, "body.schedule.cron", "25"},
		{"unknown zone", "PUT /v1/jobs/ops/prod/tick", strings.Replace(cronjob, `"0 3 * * *"`, `"0 3 * * *","zone":"Mars/Base"`, 1), 422, "body.schedule.zone", "Mars/Base"},
		{"undeclared health port", put, with(`"labels"`, `"health":{"http":{"port":"web"}},"labels"`), 422, "body.health.http.port", "web"},
		{"another job", put, with(`"kind"`, `"job":"web/prod/other","kind"`), 422, "body.job", "web/prod/hello"},
		{"bad job name", "PUT /v1/jobs/web/prod/He_llo", service, 422, "path", "He_llo"},
		{"too large", put, with("./serve", strings.Repeat("x", 300<<10)), 413, "", "262144"},
		{"another kind", put, batch, 409, "", "service"},
		{"form", put, "a=b", 400, "", "JSON"},
		{"XML", put, "<job/>", 415, "", "application/json"},
		{"unknown query", put + "?supercede=true", service, 422, "query.supercede", "unknown"},
		{"malformed query", put + "?message=%%", service, 400, "", "query"},
		{"bad query", put + "?supersede=maybe", service, 422, "query.supersede", "boolean"},
		{"unknown parameter", runs, `{"runs":[{"parameters":{"m":"1"}}]}`, 422, "body.runs[0].parameters.m", "not known"},
		{"bad parameter", runs, `{"runs":[{},{"parameters":{"n":"x"}}]}`, 422, "body.runs[1].parameters.n", "x"},
		{"parameter of a wrong type", runs, `{"runs":[{"parameters":{"n":1}}]}`, 422, "body.runs[0].parameters.n", "string"},
		{"unknown field of a run", runs, `{"runs":[{"gruop":"a"}]}`, 422, "body.runs[0].gruop", `did you mean "group"`},
		{"no runs", runs, `{"runs":[]}`, 422, "body.runs", "missing or empty"},
		{"too many runs", runs, `{"runs":[{}` + strings.Repeat(",{}", 5000) + `]}`, 422, "body.runs", "5001"},
		{"too many values", runs, `{"runs":[` + strings.Repeat("1,", 1_000_001) + `1]}`, 413, "", "1000000"},
		{"absurd priority", runs, `{"runs":[{"priority":99999}]}`, 422, "body.runs[0].priority", "1000"},
		{"negative retries", runs, `{"runs":[{"retries":-1}]}`, 422, "body.runs[0].retries", "-1"},
		{"runs of a service", "POST /v1/jobs/web/prod/hello/runs", `{"runs":[{}]}`, 409, "", "service"},
		{"runs of nothing", "POST /v1/jobs/web/prod/none/runs", `{"runs":[{}]}`, 404, "", "web/prod/none"},
		{"instances missing", "PUT /v1/jobs/web/prod/hello/instances", `{}`, 422, "body.instances", "missing"},
		{"negative instances", "PUT /v1/jobs/web/prod/hello/instances", `{"instances":-1}`, 422, "body.instances", "-1"},
		{"absurd instances", "PUT /v1/jobs/web/prod/hello/instances", `{"instances":10000000}`, 422, "body.instances", "100000"},
		{"fraction of instances", "PUT /v1/jobs/web/prod/hello/instances", `{"instances":1.5}`, 422, "body.instances", "whole"},
		{"instances of a batch job", "PUT /v1/jobs/etl/prod/load/instances", `{"instances":1}`, 409, "", "batch"},
		{"kill of nothing", "DELETE /v1/tasks/none", ``, 404, "", "none"},
		{"cancel of nothing", "DELETE /v1/jobs/etl/prod/load/runs/none", ``, 404, "", "none"},
		{"bad cursor", "GET /v1/jobs?cursor=%21", ``, 422, "query.cursor", "cursor"},
		{"absurd limit", "GET /v1/tasks?limit=100000", ``, 422, "query.limit", "1000"},
		{"limit that is no number", "GET /v1/tasks?limit=x", ``, 422, "query.limit", "integer"},
		{"unknown state", "GET /v1/tasks?state=dead", ``, 422, "query.state", "pending"},
		{"bad pattern", "GET /v1/jobs?name=%5B", ``, 422, "query.name", "pattern"},
		{"bad event id", "GET /v1/events?after=x", ``, 400, "", "event id"},
		{"deploy that is no number", "GET /v1/jobs/web/prod/hello/deploys/x", ``, 422, "path.number", "number of a deploy"},
		{"no such deploy", "GET /v1/jobs/web/prod/hello/deploys/9", ``, 404, "", "9"},
		{"no such run", "GET /v1/jobs/etl/prod/load/runs/x", ``, 404, "", "x"},
		{"no such task", "GET /v1/tasks/x", ``, 404, "", "x"},
		{"no such agent", "GET /v1/agents/x", ``, 404, "", "x"},
		{"no such job", "GET /v1/jobs/a/b/c", ``, 404, "", "a/b/c"},
		{"unknown path", "GET /v2", ``, 404, "", "/v2"},
		{"wrong method", "PATCH /v1/jobs/web/prod/hello", ``, 405, "", "GET, PUT, DELETE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := w.engine.View().Index
			method, path, _ := strings.Cut(c.request, " ")
			headers := []string{"Content-Type: application/json"}
			switch c.name {
			case "form":
				headers[0] = "Content-Type: application/x-www-form-urlencoded"
			case "XML":
				headers[0] = "Content-Type: text/xml"
			}
			p := w.do(method, path, c.body, headers...).problem(c.status)
			if c.where == "" {
				require.Contains(t, p.Detail, c.says)
			} else {
				require.NotEmpty(t, p.Errors, "%+v", p)
				require.Equal(t, c.where, p.Errors[0].Location, "%+v", p)
				require.Contains(t, p.Errors[0].Message, c.says)
			}
			for _, e := range w.events(before) {
				require.Fail(t, "a bad request changed something", "%v", e)
			}
		})
	}
}

// events of users' changes since an index. (The scheduler itself may write.)
func (w *world) events(since uint64) (changes []string) {
	f, err := w.engine.Follow(fmt.Sprintf("i1-%d-%d", since, 1<<30))
	require.NoError(w, err)
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	events, _ := f.Next(soon)
	for _, e := range events {
		if e.Event.Actor != "" {
			changes = append(changes, e.Event.Type)
		}
	}
	return changes
}

// failing answers some writes with an error.
type failing struct {
	*engine.Engine
	mu     sync.Mutex
	errors []error // of the next writes; the last goes on
	keys   []string
}

func (f *failing) Do(ctx context.Context, r core.Request) (core.Result, *engine.View, error) {
	f.mu.Lock()
	f.keys = append(f.keys, r.IdempotencyKey)
	var err error
	if len(f.errors) > 0 {
		err, f.errors = f.errors[0], f.errors[1:]
	}
	f.mu.Unlock()
	if err != nil {
		return core.Result{}, nil, err
	}
	return f.Engine.Do(ctx, r)
}

func TestWrite_UnknownOutcomeIsRetriedUnderTheSameKey(t *testing.T) {
	t.Parallel()
	f := &failing{errors: []error{engine.ErrUnknownOutcome, fmt.Errorf("%w: it does not lead yet", engine.ErrUnavailable)}}
	w := begin(t, func(w *world) { f.Engine = w.engine; w.options.Scheduler = f })
	spec := &api.Spec{Job: "web/prod/hello", Kind: api.KindService, Command: "./hello", Resources: api.Resources{CPUs: 0.1, Memory: 64 * api.MiB}}
	_, err := w.PutJob(ctx, spec, client.PutOptions{})
	require.NoError(t, err)
	require.Len(t, f.keys, 3)
	require.NotEmpty(t, f.keys[0])
	require.Equal(t, f.keys[0], f.keys[2])

	f.errors = []error{engine.ErrUnknownOutcome}
	a := w.do("POST", "/v1/jobs/web/prod/hello/pause", "")
	p := a.problem(http.StatusServiceUnavailable)
	require.Contains(t, p.Detail, "Retry with the same Idempotency-Key")
	require.Equal(t, "1", a.header.Get("Retry-After"))
	f.errors = []error{fmt.Errorf("%w: another scheduler leads", engine.ErrUnavailable)}
	p = w.do("POST", "/v1/jobs/web/prod/hello/pause", "").problem(http.StatusServiceUnavailable)
	require.Contains(t, p.Detail, "another scheduler leads")
}

var _ server.Scheduler = (*engine.Engine)(nil)
