package file

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// kept is an Applier that counts.
type kept struct {
	records int
	past    int
	applied []uint64 // index of each group's last entry
}

func (k *kept) Record(string, []byte) error { k.records++; return nil }
func (k *kept) Past([]*record.Entry) error  { k.past++; return nil }
func (k *kept) Apply(g []*record.Entry) error {
	k.applied = append(k.applied, g[len(g)-1].GetIndex())
	return nil
}

// snapshotOf copies a closed journal's directory into memory.
func snapshotOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	paths, err := list(dir, "*")
	require.NoError(t, err)
	for _, p := range paths {
		files[filepath.Base(p)], err = os.ReadFile(p)
		require.NoError(t, err)
	}
	return files
}

// leadOn leads a journal made of files, one of which is changed, or removed if content is nil.
func leadOn(t *testing.T, files map[string][]byte, changed string, content []byte) (string, *kept, error) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	require.NoError(t, err)
	for name, b := range files {
		if name == changed {
			b = content
		}
		if b != nil {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
	}
	j, err := Open(dir, Options{disk: quickDisk{}})
	if err != nil {
		return dir, nil, err
	}
	k := new(kept)
	_, err = j.Lead(t.Context(), k)
	require.NoError(t, j.Close())
	return dir, k, err
}

func without(files map[string][]byte, name string) map[string][]byte {
	rest := map[string][]byte{}
	for n, b := range files {
		if n != name {
			rest[n] = b
		}
	}
	return rest
}

// fill appends n groups of one entry each and returns the offset after each in its segment.
func fill(t *testing.T, j *Journal, at journal.Position, n int) (ends []int64) {
	t.Helper()
	for range n {
		require.NoError(t, j.Append(t.Context(), []*record.Entry{entryAt(at, 40)}))
		at.Index++
		ends = append(ends, j.last().end)
	}
	return ends
}

func entryAt(at journal.Position, size int) *record.Entry {
	return &record.Entry{Index: at.Index, Epoch: at.Epoch, Events: [][]byte{{7}},
		Puts: []*record.Put{{Key: fmt.Sprintf("task/%08d", at.Index), Value: bytes.Repeat([]byte{byte(at.Index), 0xA5}, size/2)}}}
}

const firstSegment = "00000001.log"

// Any bit of acknowledged log that changes is an error that names the file and the damaged frame's
// offset, also in the very last frame.
func TestDamagedLogIsAnErrorThatNamesFileAndOffset(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, at := lead(t, dir, Options{disk: quickDisk{}})
	ends := fill(t, j, at, 5)
	require.NoError(t, j.Close())
	files := snapshotOf(t, dir)
	log := files[firstSegment]
	require.Len(t, log, int(ends[4]))
	for i := range log {
		start := int64(0)
		for _, end := range append([]int64{segmentHeaderBytes}, ends...) {
			if int64(i) >= end {
				start = end
			}
		}
		damaged := bytes.Clone(log)
		damaged[i] ^= 1 << (i % 8)
		at, k, err := leadOn(t, files, firstSegment, damaged)
		var corrupt *journal.CorruptError
		require.ErrorAs(t, err, &corrupt, "byte %d", i)
		require.Equal(t, filepath.Join(at, firstSegment), corrupt.File)
		require.Equal(t, start, corrupt.Offset, "byte %d: %v", i, err)
		require.ErrorContains(t, err, fmt.Sprintf("%s at offset %d", corrupt.File, start))
		require.NotNil(t, k)

		// After a power cut the mark may be old: then only the last frame may pass for a torn write.
		_, k, err = leadOn(t, without(files, markFile), firstSegment, damaged)
		if start == ends[3] {
			require.NoError(t, err)
			require.Equal(t, []uint64{1, 2, 3, 4}, k.applied)
		} else {
			require.ErrorAs(t, err, &corrupt, "byte %d", i)
		}
	}
}

func TestShortenedLogIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, at := lead(t, dir, Options{disk: quickDisk{}})
	fill(t, j, at, 5)
	require.NoError(t, j.Close())
	files := snapshotOf(t, dir)
	for n := range files[firstSegment] {
		_, _, err := leadOn(t, files, firstSegment, files[firstSegment][:n])
		var corrupt *journal.CorruptError
		require.ErrorAs(t, err, &corrupt, "cut to %d bytes", n)
		if n >= segmentHeaderBytes {
			require.ErrorContains(t, err, "entries up to 5 were acknowledged")
		}
	}
}

