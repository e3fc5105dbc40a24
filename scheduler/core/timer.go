package core

// ClockBehind says how far the wall clock is behind the time that core is
// stepped with, in ms, because it was set back. It holds until another is told,
// and comes first in a step. Crons go by the wall clock, all else by the time
// of the steps.
type ClockBehind struct{ By int64 }

func (ClockBehind) isEvent() {}

// wall is the wall clock's time, Unix ms, which may go back.
func (c *Core) wall() int64 { return c.now - c.behind }

// wake returns when the next timer or instant is due, 0 when none is set.
func (c *Core) wake() int64 {
	timer, instant := c.timers.next(), c.instants.next()
	if instant == 0 {
		return timer
	}
	if instant += c.behind; timer == 0 {
		return instant
	}
	return min(timer, instant)
}

// timerKind says what is to be looked at when a timer is due. A timer that is
// no longer needed is not taken out: what it finds when due decides.
type timerKind uint8

const (
	timerBackoff     timerKind = iota // task: its backoff is over
	timerKill                         // task: send KILL (again)
	timerReady                        // task: it may have run long enough to be ready
	timerUnreachable                  // task: it was unreachable for long enough
	timerConfirm                      // task: ask whether its launch arrived
	timerDeploy                       // job: something of its deploy is due
	timerTimed                        // job: a change is to be taken back
	timerOffers                       // none: offers, or calls about them, are due
	timerReconcile                    // none: ask for the tasks not heard of
	timerIdempotency                  // none: kept answers are a day old
	timerFinished                     // none: finished records are old enough to go
	timerCensus                       // none: more agents are to be told of
	timerSettle                       // none: a restored state has not settled
	timerKinds
)

type timer struct {
	at   int64
	seq  uint64 // ties are first in, first out
	kind timerKind
	task *task
	job  *job
}

// timers is a binary heap by (at, seq).
type timers struct {
	heap    []timer
	seq     uint64
	pending [timerKinds]int // by kind
}

func (h *timers) add(t timer) {
	h.seq++
	h.pending[t.kind]++
	t.seq = h.seq
	h.heap = append(h.heap, t)
	for i := len(h.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			break
		}
		h.heap[i], h.heap[parent] = h.heap[parent], h.heap[i]
		i = parent
	}
}

func (h *timers) less(i, j int) bool {
	a, b := &h.heap[i], &h.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// next returns when the first timer is due, 0 when there is none.
func (h *timers) next() int64 {
	if len(h.heap) == 0 {
		return 0
	}
	return h.heap[0].at
}

// pop removes and returns the first timer that is due.
func (h *timers) pop(now int64) (timer, bool) {
	if len(h.heap) == 0 || h.heap[0].at > now {
		return timer{}, false
	}
	first, last := h.heap[0], len(h.heap)-1
	h.pending[first.kind]--
	h.heap[0] = h.heap[last]
	h.heap[last] = timer{}
	h.heap = h.heap[:last]
	if most := cap(h.heap); most > 1024 && last < most/4 {
		h.heap = append(make([]timer, 0, most/2), h.heap...) // as after 100,000 launches
	}
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return first, true
		}
		h.heap[i], h.heap[least] = h.heap[least], h.heap[i]
		i = least
	}
}
