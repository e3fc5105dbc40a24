package zk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	zklib "github.com/go-zookeeper/zk"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// restoringNode marks a journal that is being restored.
const restoringNode = "restoring"

// checkFinished refuses a journal whose restore did not end.
func checkFinished(s session) error {
	stat, err := s.Exists(restoringNode)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Path(restoringNode), err)
	}
	if stat != nil {
		return &journal.UnfinishedError{Where: s.Path("")}
	}
	return nil
}

// finished is checkFinished, unless this is the restore.
func (j *Journal) finished(s session) error {
	if j.restore {
		return nil
	}
	return checkFinished(s)
}

// Erase implements journal.Restorer. Only the mark is there before all else is
// gone; epochs go on, so that what an earlier leader still writes is refused.
func (j *Journal) Erase(ctx context.Context) error {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	err := j.usable(ctx)
	j.leading, j.pending, j.cursor = false, nil, nil
	j.mu.Unlock()
	if err == nil && !j.restore {
		err = journal.ErrNotToRestore
	}
	if err == nil {
		err = j.erase(ctx)
	}
	if err != nil {
		return fmt.Errorf("erase journal: %w", err)
	}
	return nil
}

func (j *Journal) erase(ctx context.Context) error {
	s, err := j.sessions(ctx)
	if err != nil {
		return err
	}
	if err := s.Multi(zookeeper.Create(restoringNode, nil)); err != nil && !errors.Is(err, zklib.ErrNodeExists) {
		return err
	}
	_, version, err := raiseEpoch(s, 0)
	if err != nil {
		return err
	}
	empty, err := (manifest{}).encode()
	if err != nil {
		return err
	}
	// Whatever the manifest is, also when it is damaged.
	if err := s.Multi(zookeeper.Check(epochNode, version), zookeeper.Set(manifestNode, empty, -1)); err != nil {
		return err
	}
	for _, above := range []string{logNode, snapshotNode} {
		if err := dropChildren(ctx, s, above, version); err != nil {
			return err
		}
	}
	return nil
}

func dropChildren(ctx context.Context, s session, above string, version int32) error {
	names, err := s.Children(above)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(names, dropAtOnce) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		ops := []zookeeper.Op{zookeeper.Check(epochNode, version)}
		for _, n := range some {
			ops = append(ops, zookeeper.Delete(above+"/"+n))
		}
		if err := s.Multi(ops...); err != nil {
			return err
		}
	}
	return nil
}

// Finish implements journal.Restorer.
func (j *Journal) Finish(ctx context.Context) error {
	j.mu.Lock()
	err, s, version := j.usable(ctx), j.session, j.epochVersion
	if err == nil && (!j.restore || !j.leading || j.pending != nil) {
		err = errors.New("what was appended is not durable")
	}
	j.mu.Unlock()
	if err == nil {
		err = j.fenced(s.Multi(zookeeper.Check(epochNode, version), zookeeper.Delete(restoringNode)))
	}
	if err != nil {
		return fmt.Errorf("finish the restore: %w", err)
	}
	j.restore = false
	return nil
}
