package sim

import (
	"slices"
	"time"
)

// election is the lock service: who holds the oldest open session leads. It
// hears of a scheduler while that runs and reaches it, and ends the session of
// one that it has not heard of for too long.
type election struct {
	w     *world
	queue []*session // open, in the order of candidacy
}

type session struct {
	of    *schedulerProcess
	heard time.Time
	over  bool
}

// sessionLasts after the service last heard of its owner.
const sessionLasts = 6 * time.Second

func (e *election) join(s *schedulerProcess) *session {
	x := &session{of: s, heard: e.w.now}
	e.queue = append(e.queue, x)
	s.renewed = s.mono()
	return x
}

func (e *election) first() *session {
	if len(e.queue) == 0 {
		return nil
	}
	return e.queue[0]
}

func (e *election) close(x *session) {
	if x != nil && !x.over {
		x.over = true
		e.queue = slices.DeleteFunc(e.queue, func(o *session) bool { return o == x })
	}
}

// tick hears of those that can be heard, and ends the sessions of the others
// when it is time.
func (e *election) tick() {
	for _, s := range e.w.schedulers {
		if x := s.session; x != nil && !x.over && s.runs() && !s.cut {
			x.heard, s.renewed = e.w.now, s.mono()
		}
	}
	for _, x := range slices.Clone(e.queue) {
		if e.w.now.Sub(x.heard) > sessionLasts {
			e.w.trace("the session of scheduler %d expires", x.of.number)
			if x.of.up && x.of.core != nil {
				e.w.sees("leader's session expires")
			}
			e.close(x)
			x.of.learnLater()
		}
	}
}

// next is when a session expires if nothing is heard of its owner.
func (e *election) next() time.Time {
	var at time.Time
	for _, x := range e.queue {
		if due := x.heard.Add(sessionLasts + time.Millisecond); at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at
}
