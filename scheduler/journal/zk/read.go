package zk

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	zklib "github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// inFlight is how many znodes are asked for at a time. A connection answers in order; this hides its
// delay, and bounds the memory of what was answered and not yet passed.
const inFlight = 16

// cursor says what was passed to an Applier: the records of a snapshot, and whole groups up to next.
type cursor struct {
	apply    journal.Applier
	groups   journal.Assembler
	next     uint64 // index of the entry to read next
	included uint64 // index of the snapshot
	manifest int32  // version that was looked at last
}

// passError is the Applier's: what it was passed is of no use any more.
type passError struct{ error }

func (e *passError) Unwrap() error { return e.error }

func parseIndex(name string) (uint64, bool) {
	index, err := strconv.ParseUint(name, 10, 64)
	return index, err == nil
}

// Read passes what is durable to apply, as Lead would, and changes nothing: a
// scheduler may lead meanwhile. What is passed may begin anew, with its records.
// It returns the name of the cluster whose journal it is.
func (j *Journal) Read(ctx context.Context, apply journal.Applier) (cluster string, err error) {
	s, err := j.sessions(ctx)
	if err == nil {
		cluster, err = readCluster(s)
	}
	if err == nil {
		err = j.finished(s)
	}
	if err == nil {
		_, err = j.readAll(ctx, s, nil, apply)
	}
	if err != nil {
		return "", fmt.Errorf("read journal: %w", err)
	}
	return cluster, nil
}

// errSwapped says that the manifest changed while what it named was read.
var errSwapped = errors.New("the manifest changed")

