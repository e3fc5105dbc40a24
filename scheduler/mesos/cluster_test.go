package mesos_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/devcluster"
	"github.com/perigee-sched/perigee/devcluster/container"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/mesos"
)

// asExecutor makes this program a small executor instead of running tests.
const asExecutor = "PERIGEE_TEST_EXECUTOR"

func TestMain(m *testing.M) {
	if code, supervisor := container.Supervise(); supervisor { // of devcluster's agents
		os.Exit(code)
	}
	if os.Getenv(asExecutor) != "" {
		if err := executor(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// executor runs its task until it is killed, and reports its ports as phase.
func executor() error {
	endpoint := "http://" + os.Getenv("MESOS_AGENT_ENDPOINT") + "/api/v1/executor"
	type object = map[string]any
	id := func(env string) object { return object{"value": os.Getenv(env)} }
	call := func(kind string, more object) (*http.Response, error) {
		more["type"], more["framework_id"], more["executor_id"] = kind, id("MESOS_FRAMEWORK_ID"), id("MESOS_EXECUTOR_ID")
		body, err := json.Marshal(more)
		if err != nil {
			return nil, err
		}
		return http.Post(endpoint, "application/json", bytes.NewReader(body))
	}
	stream, err := call("SUBSCRIBE", object{"subscribe": object{}})
	if err != nil {
		return err
	}
	defer stream.Body.Close()
	update := func(state string) error {
		uuid := make([]byte, 16)
		rand.Read(uuid)
		uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80
		answer, err := call("UPDATE", object{"update": object{"status": object{"task_id": id("MESOS_EXECUTOR_ID"), "state": state,
			"source": "SOURCE_EXECUTOR", "uuid": uuid, "data": []byte(`{"phase":"run"}`), "healthy": true}}})
		if err != nil {
			return err
		}
		return answer.Body.Close()
	}
	for r, killed := bufio.NewReader(stream.Body), false; ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return err
		}
		record := make([]byte, n)
		if _, err := io.ReadFull(r, record); err != nil {
			return err
		}
		var event struct{ Type string }
		if err := json.Unmarshal(record, &event); err != nil {
			return err
		}
		switch {
		case event.Type == "LAUNCH":
			err = update("TASK_RUNNING")
		case event.Type == "KILL":
			killed, err = true, update("TASK_KILLED")
		case event.Type == "SHUTDOWN", event.Type == "ACKNOWLEDGED" && killed:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// startMaster is a real master when one is given, and a devcluster otherwise,
// which keeps sandboxes below dir. A real one is shared, so these tests do not
// run in parallel.
func startMaster(t *testing.T) (address, dir string) {
	if real := os.Getenv("PERIGEE_TEST_MESOS"); real != "" {
		return real, ""
	}
	dir = t.TempDir()
	cluster, err := devcluster.Open(devcluster.Options{Dir: dir, Listen: "127.0.0.1:0", Ephemeral: true,
		AllocationInterval: 50 * time.Millisecond,
		Agents:             []devcluster.AgentOptions{{Attributes: "rack:r1;speed:2.5"}}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cluster.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return cluster.MasterAddr(), dir
}

// engine answers Connecting and hands out events by type.
type engine struct {
	*mesos.Driver
	t         *testing.T
	framework string

	mu     sync.Mutex
	events []core.Event
	more   chan struct{}
}

func (e *engine) deliver(_ context.Context, events ...core.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range events {
		switch event := event.(type) {
		case core.Connecting:
			e.Perform([]core.Call{core.Subscribe{FrameworkID: e.framework}})
		case core.Subscribed:
			e.framework = event.FrameworkID
		}
	}
	e.events = append(e.events, events...)
	select {
	case e.more <- struct{}{}:
	default:
	}
	return nil
}

// next waits for an event that fits, and takes it; others stay.
func next[T core.Event](e *engine, fits func(T) bool) T {
	e.t.Helper()
	late := time.After(30 * time.Second)
	for {
		e.mu.Lock()
		for i, event := range e.events {
			if event, is := event.(T); is && fits(event) {
				e.events = slices.Delete(e.events, i, i+1)
				e.mu.Unlock()
				return event
			}
		}
		seen := fmt.Sprintf("%+v", e.events)
		e.mu.Unlock()
		select {
		case <-e.more:
		case <-late:
			var want T
			e.t.Fatalf("no %T within 30 s; other events: %s", want, seen)
		}
	}
}

func whichever[T core.Event](T) bool { return true }

// script is an executor that agents fetch.
func script(t *testing.T, content string) mesos.ExecutorOptions {
	file := filepath.Join(t.TempDir(), "executor.sh")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o755))
	sum := sha256.Sum256([]byte(content))
	return mesos.ExecutorOptions{URL: "file://" + file, SHA256: hex.EncodeToString(sum[:]),
		Environment: map[string]string{asExecutor: "yes"}}
}

func user(t *testing.T) string {
	current, err := osuser.Current()
	require.NoError(t, err)
	return current.Username
}

// startDriver runs a driver. The function that is returned ends it.
func startDriver(t *testing.T, master string, executor mesos.ExecutorOptions, e *engine) (stop func()) {
	e.t, e.more = t, make(chan struct{}, 1)
	e.Driver = mesos.New(mesos.Options{
		Master:    master,
		Framework: mesos.FrameworkOptions{Name: t.Name(), User: user(t), FailoverTimeout: time.Minute},
		Executor:  executor,
		Deliver:   e.deliver,
		Logger:    slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

// A task's whole life, against devcluster or the master in PERIGEE_TEST_MESOS.
func TestCluster_LifeOfATask(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	master, dir := startMaster(t)
	e := &engine{}
	executor := script(t, "#!/bin/sh\nexec '"+program+"'\n")
	stop := startDriver(t, master, executor, e)
	defer func() { stop() }()

	next(e, whichever[core.Subscribed])
	offer := next(e, whichever[core.Offers]).Offers[0]
	require.NotEmpty(t, offer.URL)
	require.NotEmpty(t, offer.Ports)
	agents := next(e, whichever[core.Agents])
	require.True(t, agents.Agents[0].Active)
	require.GreaterOrEqual(t, agents.Agents[0].Total.CPUs, offer.Free.CPUs)
	if dir != "" { // of the agent of devcluster
		require.Equal(t, core.Attributes{{Name: "rack", Value: "r1"}, {Name: "speed", Value: "2.5"}}, offer.Attributes)
		require.Equal(t, core.Amounts{CPUs: 4000, Memory: 8_192_000, Disk: 20_480_000}, offer.Free)
		require.Equal(t, offer.Attributes, agents.Agents[0].Attributes)
	}

	task := fmt.Sprintf("task-%x", sha256.Sum256([]byte(offer.ID)))[:20]
	e.Perform([]core.Call{core.Accept{Agent: offer.Agent, Offers: []string{offer.ID}, Launches: []core.Launch{{
		Task: task, Name: "web/test/hello/0", Needs: core.Amounts{CPUs: 100, Memory: 32_000}, Ports: []uint32{offer.Ports[0].First},
		Definition: []byte(`{"task":"` + task + `"}`), ShutdownGrace: 5000}}}})
	require.Equal(t, core.Accepted{Tasks: []string{task}}, next(e, whichever[core.Accepted]))

	of := func(states ...core.MesosState) func(core.Update) bool {
		return func(u core.Update) bool {
			for _, s := range states {
				if u.State == s {
					return u.Task == task
				}
			}
			return false
		}
	}
	running := next(e, of(core.MesosRunning, core.MesosFailed, core.MesosError, core.MesosDropped))
	require.Equal(t, core.MesosRunning, running.State, running.Message)
	require.Equal(t, offer.Agent, running.Agent)
	require.Equal(t, core.SourceExecutor, running.Source)
	require.Equal(t, &api.Report{Phase: api.PhaseRun}, running.Report)
	require.True(t, *running.Healthy)
	require.Len(t, running.UUID, 16)
	e.Perform([]core.Call{core.Acknowledge{Task: task, Agent: offer.Agent, UUID: running.UUID}})

	rest := next(e, whichever[core.Offers]).Offers[0]
	require.Equal(t, offer.Free.CPUs-110, rest.Free.CPUs, "task and executor")
	require.Equal(t, offer.Free.Memory-64_000, rest.Free.Memory)
	require.Equal(t, offer.Ports[0].First+1, rest.Ports[0].First)

	// What has an id is sent again, since its acknowledgement was still on its way.
	reconciled := func() core.Update {
		told := next(e, of(core.MesosRunning))
		for told.UUID != nil {
			told = next(e, of(core.MesosRunning))
		}
		return told
	}
	e.Perform([]core.Call{core.Reconcile{Tasks: []core.TaskAgent{{Task: task, Agent: offer.Agent}}}})
	require.Equal(t, "RECONCILIATION", reconciled().Reason)

	// Another scheduler of the framework takes over; the task goes on.
	stop()
	e = &engine{framework: e.framework}
	stop = startDriver(t, master, executor, e)
	require.NotEmpty(t, next(e, whichever[core.Subscribed]).FrameworkID)
	e.Perform([]core.Call{core.Reconcile{}})
	require.Equal(t, "RECONCILIATION", reconciled().Reason)

	e.Perform([]core.Call{core.Suppress{}, core.Kill{Task: task, Agent: offer.Agent}})
	killed := next(e, of(core.MesosKilled))
	e.Perform([]core.Call{core.Acknowledge{Task: task, Agent: offer.Agent, UUID: killed.UUID}})
	require.Eventually(t, func() bool { return e.Stats().Queued+e.Stats().Unanswered == 0 }, 10*time.Second, time.Millisecond)
	e.Perform([]core.Call{core.Reconcile{Tasks: []core.TaskAgent{{Task: task, Agent: offer.Agent}}}})
	next(e, of(core.MesosGone))
	stats := e.Stats()
	require.Empty(t, stats.Failures)
	require.Zero(t, stats.Malformed)
}

// Two schedulers that both think they lead: Mesos fences neither, so the one
// that was failed over asks its engine before it subscribes again.
func TestCluster_FailedOver(t *testing.T) {
	master, _ := startMaster(t)
	executor := script(t, "")
	first := &engine{}
	defer startDriver(t, master, executor, first)()
	next(first, whichever[core.Connecting])
	framework := next(first, whichever[core.Subscribed]).FrameworkID
	second := &engine{framework: framework}
	stop := startDriver(t, master, executor, second)
	next(second, whichever[core.Subscribed])
	require.Contains(t, next(first, whichever[core.Disconnected]).Reason, "Framework failed over")
	stop()
	next(first, whichever[core.Connecting])
	next(first, whichever[core.Subscribed])
}

// An executor that was changed on its way is not started, and the sandbox says why.
func TestCluster_WrongExecutor(t *testing.T) {
	master, dir := startMaster(t)
	e := &engine{}
	executor := script(t, "#!/bin/sh\nexit 0\n")
	right := executor.SHA256
	executor.SHA256 = strings.Repeat("0", 64)
	defer startDriver(t, master, executor, e)()
	offer := next(e, whichever[core.Offers]).Offers[0]
	e.Perform([]core.Call{core.Accept{Agent: offer.Agent, Offers: []string{offer.ID}, Launches: []core.Launch{{
		Task: "t", Name: "t", Needs: core.Amounts{CPUs: 100, Memory: 32_000}}}}})
	failed := next(e, func(u core.Update) bool { return u.Task == "t" })
	require.Equal(t, core.MesosFailed, failed.State)
	require.Equal(t, core.SourceAgent, failed.Source)
	require.Equal(t, "EXECUTOR_TERMINATED", failed.Reason)
	if dir != "" {
		found, err := filepath.Glob(filepath.Join(dir, "agents/*/slaves/*/frameworks/*/executors/t/runs/latest/stderr"))
		require.NoError(t, err)
		require.Len(t, found, 1)
		stderr, err := os.ReadFile(found[0])
		require.NoError(t, err)
		require.Contains(t, string(stderr), "perigee-executor is not started: its SHA-256 is "+right)
	}
	e.Perform([]core.Call{core.Acknowledge{Task: "t", Agent: offer.Agent, UUID: failed.UUID}})
}
