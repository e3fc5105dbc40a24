package engine_test

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal/file"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// fastMesos answers every launch with two updates, RUNNING and then FINISHED,
// and offers its agents again at once. It costs as little as it can.
type fastMesos struct {
	engine   *engine.Engine
	agents   int
	stay     bool // tasks run on
	more     chan struct{}
	finished atomic.Int64
	offers   int

	outstanding map[string]int // agents by offer
	declined    []int

	mu     sync.Mutex
	calls  []core.Call
	placed map[string]time.Time // by run, when it is not nil
}

const bigAgent = 1_000_000_000

func (m *fastMesos) offer(agent int) core.Offer {
	m.offers++
	id := fmt.Sprint("o", m.offers)
	m.outstanding[id] = agent
	return core.Offer{ID: id, Agent: fmt.Sprintf("agent-%04d", agent), Host: fmt.Sprintf("host-%04d.example.net", agent),
		URL: fmt.Sprintf("http://host-%04d.example.net:5051", agent), Free: core.Amounts{CPUs: bigAgent, Memory: bigAgent * 1000, Disk: bigAgent * 1000},
		Ports: []core.PortRange{{First: 31000, Last: 32000}}}
}

// Perform implements engine.Caller.
func (m *fastMesos) Perform(calls []core.Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, call := range calls {
		switch call := call.(type) {
		case core.Acknowledge:
			continue
		case core.Accept:
			if m.placed != nil {
				now := time.Now()
				for _, l := range call.Launches {
					m.placed[l.Name] = now
				}
			}
		}
		m.calls = append(m.calls, call)
	}
	select {
	case m.more <- struct{}{}:
	default:
	}
}

func (m *fastMesos) run(ctx context.Context) {
	for {
		select {
		case <-m.more:
		case <-ctx.Done():
			return
		}
		m.mu.Lock()
		calls := m.calls
		m.calls = nil
		m.mu.Unlock()
		var first, second []core.Event
		for _, call := range calls {
			f, s := m.react(call)
			first, second = append(first, f...), append(second, s...)
		}
		if len(first) > 0 && m.engine.Deliver(ctx, first...) != nil {
			return
		}
		if len(second) > 0 && m.engine.Deliver(ctx, second...) != nil {
			return
		}
		m.finished.Add(int64(len(second)))
	}
}

func (m *fastMesos) react(call core.Call) (first, second []core.Event) {
	switch call := call.(type) {
	case core.Subscribe:
		offers := core.Offers{}
		clear(m.outstanding)
		for i := range m.agents {
			offers.Offers = append(offers.Offers, m.offer(i))
		}
		return []core.Event{core.Subscribed{FrameworkID: "framework-1", Master: "master:5050"}, offers}, nil
	case core.Decline:
		for _, id := range call.Offers {
			m.declined = append(m.declined, m.outstanding[id])
			delete(m.outstanding, id)
		}
	case core.Revive:
		offers := core.Offers{}
		for _, agent := range m.declined {
			offers.Offers = append(offers.Offers, m.offer(agent))
		}
		m.declined = nil
		return []core.Event{offers}, nil
	case core.Accept:
		agent := m.outstanding[call.Offers[0]]
		for _, id := range call.Offers {
			delete(m.outstanding, id)
		}
		accepted := core.Accepted{}
		for _, l := range call.Launches {
			accepted.Tasks = append(accepted.Tasks, l.Task)
			first = append(first, m.update(l.Task, call.Agent, core.MesosRunning, &api.Report{Phase: api.PhaseRun,
				Sandbox: "/var/lib/mesos/slaves/5f3b7a1c-S1/frameworks/5f3b7a1c-0000/executors/" + l.Task + "/runs/0aa3d6c6-7a8e-4c38-9d0e-0a6a2b0d7c5f"}))
			if !m.stay {
				second = append(second, m.update(l.Task, call.Agent, core.MesosFinished, &api.Report{Phase: api.PhaseEnd, Exited: true}))
			}
		}
		return append([]core.Event{accepted, core.Offers{Offers: []core.Offer{m.offer(agent)}}}, first...), second
	}
	return nil, nil
}

