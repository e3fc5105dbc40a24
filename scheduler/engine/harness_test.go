package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
	leases "github.com/perigee-sched/perigee/scheduler/lease/memory"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// world is an engine on a journal in memory, in a synctest bubble: settle waits
// until nothing can happen any more without the test or the clock.
type world struct {
	*testing.T
	storage *memory.Storage
	journal *gate
	mesos   *calls
	disk    journal.Journal // where it is one in a directory
	lease   *leases.Lease   // where there are several
	engine  *engine.Engine
	end     context.CancelFunc
	ended   chan error
	err     error // of Run
	over    bool
	watch   func(*engine.Stats) // sets hooks before Run
	mutex   sync.Mutex          // of engine, where users and the test share it
}

// inBubble runs a test with a fake clock. That no goroutine outlives it is
// checked by synctest.
func inBubble(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, storage: new(memory.Storage)}
		defer func() {
			if w.engine != nil {
				_ = w.stop()
			}
		}()
		test(w)
	})
}

// start begins a leadership of a new engine on the storage; change may change
// its options.
func (w *world) start(change ...func(*engine.Options)) {
	w.launch(w.storage.Open(), change...)
	w.settle()
}

func (w *world) launch(j journal.Journal, change ...func(*engine.Options)) {
	w.journal, w.mesos = &gate{Journal: j}, new(calls)
	opts := engine.Options{Journal: w.journal, Caller: w.mesos,
		Elected: core.Elected{Scheduler: "test", Address: "127.0.0.1:1", Incarnation: "i1"}}
	for _, c := range change {
		c(&opts)
	}
	w.engine = engine.New(opts)
	if w.watch != nil {
		w.watch(&w.engine.Stats)
	}
	ctx, end := context.WithCancel(context.Background())
	w.end, w.ended, w.over = end, make(chan error, 1), false
	w.mesos.engine = w.engine
	e, ended := w.engine, w.ended
	go func() { ended <- e.Run(ctx) }()
}

// stop ends the leadership and returns what Run did.
func (w *world) stop() error {
	w.end()
	return w.wait()
}

func (w *world) wait() error {
	if !w.over {
		w.err, w.over = <-w.ended, true
	}
	return w.err
}

func (w *world) settle() { synctest.Wait() }

// pass lets time pass on the fake clock.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// deliver hands events to the engine and waits until they had their effect.
func (w *world) deliver(events ...core.Event) {
	w.Helper()
	require.NoError(w, w.engine.Deliver(w.Context(), events...))
	w.settle()
}

// answer is what became of a request.
type answer struct {
	done   bool
	result core.Result
	view   *engine.View
	err    error
	calls  int // performed when it came
}

// ask sends a request without waiting for its answer. Its fields may be read
// after settle.
func (w *world) ask(ctx context.Context, op core.Op) *answer {
	return w.askWith(ctx, core.Request{Actor: "tester", Op: op})
}

func (w *world) askWith(ctx context.Context, r core.Request) *answer {
	a := new(answer)
	e, m := w.engine, w.mesos
	go func() {
		a.result, a.view, a.err = e.Do(ctx, r)
		a.calls, a.done = len(m.all()), true
	}()
	w.settle()
	return a
}

// do sends a request and wants it to succeed.
func (w *world) do(op core.Op) core.Result {
	w.Helper()
	a := w.ask(w.Context(), op)
	require.True(w, a.done, "the request is answered")
	require.NoError(w, a.err)
	return a.result
}

// subscribe has the scheduler subscribed, with one big agent on offer.
func (w *world) subscribe() {
	w.Helper()
	w.deliver(core.Connecting{})
	require.IsType(w, core.Subscribe{}, w.mesos.last())
	w.deliver(core.Subscribed{FrameworkID: "fw-1", Master: "master:5050"})
}

var offers int
var offersMu sync.Mutex

// offer offers an agent that holds very many tasks.
func offer(agent string) core.Offers {
	offersMu.Lock()
	defer offersMu.Unlock()
	offers++
	return core.Offers{Offers: []core.Offer{{ID: fmt.Sprint("offer-", offers), Agent: agent, Host: "host-" + agent,
		URL: "http://" + agent, Free: core.Amounts{CPUs: 1e9, Memory: 1e12, Disk: 1e12}}}}
}

func update(task string, agent string, state core.MesosState) core.Update {
	return core.Update{Task: task, Agent: agent, State: state, UUID: []byte(task + "-" + state.String()), Source: core.SourceExecutor}
}

func put(t testing.TB, spec api.Spec) core.PutJob {
	t.Helper()
	if spec.Command == "" {
		spec.Command = "./work"
	}
	spec.Resources = api.Resources{CPUs: 0.1, Memory: 64 * api.MiB}
	require.Empty(t, spec.Validate())
	canonical, err := spec.Canonical()
	require.NoError(t, err)
	return core.PutJob{Spec: &spec, Canonical: canonical}
}

func service(t testing.TB, job string, instances int) core.PutJob {
	return put(t, api.Spec{Job: job, Kind: api.KindService, Instances: &instances})
}

func batch(t testing.TB, job string) core.PutJob {
	return put(t, api.Spec{Job: job, Kind: api.KindBatch,
		Parameters: map[string]api.Parameter{"n": {Type: "string", Default: new(string)}}})
}

func runs(job string, n int) core.StartRuns {
	return core.StartRuns{Job: job, Runs: make([]core.NewRun, n)}
}

// gate is a journal whose appends wait while it is shut, and are recorded.
type gate struct {
	journal.Journal

	mu      sync.Mutex
	shut    chan struct{}
	groups  [][]*record.Entry // that were written
	due     bool              // says that it should be compacted
	compact []error           // what compactions came to

	failCompact error
	lost        bool  // nothing can be resolved
	why         error // not so; nil for one that says so
}

