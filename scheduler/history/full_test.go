package history

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// smallDisk mounts one of some MiB.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small file system cannot be mounted here (that needs root): %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	return mount
}

// fill writes until nothing more fits.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			if block = block[:len(block)/2]; len(block) == 0 {
				return err
			}
		}
	}
	return nil
}

// A disk gets full while tasks end: what cannot be kept waits, it is said why, and
// what was kept can be asked for. With room again all of it is kept, once.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "24m")
	p := &where{TB: t, url: "sqlite://" + filepath.Join(disk, "history.db")}
	s := p.start()
	s.Record(loaded(1))
	index := uint64(1)
	tell := func(entries int) {
		for range entries {
			index++
			s.Record(pair(index))
		}
	}
	for range 2 { // it gets full more than once
		tell(100)
		s.through(index)
		kept := index
		filler := filepath.Join(disk, "filler")
		require.ErrorIs(t, fill(filler), unix.ENOSPC)
		for s.Stats().Up { // some fits into what the file has
			tell(200)
			p.eventually("it is written, or not", func() bool { return s.Stats().Waiting == 0 || !s.Stats().Up })
		}
		tell(100)
		require.Contains(t, s.State(t.Context()).Problem, "full")
		st := s.Stats()
		require.Positive(t, st.Waiting)
		require.Positive(t, st.Lag)
		page, _, err := s.Tasks(t.Context(), api.HistoryFilter{Limit: 1})
		require.NoError(t, err, "what is there can be read")
		require.Len(t, page, 1)
		through, _ := s.Through()
		require.GreaterOrEqual(t, through, kept)
		require.Less(t, through, index)

		require.NoError(t, os.Remove(filler))
		s.through(index)
		p.eventually("it says that all is well", func() bool { return s.Stats().Up && s.State(t.Context()).Problem == "" })
	}
	s.onceEach(2, index)
	require.Zero(t, s.Stats().LostEvents)
	require.NoError(t, s.stop())
	s = p.start() // and it is a sound file
	require.Equal(t, "ok", s.text(`PRAGMA integrity_check`))
	s.onceEach(2, index)
}

// On a disk that is full from the beginning no history can be made; it is when
// there is room. What was too much to wait for is told anew.
func TestFullDiskAtTheStart(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "16m")
	filler := filepath.Join(disk, "filler")
	require.ErrorIs(t, fill(filler), unix.ENOSPC)
	p := &where{TB: t, url: "sqlite://" + filepath.Join(disk, "history.db")}
	s := p.start(small)
	s.Record(loaded(1))
	held := loaded(1)
	for i := uint64(2); i <= 50; i++ {
		d := pair(i)
		held.Index, held.Finished, held.Events = i, append(held.Finished, d.Finished...), append(held.Events, d.Events...)
		s.Record(d)
	}
	s.held.Store(&held)
	problem := s.State(t.Context()).Problem
	require.True(t, strings.Contains(problem, "full") || strings.Contains(problem, "no space left") || strings.Contains(problem, "disk I/O"), problem)
	_, _, err := s.Tasks(t.Context(), api.HistoryFilter{Limit: 1})
	require.True(t, errors.Is(err, ErrUnavailable), err)
	require.NoError(t, os.Remove(filler))
	s.through(50)
	s.onceEach(2, 50)
}

// A history that is bounded never fills the disk that has room for it, and what it
// deletes to stay below is the oldest.
func TestBoundKeepsTheDiskFromBeingFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "24m")
	p := &where{TB: t, url: "sqlite://" + filepath.Join(disk, "history.db")}
	s, err := p.open(func(o *Options) { o.Size = 1 << 20 })
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.Record(loaded(1))
	n := 0
	for i := range uint64(8) {
		d := engine.Durable{Incarnation: "b1x7", Index: i + 2}
		for range 1000 {
			d.Finished = append(d.Finished, task("web/prod/shop", n, failed, because(strings.Repeat("of its own weight ", 20))))
			n++
		}
		s.Record(d)
		s.writeAll()
	}
	page, _, err := s.Tasks(t.Context(), api.HistoryFilter{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, task("web/prod/shop", n-1, failed).Id, page[0].Id)
	require.Less(t, s.rows("tasks"), n/2)
}
