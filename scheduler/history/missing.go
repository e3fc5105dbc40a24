package history

import "github.com/perigee-sched/perigee/scheduler/engine"

// missing are events that were dropped, by entry of the journal: whether they are
// lost turns out when what the scheduler still holds is stored.
type missing struct {
	incarnation string
	entries     []eventsIn // in their order
}

// eventsIn is how many events an entry has.
type eventsIn struct {
	index  uint64
	events int
}

// missingMost bounds the entries that are told apart. Beyond it each two that
// follow each other count as one.
const missingMost = 100_000

// add counts events in their order. Those of an entry that was counted are passed
// by: it was told twice.
func (m *missing) add(events []engine.Published) {
	last := m.last()
	for _, p := range events {
		if p.ID.Incarnation != m.incarnation {
			*m, last = missing{incarnation: p.ID.Incarnation}, 0 // a restore: the process began anew, too
		}
		if p.ID.Index <= last {
			continue
		}
		if n := len(m.entries); n > 0 && m.entries[n-1].index == p.ID.Index {
			m.entries[n-1].events++
			continue
		}
		if len(m.entries) >= missingMost {
			m.coarsen()
		}
		m.entries = append(m.entries, eventsIn{p.ID.Index, 1})
	}
}

func (m *missing) last() uint64 {
	if len(m.entries) == 0 {
		return 0
	}
	return m.entries[len(m.entries)-1].index
}

func (m *missing) coarsen() {
	half := m.entries[:0]
	for i := 0; i+1 < len(m.entries); i += 2 {
		half = append(half, eventsIn{m.entries[i+1].index, m.entries[i].events + m.entries[i+1].events})
	}
	m.entries = half
}

// join counts what is missing of others, which come later, too.
func (m *missing) join(other missing) {
	if len(other.entries) > 0 && other.incarnation != m.incarnation {
		*m = missing{incarnation: other.incarnation}
	}
	last := m.last()
	for _, e := range other.entries {
		if e.index > last {
			m.entries = append(m.entries, e)
		}
	}
}

// between is how many are after one event and up to another.
func (m *missing) between(after, through engine.EventID) int {
	n := 0
	for _, e := range m.entries {
		first, end := 0, e.events // ordinals
		if e.index < after.Index || e.index > through.Index {
			continue
		}
		if e.index == after.Index {
			first = after.Ordinal + 1
		}
		if e.index == through.Index {
			end = min(end, through.Ordinal+1)
		}
		n += max(0, end-first)
	}
	return n
}
