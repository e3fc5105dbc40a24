package file

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// On a disk that really is full nothing acknowledged is lost, the append that met it is resolved
// once there is room, and work goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small file system cannot be mounted here (that needs root): %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	filler := filepath.Join(mount, "filler")
	require.NoError(t, os.WriteFile(filler, make([]byte, 500<<10), 0o600))

	dir := filepath.Join(mount, "journal")
	j, at := lead(t, dir, Options{segmentBytes: 64 << 10})
	var err error
	acknowledged := 0
	for err == nil {
		if err = j.Append(t.Context(), []*record.Entry{entryAt(at, 3000)}); err == nil {
			at.Index++
			acknowledged++
		}
	}
	require.ErrorIs(t, err, journal.ErrUnknown)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, "no space left on device")
	require.Greater(t, acknowledged, 100)
	require.ErrorIs(t, j.Resolve(t.Context()), unix.ENOSPC)
	require.ErrorIs(t, j.Compact(t.Context(), bigRecord(at.Index-1)), unix.ENOSPC)
	require.Equal(t, at.Index-1, j.Stat().Index)

	require.NoError(t, os.Remove(filler))
	require.NoError(t, j.Resolve(t.Context()))
	at.Index++
	fill(t, j, at, 20)
	acknowledged += 21
	require.NoError(t, j.Close())

	j, err = Open(dir, Options{})
	require.NoError(t, err)
	k := new(kept)
	_, err = j.Lead(t.Context(), k)
	require.NoError(t, err)
	require.Len(t, k.applied, acknowledged)
	require.NoError(t, j.Close())
}

// A full disk that is met by a process which then dies leaves the acknowledged prefix.
func TestFullDiskThenDeath(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small file system cannot be mounted here (that needs root): %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	dir := filepath.Join(mount, "journal")
	j, at := lead(t, dir, Options{})
	acknowledged := 0
	for j.Append(t.Context(), []*record.Entry{entryAt(at, 50000)}) == nil {
		at.Index++
		acknowledged++
	}
	require.NoError(t, j.Close())
	paths, err := list(dir, segmentPattern)
	require.NoError(t, err)
	info, err := os.Stat(paths[0])
	require.NoError(t, err)
	require.NotZero(t, (info.Size()-segmentHeaderBytes)%int64(acknowledged), "a part of the last write is there")
	require.NoError(t, unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT, "size=2m"))
	j, err = Open(dir, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	k := new(kept)
	at, err = j.Lead(t.Context(), k)
	require.NoError(t, err)
	require.Len(t, k.applied, acknowledged)
	fill(t, j, at, 3)
}

// What a failed sync was to write is not looked for in the page cache: it goes into another file.
func TestFailedSyncIsNotBelievedLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := &faultyDisk{}
	j, at := lead(t, dir, Options{disk: disk})
	ends := fill(t, j, at, 3)
	at.Index += 3
	heal := disk.fail(2, 1) // the first operation of an append is its write
	err := j.Append(t.Context(), []*record.Entry{entryAt(at, 100)})
	require.ErrorContains(t, err, "sync: injected fault")
	require.True(t, heal())
	require.NoError(t, j.Resolve(t.Context()))
	require.NoError(t, j.Close())
	first, _, err := readSegment(filepath.Join(dir, firstSegment))
	require.NoError(t, err)
	info, err := os.Stat(first.path)
	require.NoError(t, err)
	require.Equal(t, ends[2], info.Size(), "the suspect bytes are cut off")
	second, data, err := readSegment(filepath.Join(dir, "00000002.log"))
	require.NoError(t, err)
	require.Equal(t, at.Index, second.base)
	next, err := second.scan(data, func(frame) error { return nil })
	require.NoError(t, err)
	require.Equal(t, at.Index+1, next)
}

func bigRecord(index uint64) stateSource {
	return stateSource{index, map[string]string{"cluster": string(make([]byte, 2<<20))}}
}
