package zk

import (
	"context"
	"errors"
	"fmt"

	zklib "github.com/go-zookeeper/zk"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// Lead implements journal.Journal. After a Follow it passes only what followed, to apply, and when it
// fails for want of a connection the next one goes on likewise. Otherwise, and when what followed was
// compacted away, it begins anew.
func (j *Journal) Lead(ctx context.Context, apply journal.Applier) (journal.Position, error) {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	err := j.usable(ctx)
	j.leading, j.pending = false, nil
	j.mu.Unlock()
	if err != nil {
		return journal.Position{}, err
	}
	c := j.cursor
	if c != nil {
		c.apply = apply
	}
	at, err := j.lead(ctx, c, apply)
	if err == nil || !passing(ctx, err) {
		j.cursor = nil
	}
	if err != nil {
		return journal.Position{}, fmt.Errorf("lead journal: %w", err)
	}
	return at, nil
}

// passing reports whether what was passed before err is still of use.
func passing(ctx context.Context, err error) bool {
	return zookeeper.Passing(err) || ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// lead raises the epoch first: what can be read on this session after that is all there will be of
// earlier epochs.
func (j *Journal) lead(ctx context.Context, c *cursor, apply journal.Applier) (journal.Position, error) {
	s, err := j.sessions(ctx)
	if err != nil {
		return journal.Position{}, err
	}
	if err := j.finished(s); err != nil { // and is not fenced by this
		return journal.Position{}, err
	}
	epoch, version, err := raiseEpoch(s, 0)
	if err == nil { // after that no restore can begin unnoticed: it raises the epoch, too
		err = j.finished(s)
	}
	if err != nil {
		return journal.Position{}, err
	}
	if c, err = j.readAll(ctx, s, c, apply); err != nil {
		return journal.Position{}, err
	}
	if last := c.groups.Last(); last.Epoch >= epoch { // somebody has set it back
		j.log.Warn("the epoch was behind the log's, and is raised above it", "epoch", epoch, "log", last.Epoch)
		if epoch, version, err = raiseEpoch(s, last.Epoch); err != nil {
			return journal.Position{}, err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leading, j.session, j.epochVersion = true, s, version
	j.at = journal.Position{Epoch: epoch, Index: c.next}
	j.publishStat(c.next - 1)
	return j.at, nil
}

// readAll passes all there is after c, which is nil to begin anew. So it does too when what comes after c
// was compacted away.
func (j *Journal) readAll(ctx context.Context, s session, c *cursor, apply journal.Applier) (*cursor, error) {
	for {
		if c == nil {
			var err error
			if c, err = j.load(ctx, s, apply); err != nil {
				return nil, err
			}
		}
		err := j.readLog(ctx, s, c)
		if !errors.Is(err, journal.ErrBehind) {
			return c, err
		}
		j.log.Info("what is next was compacted away: the journal is read anew", "error", err)
		c = nil
	}
}

// raiseEpoch ends every earlier epoch, and begins one that is higher than above.
func raiseEpoch(s session, above uint64) (epoch uint64, version int32, err error) {
	for {
		if epoch, version, err = readEpoch(s); err != nil {
			return 0, 0, err
		}
		epoch = max(epoch, above) + 1
		stat, err := s.Set(epochNode, encodeEpoch(epoch), version)
		if err == nil {
			return epoch, stat.Version, nil
		}
		if !errors.Is(err, zklib.ErrBadVersion) {
			return 0, 0, fmt.Errorf("raise the epoch: %w", err)
		}
		if err := s.Sync(epochNode); err != nil { // another raised it, or this server lags
			return 0, 0, err
		}
	}
}

// Follow implements journal.Follower. It begins anew, and outlives lost connections and expired sessions.
func (j *Journal) Follow(ctx context.Context, apply journal.Applier) error {
	j.mu.Lock()
	err := j.usable(ctx)
	j.leading, j.pending = false, nil
	j.mu.Unlock()
	if err != nil {
		return err
	}
	j.cursor = nil
	for {
		s, err := j.sessions(ctx)
		if err == nil {
			err = j.follow(ctx, s, apply)
		}
		if !passing(ctx, err) {
			j.cursor = nil
			return fmt.Errorf("follow journal: %w", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		j.log.Warn("following the journal is interrupted", "error", err)
	}
}

func (j *Journal) follow(ctx context.Context, s session, apply journal.Applier) error {
	if err := j.finished(s); err != nil {
		return err
	}
	if j.cursor == nil {
		c, err := j.load(ctx, s, apply)
		if err != nil {
			return err
		}
		j.cursor = c
	}
	// All there is, and whether what there is has a hole, which the tail's watch would wait at.
	if err := j.readLog(ctx, s, j.cursor); err != nil {
		return err
	}
	if reader, ok := apply.(journal.Reader); ok {
		if err := reader.Reached(j.cursor.next - 1); err != nil {
			return &passError{err}
		}
	}
	for {
		again := s.Reconnected() // a watch does not tell what was created and deleted in between
		if err := j.readTail(ctx, s, j.cursor); err != nil {
			return err
		}
		stat, created, err := s.Watch(logPath(j.cursor.next))
		if err != nil {
			return err
		}
		if stat != nil {
			continue
		}
		if err := j.behind(s, j.cursor); err != nil {
			return err
		}
		select {
		case <-created:
		case <-again:
		case <-s.Expired():
			return zookeeper.ErrSessionExpired
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readTail passes what there is, more at a time the more there is.
func (j *Journal) readTail(ctx context.Context, s session, c *cursor) error {
	for n := uint64(1); ctx.Err() == nil; n = min(2*n, inFlight) {
		read, err := j.readSome(s, c, n)
		if err != nil || read < n {
			return err
		}
	}
	return ctx.Err()
}