// A write that was not acknowledged is cut off, whatever of it reached the disk.
func TestTornWriteIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, at := lead(t, dir, Options{disk: quickDisk{}})
	ends := fill(t, j, at, 3)
	at.Index += 3
	torn, err := appendFrame(nil, j.last().salt, []*record.Entry{entryAt(at, 2000)})
	require.NoError(t, err)
	require.NoError(t, j.Close())
	files := snapshotOf(t, dir)
	log := files[firstSegment]

	check := func(tail []byte, what string) {
		for _, files := range []map[string][]byte{files, without(files, markFile)} {
			dir, k, err := leadOn(t, files, firstSegment, append(bytes.Clone(log), tail...))
			require.NoError(t, err, what)
			require.Equal(t, []uint64{1, 2, 3}, k.applied, what)
			left, err := os.ReadFile(filepath.Join(dir, firstSegment))
			require.NoError(t, err)
			require.Len(t, left, int(ends[2]), what)
			again, at := lead(t, dir, Options{disk: quickDisk{}})
			fill(t, again, at, 2)
			require.NoError(t, again.Close())
			_, k, err = leadOn(t, snapshotOf(t, dir), "", nil)
			require.NoError(t, err, what)
			require.Equal(t, []uint64{1, 2, 3, 4, 5}, k.applied, what)
		}
	}
	for n := 0; n < len(torn); n += 1 + n/8 {
		check(torn[:n], fmt.Sprintf("%d of %d bytes written", n, len(torn)))
	}
	for page := 0; page < len(torn); page += 512 {
		lost := bytes.Clone(torn)
		clear(lost[page:min(page+512, len(lost))])
		check(lost, fmt.Sprintf("page at %d never written", page))
	}
	whole := append(bytes.Clone(log), torn...)
	_, k, err := leadOn(t, files, firstSegment, whole)
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2, 3, 4}, k.applied, "a whole group may stay, though it was not acknowledged")
}

// Something valid after a bad frame means that the bad one was complete once.
func TestBadFrameBeforeAGoodOneIsCorrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, at := lead(t, dir, Options{disk: quickDisk{}})
	ends := fill(t, j, at, 3)
	require.NoError(t, j.Close())
	files := without(snapshotOf(t, dir), markFile)
	for _, lost := range [][2]int64{{ends[0], ends[0] + frameHeaderBytes}, {ends[0] + frameHeaderBytes, ends[1]}, {ends[0], ends[1]}} {
		damaged := bytes.Clone(files[firstSegment])
		clear(damaged[lost[0]:lost[1]])
		_, _, err := leadOn(t, files, firstSegment, damaged)
		var corrupt *journal.CorruptError
		require.ErrorAs(t, err, &corrupt, "bytes %v", lost)
		require.Equal(t, ends[0], corrupt.Offset)
	}
}

func TestMissingOrDamagedFilesAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, at := lead(t, dir, Options{segmentBytes: 300, disk: quickDisk{}})
	fill(t, j, at, 10)
	require.NoError(t, j.Close())
	files := snapshotOf(t, dir)
	require.Contains(t, files, "00000004.log")
	logs := 0
	for name, content := range files {
		if name == "lock" || name == markFile {
			continue
		}
		_, _, err := leadOn(t, files, name, nil)
		require.Error(t, err, "%s is missing", name)
		if filepath.Ext(name) == ".log" {
			logs++
			require.ErrorContains(t, err, ".log at offset")
			continue // damage to them is tested byte by byte above
		}
		require.ErrorContains(t, err, name)
		for i := range content {
			damaged := bytes.Clone(content)
			damaged[i] ^= 0x04
			_, _, err := leadOn(t, files, name, damaged)
			require.ErrorContains(t, err, name, "byte %d of %s", i, name)
		}
	}
	require.Greater(t, logs, 3)
}

func TestTwoDamagedSnapshotsAreAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, at := lead(t, dir, Options{segmentBytes: 300, disk: quickDisk{}})
	for range 3 {
		fill(t, j, at, 4)
		at.Index += 4
		require.NoError(t, j.Compact(t.Context(), oneRecord(at.Index-1)))
	}
	require.NoError(t, j.Close())
	files := snapshotOf(t, dir)
	newest, older := "snapshot-0000000000000012", "snapshot-0000000000000008"
	require.NotContains(t, files, "snapshot-0000000000000004", "only two are kept")
	require.NotContains(t, files, firstSegment)
	_, k, err := leadOn(t, files, older, nil)
	require.NoError(t, err, "the newest suffices")
	require.Equal(t, &kept{records: 1, past: 4}, k)
	_, k, err = leadOn(t, files, newest, files[newest][:40])
	require.NoError(t, err, "the older one and the log suffice")
	require.Equal(t, &kept{records: 1, applied: []uint64{9, 10, 11, 12}}, k)
	at2, _, err := leadOn(t, without(files, older), newest, files[newest][:40])
	require.ErrorContains(t, err, filepath.Join(at2, newest)+" at offset 28")
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := lead(t, dir, Options{disk: quickDisk{}})
	_, err := Open(dir, Options{disk: quickDisk{}})
	var inUse *InUseError
	require.ErrorAs(t, err, &inUse)
	require.Equal(t, os.Getpid(), inUse.PID)
	require.ErrorContains(t, err, "in use by process "+strconv.Itoa(os.Getpid()))
	require.NoError(t, j.Close())
	lead(t, dir, Options{disk: quickDisk{}})
}

func TestNewerLayoutIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := lead(t, dir, Options{disk: quickDisk{}})
	require.NoError(t, j.Close())
	files := snapshotOf(t, dir)
	at, _, err := leadOn(t, files, layoutFile, []byte("perigee journal, layout 2\n"))
	require.ErrorContains(t, err, filepath.Join(at, layoutFile)+": the journal was written by a newer Perigee (layout 2, this one reads up to 1)")
	require.Equal(t, "perigee journal, layout 2\n", string(snapshotOf(t, at)[layoutFile]), "it is left alone")
}
