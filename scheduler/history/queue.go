package history

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Bounds of what waits to be written: beyond either, all of it is dropped, to be
// told anew by what the scheduler holds itself.
const (
	queueItemsMost = 300_000
	queueBytesMost = 256 << 20
)

// queue is what was told and is not written.
type queue struct {
	itemsMost, bytesMost int
	now                  func() time.Time
	filled               chan struct{} // has a token while there is something

	mu      sync.Mutex
	waiting []told
	numbers uint64 // how many were given
	items   int
	bytes   int
	dropped bool // all that waited, and what came since
	missing missing
	drops   int // how often
	latest  place
}

// told is a Durable that waits, and what it counts for.
type told struct {
	engine.Durable
	number       uint64 // no other in this queue has it
	items, bytes int
	at           time.Time
	missing      missing // with Anew: what was dropped before, some of which it may have
}

func size(d engine.Durable) int { return len(d.Finished) + len(d.Events) }

// place is an entry of the journal.
type place struct {
	incarnation string
	index       uint64
}

// add takes in what became durable. What it costs the engine is little: sizes
// are estimates.
func (q *queue) add(d engine.Durable) {
	t := told{Durable: d, items: size(d), bytes: estimate(d), at: q.now()}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.latest = place{d.Incarnation, d.Index}
	if !q.dropped && len(q.waiting) > 0 && (q.items+t.items > q.itemsMost || q.bytes+t.bytes > q.bytesMost) {
		q.drop()
	}
	if q.dropped {
		q.missing.add(d.Events)
		return
	}
	q.waiting = append(q.waiting, q.numbered(t))
	q.items += t.items
	q.bytes += t.bytes
	if t.items > 0 {
		q.token()
	}
}

func (q *queue) token() {
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// numbered gives a number, and has what is told anew say what was dropped.
func (q *queue) numbered(t told) told {
	q.numbers++
	t.number = q.numbers
	if t.Anew {
		t.missing, q.missing = q.missing, missing{}
	}
	return t
}

// drop has everything told anew, later.
func (q *queue) drop() {
	for _, t := range q.waiting {
		q.missing.join(t.missing)
		q.missing.add(t.Events)
	}
	q.waiting, q.items, q.bytes = nil, 0, 0
	q.dropped = true
	q.drops++
	q.token()
}

// again has what is told from now on wait once more, and says whether it was
// dropped; what was is then to be told anew.
func (q *queue) again() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was := q.dropped
	q.dropped = false
	return was
}

// refill puts what was told anew before all that waits. It counts for nothing:
// the scheduler has it in memory in any case.
func (q *queue) refill(d engine.Durable) {
	t := told{Durable: d, at: q.now()}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dropped {
		return
	}
	q.waiting = append([]told{q.numbered(t)}, q.waiting...)
}

// first are the first that wait, of one incarnation, together about as large as
// most items, or one alone that is larger.
func (q *queue) first(most int) []told {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, items := 0, 0
	for ; n < len(q.waiting); n++ {
		t := &q.waiting[n]
		items += size(t.Durable)
		if n > 0 && (items > most || t.Incarnation != q.waiting[0].Incarnation || t.Anew) {
			break
		}
	}
	return q.waiting[:n:n]
}

// written drops what is stored. In between, all may have been dropped.
func (q *queue) written(batch []told) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < min(len(batch), len(q.waiting)) && q.waiting[n].number == batch[n].number {
		n++
	}
	q.remove(n)
}

// trim drops what is stored, by another scheduler.
func (q *queue) trim(at place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.waiting) && q.waiting[n].Incarnation == at.incarnation && q.waiting[n].Index <= at.index {
		n++
	}
	q.remove(n)
}

func (q *queue) remove(n int) {
	for i := range n {
		q.items -= q.waiting[i].items
		q.bytes -= q.waiting[i].bytes
		q.waiting[i] = told{}
	}
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
}

// state is what waits, since when, and what the journal's latest entry is.
func (q *queue) state() (items, bytes int, oldest time.Time, latest place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 {
		oldest = q.waiting[0].at
	}
	return q.items, q.bytes, oldest, q.latest
}

// overflows is how often all that waited was dropped.
func (q *queue) overflows() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.drops
}

// estimate is about how much memory what became durable keeps.
func estimate(d engine.Durable) int {
	n := 200 + 1000*len(d.Finished) + 300*len(d.Events)
	for _, m := range d.Finished {
		if d, ok := m.(*record.Deploy); ok {
			n += len(d.Spec)
		}
	}
	for _, p := range d.Events {
		n += len(p.Event.Message)
		if a := p.Event.Audit; a != nil {
			n += len(a.Before) + len(a.After)
		}
	}
	return n
}

// encode is how messages are stored: the same one always alike.
var encode = proto.MarshalOptions{Deterministic: true}
