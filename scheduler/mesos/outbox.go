package mesos

import (
	"context"
	"sync"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// outboxLimit is how many events may wait for the engine before the stream is
// not read any further.
const outboxLimit = 8192

// outbox holds events on their way to the engine, in order.
type outbox struct {
	mu     sync.Mutex
	events []core.Event
	ready  chan struct{} // something waits; capacity 1
	space  chan struct{} // something was taken; capacity 1
}

func newOutbox() *outbox {
	return &outbox{ready: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

// put never blocks. It is for answers to calls, which are bounded by the calls.
func (o *outbox) put(events ...core.Event) {
	o.mu.Lock()
	o.events = append(o.events, events...)
	o.mu.Unlock()
	signal(o.ready)
}

// offer blocks while the outbox is full. Only one goroutine may use it.
func (o *outbox) offer(ctx context.Context, event core.Event) error {
	for {
		o.mu.Lock()
		if len(o.events) < outboxLimit {
			o.events = append(o.events, event)
			o.mu.Unlock()
			signal(o.ready)
			return nil
		}
		o.mu.Unlock()
		select {
		case <-o.space:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run delivers until ctx ends, everything that waits at once.
func (o *outbox) run(ctx context.Context, deliver func(context.Context, ...core.Event) error) error {
	for {
		select {
		case <-o.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if events := o.take(); len(events) > 0 {
			if err := deliver(ctx, events...); err != nil {
				return err
			}
		}
	}
}

func (o *outbox) take() []core.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	events := o.events
	o.events = nil
	signal(o.space)
	return events
}

// signal marks a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
