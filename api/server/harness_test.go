package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/devcluster/sandbox"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/gate"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
	leases "github.com/perigee-sched/perigee/scheduler/lease/memory"
	"github.com/perigee-sched/perigee/scheduler/webhook"
)

// world is a scheduler with its API in front, a journal in memory behind, and a
// stand-in for Mesos with one agent whose sandboxes are directories.
type world struct {
	testing.TB
	*client.Client
	url     string
	engine  *engine.Engine
	storage *memory.Storage
	mesos   *mesos
	shelf   shelf
	options server.Options
	server  *server.Server
	api     *httptest.Server
	heard   atomic.Pointer[func(*http.Request)]

	webhooks *webhook.Runner
}

// begin starts a world; change may change how the API is served.
func begin(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{TB: t, storage: new(memory.Storage)}
	w.mesos = newMesos(t)
	gates := gate.New(gate.Options{Deliver: func(ctx context.Context, events ...core.Event) error { return w.engine.Deliver(ctx, events...) }})
	w.engine = engine.New(engine.Options{
		Journal: w.storage.Open(), Lease: new(leases.Election).Open("http://127.0.0.1:1"), Caller: w.mesos, EventsKeep: 1000, Ask: gates.Ask, History: &w.shelf,
		Elected: core.Elected{Scheduler: "test", Address: "http://127.0.0.1:1", Incarnation: "i1"},
	})
	w.mesos.engine = w.engine
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.engine.Run(ctx); err != nil {
			t.Errorf("the engine failed: %v", err)
		}
	})
	running.Go(func() { w.mesos.run(ctx) })
	running.Go(func() { _ = gates.Run(ctx) }) // never fails
	w.webhooks = webhook.New(webhook.Options{Engine: w.engine, Cluster: "test", Log: slog.New(slog.DiscardHandler)})
	running.Go(func() { _ = w.webhooks.Run(ctx) }) // never fails
	w.options = server.Options{
		Scheduler: w.engine, Cluster: "test", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Metrics: prometheus.NewRegistry(), Webhooks: w.webhooks,
	}
	for _, c := range change {
		c(w)
	}
	s, err := server.New(w.options)
	require.NoError(t, err)
	w.server = s
	w.api = httptest.NewServer(s.Handler())
	w.url = w.api.URL
	w.Client, err = client.New(w.url, client.WithActor("tester"))
	require.NoError(t, err)
	t.Cleanup(func() {
		w.api.CloseClientConnections()
		w.api.Close()
		cancel()
		running.Wait()
	})
	w.eventually("the scheduler leads", func() bool { return w.engine.View().Leads })
	require.NoError(t, w.engine.Deliver(ctx, core.Connecting{}))
	w.eventually("the scheduler is ready", func() bool { return w.Ready(ctx) == nil })
	return w
}

// patience is how long a test waits for what happens at once on a machine that
// has nothing else to do.
const patience = 30 * time.Second

// eventually waits until a condition holds.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	require.Eventually(w, holds, patience, 2*time.Millisecond, what)
}

// answer is what the API said to one request.
type answer struct {
	testing.TB
	status int
	header http.Header
	body   string
}

// do sends a request: method, path, body, and headers as "Name: value".
func (w *world) do(method, path, body string, headers ...string) answer {
	w.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	require.NoError(w, err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(w, err)
	return answer{w.TB, resp.StatusCode, resp.Header, string(b)}
}

// problem wants an answer that is a problem with this status.
func (a answer) problem(status int) api.Problem {
	a.Helper()
	require.Equal(a, status, a.status, a.body)
	require.Equal(a, "application/problem+json", a.header.Get("Content-Type"), a.body)
	var p api.Problem
	require.NoError(a, json.Unmarshal([]byte(a.body), &p), a.body)
	require.Equal(a, status, p.Status, a.body)
	require.NotEmpty(a, p.Title, a.body)
	return p
}

const (
	service = `{"kind":"service","command":"./serve","instances":2,"resources":{"cpus":0.1,"memory":"64MiB"},"ports":["http","admin"],"labels":{"tier":"front"}}`
	batch   = `{"kind":"batch","command":"./work","resources":{"cpus":0.1,"memory":"64MiB"},"parameters":{"n":{"type":"int","default":"1"}},"retries":2}`
	cronjob = `{"kind":"cron","command":"./tick","resources":{"cpus":0.1,"memory":"64MiB"},"schedule":{"cron":"0 3 * * *"}}`
)

// put deploys a spec and wants it accepted.
func (w *world) put(job, spec string) api.Written {
	w.Helper()
	a := w.do("PUT", "/v1/jobs/"+job, spec)
	require.Contains(w, []int{http.StatusOK, http.StatusCreated}, a.status, a.body)
	var out api.Written
	require.NoError(w, json.Unmarshal([]byte(a.body), &out))
	return out
}

// running waits until n tasks of a job run, and returns them.
func (w *world) running(job string, n int) []api.Task {
	w.Helper()
	var tasks []api.Task
	w.eventually(fmt.Sprintf("%d tasks of %s run", n, job), func() bool {
		page, err := w.Tasks(context.Background(), client.TaskFilter{Job: job, State: "running"})
		require.NoError(w, err)
		tasks = page.Items
		return len(tasks) == n
	})
	return tasks
}

// mesos stands in for Mesos: it offers one big agent again and again, and runs
// what is launched at once, unless it is held.
type mesos struct {
	t      testing.TB
	engine *engine.Engine
	dir    string // has each task's sandbox
	agent  *httptest.Server

	mu     sync.Mutex
	calls  []core.Call
	more   chan struct{}
	offers int
	held   bool // nothing is offered
	out    bool // an offer is outstanding

	watched  func(core.Call)
	stuck    bool         // what is launched does not get to run
	starting []core.Event // what has it run
}

func newMesos(t testing.TB) *mesos {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	m := &mesos{t: t, dir: dir, more: make(chan struct{}, 1)}
	m.agent = httptest.NewServer(sandbox.Handler(func(path string) (string, bool) {
		task, ok := strings.CutPrefix(path, "/frameworks/fw-1/executors/")
		task, ok2 := strings.CutSuffix(task, "/runs/latest")
		return m.sandbox(task), ok && ok2 && !strings.Contains(task, "/")
	}))
	t.Cleanup(m.agent.Close)
	return m
}

func (m *mesos) sandbox(task string) string { return filepath.Join(m.dir, task) }

// write puts a file into a task's sandbox.
func (m *mesos) write(task, name, content string) {
	m.t.Helper()
	path := filepath.Join(m.sandbox(task), name)
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(m.t, os.WriteFile(path, []byte(content), 0o644))
}

// Perform implements engine.Caller.
func (m *mesos) Perform(calls []core.Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, calls...)
	select {
	case m.more <- struct{}{}:
	default:
	}
}

