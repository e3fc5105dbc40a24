package file

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// powerDisk is a disk with a page cache that a power cut loses: of what was not synced any sector may
// have been written and any other not, and any name may be as it was. A failed sync drops what it
// was to write, and a later one does not make up for that, as on Linux.
type powerDisk struct {
	realDisk
	mu      sync.Mutex
	rng     *rand.Rand
	now     map[string]*inode // by path, as the running process sees it
	durable map[string]*inode // as the disk does
	budget  int               // operations until the power is cut
	flaky   int               // one sync in so many fails; 0 for none
}

type inode struct {
	now, durable []byte
	dirty        map[int]bool // sectors
}

const sector = 64 // small, so that frames tear

var errPower = errors.New("power is cut")

func newPowerDisk(rng *rand.Rand) *powerDisk {
	return &powerDisk{rng: rng, now: map[string]*inode{}, durable: map[string]*inode{}}
}

// spend is called with mu held.
func (d *powerDisk) spend() error {
	if d.budget--; d.budget < 0 {
		return errPower
	}
	return nil
}

func (d *powerDisk) open(path string, flag int) (handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.spend(); err != nil {
		return nil, err
	}
	f, err := d.realDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	if d.now[path] == nil || flag&os.O_TRUNC != 0 {
		d.now[path] = &inode{dirty: map[int]bool{}}
	}
	return &powerFile{handle: f, disk: d, inode: d.now[path]}, nil
}

func (d *powerDisk) rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.spend(); err != nil {
		return err
	}
	d.now[to] = d.now[from]
	delete(d.now, from)
	return d.realDisk.rename(from, to)
}

func (d *powerDisk) remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.spend(); err != nil {
		return err
	}
	delete(d.now, path)
	return d.realDisk.remove(path)
}

func (d *powerDisk) syncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.spend(); err != nil {
		return err
	}
	d.durable = maps.Clone(d.now)
	return nil
}

type powerFile struct {
	handle
	disk  *powerDisk
	inode *inode
}

func (f *powerFile) WriteAt(b []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	n, short := len(b), error(nil)
	if f.disk.budget < 0 {
		return 0, errPower
	}
	if err := f.disk.spend(); err != nil {
		n, short = f.disk.rng.IntN(len(b)+1), err // cut in the middle of it
	}
	f.inode.write(b[:n], int(offset))
	if _, err := f.handle.WriteAt(b[:n], offset); err != nil {
		return 0, err
	}
	return n, short
}

func (i *inode) write(b []byte, offset int) {
	i.resize(max(len(i.now), offset+len(b)))
	copy(i.now[offset:], b)
	for s := offset / sector; s*sector < offset+len(b); s++ {
		i.dirty[s] = true
	}
}

func (i *inode) resize(size int) {
	if size > len(i.now) {
		i.now = append(i.now, make([]byte, size-len(i.now))...)
	}
	i.now = i.now[:size:size]
}

func (f *powerFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.spend(); err != nil {
		return err
	}
	f.inode.resize(int(size))
	return f.handle.Truncate(size)
}

func (f *powerFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.spend(); err != nil {
		return err
	}
	i := f.inode
	if f.disk.flaky > 0 && f.disk.rng.IntN(f.disk.flaky) == 0 {
		i.durable = i.mixed(f.disk.rng) // what is clean now is what the process sees, not the disk
		i.dirty = map[int]bool{}
		return errFault
	}
	i.durable = i.merge(func(s int) bool { return i.dirty[s] }, len(i.now))
	i.dirty = map[int]bool{}
	return nil
}

// merge returns the durable content with the chosen sectors of what the process sees.
func (i *inode) merge(chosen func(sector int) bool, size int) []byte {
	b := make([]byte, size)
	copy(b, i.durable)
	for s := 0; s*sector < size; s++ {
		if from, to := s*sector, min((s+1)*sector, size, len(i.now)); from < to && chosen(s) {
			copy(b[from:to], i.now[from:to])
		}
	}
	return b
}

// mixed returns what may be on disk of an inode: some dirty sectors written, and the old size, the
// new one, or one between.
func (i *inode) mixed(rng *rand.Rand) []byte {
	size := len(i.durable)
	if grown := len(i.now) - size; grown > 0 {
		size += rng.IntN(grown + 1)
	} else if rng.IntN(2) == 0 {
		size = len(i.now)
	}
	return i.merge(func(s int) bool { return i.dirty[s] && rng.IntN(2) == 0 }, size)
}

