package webhook

import (
	"container/heap"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// entry is an event that a subscription is to be told of.
type entry struct {
	id       engine.EventID
	event    *record.Event
	size     int // in memory, about
	attempts uint32
	first    int64              // when the first attempt was made
	dead     *record.DeadLetter // that it is, being delivered once more
}

// sizeOf is about what an event takes in memory.
func sizeOf(e *record.Event) int {
	n := 400 + len(e.Type) + len(e.Job) + len(e.Task) + len(e.Run) + len(e.Agent) + len(e.Host) + len(e.State) + len(e.Reason) +
		len(e.Message) + len(e.Actor) + len(e.Object) + 4*len(e.Ports)
	if a := e.Audit; a != nil {
		n += 100 + len(a.Before) + len(a.After)
	}
	return n
}

// lane names a queue: events of one job go in their order. Dead letters that are
// delivered once more hold back none that are in their order.
type lane struct {
	job   string
	again bool
}

// queue is the events of one lane, of which the first is delivered before the
// next is tried.
type queue struct {
	lane
	entries  []*entry
	busy     bool
	failures uint32 // in a row
	since    int64  // when the first of them was; 0: none
	until    int64  // nothing is tried before
	err      string // of the last failure
	at       int    // in the heap of those that wait; -1: not there
}

func (q *queue) head() *entry { return q.entries[0] }

func (q *queue) drop() {
	q.entries[0] = nil
	q.entries = q.entries[1:]
}

// waiting is a heap of queues by when they may be tried again.
type waiting []*queue

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].until < w[j].until }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i]; w[i].at, w[j].at = i, j }
func (w *waiting) Push(x any)        { q := x.(*queue); q.at = len(*w); *w = append(*w, q) }
func (w *waiting) Pop() any {
	old := *w
	q := old[len(old)-1]
	old[len(old)-1], q.at = nil, -1
	*w = old[:len(old)-1]
	return q
}

func (w *waiting) add(q *queue)    { heap.Push(w, q) }
func (w *waiting) remove(q *queue) { heap.Remove(w, q.at) }
