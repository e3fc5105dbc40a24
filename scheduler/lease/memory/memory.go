// Package memory elects one of the schedulers in a test.
//
// It owns a stand-in whose faults a test chooses: leases that end, that are not renewed, and whose end
// their holder does not notice. What a real lease promises is package zk's.
package memory

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/scheduler/lease"
)

// Election is what schedulers share. The zero value has no candidate.
type Election struct {
	mu      sync.Mutex
	waiting []*candidacy
	leading *Term
	changed chan struct{} // closed when the members change; nil when nobody looks
}

type candidacy struct {
	lease   *Lease
	elected chan *Term
}

// Lease is one scheduler's. It implements lease.Lease.
type Lease struct {
	election *Election
	address  string
	features []string
}

// Open returns the lease of the scheduler at address.
func (e *Election) Open(address string) *Lease { return &Lease{election: e, address: address} }

// Leading returns the term that is on, nil when there is none.
func (e *Election) Leading() *Term {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leading
}

// Acquire implements lease.Lease: first come, first served.
func (l *Lease) Acquire(ctx context.Context) (lease.Term, error) {
	e, c := l.election, &candidacy{l, make(chan *Term, 1)}
	e.mu.Lock()
	e.waiting = append(e.waiting, c)
	e.elect()
	e.tell()
	e.mu.Unlock()
	select {
	case t := <-c.elected:
		return t, nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = slices.DeleteFunc(e.waiting, func(w *candidacy) bool { return w == c })
	e.tell()
	select {
	case t := <-c.elected: // meanwhile
		e.end(t)
	default:
	}
	return nil, ctx.Err()
}

// elect has the first who waits lead. It is called with the lock held.
func (e *Election) elect() {
	if e.leading != nil || len(e.waiting) == 0 {
		return
	}
	c := e.waiting[0]
	e.waiting = e.waiting[1:]
	e.leading = &Term{election: e, lease: c.lease, Address: c.lease.address, lost: make(chan struct{})}
	c.elected <- e.leading
}

func (e *Election) end(t *Term) {
	if e.leading == t {
		e.leading = nil
		e.elect()
		e.tell()
	}
}

// Leader implements lease.Lease.
func (l *Lease) Leader() string {
	if t := l.election.Leading(); t != nil {
		return t.Address
	}
	return ""
}

// Members implements lease.Roll: those that stand, the leader first.
func (l *Lease) Members() ([]lease.Member, <-chan struct{}) {
	e := l.election
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []lease.Member
	if e.leading != nil {
		all = append(all, e.leading.lease.member())
	}
	for _, c := range e.waiting {
		all = append(all, c.lease.member())
	}
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return all, e.changed
}

func (l *Lease) member() lease.Member {
	return lease.Member{Address: l.address, Features: l.features, Stands: true}
}

// Know has the lease tell that its scheduler knows features.
func (l *Lease) Know(features ...string) {
	l.election.mu.Lock()
	defer l.election.mu.Unlock()
	l.features = features
	l.election.tell()
}

// tell wakes those who look at the members. It is called with the lock held.
func (e *Election) tell() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// Close implements lease.Lease.
func (l *Lease) Close() error { return nil }

// Term is one leadership. It implements lease.Term.
type Term struct {
	Address  string
	election *Election
	lease    *Lease
	lost     chan struct{}

	mu       sync.Mutex
	deadline time.Time // zero: it is always renewed
	noticed  bool
	failing  error
}

// Deadline implements lease.Term.
func (t *Term) Deadline() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deadline.IsZero() {
		return time.Now().Add(time.Hour)
	}
	return t.deadline
}

// Lost implements lease.Term.
func (t *Term) Lost() <-chan struct{} { return t.lost }

// Release implements lease.Term.
func (t *Term) Release(context.Context) error {
	t.mu.Lock()
	err := t.failing
	t.mu.Unlock()
	if err == nil {
		t.election.mu.Lock()
		defer t.election.mu.Unlock()
		t.election.end(t)
	}
	return err
}

// Stop has the lease not be renewed, or be renewed again.
func (t *Term) Stop(stopped bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline = time.Time{}
	if stopped {
		t.deadline = time.Now()
	}
}

// Expire ends the lease for others, who elect one of them, but not yet for its holder.
func (t *Term) Expire() {
	t.Stop(true)
	t.mu.Lock()
	t.failing = errors.New("the lease ended before")
	t.mu.Unlock()
	t.election.mu.Lock()
	defer t.election.mu.Unlock()
	t.election.end(t)
}

// Notice has the holder see that its lease ended.
func (t *Term) Notice() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.noticed {
		t.noticed = true
		close(t.lost)
	}
}