// cut writes what is on disk after a power cut into dir, and goes on from there.
func (d *powerDisk) cut(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := map[string]*inode{}
	paths := slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, names := range []map[string]*inode{d.now, d.durable} {
			for p := range names {
				if !yield(p) {
					return
				}
			}
		}
	}))
	contents := map[*inode]*inode{}
	for _, p := range paths {
		names := d.durable
		if d.rng.IntN(2) == 0 {
			names = d.now
		}
		i := names[p]
		if i == nil {
			continue
		}
		if contents[i] == nil {
			b := i.mixed(d.rng)
			contents[i] = &inode{now: b, durable: slices.Clone(b), dirty: map[int]bool{}}
		}
		left[p] = contents[i]
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for p, i := range left {
		if err := os.WriteFile(p, i.now, 0o600); err != nil {
			return err
		}
	}
	d.now, d.durable = left, maps.Clone(left)
	return nil
}

// A power cut at any operation, with any part of what was not synced on disk, loses nothing
// acknowledged and invents nothing; and a sync that fails is not believed later.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	for _, flaky := range []int{0, 7} {
		for seed := range uint64(40) {
			t.Run(fmt.Sprintf("flaky %d seed %d", flaky, seed), func(t *testing.T) {
				t.Parallel()
				cutAgainAndAgain(t, rand.New(rand.NewPCG(seed, uint64(flaky))), flaky)
			})
		}
	}
}

func cutAgainAndAgain(t *testing.T, rng *rand.Rand, flaky int) {
	dir := filepath.Join(t.TempDir(), "journal")
	disk := newPowerDisk(rng)
	var acknowledged []*record.Entry // of groups of one
	for life := range 12 {
		disk.budget, disk.flaky = rng.IntN(120), flaky
		unknown := liveUntilCut(t, dir, disk, rng, &acknowledged)
		require.NoError(t, disk.cut(dir))

		disk.budget, disk.flaky = 1<<30, 0
		j, err := Open(dir, Options{disk: disk, segmentBytes: 1 << 10})
		require.NoError(t, err, "life %d", life)
		var found wholeState
		_, err = j.Lead(t.Context(), &found)
		require.NoError(t, err, "life %d", life)
		if n := len(acknowledged); found.last == uint64(n)+1 && unknown != nil {
			acknowledged = append(acknowledged, unknown)
		}
		require.Equal(t, uint64(len(acknowledged)), found.last, "life %d", life)
		for i, e := range found.entries {
			want := acknowledged[found.last-uint64(len(found.entries))+uint64(i)]
			require.True(t, proto.Equal(want, e), "life %d: entry %d", life, e.GetIndex())
		}
		require.Equal(t, stateOf(acknowledged), found.records, "life %d", life)
		require.NoError(t, j.Close())
	}
}

// liveUntilCut appends and compacts until nothing works any more, and returns the entry whose
// outcome it did not learn. A process that meets a failed sync may end there; what the next one
// is told counts as acknowledged.
func liveUntilCut(t *testing.T, dir string, disk *powerDisk, rng *rand.Rand, acknowledged *[]*record.Entry) (unknown *record.Entry) {
	for {
		j, at := openUntilCut(t, dir, disk, acknowledged, unknown)
		if j == nil {
			return unknown
		}
		died := false
		unknown, died = appendUntilCut(t, j, at, rng, acknowledged)
		require.NoError(t, j.lockFile.Close())
		if !died {
			return unknown
		}
	}
}

func openUntilCut(t *testing.T, dir string, disk *powerDisk, acknowledged *[]*record.Entry, unknown *record.Entry) (*Journal, journal.Position) {
	for {
		j, err := Open(dir, Options{disk: disk, segmentBytes: 1 << 10})
		if err == nil {
			var at journal.Position
			var found wholeState
			if at, err = j.Lead(t.Context(), &found); err == nil {
				if found.last > uint64(len(*acknowledged)) {
					*acknowledged = append(*acknowledged, unknown)
				}
				return j, at
			}
			require.NoError(t, j.Close())
		}
		if errors.Is(err, errPower) {
			return nil, journal.Position{}
		}
		require.ErrorIs(t, err, errFault)
	}
}

func appendUntilCut(t *testing.T, j *Journal, at journal.Position, rng *rand.Rand, acknowledged *[]*record.Entry) (unknown *record.Entry, died bool) {
	for {
		e := entryAt(at, rng.IntN(400))
		e.Puts[0].Key = fmt.Sprintf("task/%d", rng.IntN(30))
		err := j.Append(t.Context(), []*record.Entry{e})
		if errors.Is(err, errFault) && rng.IntN(2) == 0 {
			return e, true
		}
		for errors.Is(err, journal.ErrUnknown) && !errors.Is(err, errPower) {
			err = j.Resolve(t.Context())
		}
		if err != nil {
			require.ErrorIs(t, err, errPower)
			return e, false
		}
		*acknowledged = append(*acknowledged, e)
		at.Index++
		if rng.IntN(8) == 0 {
			err := j.Compact(t.Context(), stateSource{at.Index - 1, stateOf(*acknowledged)})
			require.True(t, err == nil || errors.Is(err, errPower) || errors.Is(err, errFault), "%v", err)
		}
	}
}
