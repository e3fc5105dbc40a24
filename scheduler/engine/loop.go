package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/journal"
)

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

// loop steps the core whenever something arrived or is due.
func (l *leadership) loop(ctx context.Context, w *writer) error {
	batch := []input{{event: l.e.opts.Elected}}
	observeAt := time.Time{}
	dirty := true
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		if len(batch) > 0 || l.wakeDue() {
			if err := l.step(ctx, w, batch); err != nil {
				return err
			}
			dirty = true
		}
		if now := time.Now(); dirty && !now.Before(observeAt) {
			w.observe(l.core.Observe())
			observeAt = now.Add(max(observeEvery, 20*time.Since(now)))
			dirty = false
		}
		wake.Reset(l.sleep(dirty, observeAt))
		batch = batch[:0]
		select {
		case in := <-l.inbox:
			batch = append(batch, in...)
		case <-wake.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		batch = l.drain(batch)
	}
}

// observeEvery is the least time between two looks at what is not durable.
const observeEvery = 200 * time.Millisecond

func (l *leadership) wakeDue() bool {
	now, behind := l.clock.now()
	return l.wake != 0 && l.wake <= now || l.instant != 0 && l.instant <= now-behind
}

// lookEvery is how often the clock is looked at when nothing is due: somebody
// may have set it.
const lookEvery = 10 * time.Second

// sleep returns how long nothing is to be done without an input.
func (l *leadership) sleep(dirty bool, observeAt time.Time) time.Duration {
	d := lookEvery
	now, behind := l.clock.now()
	if l.wake != 0 {
		d = min(d, l.clock.until(l.wake))
	}
	if l.instant != 0 {
		d = min(d, time.Duration(l.instant-(now-behind))*time.Millisecond)
	}
	if dirty {
		d = min(d, time.Until(observeAt))
	}
	return max(d, 0)
}

// drain takes what else has arrived, up to a bound.
func (l *leadership) drain(batch []input) []input {
	for len(batch) < batchMost {
		select {
		case in := <-l.inbox:
			batch = append(batch, in...)
		default:
			return batch
		}
	}
	return batch
}

func (l *leadership) step(ctx context.Context, w *writer, batch []input) error {
	now, behind := l.clock.now()
	events := make([]core.Event, 0, len(batch)+1)
	if behind != l.behind {
		l.behind = behind
		events = append(events, core.ClockBehind{By: behind})
	}
	for _, in := range batch {
		events = append(events, in.event)
		if in.waiter != nil {
			l.waiting[in.event.(core.Request).ID] = in.waiter
		}
	}
	start := time.Now()
	ready := l.core.Step(now, events)
	l.e.Stats.stepped(len(batch), time.Since(start))
	l.wake, l.instant = ready.Wake, ready.Instant
	if ready.Empty() {
		return nil
	}
	out := effects{ready: ready, answers: make([]*waiter, len(ready.Replies))}
	for i, r := range ready.Replies {
		out.answers[i] = l.waiting[r.To]
		delete(l.waiting, r.To)
	}
	return w.add(ctx, out)
}

var (
	errShuttingDown = fmt.Errorf("%w: it is shutting down", ErrUnavailable)
	errFenced       = fmt.Errorf("%w: another scheduler leads", ErrUnavailable)
	errHandedOver   = fmt.Errorf("%w: it hands over to another scheduler", ErrUnavailable)
)

// abandon answers those whose requests were decided or not, but not written.
// Who still comes finds the leadership stopped.
func (l *leadership) abandon(w *writer, cause error) {
	err := errShuttingDown
	switch {
	case errors.Is(cause, journal.ErrFenced), errors.Is(cause, errLost):
		err = errFenced
	case errors.Is(cause, errResigned):
		err = errHandedOver
	}
	l.e.changeView(func(v *View) { v.Leads, v.Observed = false, new(core.Observed) })
	w.abandon(err)
	for {
		select {
		case in := <-l.inbox:
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
