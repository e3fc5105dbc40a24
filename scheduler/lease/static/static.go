// Package static is the lease of a scheduler that is alone, and so leads always.
//
// It owns nothing but that answer. What keeps a second scheduler away from the same state is the lock
// of its journal.
package static

import (
	"context"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/scheduler/lease"
)

// Lease implements lease.Lease: every Acquire is answered at once.
type Lease struct {
	address string

	mu      sync.Mutex
	leading bool
}

// New returns the lease of the scheduler at address.
func New(address string) *Lease { return &Lease{address: address} }

// Acquire implements lease.Lease.
func (l *Lease) Acquire(ctx context.Context) (lease.Term, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading = true
	return &term{lease: l, lost: make(chan struct{})}, nil
}

// Leader implements lease.Lease.
func (l *Lease) Leader() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leading {
		return ""
	}
	return l.address
}

// Close implements lease.Lease.
func (l *Lease) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading = false
	return nil
}

type term struct {
	lease    *Lease
	released sync.Once
	lost     chan struct{}
}

// Deadline is far enough away to be never.
func (t *term) Deadline() time.Time {
	select {
	case <-t.lost:
		return time.Time{}
	default:
		return time.Now().Add(time.Hour)
	}
}

func (t *term) Lost() <-chan struct{} { return t.lost }

func (t *term) Release(context.Context) error {
	t.released.Do(func() {
		_ = t.lease.Close()
		close(t.lost)
	})
	return nil
}
