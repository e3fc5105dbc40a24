package server

import (
	"container/list"
	"math"
	"net/netip"
	"sync"
	"time"
)

// limitedMost is of how many callers a limit knows what they have left. The one
// that has not asked for longest is forgotten for another, and begins anew.
const limitedMost = 10_000

// limit lets each of many callers do something at a rate, and after a pause more
// at once. Nil limits nothing.
type limit struct {
	name  string  // in metrics
	rate  float64 // a second
	burst float64

	mu      sync.Mutex
	buckets map[string]*list.Element
	recent  list.List // of *bucket, the one that asked last in front
}

// bucket is what one caller has left.
type bucket struct {
	key  string
	left float64
	at   time.Time // when that was so
}

// newLimit allows rate a second, and as many at once as in some seconds. 0 is no
// limit.
func newLimit(name string, rate, seconds float64) *limit {
	if rate <= 0 {
		return nil
	}
	return &limit{name: name, rate: rate, burst: max(1, rate*seconds), buckets: map[string]*list.Element{}}
}

// take lets a caller do it once more, or returns how long they have to wait.
func (l *limit) take(key string, now time.Time) (wait time.Duration) {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(key, now)
	if wait := l.wait(b); wait > 0 {
		return wait
	}
	b.left--
	return 0
}

// giveBack undoes a take.
func (l *limit) giveBack(key string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.buckets[key]; e != nil { // else all is there again
		b := e.Value.(*bucket)
		b.left = min(l.burst, b.left+1)
	}
}

func (l *limit) wait(b *bucket) time.Duration {
	if b.left >= 1 {
		return 0
	}
	return time.Duration(math.Ceil((1 - b.left) / l.rate * float64(time.Second)))
}

func (l *limit) fill(b *bucket, now time.Time) {
	b.left = min(l.burst, b.left+max(0, now.Sub(b.at).Seconds())*l.rate)
	b.at = now
}

// bucket returns a caller's, filled.
func (l *limit) bucket(key string, now time.Time) *bucket {
	if e := l.buckets[key]; e != nil {
		l.recent.MoveToFront(e)
		b := e.Value.(*bucket)
		l.fill(b, now)
		return b
	}
	l.forget(now)
	b := &bucket{key: key, left: l.burst, at: now}
	l.buckets[key] = l.recent.PushFront(b)
	return b
}

// forget makes room for one more caller, and drops those whose buckets are full,
// which is as if they had none: at most two of them, so that nobody waits.
func (l *limit) forget(now time.Time) {
	for range 2 {
		e := l.recent.Back()
		if e == nil {
			return
		}
		b := e.Value.(*bucket)
		if l.fill(b, now); b.left < l.burst && len(l.buckets) < limitedMost {
			return
		}
		l.recent.Remove(e)
		delete(l.buckets, b.key)
	}
}

// addressKey is whose an address is: of IPv6 whoever has one has its /64 network.
func addressKey(from string) string {
	addr, err := netip.ParseAddr(from)
	if err != nil {
		return from
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return from
	}
	return network.String()
}

// remembered is a set of bounded size, from which what was not added for longest
// goes.
type remembered struct {
	mu     sync.Mutex
	known  map[[16]byte]*list.Element
	recent list.List // of [16]byte
}

func newRemembered() *remembered { return &remembered{known: map[[16]byte]*list.Element{}} }

func (r *remembered) add(key [16]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.known[key]; e != nil {
		r.recent.MoveToFront(e)
		return
	}
	if len(r.known) >= limitedMost {
		delete(r.known, r.recent.Remove(r.recent.Back()).([16]byte))
	}
	r.known[key] = r.recent.PushFront(key)
}

func (r *remembered) has(key [16]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[key] != nil
}

func (r *remembered) drop(key [16]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.known[key]; e != nil {
		r.recent.Remove(e)
		delete(r.known, key)
	}
}
