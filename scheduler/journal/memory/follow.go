package memory

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// reading is how far a journal was passed to an Applier.
type reading struct {
	begun    bool
	next     uint64 // entry to read
	included uint64 // index of the snapshot whose records were passed
	groups   journal.Assembler
}

// Follow implements journal.Follower.
func (j *Journal) Follow(ctx context.Context, apply journal.Applier) (err error) {
	j.reading = reading{}
	defer func() {
		if ctx.Err() == nil {
			j.reading = reading{} // what was passed is of no use
		}
	}()
	for {
		changed, err := j.readOn(ctx, apply)
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readOn passes what is new, and returns a channel that is closed when there is more.
func (j *Journal) readOn(ctx context.Context, apply journal.Applier) (<-chan struct{}, error) {
	s := j.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return nil, err
	}
	if s.away {
		return nil, errAway
	}
	first := !j.reading.begun
	if err := s.read(&j.reading, apply); err != nil {
		return nil, err
	}
	if reader, ok := apply.(journal.Reader); ok && first {
		if err := reader.Reached(s.next() - 1); err != nil {
			return nil, err
		}
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed, nil
}

// read passes what r has not seen.
func (s *Storage) read(r *reading, apply journal.Applier) error {
	if !r.begun {
		if err := s.readRecords(r, apply); err != nil {
			return err
		}
		r.begun = true
	}
	if r.next < s.first {
		return journal.ErrBehind
	}
	for ; r.next < s.next(); r.next++ {
		e := new(record.Entry)
		if err := proto.Unmarshal(s.entries[r.next-s.first], e); err != nil {
			return err
		}
		group, err := r.groups.Add(e)
		if err != nil {
			return &journal.CorruptError{File: "memory", Reason: err.Error()}
		}
		switch {
		case group == nil:
		case e.GetIndex() <= r.included:
			err = apply.Past(group)
		default:
			err = apply.Apply(group)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readRecords passes the newest snapshot, and says which entries are to follow: those after the older
// of two.
func (s *Storage) readRecords(r *reading, apply journal.Applier) error {
	snap, ok := s.current()
	if !ok {
		return &journal.CorruptError{File: "memory", Reason: "both snapshots are damaged"}
	}
	r.next = max(s.first, 1)
	if len(s.snapshots) == 2 {
		r.next = s.snapshots[1].index + 1
	}
	if snap == nil {
		return nil
	}
	r.included = snap.index
	for i, key := range snap.keys {
		if err := apply.Record(key, snap.values[i]); err != nil {
			return err
		}
	}
	return nil
}

var _ journal.Follower = (*Journal)(nil)
