package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/perigee-sched/perigee/api/client"
)

// TestFull fills the disk of a journal in a directory: writes are refused and
// say why, all else goes on, and once there is room nothing needs a restart.
func TestFull(t *testing.T) {
	t.Parallel()
	needsCluster(t)
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small file system cannot be mounted here (that needs root): %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	w := &world{T: t, whole: t, mesos: startCluster(t)}
	s := newScheduler(t, schedulerOptions{name: "full", cluster: "full", directory: filepath.Join(mount, "journal"), master: w.mesos.master})
	w.schedulers = []*scheduler{s}
	w.begin()
	w.awaitWrite(s)
	before, pids := w.living(web)

	filler := filepath.Join(mount, "filler")
	require.ErrorIs(t, fill(filler), unix.ENOSPC)
	eventually(t, "writes are refused", func() error {
		ctx, cancel := quickly()
		defer cancel()
		if _, err := s.PauseJob(ctx, idle, "full", client.WriteOptions{}); problemOf(err) == nil {
			return fmt.Errorf("a write was answered with %w", err)
		}
		part, err := s.Scheduler(ctx)
		if err != nil {
			return err
		}
		if part.NotWritable == "" {
			return errors.New("it takes itself to be writable")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := s.Job(ctx, web)
	require.NoError(t, err, "reads go on")
	require.NoError(t, pids())

	require.NoError(t, os.Remove(filler))
	w.awaitWrite(s)
	w.audit()
	after, _ := w.living(web)
	require.Equal(t, before, after, "tasks were replaced")
	require.NoError(t, pids())
	s.kill() // and what was answered is on disk
	s.start()
	w.audit()
}

// fill writes until nothing more fits.
func fill(path string) error {
	f, err := os.Create(path)
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
