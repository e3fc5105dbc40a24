package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
)

// ledger holds what the agent has not acknowledged yet. A task is acknowledged
// with the first of its updates, since from then on the agent knows of it.
type ledger struct {
	executor string

	mu      sync.Mutex
	tasks   map[string]json.RawMessage
	updates []*entry // oldest first
	changed chan struct{}
}

type entry struct {
	update update
	sent   bool // in this subscription
}

func newLedger(executor string) *ledger {
	return &ledger{executor: executor, tasks: map[string]json.RawMessage{}, changed: make(chan struct{})}
}

// change runs f alone and wakes whoever waits.
func (l *ledger) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *ledger) add(s Status) {
	now := time.Now()
	l.change(func() {
		l.updates = append(l.updates, &entry{update: update{taskStatus{
			Task:      identifier{s.Task},
			Executor:  identifier{l.executor},
			State:     s.State,
			Source:    "SOURCE_EXECUTOR",
			Reason:    s.Reason,
			Message:   s.Message,
			Data:      s.Data,
			Healthy:   s.Healthy,
			Timestamp: float64(now.UnixMicro()) / 1e6,
			UUID:      newUUID(),
		}}})
	})
}

// newUUID returns a random uuid (version 4 of RFC 9562); agents refuse others.
func newUUID() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return b
}

func (l *ledger) launched(task string, info json.RawMessage) {
	l.change(func() { l.tasks[task] = bytes.Clone(info) })
}

func (l *ledger) acknowledged(task string, uuid []byte) {
	l.change(func() {
		delete(l.tasks, task)
		l.updates = slices.DeleteFunc(l.updates, func(e *entry) bool {
			return bytes.Equal(e.update.Status.UUID, uuid)
		})
	})
}

// subscribe returns what fills a SUBSCRIBE call with all that is not
// acknowledged; the agent takes those updates as if they were sent.
func (l *ledger) subscribe() func(*call) {
	s := &subscribe{Tasks: []json.RawMessage{}, Updates: []update{}}
	l.change(func() {
		for _, id := range slices.Sorted(maps.Keys(l.tasks)) {
			s.Tasks = append(s.Tasks, l.tasks[id])
		}
		for _, e := range l.updates {
			e.sent = true
			s.Updates = append(s.Updates, e.update)
		}
	})
	return func(c *call) { c.Subscribe = s }
}

func (l *ledger) sent(u *update) {
	l.change(func() {
		for _, e := range l.updates {
			if &e.update == u {
				e.sent = true
			}
		}
	})
}

// next waits for the oldest update that was not sent.
func (l *ledger) next(ctx context.Context) (*update, error) {
	var u *update
	err := l.wait(ctx, func() bool {
		i := slices.IndexFunc(l.updates, func(e *entry) bool { return !e.sent })
		if i >= 0 {
			u = &l.updates[i].update
		}
		return i >= 0
	})
	return u, err
}

func (l *ledger) settled(ctx context.Context) error {
	return l.wait(ctx, func() bool { return len(l.updates) == 0 })
}

// wait returns once condition holds, or with the error of ctx.
func (l *ledger) wait(ctx context.Context, condition func() bool) error {
	for {
		l.mu.Lock()
		ok, changed := condition(), l.changed
		l.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
