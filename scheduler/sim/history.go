package sim

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// histories are the schedulers': each takes in what it reads of the journal,
// with a lag, and stands still now and then. They draw from a source of their
// own, so that they change nothing of what a step draws.
type histories struct {
	w     *world
	rng   *rand.Rand
	moved time.Time

	ended map[string]uint64 // finished records that are durable: the entry with their last version
}

// history is one scheduler's. It outlives the process.
type history struct {
	through uint64    // index of the entry up to which it has everything
	stands  time.Time // until then
}

// stepAt is the last step of the core that is in an entry.
type stepAt struct{ index, step uint64 }

const (
	historiesEvery = 2 * time.Second
	finishedKeep   = 500
	finishedFor    = 10 * time.Minute
)

func newHistories(w *world) *histories {
	return &histories{w: w, rng: rand.New(rand.NewPCG(w.opts.Seed, 1<<63)), ended: map[string]uint64{}}
}

// move has histories go on, and who leads hear of it.
func (h *histories) move() {
	w := h.w
	if w.now.Sub(h.moved) < historiesEvery {
		return
	}
	h.moved = w.now
	for _, s := range w.schedulers {
		switch own := &s.history; {
		case !s.runs() || s.cut:
		case w.calm:
			own.through = w.journal.index
		case own.stands.After(w.now):
		case h.rng.IntN(40) == 0:
			own.stands = w.now.Add(time.Duration(h.rng.IntN(600)) * time.Second)
			w.sees("history stands still")
		default:
			own.through = max(own.through, w.journal.index-min(w.journal.index, uint64(h.rng.IntN(4))))
		}
	}
	for _, s := range w.schedulers {
		if s.up && s.core != nil {
			s.happens(func() {
				if s.core != nil {
					s.inbox = append(s.inbox, h.asKnownTo(s))
				}
			})
		}
	}
}

// asKnownTo is what a leader knows of all histories.
func (h *histories) asKnownTo(leader *schedulerProcess) core.Histories {
	var out core.Histories
	for _, s := range h.w.schedulers {
		if !s.up {
			continue
		}
		i := sort.Search(len(leader.written), func(i int) bool { return leader.written[i].index > s.history.through })
		at := core.HistoryAt{Address: s.address(), Through: s.history.through}
		if h.w.opts.Mutant == MutantHistoryAhead {
			i = len(leader.written)
		}
		if i > 0 {
			at.Step = leader.written[i-1].step
		}
		out.Live = append(out.Live, at)
	}
	return out
}

func (s *schedulerProcess) address() string { return fmt.Sprint("s", s.number) }

func finished(m core.Record) bool {
	switch m := m.(type) {
	case *record.Task:
		return m.State.Terminal()
	case *record.Run:
		return m.State.Terminal()
	}
	return false
}

// finishedWritten: a finished record goes when every history that is known has
// it, or is left to them by the entry that deletes it, or there are too many.
func (c *checks) finishedWritten(key string, before, after core.Record) {
	h, j := c.w.histories, c.w.journal
	switch {
	case finished(after):
		h.ended[key] = j.index
		return
	case after != nil || !finished(before):
		return
	}
	at := h.ended[key]
	delete(h.ended, key)
	if j.entries[j.index].left[key] {
		c.w.sees("finished record left to history")
		return
	}
	c.w.sees("finished record goes")
	if len(h.ended) >= finishedKeep {
		return
	}
	for _, s := range c.w.schedulers {
		if r, known := j.decoded[record.RecorderKey(s.address())].(*record.Recorder); known && s.history.through < at {
			c.fail("finished work is kept until every history has it: %s, of entry %d, goes with entry %d, and the history of %s, seen at %v, has everything up to %d",
				key, at, j.index, s.address(), millis(r.SeenAt), s.history.through)
		}
	}
}

// finishedAtRest: what is finished does not stay for ever.
func (c *checks) finishedAtRest() {
	s := c.w.leader()
	if s == nil || c.w.saw["takeover with a clock behind"] > 0 {
		return // what ended by a clock that was ahead goes later, and with it what is behind it
	}
	before := s.coreAt - (finishedFor + 3*time.Minute).Milliseconds()
	for key := range c.w.histories.ended {
		var job string
		var end int64
		switch m := c.w.journal.decoded[key].(type) {
		case *record.Task:
			job, end = m.Job, m.EndedAt
		case *record.Run:
			job, end = m.Job, m.EndedAt
		}
		if end < before && c.w.journal.rollout(job) == nil {
			c.fail("finished work leaves: %s ended at %v, all histories have it, and it is still there at %v", key, millis(end), millis(s.coreAt))
		}
	}
}
