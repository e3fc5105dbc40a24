package core

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// Histories tells how far the histories of the schedulers that live are. It is
// told when that changes, at most once a second, and now and then when it does
// not.
type Histories struct {
	Live []HistoryAt
	// Shared says that it is one history for all schedulers, and that others
	// that were known no longer count.
	Shared bool
}

// HistoryAt is how far one scheduler's history is.
type HistoryAt struct {
	Address string // of the scheduler
	Through uint64 // index of the journal's entry up to which it has everything
	Step    uint64 // and that entry's last step; loadStep for what was loaded, 0 for less
}

func (Histories) isEvent() {}

// HistoryLoaded is the step of a history that has what was loaded.
const HistoryLoaded = loadStep

// histories are those that finished records are kept for.
type histories struct {
	known []*history // by address
}

type history struct {
	rec  *record.Recorder
	step uint64
	live bool
}

const (
	// awaitHistory is how long a scheduler that no longer lives is waited for, ms.
	awaitHistory = 24 * 60 * 60 * 1000
	// seenEvery is how often it is written down that one lives, ms.
	seenEvery = 60 * 60 * 1000
)

func (h *histories) find(address string) (int, bool) {
	return slices.BinarySearchFunc(h.known, address, func(k *history, a string) int { return cmp.Compare(k.rec.Address, a) })
}

func (h *histories) load(rec *record.Recorder) {
	i, _ := h.find(rec.Address)
	h.known = slices.Insert(h.known, i, &history{rec: rec})
}

// historiesTold takes in how far histories are, and lets go of what all have.
// What is known of them is written only when it lets something go, or is new or
// old: an entry for each move of theirs would move them again.
func (c *Core) historiesTold(e Histories) {
	h := &c.histories
	for _, k := range h.known {
		k.live = false
	}
	var changed []*history
	for _, at := range e.Live {
		i, known := h.find(at.Address)
		if !known {
			k := &history{rec: &record.Recorder{Address: at.Address}}
			h.known = slices.Insert(h.known, i, k)
		}
		k := h.known[i]
		k.live, k.step = true, at.Step
		if k.rec.Through != at.Through || c.now-k.rec.SeenAt >= seenEvery {
			next := proto.CloneOf(k.rec)
			next.Through, next.SeenAt = at.Through, c.now
			if !known || c.now-k.rec.SeenAt >= seenEvery {
				c.writeRecorder(next)
			} else {
				changed = append(changed, k)
			}
			k.rec = next
		}
	}
	h.known = slices.DeleteFunc(h.known, func(k *history) bool {
		gone := !k.live && (e.Shared || c.now-k.rec.SeenAt > awaitHistory)
		if gone {
			c.delete(record.RecorderKey(k.rec.Address))
		}
		return gone
	})
	if c.recordedThrough(h.through()) {
		for _, k := range changed {
			c.writeRecorder(k.rec)
		}
	}
}

// through is the step up to which all histories have everything.
func (h *histories) through() uint64 {
	if len(h.known) == 0 {
		return 0
	}
	least := slices.MinFunc(h.known, func(a, b *history) int { return cmp.Compare(a.step, b.step) })
	return least.step
}

func (c *Core) writeRecorder(rec *record.Recorder) {
	c.write(record.RecorderKey(rec.Address), func() Record { return rec })
}

// recordedThrough notes that all histories have what ended up to a step, and
// says whether that was news of any record.
func (c *Core) recordedThrough(step uint64) bool {
	r := &c.retention
	if step <= r.through {
		return false
	}
	r.through = step
	n := markRecorded(&r.tasks, step, c.dropTask)
	n += markRecorded(&r.runs, step, c.dropRun)
	return n > 0
}
