package zk

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	zklib "github.com/go-zookeeper/zk"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// multiBytes bounds the entries of one multi; with their paths and access lists it stays within half
// of the megabyte that a server takes.
const multiBytes = journal.MaxEntryBytes + 4<<10

// batch is a group, encoded, without the entries that are known to be durable.
type batch struct {
	first   uint64 // index of entries[0]
	entries [][]byte
}

// Append implements journal.Journal. When the session has expired it fails with an error that is both
// journal.ErrFenced and zookeeper.ErrSessionExpired: stand for election again.
func (j *Journal) Append(ctx context.Context, group []*record.Entry) error {
	b, err := j.admit(ctx, group)
	if err != nil {
		return err
	}
	err = j.write(b)
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case err == nil:
		j.committed(group[len(group)-1].GetIndex())
	case errors.Is(err, journal.ErrFenced):
		return err
	default:
		j.pending = b
		return journal.Unknown(err)
	}
	return nil
}

// admit encodes a group that may be appended.
func (j *Journal) admit(ctx context.Context, group []*record.Entry) (*batch, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return nil, err
	}
	if j.pending != nil {
		return nil, journal.Unknown(errors.New("an earlier append is not resolved"))
	}
	if !j.leading {
		return nil, journal.Refused("lead first")
	}
	if err := journal.Check(group, j.at); err != nil {
		return nil, err
	}
	if err := j.expiry(); err != nil {
		return nil, err
	}
	b := &batch{first: group[0].GetIndex()}
	for _, e := range group {
		encoded, err := encodeEntry(e)
		if err != nil {
			return nil, err
		}
		b.entries = append(b.entries, encoded)
	}
	return b, nil
}

func (j *Journal) expiry() error {
	select {
	case <-j.session.Expired():
		return fmt.Errorf("append at epoch %d: %w: %w", j.at.Epoch, journal.ErrFenced, zookeeper.ErrSessionExpired)
	default:
		return nil
	}
}

// committed is called with mu held.
func (j *Journal) committed(last uint64) {
	j.pending = nil
	j.at.Index = last + 1
	j.publishStat(last)
}

// write makes b durable, in as few multis as it fits into, and takes off it what is.
func (j *Journal) write(b *batch) error {
	for len(b.entries) > 0 {
		n, err := j.writeSome(b)
		if err != nil {
			return err
		}
		j.mu.Lock()
		for _, e := range b.entries[:n] {
			j.size.add(b.first, len(e))
			b.first++
		}
		j.mu.Unlock()
		b.entries = b.entries[n:]
	}
	return nil
}

func (j *Journal) writeSome(b *batch) (n int, err error) {
	ops := []zookeeper.Op{zookeeper.Check(epochNode, j.epochVersion)}
	if b.first > 1 {
		ops = append(ops, zookeeper.Check(logPath(b.first-1), -1))
	}
	bytes := 0
	for n < len(b.entries) && (n == 0 || bytes+len(b.entries[n])+entryOverhead <= multiBytes) {
		ops = append(ops, zookeeper.Create(logPath(b.first+uint64(n)), b.entries[n]))
		bytes += len(b.entries[n]) + entryOverhead
		n++
	}
	if err := j.session.Multi(ops...); err != nil {
		return 0, j.fenced(err)
	}
	return n, nil
}

// entryOverhead is about what an entry takes in a multi beside its content.
const entryOverhead = 300

// fenced tells a multi that failed because of its first operation, the check of the epoch.
func (j *Journal) fenced(err error) error {
	var op *zookeeper.OpError
	if errors.As(err, &op) && op.Op == 0 && errors.Is(err, zklib.ErrBadVersion) {
		return fmt.Errorf("epoch %d has ended: %w", j.at.Epoch, journal.ErrFenced)
	}
	return err
}

// Resolve implements journal.Journal. When the session has expired it fails as Append does, and what
// became of the group is for the next Lead to find.
func (j *Journal) Resolve(ctx context.Context) error {
	j.mu.Lock()
	err, pending := j.usable(ctx), j.pending
	if err == nil && pending != nil {
		err = j.expiry()
	}
	j.mu.Unlock()
	if err != nil || pending == nil {
		return err
	}
	if err := j.settle(pending); errors.Is(err, journal.ErrFenced) {
		return err
	} else if err != nil {
		return journal.Unknown(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.committed(pending.first - 1)
	return nil
}

// settle looks for b and writes what is absent. Absent may also mean that an earlier attempt is still
// on its way: then either that or this one creates the znode, and the other fails. So only what is
// read after a refusal is the outcome.
func (j *Journal) settle(b *batch) error {
	for refused := error(nil); ; {
		if err := j.find(b); err != nil || len(b.entries) == 0 {
			return err
		}
		if refused != nil && errors.Is(refused, journal.ErrFenced) {
			return refused // nothing more of ours can come after the newer epoch
		}
		if refused = j.write(b); refused == nil || zookeeper.Passing(refused) {
			return refused
		}
		if !errors.Is(refused, journal.ErrFenced) && !errors.Is(refused, zklib.ErrNodeExists) {
			return refused
		}
	}
}

// find takes off b what is durable of it.
func (j *Journal) find(b *batch) error {
	if err := j.session.Sync(epochNode); err != nil {
		return err
	}
	for len(b.entries) > 0 {
		got, _, err := j.session.Get(logPath(b.first))
		if errors.Is(err, zklib.ErrNoNode) {
			return nil
		}
		if err != nil {
			return err
		}
		if !bytes.Equal(got, b.entries[0]) {
			return fmt.Errorf("entry %d is another epoch's: %w", b.first, journal.ErrFenced)
		}
		j.mu.Lock()
		j.size.add(b.first, len(got))
		j.mu.Unlock()
		b.first++
		b.entries = b.entries[1:]
	}
	return nil
}
