package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/lease"
)

// ErrUnavailable: writes cannot be taken now. The text says why.
var ErrUnavailable = errors.New("the scheduler cannot write now")

// ErrUnknownOutcome: the write may be durable or not. Repeating it with the
// same idempotency key is safe.
var ErrUnknownOutcome = errors.New("outcome unknown: retry with the same Idempotency-Key")

// Caller performs calls to Mesos, in order, without blocking.
type Caller interface {
	Perform(calls []core.Call)
}

// Driver is one leadership's way to Mesos.
type Driver interface {
	Caller
	// Run runs until ctx ends, and returns nil then; an error when this
	// scheduler can never reach Mesos, which ends it.
	Run(ctx context.Context) error
	// Flush waits until all calls performed were answered, at most until ctx
	// ends, which is an error then.
	Flush(ctx context.Context) error
}

// Deliver hands events to a leadership. It blocks while that has too many, and
// fails with ErrUnavailable once it is over.
type Deliver func(ctx context.Context, events ...core.Event) error

// Options of an Engine.
type Options struct {
	Core    core.Config
	Journal journal.Journal
	// Lease says when to lead. Without one, Run leads at once, and ends with
	// that leadership.
	Lease lease.Lease
	// Connect makes the driver of a leadership. Without it, Caller performs
	// the calls, and Deliver delivers.
	Connect func(Deliver) Driver
	Caller  Caller
	// Ask has questions to gates asked, without blocking; answers are delivered.
	// None are asked when nil.
	Ask func([]core.AskGate)
	// History is this scheduler's; nil when it keeps none.
	History History
	Logger  *slog.Logger
	// Elected is what each leadership begins with; Incarnation is for a new
	// journal.
	Elected core.Elected
	// Features that this version knows. A lease that has members tells them of
	// this scheduler's; what all of them know, the core may use.
	Features []string
	// Leaving, when not nil, is called before this scheduler steps down, while it
	// still can write: what is to be saved is saved then.
	Leaving func(ctx context.Context)
	// EventsKeep is how many events are kept for those who follow; 100,000
	// when 0.
	EventsKeep int
	// Now is the wall clock; time.Now when nil.
	Now func() time.Time
}

// Engine is one scheduler's part in the cluster's one loop: leading it, or
// standing by. Its methods may be called by many.
type Engine struct {
	opts   Options
	log    *slog.Logger
	now    func() time.Time
	events *eventLog
	view   atomic.Pointer[View]
	Stats  Stats
	nextID atomic.Uint64

	viewMu  sync.Mutex    // of those who publish a view
	changed chan struct{} // closed and replaced when the view changes

	replica *replica // Run's
	current atomic.Pointer[leadership]
}

// New returns an Engine that is to Run. Until then its view is empty.
func New(opts Options) *Engine {
	if opts.EventsKeep == 0 {
		opts.EventsKeep = 100_000
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		opts: opts, log: opts.Logger, now: opts.Now,
		events:  newEventLog(opts.EventsKeep),
		changed: make(chan struct{}),
	}
	e.replica = newReplica(e)
	e.view.Store(newView())
	if opts.Lease == nil {
		e.current.Store(newLeadership(e, nil))
	}
	return e
}

// Do executes a write of a user and returns once it is durable, with a view
// that includes it. Errors are *core.Error (nothing changed), ErrUnavailable
// (nothing changed), ErrUnknownOutcome, or ctx's, in which case the write may
// still happen.
func (e *Engine) Do(ctx context.Context, r core.Request) (core.Result, *View, error) {
	l := e.current.Load()
	if l == nil || !e.View().Leads {
		return core.Result{}, nil, fmt.Errorf("%w: it does not lead%s", ErrUnavailable, e.whoLeads())
	}
	r.ID = e.nextID.Add(1)
	w := &waiter{done: make(chan struct{})}
	if err := l.submit(ctx, r, w); err != nil {
		return core.Result{}, nil, err
	}
	for {
		look := time.NewTimer(limboMost)
		select {
		case <-w.done:
			look.Stop()
			return w.result, e.View(), w.err
		case <-l.stopped:
			look.Stop()
			select {
			case <-w.done:
				return w.result, e.View(), w.err
			default: // it came after all others were answered
				return core.Result{}, nil, errShuttingDown
			}
		case <-ctx.Done():
			look.Stop()
			return core.Result{}, nil, ctx.Err()
		case <-look.C:
			if l.inLimbo() {
				return core.Result{}, nil, ErrUnknownOutcome
			}
		}
	}
}

// limboMost is how long a write waits while nothing can be written, before who
// asked is told.
const limboMost = 2 * time.Second

func (e *Engine) whoLeads() string {
	if leader := e.Leader(); leader != "" && leader != e.opts.Elected.Address {
		return "; " + leader + " does"
	}
	return " yet"
}

// Deliver hands events to the leadership under way, as the Deliver of its
// driver does.
func (e *Engine) Deliver(ctx context.Context, events ...core.Event) error {
	l := e.current.Load()
	if l == nil {
		return fmt.Errorf("%w: it does not lead", ErrUnavailable)
	}
	return l.deliver(ctx, events...)
}

// View returns the newest durable state. It never blocks.
func (e *Engine) View() *View { return e.view.Load() }

// WaitIndex waits until the view includes a journal index.
func (e *Engine) WaitIndex(ctx context.Context, index uint64) (*View, error) {
	return e.Await(ctx, func(v *View) bool { return v.Index >= index })
}

// Await waits until something holds of the view.
func (e *Engine) Await(ctx context.Context, holds func(*View) bool) (*View, error) {
	for {
		changed := e.viewChanged()
		if v := e.View(); holds(v) {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return e.View(), ctx.Err()
		}
	}
}

// Follow returns a follower of all events after the one whose id is given; of
// those to come when it is "". Where another scheduler may write, it fails with
// ErrUnavailable until the journal was loaded: which those are is not known.
func (e *Engine) Follow(after string) (*Follower, error) {
	if after == "" {
		at := e.events.last() // EventID{} before the journal was loaded
		if at == (EventID{}) && e.Standby() {
			return nil, errNotLoaded
		}
		return &Follower{log: e.events, at: at}, nil
	}
	id, err := ParseEventID(after)
	if err != nil {
		return nil, err
	}
	if _, _, err := e.events.since(id, 0); err != nil {
		return nil, err
	}
	return &Follower{log: e.events, at: id}, nil
}

// Recent returns the events after an entry of the journal that are in memory, oldest
// first. They are not to be changed.
func (e *Engine) Recent(index uint64) []Published {
	held, _, _ := e.events.all()
	return held[sort.Search(len(held), func(i int) bool { return held[i].ID.Index > index }):]
}

func (e *Engine) publish(v *View) {
	e.viewMu.Lock()
	defer e.viewMu.Unlock()
	e.replaceView(v)
}

// changeView publishes a changed copy of the view.
func (e *Engine) changeView(change func(*View)) {
	e.viewMu.Lock()
	defer e.viewMu.Unlock()
	v := e.view.Load().clone()
	change(v)
	e.replaceView(v)
}

func (e *Engine) replaceView(v *View) {
	e.view.Store(v)
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Engine) viewChanged() <-chan struct{} {
	e.viewMu.Lock()
	defer e.viewMu.Unlock()
	return e.changed
}
