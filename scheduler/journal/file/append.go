package file

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Append implements journal.Journal. A full or failing disk is ErrUnknown.
func (j *Journal) Append(ctx context.Context, group []*record.Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return err
	}
	if j.pending != nil {
		return journal.Unknown(errors.New("an earlier append is not resolved"))
	}
	if !j.leading {
		return journal.Refused("lead first")
	}
	if err := journal.Check(group, j.at); err != nil {
		return err
	}
	if err := j.encode(group); err != nil {
		return err
	}
	if err := j.write(group); err != nil {
		j.pending = make([]*record.Entry, len(group))
		for i, e := range group {
			j.pending[i] = proto.CloneOf(e)
		}
		return journal.Unknown(err)
	}
	return nil
}

func (j *Journal) last() *segment { return j.segments[len(j.segments)-1] }

// keepBuffer is how big a buffer is worth keeping between appends.
const keepBuffer = 4 << 20

// encode puts the group's frame for the current segment into buf.
func (j *Journal) encode(group []*record.Entry) error {
	if cap(j.buf) > keepBuffer {
		j.buf = nil
	}
	var err error
	j.buf, err = appendFrame(j.buf[:0], j.last().salt, group)
	return err
}

// write makes the encoded group durable at the end of the log. It leaves everything as it was when
// it fails, but for bytes after the end of the segment.
func (j *Journal) write(group []*record.Entry) error {
	if j.last().end >= j.segmentBytes {
		if err := j.rotate(); err != nil {
			return err
		}
		if err := j.encode(group); err != nil { // the salt is another
			return err
		}
	}
	s := j.last()
	if _, err := j.active.WriteAt(j.buf, s.end); err != nil {
		return err
	}
	if err := j.active.Sync(); err != nil {
		j.suspect = true
		return err
	}
	s.end += int64(len(j.buf))
	j.at.Index += uint64(len(group))
	j.size.add(j.at.Index-1, int64(len(j.buf)))
	j.saveMark()
	j.publishStat()
	return nil
}

// rotate goes on in a new segment.
func (j *Journal) rotate() error {
	s, active, err := createSegment(j.disk, j.dir, j.last().number+1, j.at.Index)
	if err != nil {
		return err
	}
	_ = j.active.Close() // all of it is synced
	j.active = active
	j.segments = append(j.segments, s)
	return nil
}

// Resolve implements journal.Journal.
func (j *Journal) Resolve(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return err
	}
	if j.pending == nil {
		return nil
	}
	if err := j.rewrite(); err != nil {
		return journal.Unknown(err)
	}
	j.pending = nil
	return nil
}

// rewrite removes what is there of the pending group and writes it again: nobody else writes here,
// so it was not committed by this journal, and committing it once more is committing it once.
func (j *Journal) rewrite() error {
	if err := j.active.Truncate(j.last().end); err != nil {
		return fmt.Errorf("cut off the failed write: %w", err)
	}
	if j.suspect {
		if err := j.active.Sync(); err != nil {
			return fmt.Errorf("cut off the failed write: %w", err)
		}
		if err := j.rotate(); err != nil {
			return err
		}
		j.suspect = false
	}
	if err := j.encode(j.pending); err != nil {
		return err
	}
	return j.write(j.pending)
}
