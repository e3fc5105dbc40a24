package model

import (
	"container/heap"
	"time"
)

// timer is one thing to do at a time. Those of one time fire in the order in
// which they were set.
type timer struct {
	at    time.Time
	seq   uint64
	fire  func()
	index int // in the heap; -1 once fired or stopped
}

type timers struct {
	heap timerHeap
	seq  uint64
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

// after sets a timer relative to the present step.
func (m *Model) after(d time.Duration, fire func()) *timer {
	return m.at(m.now.Add(d), fire)
}

func (m *Model) at(at time.Time, fire func()) *timer {
	m.timers.seq++
	t := &timer{at: at, seq: m.timers.seq, fire: fire}
	heap.Push(&m.timers.heap, t)
	return t
}

// stop takes nil and timers that have fired.
func (m *Model) stop(t *timer) {
	if t != nil && t.index >= 0 {
		heap.Remove(&m.timers.heap, t.index)
		t.index = -1
	}
}

// fireDue fires what is due, timers that firing sets included.
func (m *Model) fireDue() {
	for len(m.timers.heap) > 0 && !m.timers.heap[0].at.After(m.now) {
		t := heap.Pop(&m.timers.heap).(*timer)
		t.fire()
		m.deliver()
	}
}
