package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Lead implements journal.Journal. It reads everything from disk, also when this process wrote it.
func (j *Journal) Lead(ctx context.Context, apply journal.Applier) (journal.Position, error) {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return journal.Position{}, err
	}
	if err := j.lead(ctx, apply); err != nil {
		_ = j.release()
		return journal.Position{}, fmt.Errorf("lead journal %s: %w", j.dir, err)
	}
	j.leading = true
	j.publishStat()
	return j.at, nil
}

func (j *Journal) usable(ctx context.Context) error {
	if j.closed {
		return journal.ErrClosed
	}
	return ctx.Err()
}

func (j *Journal) lead(ctx context.Context, apply journal.Applier) error {
	_ = j.release() // a failed close tells nothing that the reading below does not
	j.pending, j.suspect, j.size, j.segments = nil, false, logSize{}, nil
	epoch, err := readEpoch(j.dir)
	if err != nil {
		return err
	}
	onDisk, err := readManifest(j.dir)
	if err != nil {
		return err
	}
	j.manifest = onDisk
	r, err := j.readRecords(ctx, apply)
	if err != nil {
		return err
	}
	next, last, err := j.readLog(ctx, r)
	if err != nil {
		return err
	}
	if err := j.settle(last, next); err != nil {
		return err
	}
	j.at = journal.Position{Epoch: max(epoch, r.groups.Last().Epoch) + 1, Index: next}
	if err := writeEpoch(j.disk, j.dir, j.at.Epoch); err != nil {
		return err
	}
	j.saveMark()
	return j.tidy(onDisk)
}

// replay sorts groups by whether the records passed before include them.
type replay struct {
	apply    journal.Applier
	groups   journal.Assembler
	included uint64 // index of the snapshot that was passed
	needed   uint64 // first entry that any snapshot needs
}

// readRecords passes the newest snapshot that can be read. An older one serves as well, since the
// entries after it are kept.
func (j *Journal) readRecords(ctx context.Context, apply journal.Applier) (*replay, error) {
	r := &replay{apply: apply, needed: j.manifest.needed()}
	var problem error
	for len(j.manifest.Snapshots) > 0 {
		ref := j.manifest.Snapshots[0]
		err := readSnapshot(ctx, j.dir, ref, apply.Record)
		if err == nil {
			r.included = ref.Index
			return r, nil
		}
		var passed *passError
		if ctx.Err() != nil || errors.As(err, &passed) {
			return nil, err
		}
		if problem == nil {
			problem = err
		}
		j.log.Warn("a snapshot is damaged; the one before it and the log give the same state", "error", err)
		j.manifest.Snapshots = j.manifest.Snapshots[1:]
	}
	if r.needed > 1 {
		return nil, problem
	}
	return r, nil
}

// lastRead is what Lead keeps of the last segment's content.
type lastRead struct {
	data []byte
	torn bool
	sure int64 // offset up to which appends were acknowledged, as far as the mark tells
}

// readLog passes all groups of the log and returns the index after the last entry.
func (j *Journal) readLog(ctx context.Context, r *replay) (next uint64, last lastRead, err error) {
	paths, err := list(j.dir, segmentPattern)
	if err != nil {
		return 0, last, err
	}
	if len(paths) == 0 {
		return 0, last, corrupt(filepath.Join(j.dir, segmentPattern), 0, "there is no log segment")
	}
	m := readMark(j.dir)
	for i, path := range paths {
		if ctx.Err() != nil {
			return 0, last, ctx.Err()
		}
		s, data, err := readSegment(path)
		if err != nil {
			return 0, last, err
		}
		if err := j.follows(s, next, r.needed); err != nil {
			return 0, last, err
		}
		next, err = s.scan(data, func(f frame) error { return j.passFrame(f, s, r) })
		j.segments = append(j.segments, s)
		var torn *tornError
		if errors.As(err, &torn) && i == len(paths)-1 {
			last.torn, err = true, nil
		} else if torn != nil {
			err = corrupt(path, s.end, "%v, and another segment follows", torn)
		}
		if err != nil {
			return 0, last, err
		}
		last.data = data
	}
	s := j.segments[len(j.segments)-1]
	if last.sure, err = m.check(s, next); err != nil {
		return 0, last, err
	}
	return next, last, nil
}

