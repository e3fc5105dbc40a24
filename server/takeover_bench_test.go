package server_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/devcluster"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/mesos"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

const (
	liveTasks  = 100_000
	liveAgents = 100
)

// live is a cluster with 100,000 running tasks of 100 services: one ZooKeeper, a
// master with simulated agents over HTTP that allocates once a second as Mesos
// does, and schedulers without an API.
type live struct {
	*testing.B
	zooKeeper string
	master    string
	all       []*candidate
}

// candidate is a scheduler that stands for election, and notes when it came how
// far.
type candidate struct {
	*stored
	name   string
	log    func(format string, args ...any)
	engine *engine.Engine
	stop   func()

	mu    sync.Mutex
	marks map[string]time.Time
}

// The steps of a takeover, in order.
var steps = []string{"followed", "elected", "read", "loaded", "subscribe", "subscribed", "answered", "offered", "launch"}

func beginLive(b *testing.B) *live {
	b.Helper()
	l := &live{B: b, zooKeeper: benchServer(b)}
	options := devcluster.Options{Dir: b.TempDir(), Listen: "127.0.0.1:0", Ephemeral: true}
	for range liveAgents {
		options.Agents = append(options.Agents, devcluster.AgentOptions{Resources: "cpus:1000;mem:1000000;disk:1000000", Simulated: &devcluster.Simulation{}})
	}
	cluster, err := devcluster.Open(options)
	require.NoError(b, err)
	l.master = cluster.MasterAddr()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = cluster.Run(ctx) })
	b.Cleanup(func() {
		for _, c := range l.all {
			c.stop()
		}
		cancel()
		running.Wait()
	})
	return l
}

// start starts a scheduler, which reaches ZooKeeper at an address.
func (l *live) start(name, zooKeeper string) *candidate {
	l.Helper()
	c := &candidate{stored: store(l.B, zooKeeper, name), name: name, log: l.Logf, stop: func() {}}
	c.begin()
	executors := mesos.ExecutorOptions{URL: "http://127.0.0.1:1/executor", SHA256: strings.Repeat("0", 64)}
	c.engine = engine.New(engine.Options{
		Journal: c.journal, Lease: c.lease, Logger: slog.New(c), EventsKeep: 10_000,
		Core: core.Config{Overhead: executors.Overhead(), DefaultUser: "nobody", PendingMost: 1 << 30},
		Connect: func(deliver engine.Deliver) engine.Driver {
			return watched{c, mesos.New(mesos.Options{Master: l.master, Executor: executors, Logger: slog.New(slog.DiscardHandler),
				Deliver: func(ctx context.Context, events ...core.Event) error {
					for _, e := range events {
						switch e.(type) {
						case core.Subscribed:
							c.mark("subscribed", time.Now())
						case core.Offers:
							c.mark("offered", time.Now())
						}
					}
					return deliver(ctx, events...)
				}})}
		},
		Elected: core.Elected{Scheduler: name, Address: name, Incarnation: "b1x7"},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.engine.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			l.Errorf("scheduler %s: %v", name, err)
		}
		c.close()
	})
	l.all = append(l.all, c)
	return c
}

// watched is a driver whose calls are noted.
type watched struct {
	c *candidate
	engine.Driver
}

func (w watched) Perform(calls []core.Call) {
	for _, call := range calls {
		switch call := call.(type) {
		case core.Subscribe:
			w.c.mark("subscribe", time.Now())
		case core.Accept:
			if len(call.Launches) > 0 {
				w.c.mark("launch", time.Now())
			}
		}
	}
	w.Driver.Perform(calls)
}

func (c *candidate) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marks = map[string]time.Time{}
}

// mark notes the first time of a step since begin.
func (c *candidate) mark(step string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.marks[step].IsZero() {
		c.marks[step] = at
	}
}

func (c *candidate) at(step string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.marks[step]
}

// Enabled implements slog.Handler: the engine's log says how far it is.
func (c *candidate) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (c *candidate) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup implements slog.Handler.
func (c *candidate) WithGroup(string) slog.Handler { return c }

// Handle implements slog.Handler.
func (c *candidate) Handle(_ context.Context, r slog.Record) error {
	switch {
	case r.Level >= slog.LevelWarn && testing.Verbose():
		var attrs []string
		r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a.String()); return true })
		c.log("scheduler %s: %s %v", c.name, r.Message, attrs)
	case strings.HasPrefix(r.Message, "elected"):
		c.mark("elected", r.Time)
	case strings.HasPrefix(r.Message, "loaded"):
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "read" {
				c.mark("read", c.at("elected").Add(a.Value.Duration()))
			}
			return true
		})
		c.mark("loaded", r.Time)
	}
	return nil
}

