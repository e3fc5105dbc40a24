// Package file keeps a journal in a local directory: a write-ahead log that is synced with every
// append, and snapshots.
//
// It owns the format of that directory, its lock, and what each failure of the disk does; DESIGN.md
// in the parent directory describes them. One process has a journal open at a time. The contract it
// keeps, and the suite that proves it, are package journal's and journaltest's.
package file

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// segmentBytes is when the log goes on in a new file. A file is dropped as a whole, and read into
// memory as a whole at a Lead.
const segmentBytes = 16 << 20

// Options change what rarely needs changing; the zero value is right.
type Options struct {
	// Logger is told of torn writes that were cut off, and of damaged snapshots that were passed
	// over. Nil says nothing.
	Logger *slog.Logger

	// Restore opens a journal that is to be erased and written anew, also one that an earlier
	// restore did not finish. None is made: Erase does that.
	Restore bool

	segmentBytes int64
	disk         disk
}

// Journal implements journal.Journal in a directory.
type Journal struct {
	dir          string
	disk         disk
	log          *slog.Logger
	segmentBytes int64
	restore      bool
	lockFile     *os.File
	stat         atomic.Pointer[journal.Stat]

	// compacting is held by Compact from start to end, and by what must not run beside it. It is
	// taken before mu.
	compacting sync.Mutex

	// mu guards what follows. Compact holds it only to look and to swap.
	mu       sync.Mutex
	closed   bool
	leading  bool
	at       journal.Position
	segments []*segment // oldest first; the last is appended to
	active   handle     // of the last segment
	marks    handle     // of the mark file
	manifest manifest
	size     logSize
	buf      []byte

	// pending is the group of unknown outcome, as a copy. It is not durable for certain, and
	// suspect says that a sync failed while it was in the last segment: what the page cache shows of
	// it may never reach the disk, so it is written anew into another file.
	pending []*record.Entry
	suspect bool
}

// Open opens the journal in dir, or makes one in a directory that is absent or has none. It fails
// with *InUseError when another process has it open, and with a message that says so when a newer
// version wrote it. The lock is held until Close.
func Open(dir string, o Options) (*Journal, error) {
	j := &Journal{dir: filepath.Clean(dir), disk: o.disk, log: o.Logger, segmentBytes: o.segmentBytes, restore: o.Restore}
	if j.disk == nil {
		j.disk = realDisk{}
	}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	if j.segmentBytes == 0 {
		j.segmentBytes = segmentBytes
	}
	j.stat.Store(new(journal.Stat))
	if err := j.open(); err != nil {
		_ = j.Close()
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

func (j *Journal) open() error {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	var err error
	if j.lockFile, err = lock(j.dir); err != nil {
		return err
	}
	if j.restore {
		return nil
	}
	if err := checkFinished(j.dir); err != nil {
		return err
	}
	exists, err := checkLayout(j.dir)
	if err != nil {
		return err
	}
	if exists {
		return nil
	}
	return j.create()
}

// create makes an empty journal. The layout file comes last: without it there is no journal yet,
// and what a crash left of making one is made again.
func (j *Journal) create() error {
	logs, err := list(j.dir, segmentPattern)
	if err != nil {
		return err
	}
	snapshots, err := list(j.dir, snapshotPattern)
	if err != nil {
		return err
	}
	for _, path := range append(logs, snapshots...) {
		if info, err := os.Stat(path); err != nil || info.Size() > segmentHeaderBytes {
			return corrupt(filepath.Join(j.dir, layoutFile), 0, "the file is missing, but %s is there", filepath.Base(path))
		}
		if err := j.disk.remove(path); err != nil {
			return err
		}
	}
	if err := writeEpoch(j.disk, j.dir, 0); err != nil {
		return err
	}
	if err := (manifest{}).write(j.disk, j.dir); err != nil {
		return err
	}
	_, active, err := createSegment(j.disk, j.dir, 1, 1)
	if err != nil {
		return err
	}
	if err := active.Close(); err != nil {
		return err
	}
	if err := replace(j.disk, filepath.Join(j.dir, layoutFile), fmt.Appendf(nil, layoutFormat, layout)); err != nil {
		return err
	}
	return j.disk.syncDir(filepath.Dir(j.dir))
}

// Stat implements journal.Journal.
func (j *Journal) Stat() journal.Stat { return *j.stat.Load() }

// publishStat is called with mu held.
func (j *Journal) publishStat() {
	s := journal.Stat{Index: j.at.Index - 1, LogBytes: j.size.bytes()}
	if len(j.manifest.Snapshots) > 0 {
		s.Snapshot, s.SnapshotBytes = j.manifest.Snapshots[0].Index, j.manifest.Snapshots[0].Bytes
	}
	j.stat.Store(&s)
}

// Close implements journal.Journal. It waits for a Compact; end its context first.
func (j *Journal) Close() error {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	err := j.release()
	if j.lockFile != nil {
		if closed := j.lockFile.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// release ends the leadership's use of files.
func (j *Journal) release() error {
	var err error
	for _, f := range []handle{j.active, j.marks} {
		if f == nil {
			continue
		}
		if closed := f.Close(); err == nil {
			err = closed
		}
	}
	j.active, j.marks, j.leading = nil, nil, false
	return err
}