func (m *fastMesos) update(task, agent string, state core.MesosState, report *api.Report) core.Update {
	uuid := make([]byte, 16)
	copy(uuid, task)
	uuid[15] = byte(state)
	return core.Update{Task: task, Agent: agent, State: state, UUID: uuid, Source: core.SourceExecutor, Report: report}
}

// lead begins a leadership on the file journal, with 20 agents.
func lead(b testing.TB, change ...func(*engine.Options, *fastMesos)) (*engine.Engine, *fastMesos) {
	b.Helper()
	j, err := file.Open(b.TempDir(), file.Options{})
	require.NoError(b, err)
	m := &fastMesos{agents: 20, more: make(chan struct{}, 1), outstanding: map[string]int{}}
	opts := engine.Options{Journal: j, Caller: m, Elected: core.Elected{Scheduler: "bench", Incarnation: "b1x7"},
		Core: core.Config{PendingMost: 1 << 30, Overhead: core.Amounts{CPUs: 10, Memory: 32_000}}}
	for _, c := range change {
		c(&opts, m)
	}
	e := engine.New(opts)
	m.engine = e
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := e.Run(ctx); err != nil {
			b.Errorf("the engine failed: %v", err)
		}
	})
	parts.Go(func() { m.run(ctx) })
	b.Cleanup(func() {
		cancel()
		parts.Wait()
		require.NoError(b, j.Close())
	})
	require.NoError(b, e.Deliver(ctx, core.Connecting{}))
	require.Eventually(b, func() bool { return e.View().Cluster().GetFrameworkId() != "" }, 10*time.Second, time.Millisecond)
	return e, m
}

const benchJob = "etl/prod/load"

func start(b testing.TB, e *engine.Engine, n int) []string {
	r, _, err := e.Do(context.Background(), core.Request{Actor: "bench", Op: core.StartRuns{Job: benchJob, Runs: make([]core.NewRun, n)}})
	if err != nil {
		b.Error(err)
	}
	return r.Runs
}

// settled waits until all of n tasks are over and durably so.
func settled(b testing.TB, e *engine.Engine, m *fastMesos, n int) {
	b.Helper()
	for m.finished.Load() < int64(n) && !b.Failed() {
		time.Sleep(time.Millisecond)
	}
	_, _, err := e.Do(context.Background(), core.Request{Op: core.KillTask{Task: "none"}}) // behind all
	require.Error(b, err)
}

// BenchmarkRuns has runs submitted, made durable in the file journal, placed,
// launched, and brought to their end by two updates each, all of which are
// durable. Mesos is the least that can answer. "100 a call" has 4 callers, "1 a
// call" 64, each of which waits for its answer before its next call.
func BenchmarkRuns(b *testing.B) {
	for _, how := range []struct{ each, callers int }{{100, 4}, {1, 64}} {
		b.Run(fmt.Sprintf("%d-a-call", how.each), func(b *testing.B) {
			e, m := lead(b)
			_, _, err := e.Do(context.Background(), core.Request{Op: batch(b, benchJob)})
			require.NoError(b, err)
			tasks := (b.N + how.each - 1) / how.each * how.each
			var left, appends, steps atomic.Int64
			left.Store(int64(tasks))
			e.Stats.OnBatched = func(n int) { appends.Add(1); steps.Add(int64(n)) }
			b.ReportAllocs()
			b.ResetTimer()
			var callers sync.WaitGroup
			for range how.callers {
				callers.Go(func() {
					for left.Add(int64(-how.each)) >= 0 && !b.Failed() {
						start(b, e, how.each)
					}
				})
			}
			callers.Wait()
			acknowledged := b.Elapsed()
			settled(b, e, m, tasks)
			b.StopTimer()
			b.ReportMetric(float64(tasks)/b.Elapsed().Seconds(), "tasks/s")
			b.ReportMetric(float64(tasks)/acknowledged.Seconds(), "submitted/s")
			b.ReportMetric(float64(tasks)/float64(appends.Load()), "tasks/append")
			b.ReportMetric(float64(steps.Load())/float64(appends.Load()), "steps/append")
		})
	}
}

