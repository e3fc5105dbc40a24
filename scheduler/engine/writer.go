package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// effects is one step's Ready, with those who wait for its replies.
type effects struct {
	ready   core.Ready
	answers []*waiter // by index of ready.Replies; nil when nobody waits any more
}

// writer makes what the loop decided durable and then lets it be seen, in
// order. While one append is under way the next batch gathers.
type writer struct {
	l *leadership
	e *Engine

	mu         sync.Mutex
	queue      []effects
	writes     int           // in queue
	unresolved bool          // the outcome of an append is unknown
	filled     chan struct{} // has a token while queue has something
	room       chan struct{} // has a token when there may be room again
}

// queuedWritesMost bounds what may be decided ahead of what is durable.
const queuedWritesMost = 32 * 1024

func newWriter(l *leadership) *writer {
	return &writer{l: l, e: l.e, filled: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// add queues effects, waiting while there are too many, or while the outcome
// of an append is unknown: then the loop decides nothing more. When ctx ends
// first, they are dropped, and those who wait for them answered.
func (w *writer) add(ctx context.Context, out effects) error {
	for !w.offer(out) {
		select {
		case <-w.room:
		case <-ctx.Done():
			out.fail(errShuttingDown)
			return ctx.Err()
		}
	}
	return nil
}

func (w *writer) offer(out effects) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unresolved {
		out.fail(ErrUnknownOutcome) // to be written once the outcome is known
		return false
	}
	if w.writes >= queuedWritesMost && len(w.queue) > 0 {
		return false
	}
	w.queue = append(w.queue, out)
	w.writes += len(out.ready.Writes)
	token(w.filled)
	return true
}

// stall stops the loop, or lets it go on. Those who wait for what is decided
// and not written are told at once: it takes as long as the storage is away.
func (w *writer) stall(unresolved bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unresolved = unresolved
	if !unresolved {
		token(w.room)
		return
	}
	for _, out := range w.queue {
		out.fail(ErrUnknownOutcome)
	}
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w *writer) take() []effects {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := w.queue
	w.queue, w.writes = nil, 0
	token(w.room)
	return batch
}

// settleGrace is how long what is being written when a leadership ends may take
// to be durable.
const settleGrace = 2 * time.Second

// run writes what is added until ctx ends, and then finishes what it is at.
func (w *writer) run(ctx context.Context) error {
	settling, cancel := outlast(ctx, settleGrace)
	defer cancel()
	for {
		select {
		case <-w.filled:
		case <-ctx.Done():
			return ctx.Err()
		}
		if ctx.Err() != nil {
			return ctx.Err() // abandon answers what is queued
		}
		batch := w.take()
		if err := w.commit(ctx, settling, batch); err != nil {
			for _, out := range batch {
				out.fail(out.reasonOf(err))
			}
			return err
		}
	}
}

// outlast returns a context that ends some time after ctx, or at once when ctx
// ends because the lease did.
func outlast(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), errLost) {
			cancel()
			return
		}
		late := time.AfterFunc(d, cancel)
		context.AfterFunc(out, func() { late.Stop() })
	})
	return out, func() { stop(); cancel() }
}

// abandon answers those whose effects were never written. Nothing is added any
// more.
func (w *writer) abandon(err error) {
	for _, out := range w.take() {
		out.fail(err)
	}
}

func (out effects) fail(err error) {
	for i, a := range out.answers {
		if a != nil {
			a.answer(core.Result{}, err)
			out.answers[i] = nil
		}
	}
}