// takenOver has a user submit a run until it is answered, and waits for its
// launch.
func (l *live) takenOver(c *candidate) {
	l.Helper()
	for {
		if c.engine.View().Loaded {
			c.mark("followed", time.Now())
		}
		_, _, err := c.engine.Do(context.Background(), core.Request{Op: core.StartRuns{Job: "etl/prod/load", Runs: make([]core.NewRun, 1)}})
		if err == nil {
			break
		}
		require.ErrorIs(l, err, engine.ErrUnavailable)
		time.Sleep(time.Millisecond)
	}
	c.mark("answered", time.Now())
	require.Eventually(l, func() bool { return !c.at("launch").IsZero() }, time.Minute, time.Millisecond)
}

func (l *live) populate(c *candidate) {
	l.Helper()
	require.Eventually(l, func() bool { return c.engine.View().Leads }, 20*time.Second, time.Millisecond)
	do := func(spec api.Spec) {
		spec.Command, spec.Resources = "./work", api.Resources{CPUs: 0.1, Memory: 64 * api.MiB}
		require.Empty(l, spec.Validate())
		canonical, err := spec.Canonical()
		require.NoError(l, err)
		_, _, err = c.engine.Do(context.Background(), core.Request{Op: core.PutJob{Spec: &spec, Canonical: canonical}})
		require.NoError(l, err)
	}
	do(api.Spec{Job: "etl/prod/load", Kind: api.KindBatch})
	instances := 1000
	for i := range liveTasks / instances {
		do(api.Spec{Job: fmt.Sprintf("web/prod/shop-%d", i), Kind: api.KindService, Instances: &instances})
	}
	require.Eventually(l, func() bool {
		running := 0
		c.engine.View().Tasks("", func(t *record.Task) bool {
			if t.State == record.TaskState_TASK_STATE_RUNNING {
				running++
			}
			return true
		})
		return running == liveTasks
	}, time.Minute, 100*time.Millisecond)
}

// took gathers how long each step of several takeovers took.
type took map[string][]time.Duration

func (t took) add(begun time.Time, c *candidate) {
	before := begun
	for _, step := range steps {
		if at := c.at(step); at.After(begun) {
			t[step] = append(t[step], at.Sub(before))
			t["to-"+step] = append(t["to-"+step], at.Sub(begun))
			before = at
		}
	}
}

