package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// world is a scheduler whose events a Runner delivers to consumers, all in one
// process and in fake time. The scheduler is real; the network is pipes.
type world struct {
	*testing.T
	storage *memory.Storage
	engine  *engine.Engine
	runner  *Runner
	options func(*Options)
	keep    int    // events that the engine keeps
	record  *past  // is told all events as they become durable, when not nil
	end     func() // of the scheduler, as it ends on SIGTERM
	crash   func() // of the scheduler, with nothing saved

	network   network
	consumers map[string]*consumer // by host
}

// inBubble runs a test in fake time.
func inBubble(t *testing.T, test func(*world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, storage: new(memory.Storage), consumers: map[string]*consumer{}, keep: 10_000, options: func(*Options) {}}
		w.network.w = w
		defer w.stopAll()
		test(w)
	})
}

// start begins a leadership, of a new scheduler on the same journal.
func (w *world) start() {
	w.Helper()
	w.launch()
	w.settle()
	require.True(w, w.engine.Leads())
}

func (w *world) launch() {
	quiet := slog.New(slog.DiscardHandler)
	var history engine.History
	if w.record != nil {
		history = w.record
	}
	w.engine = engine.New(engine.Options{History: history, Journal: w.storage.Open(), Caller: new(nobody), EventsKeep: w.keep, Logger: quiet,
		Elected: core.Elected{Scheduler: "test", Address: "127.0.0.1:1", Incarnation: "i1"},
		Leaving: func(ctx context.Context) { w.runner.Leave(ctx) }})
	o := Options{Engine: w.engine, Cluster: "test", Jitter: func() float64 { return 0.5 }, Log: quiet,
		Transport: &http.Transport{DialContext: w.network.dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}}
	w.options(&o)
	w.runner = New(o)
	running, stopRunner := context.WithCancel(context.Background())
	ctx, stopEngine := context.WithCancel(context.Background())
	var parts, delivering sync.WaitGroup
	e, r := w.engine, w.runner
	parts.Go(func() { _ = e.Run(ctx) })
	delivering.Go(func() {
		if err := r.Run(running); err != nil {
			w.Error(err)
		}
	})
	w.end = sync.OnceFunc(func() { // as package server does
		stopRunner()
		delivering.Wait()
		stopEngine()
		parts.Wait()
	})
	w.crash = sync.OnceFunc(func() {
		stopEngine()
		parts.Wait()
		stopRunner()
		delivering.Wait()
	})
}

func (w *world) stopAll() {
	if w.end != nil {
		w.end()
	}
	for _, c := range w.consumers {
		c.close()
	}
	w.settle()
}

func (w *world) settle() { synctest.Wait() }

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// nobody takes calls to Mesos.
type nobody struct{}

func (*nobody) Perform([]core.Call) {}

// do executes a write, and wants it to succeed.
func (w *world) do(op core.Op) core.Result {
	w.Helper()
	result, _, err := w.engine.Do(context.Background(), core.Request{Actor: "ann", Op: op})
	require.NoError(w, err)
	w.settle()
	return result
}

// job makes a job, which tell has events about.
func (w *world) job(name string) {
	w.Helper()
	n := 0
	spec := api.Spec{Job: name, Kind: api.KindService, Instances: &n, Command: "./x", Resources: api.Resources{CPUs: 0.1, Memory: 64 * api.MiB}}
	canonical, err := spec.Canonical()
	require.NoError(w, err)
	w.do(core.PutJob{Spec: &spec, Canonical: canonical})
}

// tell has n events happen about a job, each in an entry of its own.
func (w *world) tell(job string, n int) {
	w.Helper()
	for range n {
		w.do(w.event(job))
	}
}

// event is an operation that is told by one event: of type job.paused or
// job.resumed.
func (w *world) event(job string) core.Op {
	if w.engine.View().Job(job).Paused {
		return core.ResumeJob{Job: job}
	}
	return core.PauseJob{Job: job}
}

// hook makes a webhook that is told of all that happens to jobs of team web.
func (w *world) hook(url string, change ...func(*record.Webhook)) string {
	w.Helper()
	rec := &record.Webhook{Team: "web", Types: []string{"job.paused", "job.resumed"}, Url: url,
		Secrets: []*record.WebhookSecret{{Key: api.WebhookSecretOf([]byte(strings.Repeat("k", 32)))}},
		From:    w.engine.Newest().Position()}
	for _, c := range change {
		c(rec)
	}
	return w.do(core.CreateWebhook{Webhook: rec}).Webhook
}

