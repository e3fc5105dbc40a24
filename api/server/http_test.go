package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
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

func TestReads_WaitForTheIndexOfAWrite(t *testing.T) {
	t.Parallel()
	w := begin(t)
	a := w.do("PUT", "/v1/jobs/web/prod/hello", service)
	require.Equal(t, http.StatusCreated, a.status)
	index := a.header.Get(api.HeaderIndex)
	require.NotEmpty(t, index)
	a = w.do("GET", "/v1/jobs/web/prod/hello?min_index="+index, "")
	require.Equal(t, http.StatusOK, a.status)
	w.do("GET", "/v1/jobs?min_index=99999999", "").problem(http.StatusGatewayTimeout)
	require.NotEmpty(t, w.do("GET", "/nothing", "").header.Get(api.HeaderIndex), "errors tell the index, too")
}

func TestLists_PagesHaveEverythingOnce(t *testing.T) {
	t.Parallel()
	w := begin(t)
	want := []string{}
	for _, team := range []string{"a", "a-b", "b"} {
		for _, stage := range []string{"prod", "test"} {
			for i := range 3 {
				job := fmt.Sprintf("%s/%s/job-%d", team, stage, i)
				w.put(job, strings.Replace(batch, `"kind"`, fmt.Sprintf(`"labels":{"n":"%d"},"kind"`, i), 1))
				want = append(want, job)
			}
		}
	}
	list := func(f client.JobFilter) (jobs []string) {
		for j, err := range client.All(func(cursor string) (*api.Page[api.Job], error) {
			f.Cursor = cursor
			return w.Jobs(ctx, f)
		}) {
			require.NoError(t, err)
			jobs = append(jobs, j.Job)
		}
		return jobs
	}
	for _, limit := range []int{1, 2, 4, 18, 100} {
		require.ElementsMatch(t, want, list(client.JobFilter{Limit: limit}), "limit %d", limit)
	}
	require.Equal(t, []string{"a/prod/job-0", "a/prod/job-1", "a/prod/job-2", "a/test/job-0", "a/test/job-1", "a/test/job-2"}, list(client.JobFilter{Team: "a", Limit: 2}))
	require.Equal(t, []string{"a/test/job-0", "a/test/job-1", "a/test/job-2"}, list(client.JobFilter{Team: "a", Stage: "test", Limit: 2}))
	require.Len(t, list(client.JobFilter{Stage: "test", Limit: 2}), 9)
	require.Equal(t, []string{"a-b/prod/job-1", "a-b/test/job-1"}, list(client.JobFilter{Team: "a-b", Name: "*-1"}))
	require.Equal(t, []string{"b/prod/job-2"}, list(client.JobFilter{Team: "b", Stage: "prod", Labels: []string{"n=2"}}))
	require.Len(t, list(client.JobFilter{Labels: []string{"n"}, Kind: api.KindBatch, State: "idle"}), 18)
	require.Empty(t, list(client.JobFilter{Kind: api.KindCron}))
	require.Empty(t, list(client.JobFilter{Team: "c"}))

	w.put("a/prod/service", service)
	w.running("a/prod/service", 2)
	_, err := w.ScaleJob(ctx, "a/prod/service", 5, client.WriteOptions{})
	require.NoError(t, err)
	w.running("a/prod/service", 5)
	ids := map[string]bool{}
	for task, err := range client.All(func(cursor string) (*api.Page[api.Task], error) {
		return w.Tasks(ctx, client.TaskFilter{Team: "a", Limit: 2, Cursor: cursor, Host: "host-1"})
	}) {
		require.NoError(t, err)
		require.False(t, ids[task.ID])
		ids[task.ID] = true
		require.Len(t, task.Ports, 2)
		require.NotZero(t, task.Ports["admin"])
	}
	require.Len(t, ids, 5)
}

func TestDeploys_NewestFirstWithSpecs(t *testing.T) {
	t.Parallel()
	w := begin(t)
	for i := range 5 {
		w.put("etl/prod/load", strings.Replace(batch, "./work", fmt.Sprintf("./work-%d", i), 1))
	}
	var numbers []uint32
	for d, err := range client.All(func(cursor string) (*api.Page[api.Deploy], error) {
		return w.Deploys(ctx, "etl/prod/load", 2, cursor)
	}) {
		require.NoError(t, err)
		require.Nil(t, d.Spec)
		numbers = append(numbers, d.Number)
	}
	require.Equal(t, []uint32{5, 4, 3, 2, 1}, numbers)
	d, err := w.Deploy(ctx, "etl/prod/load", 2)
	require.NoError(t, err)
	require.Equal(t, "./work-1", d.Spec.Command)
	require.Equal(t, api.DeploySucceeded, d.State)
	require.Len(t, d.Digest, 64)
}