// BenchmarkPaced submits 500 runs a second, one a call, for as long as it
// takes, and reports how long after its submission each was placed: the ACCEPT
// that launches it was handed to the driver.
func BenchmarkPaced(b *testing.B) {
	e, m := lead(b, func(_ *engine.Options, m *fastMesos) { m.placed = map[string]time.Time{} })
	_, _, err := e.Do(context.Background(), core.Request{Op: batch(b, benchJob)})
	require.NoError(b, err)
	begun := make([]time.Time, b.N)
	names := make([]string, b.N)
	b.ResetTimer()
	first := time.Now()
	var callers sync.WaitGroup
	for i := range b.N {
		due := first.Add(time.Duration(i) * 2 * time.Millisecond)
		time.Sleep(time.Until(due))
		callers.Go(func() {
			begun[i] = due // lateness of this loop counts too
			names[i] = benchJob + "/" + start(b, e, 1)[0]
		})
	}
	callers.Wait()
	settled(b, e, m, b.N)
	b.StopTimer()
	took := make([]time.Duration, b.N)
	for i, name := range names {
		at, ok := m.placed[name]
		require.True(b, ok)
		took[i] = at.Sub(begun[i])
	}
	slices.Sort(took)
	for name, q := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "max-ms": 1} {
		b.ReportMetric(float64(took[int(float64(len(took)-1)*q)].Microseconds())/1000, name)
	}
	b.ReportMetric(0, "ns/op")
}

var memoryTasks = flag.Int("memory.tasks", 100_000, "how many tasks BenchmarkMemory has running")

// BenchmarkMemory has 100,000 tasks running and reports what each takes of the
// live heap, in core and view together: tasks of services with one port, and of
// runs, whose records count too. The events kept for consumers are bounded
// elsewhere and left out. "B/task" is a minute after the launch, "launching" is
// right then.
func BenchmarkMemory(b *testing.B) {
	tasks := *memoryTasks
	for _, kind := range []string{"services", "runs"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				var ahead atomic.Int64
				e, m := lead(b, func(o *engine.Options, m *fastMesos) {
					o.EventsKeep, m.stay, m.agents = 1, true, 1000
					o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
				})
				before := heap()
				populate(b, e, kind, tasks)
				waitRunning(b, e, tasks)
				m.calls = nil
				b.ReportMetric(float64(restingHeap(e)-before)/float64(tasks), "launching-B/task")
				ahead.Store(int64(time.Minute))
				require.NoError(b, e.Deliver(context.Background(), core.Agents{}))
				b.ReportMetric(float64(restingHeap(e)-before)/float64(tasks), "B/task")
				runtime.KeepAlive(e)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func populate(b *testing.B, e *engine.Engine, kind string, tasks int) {
	b.Helper()
	for i := range tasks / 1000 {
		var op core.Op = core.StartRuns{Job: benchJob, Runs: make([]core.NewRun, 1000)}
		if kind == "services" {
			instances := 1000
			op = put(b, api.Spec{Job: fmt.Sprintf("web/prod/shop-%d", i), Kind: api.KindService, Instances: &instances, Ports: []string{"http"}})
		} else if i == 0 {
			_, _, err := e.Do(context.Background(), core.Request{Op: batch(b, benchJob)})
			require.NoError(b, err)
		}
		_, _, err := e.Do(context.Background(), core.Request{Actor: "bench", Op: op})
		require.NoError(b, err)
	}
}

func waitRunning(b *testing.B, e *engine.Engine, n int) {
	b.Helper()
	require.Eventually(b, func() bool {
		running := 0
		e.View().Tasks("", func(t *record.Task) bool {
			if t.State == record.TaskState_TASK_STATE_RUNNING {
				running++
			}
			return true
		})
		return running == n
	}, max(time.Minute, time.Duration(n)*time.Millisecond), max(50*time.Millisecond, time.Duration(n)*time.Microsecond))
}

// restingHeap is what lives once nothing was written for a second, and nothing
// reads an older view, as a compaction does.
func restingHeap(e *engine.Engine) uint64 {
	for index := uint64(0); index != e.View().Index; time.Sleep(time.Second) {
		index = e.View().Index
	}
	least := heap()
	for quiet := 0; quiet < 5; quiet++ {
		time.Sleep(time.Second)
		if now := heap(); now < least-least/100 {
			least, quiet = now, 0
		}
	}
	return least
}

// heap is what lives, after what does not is gone.
func heap() uint64 {
	var s runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