func (t took) report(b *testing.B) {
	for step, all := range t {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, step+"-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// follows waits until a standby has what the leader has.
func (l *live) follows(standby, leader *candidate) {
	l.Helper()
	require.Eventually(l, func() bool {
		v := standby.engine.View()
		return v.Loaded && v.Index == leader.engine.View().Index
	}, 20*time.Second, time.Millisecond)
}

// BenchmarkTakeover has 100,000 tasks running, and reports the median of each
// step, from the one before it (x-ms) and from the begin (to-x-ms):
//
//   - elected: the lease was won
//   - read: the epoch was raised and the rest of the journal read
//   - loaded: core has the state
//   - subscribe: the leader record is durable, and SUBSCRIBE may be called
//   - subscribed: Mesos has answered
//   - answered: the first write of a user
//   - offered: Mesos has made the first offers
//   - launch: what the user wants was placed, durable, and handed to the driver
//
// "handover" begins when the leader is asked to step down, "expiry" when it is
// cut off from ZooKeeper as by kill -9, and "cold" when the only scheduler
// starts, which first reads all there is ("followed").
func BenchmarkTakeover(b *testing.B) {
	b.Run("handover", func(b *testing.B) {
		l := beginLive(b)
		leader := l.start("a", l.zooKeeper)
		l.populate(leader)
		report := l.bytes(leader)
		standby := l.start("b", l.zooKeeper)
		t := took{}
		for b.Loop() {
			l.follows(standby, leader)
			standby.begin()
			begun := time.Now()
			go func() { _ = leader.engine.StepDown(context.Background()) }()
			l.takenOver(standby)
			t.add(begun, standby)
			leader, standby = standby, leader
		}
		t.report(b)
		for name, v := range report {
			b.ReportMetric(v, name)
		}
	})
	b.Run("expiry", func(b *testing.B) {
		l := beginLive(b)
		proxy, err := zktest.NewProxy(l.zooKeeper)
		require.NoError(b, err)
		b.Cleanup(proxy.Close)
		leader := l.start("a", proxy.Address)
		l.populate(leader)
		standby := l.start("b", l.zooKeeper)
		l.follows(standby, leader)
		t := took{}
		for b.Loop() {
			standby.begin()
			begun := time.Now()
			proxy.Cut(true)
			l.takenOver(standby)
			t.add(begun, standby)
			proxy.Restore()
			if b.N > 1 {
				b.Skip("one takeover only: use -benchtime 1x")
			}
		}
		t.report(b)
	})
	b.Run("cold", func(b *testing.B) {
		l := beginLive(b)
		leader := l.start("a", l.zooKeeper)
		l.populate(leader)
		t := took{}
		var standbyHeap, leaderHeap uint64
		for b.Loop() {
			leader.stop()
			l.all, leader = nil, nil
			before := restingHeap()
			begun := time.Now()
			leader = l.start("c", l.zooKeeper)
			l.takenOver(leader)
			t.add(begun, leader)
			leaderHeap = restingHeap() - before
			standby := l.start("d", l.zooKeeper)
			l.follows(standby, leader)
			standbyHeap = restingHeap() - before - leaderHeap
			standby.stop()
		}
		t.report(b)
		leader.stop()
		l.all = nil
		b.ReportMetric(l.compacted()/liveTasks, "compacted-B/task")
		b.ReportMetric(float64(leaderHeap)/liveTasks, "leader-B/task")
		b.ReportMetric(float64(standbyHeap)/liveTasks, "standby-B/task")
	})
}

// restingHeap is what lives once what began a leadership is over: until then
// updates are on their way, and compactions read older views. It is the least
// that was seen when three seconds found nothing less.
func restingHeap() uint64 {
	least := heap()
	for quiet := 0; quiet < 3; quiet++ {
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

// bytes is what ZooKeeper holds for each task.
func (l *live) bytes(c *candidate) map[string]float64 {
	s, err := c.client.Session(l.Context())
	require.NoError(l, err)
	all := map[string]float64{"newest-snapshot-B/task": float64(c.journal.Stat().SnapshotBytes) / liveTasks}
	for _, under := range []string{"log", "snapshot"} {
		bytes, n := l.sizeOf(s, under)
		all[under+"-B/task"], all[under+"-znodes"] = float64(bytes)/liveTasks, float64(n)
	}
	return all
}

func (l *live) sizeOf(s *zookeeper.Session, under string) (bytes, n int) {
	names, err := s.Children(under)
	require.NoError(l, err)
	for _, name := range names {
		if stat, err := s.Exists(under + "/" + name); err == nil && stat != nil { // else compacted away
			bytes, n = bytes+int(stat.DataLength), n+1
		}
	}
	return bytes, n
}

// compacted is how big a snapshot of all there is comes to in ZooKeeper.
func (l *live) compacted() float64 {
	s := store(l.B, l.zooKeeper, "compact")
	defer s.close()
	r := records{}
	at, err := s.journal.Lead(l.Context(), r)
	require.NoError(l, err)
	entry := &record.Entry{Epoch: at.Epoch, Index: at.Index}
	require.NoError(l, s.journal.Append(l.Context(), []*record.Entry{entry}))
	require.NoError(l, s.journal.Compact(l.Context(), snapshot{r, at.Index}))
	return float64(s.journal.Stat().SnapshotBytes)
}

// records is a journal.Applier.
type records map[string][]byte

func (r records) Record(key string, value []byte) error {
	r[key] = slices.Clone(value)
	return nil
}

func (r records) Past([]*record.Entry) error { return nil }

func (r records) Apply(group []*record.Entry) error {
	for _, e := range group {
		for _, p := range e.GetPuts() {
			r[p.GetKey()] = p.GetValue()
		}
		for _, key := range e.GetDeletes() {
			delete(r, key)
		}
	}
	return nil
}

// snapshot is a journal.Source.
type snapshot struct {
	records
	index uint64
}

func (s snapshot) Index() uint64 { return s.index }

func (s snapshot) Records(from string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, key := range slices.Sorted(maps.Keys(s.records)) {
			if key >= from && !yield(key, s.records[key]) {
				return
			}
		}
	}
}