func (m *mesos) run(ctx context.Context) {
	for {
		select {
		case <-m.more:
		case <-ctx.Done():
			return
		}
		m.mu.Lock()
		calls, watched := m.calls, m.watched
		m.calls = nil
		m.mu.Unlock()
		for _, c := range calls {
			if watched != nil {
				watched(c)
			}
			if m.engine.Deliver(ctx, m.react(c)...) != nil {
				return
			}
		}
	}
}

func (m *mesos) react(c core.Call) []core.Event {
	switch c := c.(type) {
	case core.Subscribe:
		return []core.Event{core.Subscribed{FrameworkID: "fw-1", Master: "master:5050"},
			core.Agents{Agents: []core.Agent{{ID: "agent-1", Host: "host-1", URL: m.agent.URL, Active: true, Total: big}}}, m.offer()}
	case core.Revive:
		return []core.Event{m.offer()}
	case core.Decline:
		m.taken()
	case core.Accept:
		m.taken()
		events := []core.Event{}
		accepted := core.Accepted{}
		for _, l := range c.Launches {
			accepted.Tasks = append(accepted.Tasks, l.Task)
			if err := os.MkdirAll(m.sandbox(l.Task), 0o755); err != nil {
				m.t.Error(err)
			}
			events = append(events, m.begin(l)...)
		}
		return append(append([]core.Event{accepted}, events...), m.offer())
	case core.Kill:
		return []core.Event{m.update(c.Task, core.MesosKilled, &api.Report{Phase: api.PhaseEnd})}
	}
	return nil
}

// begin has a task run, or do what its command is named for.
func (m *mesos) begin(l core.Launch) []core.Event {
	run := m.update(l.Task, core.MesosRunning, &api.Report{Phase: api.PhaseRun})
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stuck:
		m.starting = append(m.starting, run)
		return []core.Event{m.update(l.Task, core.MesosStarting, &api.Report{Phase: api.PhaseFetch})}
	case bytes.Contains(l.Definition, []byte("./slow")):
		return []core.Event{m.update(l.Task, core.MesosStarting, &api.Report{Phase: api.PhaseFetch})}
	case bytes.Contains(l.Definition, []byte("./broken")):
		end := m.update(l.Task, core.MesosFailed, &api.Report{Phase: api.PhaseEnd, Exited: true, ExitCode: 3})
		end.Message = "exited with status 3"
		return []core.Event{run, end}
	}
	return []core.Event{run}
}

var big = core.Amounts{CPUs: 1_000_000, Memory: 16_384_000, Disk: 16_384_000}

func (m *mesos) offer() core.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held || m.out {
		return core.Offers{}
	}
	m.out = true
	m.offers++
	return core.Offers{Offers: []core.Offer{{
		ID: fmt.Sprintf("offer-%d", m.offers), Agent: "agent-1", Host: "host-1", URL: m.agent.URL,
		Attributes: core.Attributes{{Name: "rack", Value: "r1"}}, Free: big,
		Ports: []core.PortRange{{First: uint32(31000 + m.offers*100), Last: uint32(31099 + m.offers*100)}},
	}}}
}

func (m *mesos) update(task string, state core.MesosState, report *api.Report) core.Update {
	return core.Update{Task: task, Agent: "agent-1", State: state, UUID: []byte(task + state.String()),
		Source: core.SourceExecutor, Report: report}
}

// end has a task exit.
func (w *world) end(task string, code int) {
	w.Helper()
	state := core.MesosFinished
	if code != 0 {
		state = core.MesosFailed
	}
	require.NoError(w, w.engine.Deliver(context.Background(), w.mesos.update(task, state,
		&api.Report{Phase: api.PhaseEnd, Exited: true, ExitCode: code})))
	w.eventually("task "+task+" is over", func() bool {
		t := w.engine.View().Task(task)
		return t == nil || t.State.Terminal()
	})
}

func (m *mesos) taken() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out = false
}

// hold stops offers, or lets them come again.
func (m *mesos) hold(held bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = held
}

// watch has a function see every call before it has an effect.
func (m *mesos) watch(see func(core.Call)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched = see
}

// stick has what is launched from now on not get to run, or all of it run.
func (m *mesos) stick(stuck bool) {
	m.t.Helper()
	m.mu.Lock()
	m.stuck = stuck
	run := m.starting
	m.starting = nil
	m.mu.Unlock()
	if !stuck {
		require.NoError(m.t, m.engine.Deliver(context.Background(), run...))
	}
}
