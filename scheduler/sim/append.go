package sim

import (
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// appending is what one append is to make durable, and what waits for it.
type appending struct {
	entry   *entry
	readys  []core.Ready
	unknown bool // its answer was lost: it may be durable or not
}

// write begins the next append, or goes on with the one under way.
func (s *schedulerProcess) write() bool {
	switch {
	case s.append != nil && s.append.unknown:
		return s.resolve()
	case s.append != nil:
		return s.finish()
	case len(s.decided) == 0:
		return false
	}
	n := 1 + s.w.rng.IntN(len(s.decided))
	s.append = &appending{readys: s.decided[:n:n], entry: &entry{epoch: s.epoch, index: s.index + 1}}
	s.decided = s.decided[n:]
	s.append.entry.merge(s.append.readys)
	if len(s.append.entry.writes)+len(s.append.entry.events) == 0 {
		s.release(true)
	}
	return true
}

// merge takes the writes of a few steps, of a record the last, and their events.
func (e *entry) merge(readys []core.Ready) {
	at := map[string]int{}
	e.left = map[string]bool{}
	for _, r := range readys {
		e.events = append(e.events, r.Events...)
		for _, m := range r.Finished {
			e.left[record.KeyOf(m)] = true
		}
		for _, wr := range r.Writes {
			i, again := at[wr.Key]
			if !again {
				at[wr.Key] = len(e.writes)
				e.writes = append(e.writes, wr)
				continue
			}
			e.writes[i] = wr
		}
	}
}

// finish gives the append under way its outcome.
func (s *schedulerProcess) finish() bool {
	a := s.append
	if s.session.over && !s.cut && s.w.chance(2) {
		s.depose("its session expired, says the journal")
		return true
	}
	arrives := !s.cut
	if s.cut || s.w.answersLost() {
		arrives = s.w.chance(2)
		s.lose(a, arrives)
		return true
	}
	s.settle(s.w.journal.append(a.entry))
	return true
}

// lose has the answer of an append not come. It may have arrived, or not, or
// still do.
func (s *schedulerProcess) lose(a *appending, arrives bool) {
	w := s.w
	w.trace("scheduler %d: the outcome of entry %d is unknown", s.number, a.entry.index)
	a.unknown = true
	switch {
	case arrives:
		w.journal.append(a.entry)
	case w.chance(2):
		w.timers.add(w.now.Add(time.Duration(w.rng.IntN(10_000))*time.Millisecond), func() {
			there := w.journal.entries[a.entry.index] == a.entry
			// Fenced when another leads by then, or it is there.
			if w.journal.append(a.entry) == committed && !there {
				w.sees("unknown append arrives late")
			}
		})
	}
	w.users.lost(s)
	s.broken.outcomeUnknown(s, a)
}

// resolve reads what became of an append, and makes it again.
func (s *schedulerProcess) resolve() bool {
	switch {
	case s.cut:
		return false
	case s.session.over && s.w.chance(2):
		s.depose("its session expired while the outcome of an append was unknown")
		return true
	case s.w.chance(3):
		return true // not yet
	}
	if s.broken.retryBlindly(s) {
		return true
	}
	there := s.w.journal.entries[s.append.entry.index] == s.append.entry
	v := s.w.journal.append(s.append.entry)
	switch {
	case v == fenced:
		s.w.sees("unknown append was fenced by another leader")
	case there:
		s.w.sees("unknown append was durable")
	default:
		s.w.sees("unknown append was absent")
	}
	s.settle(v)
	return true
}

func (s *schedulerProcess) settle(v verdict) {
	if v == fenced {
		s.w.sees("leader is deposed by the fence")
		s.depose("it is fenced")
		return
	}
	s.index = s.append.entry.index
	s.written = append(s.written, stepAt{s.index, s.append.readys[len(s.append.readys)-1].Step})
	s.release(false)
}

// release lets be seen what waited for an append.
func (s *schedulerProcess) release(bare bool) {
	for _, r := range s.append.readys {
		for _, c := range r.Calls {
			s.calls = append(s.calls, queuedCall{c, bare || len(r.Writes) == 0})
		}
		s.replies = append(s.replies, r.Replies...)
		s.asks = append(s.asks, r.Asks...)
	}
	s.append = nil
}
