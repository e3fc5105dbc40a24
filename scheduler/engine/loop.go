package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Options of an Engine.
type Options struct {
	Core    core.Config
	Journal journal.Journal
	Caller  Caller
	Logger  *slog.Logger
	// Elected is delivered first; Incarnation is for a new journal.
	Elected core.Elected
	// EventsKeep is how many events are kept for those who follow; 100,000
	// when 0.
	EventsKeep int
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Engine runs one leadership.
type Engine struct {
	opts   Options
	log    *slog.Logger
	now    func() time.Time
	events *eventLog
	view   atomic.Pointer[View]
	Stats  Stats

	inbox   chan []input
	stopped chan struct{}
	nextID  atomic.Uint64

	viewMu  sync.Mutex    // of those who publish a view
	changed chan struct{} // closed and replaced when the view changes

	compactions chan struct{} // has a token when it may be time to compact

	core     *core.Core
	position journal.Position   // the writer's, once it runs
	waiting  map[uint64]*waiter // of the step under way, by request
}

// input is an event, and who waits for its reply.
type input struct {
	event  core.Event
	waiter *waiter
}

type waiter struct {
	done   chan struct{}
	result core.Result
	err    error
}

func (w *waiter) answer(result core.Result, err error) {
	w.result, w.err = result, err
	close(w.done)
}

// The most events of one step, and of inputs that wait for it.
const (
	batchMost = 4096
	inboxSize = 1024
)

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
		events:      newEventLog(opts.EventsKeep),
		inbox:       make(chan []input, inboxSize),
		stopped:     make(chan struct{}),
		changed:     make(chan struct{}),
		compactions: make(chan struct{}, 1),
		waiting:     map[uint64]*waiter{},
	}
	e.view.Store(newView())
	return e
}

// Deliver hands events to the loop. It blocks while the loop has too many.
func (e *Engine) Deliver(ctx context.Context, events ...core.Event) error {
	inputs := make([]input, len(events))
	for i, ev := range events {
		inputs[i] = input{event: ev}
	}
	return e.send(ctx, inputs)
}

func (e *Engine) submit(ctx context.Context, r core.Request, w *waiter) error {
	if !e.View().Leads {
		return fmt.Errorf("%w: it does not lead yet", ErrUnavailable)
	}
	r.ID = e.nextID.Add(1)
	return e.send(ctx, []input{{event: r, waiter: w}})
}

