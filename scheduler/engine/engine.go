// Package engine is the one loop around scheduler/core: it drains what has
// arrived, steps the core once, makes what the core wants durable, and only
// then lets it be seen. Steps taken while a write is under way are written
// together (group commit).
//
// It owns the order of effects, the view that readers see and the log of
// events that consumers follow. What to do is core's, how to reach Mesos the
// driver's, how to store the journal's.
package engine

import (
	"context"
	"errors"

	"github.com/perigee-sched/perigee/scheduler/core"
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

// Do executes a write of a user and returns once it is durable, with a view
// that includes it. Errors are *core.Error (nothing changed), ErrUnavailable
// (nothing changed), ErrUnknownOutcome, or ctx's, in which case the write may
// still happen.
func (e *Engine) Do(ctx context.Context, r core.Request) (core.Result, *View, error) {
	w := &waiter{done: make(chan struct{})}
	if err := e.submit(ctx, r, w); err != nil {
		return core.Result{}, nil, err
	}
	select {
	case <-w.done:
	case <-e.stopped:
		select {
		case <-w.done:
		default: // it came after all others were answered
			return core.Result{}, nil, errShuttingDown
		}
	case <-ctx.Done():
		return core.Result{}, nil, ctx.Err()
	}
	return w.result, e.View(), w.err
}

// View returns the newest durable state. It never blocks.
func (e *Engine) View() *View { return e.view.Load() }

// WaitIndex waits until the view includes a journal index.
func (e *Engine) WaitIndex(ctx context.Context, index uint64) (*View, error) {
	for {
		changed := e.viewChanged()
		if v := e.View(); v.Index >= index {
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
// those to come when it is "".
func (e *Engine) Follow(after string) (*Follower, error) {
	if after == "" {
		return &Follower{log: e.events, at: e.events.last()}, nil // EventID{} before the journal was loaded
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