func (out effects) reasonOf(err error) error {
	var tooBig *TooBigError
	switch {
	case errors.As(err, &tooBig) && out.alone(tooBig.Key):
		return tooBig
	case errors.As(err, &tooBig):
		return errAmong
	case errors.Is(err, journal.ErrFenced):
		return errFenced
	case errors.Is(err, journal.ErrUnknown), errors.Is(err, context.Canceled):
		return ErrUnknownOutcome
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// commit writes a batch as one group and releases its effects. Calls are made
// only while the lease says that nobody else can lead: that a write succeeded
// says so too, but perhaps long ago.
func (w *writer) commit(ctx, settling context.Context, batch []effects) error {
	entry, err := w.entry(batch)
	if err != nil {
		return err
	}
	if entry != nil {
		group, err := w.append(ctx, settling, entry, batch)
		if err != nil {
			return err
		}
		w.show(group, batch)
	}
	if !w.mayCall(batch) {
		w.answer(batch)
		if err := w.awaitTerm(ctx); err != nil {
			return err
		}
	}
	for _, out := range batch {
		w.e.Stats.calls(out.ready.Calls)
		if len(out.ready.Calls) > 0 {
			w.l.caller.Perform(out.ready.Calls)
		}
	}
	w.answer(batch)
	w.ask(batch)
	return nil
}

// ask has gates asked, now that what the questions are about is durable.
func (w *writer) ask(batch []effects) {
	if w.e.opts.Ask == nil {
		return
	}
	for _, out := range batch {
		if len(out.ready.Asks) > 0 {
			w.e.opts.Ask(out.ready.Asks)
		}
	}
}

func (w *writer) answer(batch []effects) {
	for _, out := range batch {
		for i, r := range out.ready.Replies {
			if a := out.answers[i]; a != nil {
				a.answer(r.Result, errorOf(r))
				out.answers[i] = nil
			}
		}
	}
}

func errorOf(r core.Reply) error {
	if r.Err == nil {
		return nil
	}
	return r.Err
}

// entry encodes what a batch changes; nil when it changes nothing. Of a record
// written more than once the last version is enough.
func (w *writer) entry(batch []effects) (*record.Entry, error) {
	last := map[string]record.Message{}
	var order []string
	entry := &record.Entry{At: w.e.now().UnixMilli()}
	for _, out := range batch {
		for _, wr := range out.ready.Writes {
			if _, again := last[wr.Key]; !again {
				order = append(order, wr.Key)
			}
			last[wr.Key] = wr.Record
		}
		for _, m := range out.ready.Finished {
			value, err := proto.Marshal(m)
			if err != nil {
				return nil, fmt.Errorf("encode finished record %q: %w", record.KeyOf(m), err)
			}
			entry.Finished = append(entry.Finished, &record.Put{Key: record.KeyOf(m), Value: value})
		}
		for _, ev := range out.ready.Events {
			b, err := proto.Marshal(ev)
			if err == nil {
				err = fits("event "+ev.Type, len(b))
			}
			if err != nil {
				return nil, fmt.Errorf("encode event %s of %s: %w", ev.Type, ev.Job, err)
			}
			entry.Events = append(entry.Events, b)
		}
	}
	if len(order)+len(entry.Events) == 0 {
		return nil, nil
	}
	for _, key := range order {
		if last[key] == nil {
			entry.Deletes = append(entry.Deletes, key)
			continue
		}
		value, err := proto.Marshal(last[key])
		if err == nil {
			err = fits(key, len(key)+len(value))
		}
		if err != nil {
			return nil, fmt.Errorf("encode record %q: %w", key, err)
		}
		entry.Puts = append(entry.Puts, &record.Put{Key: key, Value: value})
	}
	entry.Epoch, entry.Index = w.l.position.Epoch, w.l.position.Index
	before := w.e.events.last()
	entry.EventBefore, entry.EventBeforeOrdinal = before.Index, uint32(before.Ordinal)
	return entry, nil
}

// resolveEvery is how long to wait before an unknown outcome is asked for
// again.
const resolveEvery = 500 * time.Millisecond

// append makes an entry durable and returns the group that it was written as.
// While its outcome is unknown, nothing is decided any more, and those who wait
// are told.
func (w *writer) append(ctx, settling context.Context, entry *record.Entry, batch []effects) ([]*record.Entry, error) {
	e, l := w.e, w.l
	group, err := journal.Split(entry, journal.MaxEntryBytes)
	if err != nil {
		return nil, fmt.Errorf("split entry %d: %w", entry.Index, err)
	}
	start := time.Now()
	err = e.opts.Journal.Append(settling, group)
	if errors.Is(err, journal.ErrUnknown) {
		for _, out := range batch {
			out.fail(ErrUnknownOutcome)
		}
		l.stalled.begin(notWritten(err))
		w.stall(true)
		err = w.resolve(ctx, entry.Index, err)
		w.stall(false)
		l.stalled.end()
	}
	if err != nil {
		return nil, fmt.Errorf("append entry %d: %w", entry.Index, err)
	}
	e.Stats.appended(len(batch), time.Since(start))
	l.position.Index += uint64(len(group))
	l.written.add(l.position.Index-1, batch[len(batch)-1].ready.Step)
	token(l.compactions)
	return group, nil
}

// resolve asks for the outcome of an append until it is known.
func (w *writer) resolve(ctx context.Context, index uint64, err error) error {
	var told rarely
	for began := time.Now(); ; {
		if !errors.Is(err, journal.ErrUnknown) {
			if err == nil {
				w.e.log.Info("the outcome of the write to the journal is known: it is durable", "index", index,
					"took", time.Since(began).Round(time.Millisecond))
			}
			return err
		}
		w.l.stalled.because(notWritten(err))
		if told.due(err) {
			w.e.log.Error("the outcome of a write to the journal is unknown; trying to find out", "index", index, "error", err)
		}
		w.e.Stats.unknown.Add(1)
		select {
		case <-time.After(resolveEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
		err = w.e.opts.Journal.Resolve(ctx)
	}
}

// termEvery is how often a lease that was not renewed in time is looked at.
const termEvery = 50 * time.Millisecond

// mayCall says whether a batch's calls may be made now, if it has any.
func (w *writer) mayCall(batch []effects) bool {
	for _, out := range batch {
		if len(out.ready.Calls) > 0 {
			return w.inTerm()
		}
	}
	return true
}

func (w *writer) inTerm() bool { return w.l.inTerm(0) }

// awaitTerm waits while another scheduler may have been elected. The lease may
// yet be renewed: then all goes on.
func (w *writer) awaitTerm(ctx context.Context) error {
	w.e.log.Warn("the lease is not renewed, so another scheduler may lead: calls to Mesos are withheld")
	w.l.stalled.begin(notRenewed)
	defer w.l.stalled.end()
	for !w.inTerm() {
		select {
		case <-time.After(termEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.e.log.Info("the lease is renewed: calls to Mesos go on")
	return nil
}

// show publishes a durable batch: the view, then its events.
func (w *writer) show(group []*record.Entry, batch []effects) {
	e := w.e
	var incarnation string
	e.changeView(func(v *View) {
		for _, out := range batch {
			for _, wr := range out.ready.Writes {
				v.put(wr.Key, wr.Record)
			}
		}
		v.Index, v.Epoch, v.Leads = w.l.position.Index-1, w.l.position.Epoch, true
		incarnation = v.Cluster().GetIncarnation()
	})
	e.replica.index = w.l.position.Index - 1
	e.events.begin(incarnation, EventID{}, nil, 0)
	events := identify(incarnation, group, batch)
	e.Stats.published(events)
	e.events.publish(events, w.l.position.Index-1)
	if e.opts.History != nil {
		e.tell(Durable{Incarnation: incarnation, Index: w.l.position.Index - 1, Finished: finishedOf(group, batch), Events: events})
	}
}

// finishedOf are the records that ended in a batch, each in its last version,
// and those that its entries hold for history alone.
func finishedOf(group []*record.Entry, batch []effects) []record.Message {
	var changes []change
	at := map[string]int{}
	for _, out := range batch {
		for _, wr := range out.ready.Writes {
			i, again := at[wr.Key]
			switch {
			case again:
				changes[i].record = wr.Record
			case over(wr.Record):
				at[wr.Key] = len(changes)
				changes = append(changes, change{wr.Key, wr.Record})
			}
		}
	}
	return finishedIn(changes, group)
}

// identify names a batch's events by the entries that hold them, which are as
// many and in the same order.
func identify(incarnation string, group []*record.Entry, batch []effects) []Published {
	var ids []EventID
	for _, entry := range group {
		for i := range entry.GetEvents() {
			ids = append(ids, EventID{incarnation, entry.GetIndex(), i})
		}
	}
	events := make([]Published, 0, len(ids))
	for _, out := range batch {
		for _, ev := range out.ready.Events {
			events = append(events, Published{ids[len(events)], ev})
		}
	}
	return events
}

// observe publishes what was observed of the cluster.
func (w *writer) observe(o *core.Observed) {
	w.e.changeView(func(v *View) { v.Observed = o })
}

// compactAgain is how long to wait after a compaction failed: each costs as
// much as the state is big.
const compactAgain = 30 * time.Second

// compactWhenDue compacts the journal when it has grown, beside the appends.
func (l *leadership) compactWhenDue(ctx context.Context) error {
	e := l.e
	for {
		select {
		case <-l.compactions:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !e.opts.Journal.Stat().CompactDue() {
			continue
		}
		start, v := time.Now(), e.View()
		if err := e.opts.Journal.Compact(ctx, source{v}); err != nil {
			if ctx.Err() == nil {
				e.log.Error("compact the journal", "error", err)
			}
			select {
			case <-time.After(compactAgain):
			case <-ctx.Done():
			}
			continue
		}
		e.log.Debug("compacted the journal", "index", v.Index, "took", time.Since(start).Round(time.Millisecond))
	}
}

// source is a view as the journal's Compact reads it.
type source struct{ view *View }

func (s source) Index() uint64 { return s.view.Index }

func (s source) Records(from string) iter.Seq2[string, []byte] { return s.view.Records(from) }
