package sim

import (
	"container/heap"
	"runtime/debug"
	"time"
)

// timers is what the simulated parts want done later.
type timers struct {
	list timerHeap
	seq  int
}

type timer struct {
	at  time.Time
	seq int
	do  func()
}

type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	*h = (*h)[:last]
	return t
}

func (t *timers) add(at time.Time, do func()) {
	t.seq++
	heap.Push(&t.list, timer{at, t.seq, do})
}

func (t *timers) next() time.Time {
	if len(t.list) == 0 {
		return time.Time{}
	}
	return t.list[0].at
}

func (t *timers) fire(now time.Time) {
	for len(t.list) > 0 && !t.list[0].at.After(now) {
		heap.Pop(&t.list).(timer).do()
	}
}

func stack() []byte { return debug.Stack() }
