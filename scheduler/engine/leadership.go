package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/lease"
)

// leadership is one time in which this scheduler leads.
type leadership struct {
	e      *Engine
	term   lease.Term // nil without a lease
	caller Caller

	inbox    chan []input
	resigned chan struct{} // closed by resign
	resign   func()
	stopped  chan struct{} // closed when all is answered
	released chan struct{} // closed when another may lead

	compactions chan struct{} // has a token when it may be time to compact
	stalled     stalled

	core     *core.Core
	clock    *clock             // the core's
	wake     int64              // as the last step asked, like
	instant  int64              // the next one of a cron
	behind   int64              // as the core was told, ms
	waiting  map[uint64]*waiter // of the step under way, by request
	position journal.Position   // the writer's, once it runs
	written  written            // which steps are in which entries
}

func newLeadership(e *Engine, term lease.Term) *leadership {
	l := &leadership{
		e: e, term: term, caller: e.opts.Caller,
		inbox:       make(chan []input, inboxSize),
		resigned:    make(chan struct{}),
		stopped:     make(chan struct{}),
		released:    make(chan struct{}),
		compactions: make(chan struct{}, 1),
		waiting:     map[uint64]*waiter{},
	}
	l.resign = sync.OnceFunc(func() { close(l.resigned) })
	return l
}

// notRenewed is why a leader does nothing whose lease may have ended.
const notRenewed = "its lease is not renewed, so another may lead"

// inTerm says whether some time ago nobody else could have been elected. It goes
// by the monotonic clock, whatever the wall clock says.
func (l *leadership) inTerm(ago time.Duration) bool {
	return l.term == nil || time.Now().Add(-ago).Before(l.term.Deadline())
}

// inLimbo says whether what waits may wait until another leads.
func (l *leadership) inLimbo() bool {
	return l.term != nil && (l.stalled.reason() != "" || !l.inTerm(0))
}

func (l *leadership) deliver(ctx context.Context, events ...core.Event) error {
	inputs := make([]input, len(events))
	for i, ev := range events {
		inputs[i] = input{event: ev}
	}
	return l.send(ctx, inputs)
}

func (l *leadership) submit(ctx context.Context, r core.Request, w *waiter) error {
	if err := l.stalled.refuse(); err != nil {
		return err
	}
	if !l.inTerm(refuseAfter) {
		return fmt.Errorf("%w: %s; nothing was changed", ErrUnavailable, notRenewed)
	}
	return l.send(ctx, []input{{event: r, waiter: w}})
}

func (l *leadership) send(ctx context.Context, inputs []input) error {
	select {
	case <-l.stopped:
		return errShuttingDown
	default:
	}
	select {
	case l.inbox <- inputs:
		return nil
	case <-l.stopped:
		return errShuttingDown
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Why a leadership ends that does not fail.
var (
	errLost     = errors.New("the lease ended: it was not renewed in time")
	errResigned = errors.New("it was asked to step down")
)

// run leads: it raises the journal's epoch, loads what is not loaded, and loops
// until ctx ends, the lease does, or something fails. What is being written
// then is given a moment, unless the lease ended, and so are the calls that were
// released before a clean end; nothing else is done any more.
func (l *leadership) run(ctx context.Context) error {
	defer close(l.stopped)
	w := newWriter(l)
	parts, inner := errgroup.WithContext(ctx)
	connected := l.connect(ctx)
	parts.Go(func() error { return l.watch(inner, connected.ended) })
	parts.Go(func() error {
		if err := l.load(inner); err != nil {
			return err
		}
		parts.Go(func() error { return w.run(inner) })
		parts.Go(func() error { return l.compactWhenDue(inner) })
		parts.Go(func() error { return l.tellFeatures(inner) })
		parts.Go(func() error { return l.tellHistories(inner) })
		return l.loop(inner, w)
	})
	err := parts.Wait()
	if clean := ctx.Err() != nil || errors.Is(err, errResigned); clean && l.inTerm(0) {
		connected.flush()
	}
	l.abandon(w, err)
	connected.close()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// driverError is what a driver ended with: the next leadership's would too.
type driverError struct{ err error }

func (e *driverError) Error() string { return e.err.Error() }
func (e *driverError) Unwrap() error { return e.err }

// watch ends the leadership when its lease or its driver ends, or it is asked
// to.
func (l *leadership) watch(ctx context.Context, driver <-chan error) error {
	var lost <-chan struct{}
	if l.term != nil {
		lost = l.term.Lost()
	}
	select {
	case <-lost:
		return errLost
	case <-l.resigned:
		return errResigned
	case err := <-driver:
		if err == nil {
			err = errors.New("the connection to Mesos ended by itself")
		}
		return &driverError{err}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connection is a driver that runs.
type connection struct {
	ended chan error // nil when there is none
	flush func()
	close func()
}

// flushMost is how long the calls that were released before a hand-over may take
// to be answered. The next leader would find out what became of the others.
const flushMost = time.Second

// connect runs the driver, which begins to look for a master while the state is
// loaded. It outlives what performs calls.
func (l *leadership) connect(ctx context.Context) connection {
	if l.e.opts.Connect == nil {
		return connection{flush: func() {}, close: func() {}}
	}
	driver := l.e.opts.Connect(l.deliver)
	l.caller = driver
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := connection{ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.ended <- driver.Run(ctx)
	}()
	c.flush = func() {
		ctx, cancel := context.WithTimeout(ctx, flushMost)
		defer cancel()
		if err := driver.Flush(ctx); err != nil {
			l.e.log.Info("not all calls to Mesos were answered before this scheduler hands over", "error", err)
		}
	}
	c.close = func() {
		cancel()
		<-done
	}
	return c
}

// load has the rest of the journal passed to the replica, and its view to the
// core.
func (l *leadership) load(ctx context.Context) error {
	e := l.e
	start := e.now()
	position, err := e.opts.Journal.Lead(ctx, e.replica)
	if err != nil {
		return fmt.Errorf("lead the journal: %w", err)
	}
	l.position = position
	l.written.add(position.Index-1, core.HistoryLoaded)
	e.replica.finish(position)
	read := e.now()
	v := e.View()
	if l.core, err = core.Load(e.opts.Core, v.from("")); err != nil {
		return &unreadableError{fmt.Errorf("load the state: %w", err)}
	}
	l.clock = newClock(e.now, e.log)
	e.log.Info("loaded the journal", "index", v.Index, "epoch", position.Epoch, "records", v.records.Len(),
		"tasks", v.tasks.Len(), "read", read.Sub(start).Round(time.Millisecond), "took", e.now().Sub(start).Round(time.Millisecond))
	return nil
}
