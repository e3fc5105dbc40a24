package journal

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// Check reports whether group may be appended at p: ErrFenced for an older epoch, ErrRefused for
// anything else but nil. Sizes are checked by whoever encodes, with CheckSize.
func Check(group []*record.Entry, p Position) error {
	if len(group) == 0 {
		return Refused("the group has no entry")
	}
	for i, e := range group {
		switch {
		case e.GetEpoch() < p.Epoch:
			return fmt.Errorf("append at epoch %d, the journal is at %d: %w", e.GetEpoch(), p.Epoch, ErrFenced)
		case e.GetEpoch() > p.Epoch:
			return Refused("epoch %d was never won, the journal is at %d", e.GetEpoch(), p.Epoch)
		case e.GetIndex() != p.Index+uint64(i):
			return Refused("entry %d of the group has index %d where %d is next", i+1, e.GetIndex(), p.Index+uint64(i))
		case e.GetContinued() != (i < len(group)-1):
			return Refused("entry %d of %d of the group is wrongly marked continued=%v", i+1, len(group), e.GetContinued())
		}
	}
	return nil
}

// CheckSize refuses an encoded entry that some implementation could not hold.
func CheckSize(index uint64, bytes int) error {
	if bytes > MaxEntryBytes {
		return Refused("entry %d is %d bytes, at most %d are allowed: split it", index, bytes, MaxEntryBytes)
	}
	return nil
}

// Assembler turns entries, as stored, into whole groups. A group that its writer left open is
// discarded when an entry of a newer epoch follows, or when nothing does.
type Assembler struct {
	open []*record.Entry
	last Position // of the entry seen last
}

// Add takes the next stored entry and returns the group it completes, or nil. An error says that the
// entry cannot follow the one before: the storage is damaged.
func (a *Assembler) Add(e *record.Entry) ([]*record.Entry, error) {
	if a.last.Index > 0 && e.GetIndex() != a.last.Index+1 {
		return nil, fmt.Errorf("holds entry %d where %d is next", e.GetIndex(), a.last.Index+1)
	}
	if e.GetEpoch() < a.last.Epoch {
		return nil, fmt.Errorf("entry %d is of epoch %d, the one before it of epoch %d", e.GetIndex(), e.GetEpoch(), a.last.Epoch)
	}
	if e.GetEpoch() > a.last.Epoch {
		a.open = nil
	}
	a.last = Position{Epoch: e.GetEpoch(), Index: e.GetIndex()}
	a.open = append(a.open, e)
	if e.GetContinued() {
		return nil, nil
	}
	whole := a.open
	a.open = nil
	return whole, nil
}

// Last returns epoch and index of the entry added last, in a whole group or not.
func (a *Assembler) Last() Position { return a.last }

// entryOverhead bounds what an entry's own fields take: index, epoch, at, the event before; continued.
const entryOverhead = 5*(1+10) + 2

// Split cuts an entry into a group of entries of at most maxBytes encoded each, all but the last
// marked continued, with consecutive indices from the entry's own. Puts come before deletes and
// deletes before events, each in their order, so applying the parts is applying the entry. It fails
// when a single put, delete, event or finished record does not fit.
func Split(entry *record.Entry, maxBytes int) ([]*record.Entry, error) {
	if proto.Size(entry) <= maxBytes {
		whole := shallow(entry, entry.GetIndex())
		whole.EventBefore, whole.EventBeforeOrdinal = entry.GetEventBefore(), entry.GetEventBeforeOrdinal()
		whole.Puts, whole.Deletes, whole.Events = entry.GetPuts(), entry.GetDeletes(), entry.GetEvents()
		whole.Finished = entry.GetFinished()
		return []*record.Entry{whole}, nil
	}
	s := splitter{entry: entry, max: maxBytes}
	for _, p := range entry.GetPuts() {
		if err := s.room(proto.Size(p), "record %q", p.GetKey()); err != nil {
			return nil, err
		}
		s.part.Puts = append(s.part.Puts, p)
	}
	for _, k := range entry.GetDeletes() {
		if err := s.room(len(k), "deleted key %q", k); err != nil {
			return nil, err
		}
		s.part.Deletes = append(s.part.Deletes, k)
	}
	for i, ev := range entry.GetEvents() {
		if err := s.room(len(ev), "event %d", i); err != nil {
			return nil, err
		}
		s.part.Events = append(s.part.Events, ev)
	}
	for _, p := range entry.GetFinished() {
		if err := s.room(proto.Size(p), "finished record %q", p.GetKey()); err != nil {
			return nil, err
		}
		s.part.Finished = append(s.part.Finished, p)
	}
	return s.parts, nil
}

type splitter struct {
	entry *record.Entry
	max   int
	parts []*record.Entry
	part  *record.Entry // the last of parts
	used  int           // bytes of part, encoded
}

// room makes sure that a field of n bytes fits into the current part, starting a new one if needed.
func (s *splitter) room(n int, what string, args ...any) error {
	n = 1 + protowire.SizeBytes(n)
	if entryOverhead+n > s.max {
		return Refused("%s takes %d bytes, an entry has %d", fmt.Sprintf(what, args...), n, s.max-entryOverhead)
	}
	if s.part != nil && s.used+n <= s.max {
		s.used += n
		return nil
	}
	if s.part != nil {
		s.part.Continued = true
	}
	s.part = shallow(s.entry, s.entry.GetIndex()+uint64(len(s.parts)))
	if len(s.parts) == 0 {
		s.part.EventBefore, s.part.EventBeforeOrdinal = s.entry.GetEventBefore(), s.entry.GetEventBeforeOrdinal()
	}
	s.parts = append(s.parts, s.part)
	s.used = entryOverhead + n
	return nil
}

func shallow(e *record.Entry, index uint64) *record.Entry {
	return &record.Entry{Index: index, Epoch: e.GetEpoch(), At: e.GetAt()}
}