func TestPending_SaysWhyAndAgentsAreTold(t *testing.T) {
	t.Parallel()
	w := begin(t)
	out := w.put("web/prod/huge", strings.Replace(service, `"cpus":0.1`, `"cpus":1024`, 1))
	require.NotEmpty(t, out.Warnings, "a job that fits on no known agent is accepted with a warning")
	w.eventually("a reason is known", func() bool {
		p, err := w.Pending(ctx, "web/prod/huge")
		require.NoError(t, err)
		return len(p[0].Reasons) > 0 && len(p[0].Reasons[0].Refused) > 0
	})
	all, err := w.Pending(ctx, "")
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "cpus", all[0].Reasons[0].Refused[0].Filter)
	job, err := w.Job(ctx, "web/prod/huge")
	require.NoError(t, err)
	require.NotEmpty(t, job.Pending)
	page, err := w.Tasks(ctx, client.TaskFilter{Job: "web/prod/huge"})
	require.NoError(t, err)
	require.NotNil(t, page.Items[0].Pending)

	agents, err := w.Agents(ctx)
	require.NoError(t, err)
	require.Len(t, agents, 1)
	require.Equal(t, "host-1", agents[0].Host)
	require.Equal(t, 16384*api.MiB, agents[0].Total.Memory)
	for _, name := range []string{"agent-1", "host-1"} {
		one, err := w.Agent(ctx, name)
		require.NoError(t, err)
		require.Equal(t, agents[0], *one)
	}
}

func TestCron_TellsItsNextRun(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("ops/prod/tick", cronjob)
	job, err := w.Job(ctx, "ops/prod/tick")
	require.NoError(t, err)
	require.NotNil(t, job.NextRun)
	require.True(t, job.NextRun.After(time.Now()))
	require.Equal(t, 3, job.NextRun.Hour())
	_, err = w.PauseJob(ctx, "ops/prod/tick", "", client.WriteOptions{})
	require.NoError(t, err)
	job, err = w.Job(ctx, "ops/prod/tick")
	require.NoError(t, err)
	require.Nil(t, job.NextRun)
}

func TestHTTP_Basics(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "perigee-executor")
	require.NoError(t, os.WriteFile(binary, []byte("#!executor"), 0o755))
	w := begin(t, func(w *world) { w.options.Executor = binary })
	require.Contains(t, w.do("GET", "/", "").body, "Perigee")
	require.Equal(t, 200, w.do("GET", "/healthz", "").status)
	require.JSONEq(t, `{"ready":true,"master":"master:5050"}`, w.do("GET", "/readyz", "").body)
	require.Contains(t, w.do("GET", "/metrics", "").body, `perigee_http_requests_total{method="GET",route="/readyz",status="200"}`)

	a := w.do("GET", "/v1/executor/perigee-executor", "")
	sum := sha256.Sum256([]byte("#!executor"))
	require.Equal(t, "#!executor", a.body)
	require.Equal(t, `"`+hex.EncodeToString(sum[:])+`"`, a.header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, w.do("GET", "/v1/executor/perigee-executor", "", "If-None-Match: "+a.header.Get("ETag")).status)
	head := w.do("HEAD", "/v1/executor/perigee-executor", "")
	require.Equal(t, "10", head.header.Get("Content-Length"))
	require.Equal(t, 200, w.do("HEAD", "/v1/events", "").status, "HEAD of a stream ends")

	var description struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(w.do("GET", "/openapi.json", "").body), &description))
	require.Equal(t, "3.1.0", description.OpenAPI)
	require.Contains(t, description.Paths["/v1/jobs/{team}/{stage}/{name}"]["put"], "requestBody")

	a = w.do("POST", "/v1/jobs", "")
	a.problem(http.StatusMethodNotAllowed)
	require.Equal(t, "GET, HEAD", a.header.Get("Allow"))
	w.do("POST", "/v1/jobs/web/prod/hello/pause", "", "Sec-Fetch-Site: cross-site").problem(http.StatusForbidden)
	w.do("GET", "/v1/jobs/web/prod/../prod/hello", "").problem(http.StatusNotFound)
}