func (g *gate) Append(ctx context.Context, group []*record.Entry) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := g.Journal.Append(ctx, group)
	if err == nil {
		g.mu.Lock()
		g.groups = append(g.groups, group)
		g.mu.Unlock()
	}
	return err
}

// failCompactions has the next compactions, which are due at once, fail.
func (g *gate) failCompactions(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failCompact, g.due = err, true
}

// written returns the groups that were appended.
func (g *gate) written() [][]*record.Entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([][]*record.Entry(nil), g.groups...)
}

// compactions returns what each came to.
func (g *gate) compactions() []error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]error(nil), g.compact...)
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

func (g *gate) lose(lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost = lost
}

func (g *gate) because(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.why = why
}

func (g *gate) Resolve(ctx context.Context) error {
	g.mu.Lock()
	lost, why := g.lost, g.why
	g.mu.Unlock()
	if why == nil {
		why = errors.New("no connection")
	}
	if lost {
		return journal.Unknown(why)
	}
	return g.Journal.Resolve(ctx)
}

// Stat says that the journal is worth compacting when the test wants it to be.
func (g *gate) Stat() journal.Stat {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := g.Journal.Stat()
	if g.due {
		st.LogBytes = 1 << 40
	}
	return st
}

func (g *gate) Compact(ctx context.Context, src journal.Source) error {
	g.mu.Lock()
	err := g.failCompact
	g.mu.Unlock()
	if err == nil {
		err = g.Journal.Compact(ctx, src)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.due = err != nil
	g.compact = append(g.compact, err)
	return err
}

// wrote returns the last version of a record that was appended.
func (g *gate) wrote(key string) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	var value []byte
	for _, group := range g.groups {
		for _, entry := range group {
			for _, p := range entry.GetPuts() {
				if p.GetKey() == key {
					value = p.GetValue()
				}
			}
		}
	}
	return value
}

// compactNow has the engine compact its journal after the next write.
func (w *world) compactNow() {
	w.Helper()
	w.journal.mu.Lock()
	w.journal.due = true
	before := len(w.journal.compact)
	w.journal.mu.Unlock()
	w.deliver(core.Connecting{})
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	require.Len(w, w.journal.compact, before+1)
	require.NoError(w, w.journal.compact[before])
}

// calls are what the engine wanted of Mesos.
type calls struct {
	engine *engine.Engine
	mu     sync.Mutex
	list   []core.Call
	on     func(core.Call) // looks at each when it is performed

	flushed int           // how often it was asked to flush
	hold    chan struct{} // flushing waits until it is closed; nil: it does not
}

// flush is a driver's Flush.
func (c *calls) flush(ctx context.Context) error {
	c.mu.Lock()
	c.flushed++
	hold := c.hold
	c.mu.Unlock()
	if hold == nil {
		return nil
	}
	select {
	case <-hold:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Perform implements engine.Caller.
func (c *calls) Perform(calls []core.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range calls {
		if c.on != nil {
			c.on(call)
		}
	}
	c.list = append(c.list, calls...)
}

func (c *calls) look(on func(core.Call)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
}

func (c *calls) all() []core.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]core.Call(nil), c.list...)
}

func (c *calls) last() core.Call {
	all := c.all()
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// launched returns the tasks of all Accept calls, in order.
func (c *calls) launched() []string {
	var tasks []string
	for _, call := range c.all() {
		if a, ok := call.(core.Accept); ok {
			for _, l := range a.Launches {
				tasks = append(tasks, l.Task)
			}
		}
	}
	return tasks
}

// read returns the events that come until nothing more does.
func (w *world) read(f *engine.Follower) []engine.Published {
	w.Helper()
	var all []engine.Published
	for {
		ctx, cancel := context.WithTimeout(w.Context(), time.Millisecond)
		events, err := f.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return all
		}
		require.NoError(w, err)
		all = append(all, events...)
	}
}

// follow reads all that is kept after an event.
func (w *world) follow(after string) []engine.Published {
	w.Helper()
	f, err := w.engine.Follow(after)
	require.NoError(w, err)
	return w.read(f)
}

// told is an event as its consumers see it.
func told(events []engine.Published) []string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%s %s %s %s %s %s", e.ID, e.Event.Type, e.Event.Job, e.Event.Task, e.Event.Run, e.Event.Message))
	}
	return out
}

// state is all that a view says, as text by record.
func state(t testing.TB, v *engine.View) map[string]string {
	t.Helper()
	all := map[string]string{}
	add := func(key string, m proto.Message) bool {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		require.NoError(t, err)
		_, twice := all[key]
		require.False(t, twice, "%s comes once", key)
		all[key] = string(b)
		return true
	}
	if c := v.Cluster(); c != nil {
		add(record.KeyCluster, c)
		add(record.KeyLeader, v.Leader())
	}
	v.Jobs("", func(j *record.Job) bool {
		add(record.JobKey(j.Key), j)
		v.Deploys(j.Key, func(d *record.Deploy) bool { return add(record.DeployKey(d.Job, d.Number), d) })
		v.Runs(j.Key, "", func(r *record.Run) bool { return add(record.RunKey(r.Job, r.Id), r) })
		v.JobTasks(j.Key, "", func(task *record.Task) bool {
			require.Same(t, task, v.Task(task.Id))
			return add("of job: "+record.TaskKey(task.Id), task)
		})
		return true
	})
	v.Tasks("", func(task *record.Task) bool { return add(record.TaskKey(task.Id), task) })
	return all
}