// load passes a snapshot. Nothing is passed before all of it is here, so that a connection lost on the
// way costs nothing. While the manifest changes it begins again.
func (j *Journal) load(ctx context.Context, s session, apply journal.Applier) (*cursor, error) {
	for {
		c, err := j.loadOnce(ctx, s, apply)
		if !errors.Is(err, errSwapped) {
			return c, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (j *Journal) loadOnce(ctx context.Context, s session, apply journal.Applier) (*cursor, error) {
	m, err := readManifest(s)
	if err != nil {
		return nil, err
	}
	c := &cursor{apply: apply, next: m.needed(), manifest: m.version}
	ref, chunks, err := j.readable(ctx, s, m)
	if err != nil {
		return nil, err
	}
	for _, packed := range chunks {
		raw, err := unpack(packed)
		if err == nil {
			err = splitChunk(raw, func(key string, value []byte) error {
				if err := apply.Record(key, value); err != nil {
					return &passError{err}
				}
				return nil
			})
		}
		var passed *passError
		if errors.As(err, &passed) {
			return nil, err
		}
		if err != nil { // its checksum was right: it was written like that
			return nil, corrupt(s.Path(snapshotPath(ref.Table)), "a chunk of it %v", err)
		}
	}
	c.included = ref.Index
	j.mu.Lock()
	defer j.mu.Unlock()
	j.snapshot, j.size = ref, logSize{}
	j.publishStat(ref.Index)
	return c, nil
}

// readable reads the newest snapshot that can be. An older one serves as well, since the entries after
// it are kept.
func (j *Journal) readable(ctx context.Context, s session, m manifest) (snapshotRef, [][]byte, error) {
	var problem error
	for _, ref := range m.Snapshots {
		chunks, err := readChunks(ctx, s, ref)
		if err == nil {
			return ref, chunks, nil
		}
		var damaged *journal.CorruptError
		if !errors.As(err, &damaged) {
			return snapshotRef{}, nil, err
		}
		if stat, err := s.Exists(manifestNode); err != nil {
			return snapshotRef{}, nil, err
		} else if stat == nil || stat.Version != m.version {
			return snapshotRef{}, nil, errSwapped
		}
		if problem == nil {
			problem = err
		}
		j.mu.Lock()
		j.damaged[ref.Table] = true
		j.mu.Unlock()
		j.log.Warn("a snapshot is damaged; the one before it and the log give the same state", "error", err)
	}
	if m.needed() > 1 {
		return snapshotRef{}, nil, problem
	}
	return snapshotRef{}, nil, nil
}

func readChunks(ctx context.Context, s session, ref snapshotRef) ([][]byte, error) {
	refs, err := readTable(s, ref)
	if err != nil {
		return nil, err
	}
	chunks := make([][]byte, len(refs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for i, k := range refs {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var err error
			chunks[i], err = fetch(s, k.Node, k.CRC32C)
			return err
		})
	}
	return chunks, group.Wait()
}

// readLog passes all entries there are. Those that are missing before the last are either compacted
// away or lost.
func (j *Journal) readLog(ctx context.Context, s session, c *cursor) error {
	names, err := s.Children(logNode)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Path(logNode), err)
	}
	last := uint64(0)
	for _, n := range names {
		if index, ok := parseIndex(n); ok {
			last = max(last, index)
		}
	}
	for c.next <= last {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := min(inFlight, last+1-c.next)
		read, err := j.readSome(s, c, n)
		if err != nil {
			return err
		}
		if read < n {
			if err := j.behind(s, c); err != nil {
				return err
			}
			return corrupt(s.Path(logPath(c.next)), "the entry is missing, and later ones up to %d are there", last)
		}
	}
	if c.next <= c.included {
		if err := j.behind(s, c); err != nil {
			return err
		}
		return corrupt(s.Path(logPath(c.included)), "the entry is missing, and the snapshot includes it")
	}
	return nil
}

// readSome passes up to n entries and returns how many there are.
func (j *Journal) readSome(s session, c *cursor, n uint64) (uint64, error) {
	entries := make([]*record.Entry, n)
	sizes := make([]int, n)
	var group errgroup.Group
	for i := range n {
		group.Go(func() error {
			index := c.next + i
			b, _, err := s.Get(logPath(index))
			if errors.Is(err, zklib.ErrNoNode) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", s.Path(logPath(index)), err)
			}
			entries[i], err = decodeEntry(s.Path(logPath(index)), index, b)
			sizes[i] = len(b)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	for i := range n {
		if entries[i] == nil {
			return i, nil
		}
		if err := j.pass(s, c, entries[i], sizes[i]); err != nil {
			return i, err
		}
	}
	return n, nil
}

func (j *Journal) pass(s session, c *cursor, e *record.Entry, size int) error {
	group, err := c.groups.Add(e)
	if err != nil {
		return corrupt(s.Path(logPath(e.GetIndex())), "%v", err)
	}
	c.next = e.GetIndex() + 1
	if e.GetIndex() > c.included {
		j.mu.Lock()
		j.size.add(e.GetIndex(), size)
		j.publishStat(e.GetIndex())
		j.mu.Unlock()
	}
	switch {
	case group == nil:
		return nil
	case e.GetIndex() <= c.included:
		err = c.apply.Past(group)
	default:
		err = c.apply.Apply(group)
	}
	if err != nil {
		return &passError{err}
	}
	return nil
}

// behind fails with journal.ErrBehind when the manifest does not need the entry that is next, so that
// its absence does not mean that it is still to come.
func (j *Journal) behind(s session, c *cursor) error {
	stat, err := s.Exists(manifestNode)
	if err != nil {
		return err
	}
	if stat != nil && stat.Version == c.manifest {
		return nil
	}
	m, err := readManifest(s)
	if err != nil {
		return err
	}
	c.manifest = m.version
	if m.needed() > c.next {
		return fmt.Errorf("entry %d is next, the oldest kept is %d: %w", c.next, m.needed(), journal.ErrBehind)
	}
	if len(m.Snapshots) > 0 {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.snapshot = m.Snapshots[0]
		j.size.compacted(j.snapshot.Index)
		j.publishStat(c.next - 1)
	}
	return nil
}