func (e *Engine) send(ctx context.Context, inputs []input) error {
	select {
	case <-e.stopped:
		return errShuttingDown
	default:
	}
	select {
	case e.inbox <- inputs:
		return nil
	case <-e.stopped:
		return errShuttingDown
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run leads: it raises the journal's epoch, loads what it holds, and loops
// until ctx ends or the journal fails. It is called once.
func (e *Engine) Run(ctx context.Context) error {
	defer close(e.stopped)
	if err := e.load(ctx); err != nil {
		return err
	}
	w := newWriter(e)
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return w.run(ctx) })
	parts.Go(func() error { return e.compactWhenDue(ctx) })
	parts.Go(func() error { return e.loop(ctx, w) })
	err := parts.Wait()
	e.abandon(w, err)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// load replays the journal into the view, and the view into the core.
func (e *Engine) load(ctx context.Context) error {
	start := e.now()
	r := &replay{view: newView()}
	position, err := e.opts.Journal.Lead(ctx, r)
	if err != nil {
		return fmt.Errorf("lead the journal: %w", err)
	}
	e.position = position
	v := r.view
	v.Index = position.Index - 1
	if e.core, err = core.Load(e.opts.Core, v.from("")); err != nil {
		return fmt.Errorf("load the state: %w", err)
	}
	if c := v.Cluster(); c != nil {
		e.events.begin(c.Incarnation, r.before(v.Index), r.published(c.Incarnation))
	}
	e.publish(v)
	e.log.Info("loaded the journal", "index", v.Index, "epoch", position.Epoch, "records", v.records.Len(),
		"tasks", v.tasks.Len(), "took", e.now().Sub(start).Round(time.Millisecond))
	return nil
}

// loop steps the core whenever something arrived or is due.
func (e *Engine) loop(ctx context.Context, w *writer) error {
	batch := []input{{event: e.opts.Elected}}
	observeAt := time.Time{}
	dirty := true
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		if len(batch) > 0 || e.wakeDue() {
			if err := e.step(ctx, w, batch); err != nil {
				return err
			}
			dirty = true
		}
		now := e.now()
		if dirty && !now.Before(observeAt) {
			w.observe(e.core.Observe())
			cost := e.now().Sub(now)
			observeAt = now.Add(max(observeEvery, 20*cost))
			dirty = false
		}
		wake.Reset(e.sleep(dirty, observeAt))
		batch = batch[:0]
		select {
		case in := <-e.inbox:
			batch = append(batch, in...)
		case <-wake.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		batch = e.drain(batch)
	}
}

// observeEvery is the least time between two looks at what is not durable.
const observeEvery = 200 * time.Millisecond

func (e *Engine) wakeDue() bool {
	return e.Stats.wake != 0 && e.Stats.wake <= e.now().UnixMilli()
}

// sleep returns how long nothing is to be done without an input.
func (e *Engine) sleep(dirty bool, observeAt time.Time) time.Duration {
	d := time.Hour
	if e.Stats.wake != 0 {
		d = time.UnixMilli(e.Stats.wake).Sub(e.now())
	}
	if dirty {
		d = min(d, observeAt.Sub(e.now()))
	}
	return max(d, 0)
}

// drain takes what else has arrived, up to a bound.
func (e *Engine) drain(batch []input) []input {
	for len(batch) < batchMost {
		select {
		case in := <-e.inbox:
			batch = append(batch, in...)
		default:
			return batch
		}
	}
	return batch
}

func (e *Engine) step(ctx context.Context, w *writer, batch []input) error {
	events := make([]core.Event, len(batch))
	for i, in := range batch {
		events[i] = in.event
		if in.waiter != nil {
			e.waiting[in.event.(core.Request).ID] = in.waiter
		}
	}
	start := time.Now()
	ready := e.core.Step(e.now().UnixMilli(), events)
	e.Stats.stepped(len(batch), time.Since(start))
	e.Stats.wake = ready.Wake
	if ready.Empty() {
		return nil
	}
	out := effects{ready: ready, answers: make([]*waiter, len(ready.Replies))}
	for i, r := range ready.Replies {
		out.answers[i] = e.waiting[r.To]
		delete(e.waiting, r.To)
	}
	return w.add(ctx, out)
}

var (
	errShuttingDown = fmt.Errorf("%w: it is shutting down", ErrUnavailable)
	errFenced       = fmt.Errorf("%w: another scheduler leads", ErrUnavailable)
)

// abandon answers those whose requests were decided or not, but not written.
// Who still comes finds the engine stopped.
func (e *Engine) abandon(w *writer, cause error) {
	err := errShuttingDown
	if errors.Is(cause, journal.ErrFenced) {
		err = errFenced
	}
	e.changeView(func(v *View) { v.Leads = false })
	w.abandon(err)
	for {
		select {
		case in := <-e.inbox:
			for _, i := range in {
				if i.waiter != nil {
					i.waiter.answer(core.Result{}, err)
				}
			}
		default:
			return
		}
	}
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

// replay receives what a journal holds.
type replay struct {
	view   *View
	groups [][]*record.Entry // for their events
}

func (r *replay) Record(key string, value []byte) error {
	m, err := decode(key, value)
	if err == nil {
		r.view.put(key, m)
	}
	return err
}

func (r *replay) Past(group []*record.Entry) error {
	r.groups = append(r.groups, group)
	return nil
}

func (r *replay) Apply(group []*record.Entry) error {
	r.groups = append(r.groups, group)
	for _, entry := range group {
		for _, p := range entry.GetPuts() {
			m, err := decode(p.GetKey(), p.GetValue())
			if err != nil {
				return fmt.Errorf("entry %d: %w", entry.GetIndex(), err)
			}
			r.view.put(p.GetKey(), m)
		}
		for _, key := range entry.GetDeletes() {
			r.view.put(key, nil)
		}
	}
	return nil
}

// before returns the index before the first entry that is kept, of a journal
// that ends at last.
func (r *replay) before(last uint64) uint64 {
	if len(r.groups) == 0 {
		return last
	}
	return r.groups[0][0].GetIndex() - 1
}

func (r *replay) published(incarnation string) []Published {
	var out []Published
	for _, group := range r.groups {
		for _, entry := range group {
			for i, b := range entry.GetEvents() {
				ev := new(record.Event)
				if proto.Unmarshal(b, ev) == nil {
					out = append(out, Published{EventID{incarnation, entry.GetIndex(), i}, ev})
				}
			}
		}
	}
	return out
}

// unknown is a record of a type that this version does not know: kept as it is.
type unknown struct {
	record.Message
	value []byte
}

func decode(key string, value []byte) (record.Message, error) {
	m, err := record.Decode(key, value)
	if err == nil && m == nil {
		return unknown{value: append([]byte(nil), value...)}, nil
	}
	return m, err
}
