package file

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// Compact implements journal.Journal. It writes all of src into one file: rewriting only what has
// changed, as a journal behind a network must, would save bytes that a local disk does not miss.
func (j *Journal) Compact(ctx context.Context, src journal.Source) error {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	if err := j.compact(ctx, src); err != nil {
		return fmt.Errorf("compact journal %s: %w", j.dir, err)
	}
	return nil
}

func (j *Journal) compact(ctx context.Context, src journal.Source) error {
	snapshots, work, err := j.compactable(ctx, src.Index())
	if err != nil || !work {
		return err
	}
	ref, err := writeSnapshot(ctx, j.disk, j.dir, src)
	if err != nil {
		return err
	}
	m := manifest{Snapshots: append([]snapshotRef{ref}, snapshots...)}
	m.Snapshots = m.Snapshots[:min(len(m.Snapshots), 2)]
	if err := m.write(j.disk, j.dir); err != nil {
		// The manifest on disk may be either one, so both keep their snapshots.
		return err
	}
	j.mu.Lock()
	j.manifest = m
	j.size.compacted(ref.Index)
	unneeded := j.unneeded()
	j.publishStat()
	j.mu.Unlock()
	return j.drop(unneeded, m)
}

// compactable reports whether there is work for a snapshot at index, and which ones it follows.
func (j *Journal) compactable(ctx context.Context, index uint64) (snapshots []snapshotRef, work bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return nil, false, err
	}
	if !j.leading {
		return nil, false, errors.New("lead first")
	}
	if index >= j.at.Index {
		return nil, false, fmt.Errorf("the view is of entry %d, the last durable one is %d", index, j.at.Index-1)
	}
	if index == 0 || len(j.manifest.Snapshots) > 0 && index <= j.manifest.Snapshots[0].Index {
		return nil, false, nil
	}
	return j.manifest.Snapshots, true, nil
}

// unneeded returns the files that no snapshot needs, oldest segment first, and forgets the segments.
// It is called with mu held, or before there is anything to run beside.
func (j *Journal) unneeded() []string {
	var paths []string
	for len(j.segments) > 1 && j.segments[1].base <= j.manifest.needed() {
		paths = append(paths, j.segments[0].path)
		j.segments = j.segments[1:]
	}
	return paths
}

// drop removes log segments, and the snapshots that m does not name.
func (j *Journal) drop(segments []string, m manifest) error {
	paths, err := list(j.dir, snapshotPattern)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, ref := range m.Snapshots {
		named[filepath.Join(j.dir, ref.File)] = true
	}
	unneeded := segments
	for _, p := range paths {
		if !named[p] {
			unneeded = append(unneeded, p)
		}
	}
	for _, p := range unneeded {
		if err := j.disk.remove(p); err != nil {
			return fmt.Errorf("remove what is no longer needed: %w", err)
		}
	}
	return nil
}
