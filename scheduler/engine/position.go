package engine

import (
	"cmp"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// Compare says whether an event is before another of the same incarnation (-1),
// after it (1), or the same (0). Events of two incarnations have no order.
func (id EventID) Compare(other EventID) int {
	return cmp.Or(cmp.Compare(id.Index, other.Index), cmp.Compare(id.Ordinal, other.Ordinal))
}

// Before is a position that id is the first event after.
func (id EventID) Before() EventID {
	switch {
	case id.Ordinal > 0:
		id.Ordinal--
	case id.Index > 0:
		before := wholeEntry(id.Index - 1)
		id.Index, id.Ordinal = before.Index, before.Ordinal
	}
	return id
}

// Position is an id as records hold it.
func (id EventID) Position() *record.Position {
	return &record.Position{Incarnation: id.Incarnation, Index: id.Index, Ordinal: uint32(id.Ordinal)}
}

// IDAt is the id of the event at a position.
func IDAt(p *record.Position) EventID {
	return EventID{Incarnation: p.GetIncarnation(), Index: p.GetIndex(), Ordinal: int(p.GetOrdinal())}
}

// After returns the events after one that are kept and durable, oldest first, at
// most max of them; none when there are none yet. It never blocks, and fails with
// a *GoneError when some are no longer kept.
func (e *Engine) After(id EventID, max int) ([]Published, error) {
	events, _, err := e.events.since(id, max)
	return events, err
}

// Newest is the position of the newest durable event, or from which on events are
// kept when there is none.
func (e *Engine) Newest() EventID { return e.events.last() }
