package memory

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Journal is one scheduler's use of a Storage. It implements journal.Follower.
type Journal struct {
	storage *Storage
	reading reading
	at      journal.Position
	leading bool
	closed  bool
	pending []*record.Entry // of unknown outcome
}

// Lead implements journal.Journal.
func (j *Journal) Lead(ctx context.Context, apply journal.Applier) (journal.Position, error) {
	s := j.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return journal.Position{}, err
	}
	if s.away {
		return journal.Position{}, errAway
	}
	j.leading, j.pending = false, nil
	s.epoch++
	if err := s.read(&j.reading, apply); errors.Is(err, journal.ErrBehind) {
		j.reading = reading{}
		err = s.read(&j.reading, apply)
		if err != nil {
			return journal.Position{}, err
		}
	} else if err != nil {
		return journal.Position{}, err
	}
	j.reading = reading{} // what is appended from here on is not read
	j.at, j.leading = journal.Position{Epoch: s.epoch, Index: s.next()}, true
	return j.at, nil
}

// Append implements journal.Journal.
func (j *Journal) Append(ctx context.Context, group []*record.Entry) error {
	s := j.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return err
	}
	if j.pending != nil {
		return journal.Unknown(errors.New("an earlier append is not resolved"))
	}
	if !j.leading {
		return journal.Refused("lead first")
	}
	if s.epoch > j.at.Epoch {
		return fmt.Errorf("append at epoch %d, the journal is at %d: %w", j.at.Epoch, s.epoch, journal.ErrFenced)
	}
	if err := journal.Check(group, j.at); err != nil {
		return err
	}
	copied := make([]*record.Entry, len(group))
	for i, e := range group {
		if err := journal.CheckSize(e.GetIndex(), proto.Size(e)); err != nil {
			return err
		}
		copied[i] = proto.CloneOf(e)
	}
	return j.write(copied)
}

func (j *Journal) write(group []*record.Entry) error {
	s := j.storage
	if s.away {
		j.pending = group
		return journal.Unknown(errAway)
	}
	outcome := Commits
	if s.outcome != nil {
		outcome = s.outcome(group)
	}
	if outcome != LosesWrite {
		if err := s.store(group); err != nil {
			return journal.Unknown(err)
		}
	}
	if outcome != Commits {
		j.pending = group
		return journal.Unknown(errors.New("the answer was lost"))
	}
	j.pending = nil
	j.at.Index = s.next()
	return nil
}

// Resolve implements journal.Journal.
func (j *Journal) Resolve(ctx context.Context) error {
	s := j.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return err
	}
	if j.pending == nil {
		return nil
	}
	if s.away {
		return journal.Unknown(errAway)
	}
	end := j.pending[len(j.pending)-1].GetIndex()
	if s.next() > end && s.epochAt(end) == j.at.Epoch {
		j.pending, j.at.Index = nil, end+1
		return nil
	}
	if s.epoch > j.at.Epoch {
		return fmt.Errorf("resolve at epoch %d, the journal is at %d: %w", j.at.Epoch, s.epoch, journal.ErrFenced)
	}
	return j.write(j.pending)
}

// epochAt returns the epoch of a stored entry, 0 when it is gone.
func (s *Storage) epochAt(index uint64) uint64 {
	var e record.Entry
	if index < s.first || proto.Unmarshal(s.entries[index-s.first], &e) != nil {
		return 0
	}
	return e.GetEpoch()
}

// Compact implements journal.Journal.
func (j *Journal) Compact(ctx context.Context, src journal.Source) error {
	snap := &snapshot{index: src.Index()}
	for key, value := range src.Records("") {
		if ctx.Err() != nil {
			return fmt.Errorf("compact: %w", ctx.Err())
		}
		if n := len(snap.keys); n > 0 && snap.keys[n-1] >= key {
			return fmt.Errorf("compact: key %q comes after %q", key, snap.keys[n-1])
		}
		snap.keys = append(snap.keys, key)
		snap.values = append(snap.values, append([]byte(nil), value...))
		snap.bytes += int64(len(key) + len(value))
	}
	s := j.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return err
	}
	switch {
	case !j.leading:
		return errors.New("compact: lead first")
	case s.away:
		return fmt.Errorf("compact: %w", errAway)
	case s.epoch > j.at.Epoch:
		return fmt.Errorf("compact: %w", journal.ErrFenced)
	case snap.index >= j.at.Index:
		return fmt.Errorf("compact: the view is of entry %d, the last durable one is %d", snap.index, j.at.Index-1)
	case len(s.snapshots) > 0 && snap.index <= s.snapshots[0].index, snap.index == 0:
		return nil
	}
	if len(s.snapshots) > 0 && s.snapshots[0].damaged {
		s.snapshots = s.snapshots[1:]
	}
	s.snapshots = append([]*snapshot{snap}, s.snapshots...)
	s.snapshots = s.snapshots[:min(len(s.snapshots), 2)]
	if len(s.snapshots) == 2 {
		s.keep(s.snapshots[1].index)
	}
	return nil
}

// Stat implements journal.Journal.
func (j *Journal) Stat() journal.Stat {
	s := j.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	st := journal.Stat{Index: s.next() - 1}
	if len(s.snapshots) > 0 {
		st.Snapshot, st.SnapshotBytes = s.snapshots[0].index, s.snapshots[0].bytes
	}
	for i, b := range s.entries {
		if s.first+uint64(i) > st.Snapshot {
			st.LogBytes += int64(len(b))
		}
	}
	return st
}

// Close implements journal.Journal.
func (j *Journal) Close() error {
	j.storage.mu.Lock()
	defer j.storage.mu.Unlock()
	j.closed = true
	return nil
}

func (j *Journal) usable(ctx context.Context) error {
	if j.closed {
		return journal.ErrClosed
	}
	return ctx.Err()
}