// follows checks that nothing needed is missing before a segment. What is not needed may be: a power
// cut can undo some of its removals and not others.
func (j *Journal) follows(s *segment, next, needed uint64) error {
	switch {
	case next == 0 && s.base > needed:
		return corrupt(s.path, 0, "is the first log segment and starts with entry %d, but entry %d is needed", s.base, needed)
	case next != 0 && s.base != next && (s.base > needed || s.base < next):
		return corrupt(s.path, 0, "starts with entry %d where entry %d is next: a log segment is missing", s.base, next)
	}
	return nil
}

func (j *Journal) passFrame(f frame, s *segment, r *replay) error {
	if f.end() <= r.needed {
		return nil // kept only because it shares a file with others
	}
	if f.end() > r.included+1 {
		j.size.add(f.end()-1, int64(f.size))
	}
	var refused error
	err := f.decode(func(e *record.Entry) error {
		group, err := r.groups.Add(e)
		if err != nil || group == nil {
			return err
		}
		if e.GetIndex() <= r.included {
			refused = r.apply.Past(group)
		} else {
			refused = r.apply.Apply(group)
		}
		return refused
	})
	if err != nil && refused == nil {
		return corrupt(s.path, s.end, "%v", err)
	}
	return refused
}

// check compares what was read with what was acknowledged, and returns how far the last segment was.
func (m mark) check(last *segment, next uint64) (sure int64, err error) {
	switch {
	case m.segment > last.number:
		return 0, corrupt(last.path, last.end, "entries up to %d were acknowledged, and log segment %d, which has them, is missing", m.next-1, m.segment)
	case m.segment == last.number && int64(m.offset) > last.end, m.next > next:
		return 0, corrupt(last.path, last.end, "entries up to %d were acknowledged, but nothing after entry %d can be read", m.next-1, next-1)
	case m.segment < last.number:
		return segmentHeaderBytes, nil
	}
	return int64(m.offset), nil
}

// settle cuts a torn write off and makes durable what was read. Groups that are not known to be
// acknowledged were perhaps seen in the page cache only, where a sync that failed in an earlier
// process may have left them as if clean: writing them once more makes the sync below count.
func (j *Journal) settle(last lastRead, next uint64) error {
	s := j.segments[len(j.segments)-1]
	var err error
	if j.active, err = j.disk.open(s.path, os.O_WRONLY); err != nil {
		return err
	}
	if last.torn {
		j.log.Warn("the last write to the journal was never completed nor acknowledged, and is cut off",
			"file", s.path, "offset", s.end, "bytes", int64(len(last.data))-s.end)
		if err := j.active.Truncate(s.end); err != nil {
			return err
		}
	}
	if s.end > last.sure {
		if _, err := j.active.WriteAt(last.data[last.sure:s.end], last.sure); err != nil {
			return err
		}
	}
	if last.torn || s.end > last.sure {
		if err := j.active.Sync(); err != nil {
			return err
		}
	}
	j.marks, err = j.disk.open(filepath.Join(j.dir, markFile), os.O_CREATE|os.O_WRONLY)
	return err
}

// saveMark notes how far appends are acknowledged. A failure costs nothing but certainty about a
// damage that may come: the mark stays at an older promise.
func (j *Journal) saveMark() {
	s := j.segments[len(j.segments)-1]
	var b [markBytes]byte
	_, _ = j.marks.WriteAt(mark{segment: s.number, offset: uint64(s.end), next: j.at.Index}.encode(b[:]), 0)
}

// tidy removes what a crash left behind: unfinished files, and what no snapshot needs. A damaged
// snapshot stays for whoever wants to look at it until the next Compact.
func (j *Journal) tidy(onDisk manifest) error {
	if err := removeLeftovers(j.disk, j.dir); err != nil {
		return err
	}
	return j.drop(j.unneeded(), onDisk)
}
