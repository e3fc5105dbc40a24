package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// restoringFile marks a journal that is being restored.
const restoringFile = "RESTORING"

// checkFinished refuses a journal whose restore did not end.
func checkFinished(dir string) error {
	_, err := os.Stat(filepath.Join(dir, restoringFile))
	switch {
	case err == nil:
		return &journal.UnfinishedError{Where: dir}
	case errors.Is(err, os.ErrNotExist):
		return nil
	}
	return err
}

// Erase implements journal.Restorer.
func (j *Journal) Erase(ctx context.Context) error {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.usable(ctx)
	if err == nil && !j.restore {
		err = journal.ErrNotToRestore
	}
	if err == nil {
		err = j.erase()
	}
	if err != nil {
		return fmt.Errorf("erase journal %s: %w", j.dir, err)
	}
	return nil
}

// erase leaves the epoch, which goes on. The layout of a newer version is not ours
// to erase.
func (j *Journal) erase() error {
	_ = j.release() // all of it goes
	j.pending, j.segments = nil, nil
	exists, err := checkLayout(j.dir)
	if err != nil {
		return err
	}
	if err := j.mark(); err != nil {
		return err
	}
	for _, pattern := range []string{segmentPattern, snapshotPattern, markFile} {
		paths, err := list(j.dir, pattern)
		if err != nil {
			return err
		}
		for _, p := range paths {
			if err := j.disk.remove(p); err != nil {
				return err
			}
		}
	}
	if !exists {
		return j.create()
	}
	if err := (manifest{}).write(j.disk, j.dir); err != nil {
		return err
	}
	_, active, err := createSegment(j.disk, j.dir, 1, 1) // which makes the removals durable, too
	if err != nil {
		return err
	}
	return active.Close()
}

// mark marks the journal. A mark that is there stays: on a full disk there is no
// room for another until all else is gone.
func (j *Journal) mark() error {
	err := checkFinished(j.dir)
	if errors.As(err, new(*journal.UnfinishedError)) {
		return nil
	}
	if err != nil {
		return err
	}
	return replace(j.disk, filepath.Join(j.dir, restoringFile), []byte("a backup is being restored\n"))
}

// Finish implements journal.Restorer.
func (j *Journal) Finish(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.usable(ctx)
	if err == nil && (!j.restore || !j.leading || j.pending != nil) {
		err = errors.New("what was appended is not durable")
	}
	if err == nil {
		err = j.disk.remove(filepath.Join(j.dir, restoringFile))
	}
	if err == nil {
		err = j.disk.syncDir(j.dir)
	}
	if err != nil {
		return fmt.Errorf("finish the restore into journal %s: %w", j.dir, err)
	}
	j.restore = false
	return nil
}
