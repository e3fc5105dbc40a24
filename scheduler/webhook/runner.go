package webhook

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Engine is where events come from, and what is saved goes: *engine.Engine.
type Engine interface {
	// View is the newest durable state; Await waits until it is as wanted.
	View() *engine.View
	Await(ctx context.Context, holds func(*engine.View) bool) (*engine.View, error)
	// Leads says whether this scheduler leads, and knows that no other does.
	Leads() bool
	// Do executes a write and returns once it is durable.
	Do(ctx context.Context, r core.Request) (core.Result, *engine.View, error)
	// Follow follows the events after one; After returns those that are kept, and
	// Newest the last of them.
	Follow(after string) (*engine.Follower, error)
	After(id engine.EventID, max int) ([]engine.Published, error)
	Newest() engine.EventID
}

// Options of a Runner. Engine is required.
type Options struct {
	Engine Engine
	// Backlog has what the engine no longer keeps; nobody does when nil.
	Backlog Backlog
	// Cluster names the cluster in the source of events.
	Cluster string
	// Targets says where events may be sent.
	Targets Targets
	// Proxy that they are sent through, none when nil. It is the proxy then that
	// connects to consumers, and says where none may be.
	Proxy *url.URL
	// RetryFor is how long an event is tried before it is a dead letter; 72 h when 0.
	RetryFor time.Duration
	// Agent is the User-Agent of deliveries; "perigee" when empty.
	Agent string
	// AtOnceMost deliveries are under way, but at least one of each webhook may be;
	// 256 when 0.
	AtOnceMost int
	// OnAttempt, when not nil, is told of each attempt what came of it (delivered,
	// refused, unanswered) and how long that took; OnDelivered how long after the
	// event it was delivered.
	OnAttempt   func(outcome string, took time.Duration)
	OnDelivered func(after time.Duration)
	// Jitter is from 0 to 1; random when nil.
	Jitter func() float64
	// Transport to consumers; one that asks Targets when nil.
	Transport http.RoundTripper
	// Log is slog's default when nil.
	Log *slog.Logger
}

// Runner delivers events while its scheduler leads. Its methods may be called by
// many.
type Runner struct {
	Options
	Stats  Stats
	sender *sender
	tests  chan struct{} // has a token for each test under way

	mu  sync.Mutex
	now *leading // nil while this scheduler does not lead
}

// Stats are of the deliveries of the leadership under way.
type Stats struct {
	// Waiting events were taken up and not delivered yet, of which UnderWay are
	// being delivered; Bytes is what they take in memory.
	Waiting, UnderWay, Bytes atomic.Int64
	// Active, Failing and Behind are webhooks; those that are behind read events
	// from the log or from history.
	Active, Failing, Behind atomic.Int64
}

func (s *Stats) set(waiting, underWay, bytes, active, failing, behind int) {
	s.Waiting.Store(int64(waiting))
	s.UnderWay.Store(int64(underWay))
	s.Bytes.Store(int64(bytes))
	s.Active.Store(int64(active))
	s.Failing.Store(int64(failing))
	s.Behind.Store(int64(behind))
}

// testsMost test events are under way at a time.
const testsMost = 16

// New returns a Runner that is to Run.
func New(o Options) *Runner {
	if o.RetryFor == 0 {
		o.RetryFor = 72 * time.Hour
	}
	if o.Agent == "" {
		o.Agent = "perigee"
	}
	if o.AtOnceMost == 0 {
		o.AtOnceMost = 256
	}
	if o.OnAttempt == nil {
		o.OnAttempt = func(string, time.Duration) {}
	}
	if o.OnDelivered == nil {
		o.OnDelivered = func(time.Duration) {}
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Transport == nil {
		o.Transport = newTransport(&o.Targets, o.Proxy)
	}
	return &Runner{Options: o, sender: newSender(o.Transport, o.Agent), tests: make(chan struct{}, testsMost)}
}

// Refuses says why events may not be sent to a URL, nil when they may as far as
// can be told without resolving its host.
func (r *Runner) Refuses(url string) error { return r.Targets.refusesURL(url) }

// Run delivers events whenever this scheduler leads, until ctx ends: then, while
// it still leads, it saves how far it is. It returns nil.
func (r *Runner) Run(ctx context.Context) error {
	defer r.sender.client.CloseIdleConnections()
	for {
		v, err := r.Engine.Await(ctx, func(v *engine.View) bool { return v.Leads && v.Cluster() != nil })
		if err != nil {
			return nil
		}
		if err := r.lead(ctx, v); err != nil {
			r.Log.Warn("webhooks cannot be told of events; trying again", "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		// One that steps down leads for another moment.
		if _, err := r.Engine.Await(ctx, func(now *engine.View) bool { return !now.Leads || now.Epoch != v.Epoch }); err != nil {
			return nil
		}
	}
}

// lead delivers events for one leadership.
func (r *Runner) lead(ctx context.Context, v *engine.View) error {
	l, err := newLeading(r, v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		if _, err := r.Engine.Await(ctx, func(now *engine.View) bool { return !now.Leads || now.Epoch != v.Epoch }); err == nil {
			l.lose()
		}
	}()
	r.set(l)
	l.run(ctx)
	r.set(nil)
	r.Stats.set(0, 0, 0, 0, 0, 0)
	cancel()
	<-over
	return nil
}

func (r *Runner) set(l *leading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = l
}

func (r *Runner) leading() *leading {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// Leave has deliveries end and what became of them saved, before this scheduler
// hands over. It returns when that is done, or after a moment.
func (r *Runner) Leave(ctx context.Context) {
	l := r.leading()
	if l == nil {
		return
	}
	l.leave()
	select {
	case <-l.done:
	case <-ctx.Done():
	}
}
