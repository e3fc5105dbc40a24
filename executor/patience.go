package executor

import (
	"sync"
	"time"
)

// order asks to stop a task.
type order struct {
	grace  *time.Duration // between SIGTERM and SIGKILL; nil is the job's
	within time.Duration  // the whole of it, when positive
	why    string
}

// patience is how long a task that is being stopped may still take. It only
// ever shrinks: a later order can hasten the end, not delay it.
type patience struct {
	mu     sync.Mutex
	grace  time.Duration
	by     time.Time     // when the last process is killed, whatever the phase
	shrunk chan struct{} // closed, and replaced, when it did
}

func newPatience(grace time.Duration) *patience {
	return &patience{grace: grace, shrunk: make(chan struct{})}
}

// shrink obeys an order given now. before is what may come before SIGTERM.
func (p *patience) shrink(o order, now time.Time, before time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.grace != nil {
		p.grace = min(p.grace, max(*o.grace, 0))
	}
	by := now.Add(before + p.grace)
	if o.within > 0 && now.Add(o.within).Before(by) {
		by = now.Add(o.within)
	}
	if p.by.IsZero() || by.Before(p.by) {
		p.by = by
	}
	close(p.shrunk)
	p.shrunk = make(chan struct{})
}

// deadline is when to give up on a step that began at start and may take at
// most the grace, or most if that is positive; shrunk is closed when it changes.
func (p *patience) deadline(start time.Time, most time.Duration) (at time.Time, shrunk <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if most <= 0 {
		most = p.grace
	}
	at = start.Add(most)
	if !p.by.IsZero() && p.by.Before(at) {
		at = p.by
	}
	return at, p.shrunk
}

// wait waits for done, and says whether it came in time.
func (p *patience) wait(done <-chan struct{}, start time.Time, most time.Duration) bool {
	for {
		at, shrunk := p.deadline(start, most)
		timer := time.NewTimer(time.Until(at))
		select {
		case <-done:
			timer.Stop()
			return true
		case <-shrunk:
			timer.Stop()
		case <-timer.C:
			return false
		}
	}
}
