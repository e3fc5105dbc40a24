package webhook

import (
	"container/heap"
	"time"
)

// leadAgain is how soon to look again when it cannot be told who leads.
const leadAgain = 100 * time.Millisecond

// sleep is how long there is nothing to do unless something happens.
func (l *leading) sleep(now time.Time) time.Duration {
	if len(l.look) > 0 {
		return leadAgain
	}
	due := earlier(l.saveDue(), l.countAt)
	if len(l.wakes) > 0 {
		due = earlier(due, l.wakes[0].part.wake)
	}
	if due == 0 || due > now.UnixMilli()+time.Hour.Milliseconds() {
		return time.Hour
	}
	return max(0, time.Duration(due-now.UnixMilli())*time.Millisecond)
}

// earlier of two times, of which 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// wakeAt has a subscription looked at when it may have something to do.
func (l *leading) wakeAt(s *subscription, now int64) {
	wake := int64(0)
	if !s.part.blocked {
		wake = s.wake()
	}
	if what, at := s.toRead(now); what != nothing && !s.part.unread {
		wake = earlier(wake, max(1, at))
	}
	switch {
	case wake == 0 && s.part.at >= 0:
		heap.Remove(&l.wakes, s.part.at)
	case wake != 0:
		s.part.wake = wake
		if s.part.at >= 0 {
			heap.Fix(&l.wakes, s.part.at)
		} else {
			heap.Push(&l.wakes, s)
		}
	}
}

// wakes is a heap of subscriptions by when they are to be looked at.
type wakes []*subscription

func (w wakes) Len() int           { return len(w) }
func (w wakes) Less(i, j int) bool { return w[i].part.wake < w[j].part.wake }
func (w wakes) Swap(i, j int)      { w[i], w[j] = w[j], w[i]; w[i].part.at, w[j].part.at = i, j }
func (w *wakes) Push(x any) {
	s := x.(*subscription)
	s.part.at = len(*w)
	*w = append(*w, s)
}
func (w *wakes) Pop() any {
	old := *w
	s := old[len(old)-1]
	old[len(old)-1], s.part.at = nil, -1
	*w = old[:len(old)-1]
	return s
}
