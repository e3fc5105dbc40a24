package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/journal/journaltest"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func TestMain(m *testing.M) {
	journaltest.Child(func(location string) (journal.Journal, error) {
		return Open(location, Options{segmentBytes: 64 << 10})
	})
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, segment := range map[string]int64{"one log segment": 0, "many log segments": 2 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			journaltest.Run(t, func(t *testing.T) *journaltest.Storage { return storage(t, segment) })
		})
	}
}

// storage is a directory for the suite.
func storage(t *testing.T, segment int64) *journaltest.Storage {
	dir := filepath.Join(t.TempDir(), "journal")
	faulty := &faultyDisk{}
	return &journaltest.Storage{
		Open: func() (journal.Journal, error) {
			j, err := Open(dir, Options{segmentBytes: segment, disk: faulty})
			if err != nil {
				return nil, err
			}
			return j, nil
		},
		OpenToRestore: func() (journal.Restorer, error) {
			j, err := Open(dir, Options{segmentBytes: segment, disk: faulty, Restore: true})
			if err != nil {
				return nil, err
			}
			return j, nil
		},
		// The end of a process does to a journal what Close does: it releases the lock.
		Crash:          func(j journal.Journal) { _ = j.Close() },
		Leave:          func(entries []*record.Entry) error { return leave(dir, entries) },
		DamageSnapshot: func() error { return damageSnapshot(dir) },
		Fail:           faulty.fail,
		Location:       dir,
	}
}

// leave appends a frame as Append does, and the entries need not be a whole group.
func leave(dir string, entries []*record.Entry) error {
	paths, err := list(dir, segmentPattern)
	if err != nil {
		return err
	}
	s, data, err := readSegment(paths[len(paths)-1])
	if err != nil {
		return err
	}
	data, err = appendFrame(data, s.salt, entries)
	if err != nil {
		return err
	}
	return os.WriteFile(s.path, data, 0o600)
}

func damageSnapshot(dir string) error {
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	return flip(filepath.Join(dir, m.Snapshots[0].File), m.Snapshots[0].Bytes/2)
}

// flip changes one bit of a file.
func flip(path string, offset int64) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[offset] ^= 0x10
	return os.WriteFile(path, b, 0o600)
}

// quickDisk syncs nothing, for tests that survive no power cut: the page cache outlives a process.
type quickDisk struct{ realDisk }

func (d quickDisk) open(path string, flag int) (handle, error) {
	f, err := d.realDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return quickFile{f}, nil
}

func (quickDisk) syncDir(string) error { return nil }

type quickFile struct{ handle }

func (quickFile) Sync() error { return nil }

var errFault = errors.New("injected fault")

// faultyDisk counts what changes the disk, and fails some of it. A
// write that fails is short: half of it is there.
type faultyDisk struct {
	quickDisk
	mu     sync.Mutex
	count  int
	from   int // 0 for never
	to     int // the first that works again
	failed bool
}

func (d *faultyDisk) fail(n, times int) (heal func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.from, d.to, d.failed = d.count+n, d.count+n+times, false
	return func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.from = 0
		return d.failed
	}
}

func (d *faultyDisk) fault(kind string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	if d.from == 0 || d.count < d.from || d.count >= d.to {
		return nil
	}
	d.failed = true
	return fmt.Errorf("%s: %w", kind, errFault)
}

func (d *faultyDisk) open(path string, flag int) (handle, error) {
	if err := d.fault("open"); err != nil {
		return nil, err
	}
	f, err := d.quickDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return &faultyFile{handle: f, disk: d}, nil
}

func (d *faultyDisk) rename(from, to string) error {
	if err := d.fault("rename"); err != nil {
		return err
	}
	return d.quickDisk.rename(from, to)
}

func (d *faultyDisk) remove(path string) error {
	if err := d.fault("remove"); err != nil {
		return err
	}
	return d.quickDisk.remove(path)
}

// syncDir does sync before it fails: the caller cannot know.
func (d *faultyDisk) syncDir(dir string) error {
	return errors.Join(d.quickDisk.syncDir(dir), d.fault("syncDir"))
}

type faultyFile struct {
	handle
	disk *faultyDisk
}

func (f *faultyFile) WriteAt(b []byte, offset int64) (int, error) {
	if err := f.disk.fault("write"); err != nil {
		n, _ := f.handle.WriteAt(b[:len(b)/2], offset)
		return n, err
	}
	return f.handle.WriteAt(b, offset)
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.disk.fault("truncate"); err != nil {
		return err
	}
	return f.handle.Truncate(size)
}

func (f *faultyFile) Sync() error {
	if err := f.disk.fault("sync"); err != nil {
		return err
	}
	return f.handle.Sync()
}

func (f *faultyFile) Close() error {
	return errors.Join(f.handle.Close(), f.disk.fault("close"))
}

// nobody is an Applier for tests that look elsewhere.
type nobody struct{}

func (nobody) Record(string, []byte) error { return nil }
func (nobody) Past([]*record.Entry) error  { return nil }
func (nobody) Apply([]*record.Entry) error { return nil }

// lead opens dir and leads; it is closed at the end of the test.
func lead(t testing.TB, dir string, o Options) (*Journal, journal.Position) {
	t.Helper()
	j, err := Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	at, err := j.Lead(t.Context(), nobody{})
	require.NoError(t, err)
	return j, at
}