func (w *world) deliveries(id string) api.WebhookDeliveries {
	w.Helper()
	d, ok := w.runner.Deliveries(context.Background(), id)
	require.True(w, ok)
	return d
}

// happened are the ids of the events of some types about jobs, by job, from the
// engine's own log.
func (w *world) happened(types ...string) map[string][]string {
	w.Helper()
	all := map[string][]string{}
	events, err := w.engine.After(engine.EventID{Incarnation: "i1"}, 1<<30)
	require.NoError(w, err)
	for _, p := range events {
		for _, t := range types {
			if p.Event.Type == t {
				all[p.Event.Job] = append(all[p.Event.Job], p.ID.String())
			}
		}
	}
	return all
}

// consumer is one that answers as it is told to, and remembers.
type consumer struct {
	w      *world
	host   string
	server *http.Server
	accept chan net.Conn
	served sync.WaitGroup

	mu      sync.Mutex
	answer  func(rw http.ResponseWriter, r *http.Request, e *api.Event)
	away    bool // connections are refused
	got     []got
	most    int // under way at a time
	underIt int
}

// got is a delivery that came.
type got struct {
	at     time.Time
	event  api.Event
	header http.Header
	body   []byte
}

func ok(rw http.ResponseWriter, _ *http.Request, _ *api.Event) { rw.WriteHeader(http.StatusNoContent) }

func status(code int) func(http.ResponseWriter, *http.Request, *api.Event) {
	return func(rw http.ResponseWriter, _ *http.Request, _ *api.Event) { rw.WriteHeader(code) }
}

// consumer begins to serve a host.
func (w *world) consumer(host string) *consumer {
	c := &consumer{w: w, host: host, accept: make(chan net.Conn), answer: ok}
	c.server = &http.Server{Handler: c, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	c.served.Go(func() { _ = c.server.Serve(c) })
	w.network.mu.Lock()
	defer w.network.mu.Unlock()
	w.consumers[host] = c
	return c
}

func (c *consumer) close() {
	_ = c.server.Close()
	c.served.Wait()
}

func (c *consumer) Accept() (net.Conn, error) {
	conn, ok := <-c.accept
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (c *consumer) Close() error   { close(c.accept); return nil }
func (c *consumer) Addr() net.Addr { return &net.TCPAddr{} }

func (c *consumer) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	g := got{at: time.Now(), header: r.Header, body: body}
	if err := json.Unmarshal(body, &g.event); err != nil {
		c.w.Errorf("%s: %v", body, err)
	}
	c.mu.Lock()
	c.got = append(c.got, g)
	c.underIt++
	c.most = max(c.most, c.underIt)
	answer := c.answer
	c.mu.Unlock()
	answer(rw, r, &g.event)
	c.mu.Lock()
	c.underIt--
	c.mu.Unlock()
}

// answers has the consumer answer otherwise from now on.
func (c *consumer) answers(how func(http.ResponseWriter, *http.Request, *api.Event)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = how
}

// goAway has connections refused, or taken again.
func (c *consumer) goAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// all are the deliveries that came.
func (c *consumer) all() []got {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]got(nil), c.got...)
}

func (c *consumer) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got, c.most = nil, 0
}

// byJob are the ids of the events that came, without those that came again, by job
// and in the order in which they came first.
func (c *consumer) byJob() map[string][]string {
	all, seen := map[string][]string{}, map[string]bool{}
	for _, g := range c.all() {
		if !seen[g.event.ID] {
			seen[g.event.ID] = true
			all[g.event.Data.Job] = append(all[g.event.Data.Job], g.event.ID)
		}
	}
	return all
}

// network connects to consumers by their hosts.
type network struct {
	w  *world
	mu sync.Mutex
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	n.mu.Lock()
	c := n.w.consumers[host]
	n.mu.Unlock()
	if c == nil {
		return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("no such host %s", host)}
	}
	c.mu.Lock()
	away := c.away
	c.mu.Unlock()
	if away {
		return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("connection refused")}
	}
	ours, theirs := net.Pipe()
	select {
	case c.accept <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