func TestReady_SaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := begin(t)
	require.NoError(t, w.engine.Deliver(ctx, core.Disconnected{Reason: "test"}))
	w.eventually("it is not ready", func() bool { return w.Ready(ctx) != nil })
	require.Contains(t, w.do("GET", "/readyz", "").problem(http.StatusServiceUnavailable).Detail, "not subscribed")
	w.put("web/prod/hello", service) // writes go on without a master

	require.NoError(t, w.engine.Deliver(ctx, core.Connecting{}))
	w.eventually("it is ready", func() bool { return w.Ready(ctx) == nil })
	w.storage.Unreachable(true)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		w.do("POST", "/v1/jobs/web/prod/hello/pause", "").problem(http.StatusServiceUnavailable)
	}()
	w.eventually("it is not ready", func() bool { return w.Ready(ctx) != nil })
	require.Contains(t, w.do("GET", "/readyz", "").problem(http.StatusServiceUnavailable).Detail, "cannot write")
	w.storage.Unreachable(false)
	<-asked
	w.eventually("it is ready", func() bool { return w.Ready(ctx) == nil })

	idle := engine.New(engine.Options{})
	s, err := server.New(server.Options{Scheduler: idle, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	run, stop := context.WithCancel(ctx)
	var served sync.WaitGroup
	served.Go(func() { s.Run(run, l) })
	defer served.Wait()
	defer stop()
	w.url = "http://" + l.Addr().String()
	require.Contains(t, w.do("GET", "/readyz", "").problem(http.StatusServiceUnavailable).Detail, "does not lead")
	w.do("PUT", "/v1/jobs/web/prod/hello", service).problem(http.StatusServiceUnavailable)
}

// panicking is a scheduler with a fault.
type panicking struct{ *engine.Engine }

func (panicking) Do(context.Context, core.Request) (core.Result, *engine.View, error) {
	panic("a fault")
}

func TestPanic_IsAnsweredWithAProblem(t *testing.T) {
	t.Parallel()
	w := begin(t, func(w *world) { w.options.Scheduler = panicking{w.engine} })
	w.do("PUT", "/v1/jobs/web/prod/hello", service).problem(http.StatusInternalServerError)
	require.Equal(t, 200, w.do("GET", "/healthz", "").status)
}

// A server that stops ends its streams; what is followed does not look complete.
func TestRun_StopEndsStreams(t *testing.T) {
	t.Parallel()
	w := begin(t)
	task := w.oneTask()
	w.mesos.write(task, "logs/stdout", "one\n")
	w.options.Metrics = nil
	s, err := server.New(w.options)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(run, l) }()
	w.Client, err = client.New(l.Addr().String())
	require.NoError(t, err)
	so, end := w.follow(task, "logs/stdout", 0)
	w.eventually("the first line", func() bool { return so() == "one\n" })
	resp, err := http.Get(w.Base() + "/v1/events")
	require.NoError(t, err)
	defer resp.Body.Close()
	stop()
	require.NoError(t, <-done)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err, "the stream is ended, not cut off after a grace")
	require.ErrorIs(t, end(), io.ErrUnexpectedEOF)
	require.Error(t, w.Ready(ctx))
}

func TestClient_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	proxy := http.NewServeMux()
	proxy.HandleFunc("/", func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "<html>no backend</html>", http.StatusBadGateway)
	})
	w := begin(t)
	w.api.Config.Handler = proxy
	_, err := w.Job(ctx, "web/prod/hello")
	var p *api.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusBadGateway, p.Status)
	require.Contains(t, p.Error(), "no backend")
	_, err = w.Job(ctx, "hello")
	require.ErrorContains(t, err, "team/stage/name")
	for _, bad := range []string{"", "ftp://x", "http://", "::"} {
		_, err := client.New(bad)
		require.Error(t, err, bad)
	}
	c, err := client.New("localhost:7300/")
	require.NoError(t, err)
	require.Equal(t, "http://localhost:7300", c.Base())
	c, err = client.New("http://127.0.0.1:1", client.WithPatience(100*time.Millisecond))
	require.NoError(t, err)
	_, err = c.PauseJob(ctx, "web/prod/hello", "", client.WriteOptions{})
	require.ErrorContains(t, err, "refused")
}
