package zk

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// A chunk is cut at about a quarter of a megabyte, and holds less only where its range shrinks. The
// biggest record, of journal.MaxEntryBytes, fits into one.
const (
	chunkMax = journal.MaxEntryBytes
	chunkMin = chunkMax / 4
)

// Compact implements journal.Journal. Only chunks whose records have changed are written, one at a
// time, so that an append waits for one at most.
func (j *Journal) Compact(ctx context.Context, src journal.Source) error {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	if err := j.compact(ctx, src); err != nil {
		return fmt.Errorf("compact journal: %w", err)
	}
	return nil
}

func (j *Journal) compact(ctx context.Context, src journal.Source) error {
	c, err := j.beginCompact(ctx, src)
	if err != nil {
		return err
	}
	if err := c.multi(); err != nil { // checks the epoch
		return err
	}
	old, err := readManifest(c.session)
	if err != nil {
		return err
	}
	old.Snapshots = slices.DeleteFunc(old.Snapshots, func(r snapshotRef) bool { return c.damaged[r.Table] })
	if c.index == 0 || len(old.Snapshots) > 0 && c.index <= old.Snapshots[0].Index {
		return nil
	}
	ref, err := c.write(ctx, src, old)
	if err != nil {
		return err
	}
	m := manifest{Snapshots: append([]snapshotRef{ref}, old.Snapshots...)}
	m.Snapshots = m.Snapshots[:min(len(m.Snapshots), 2)]
	b, err := m.encode()
	if err != nil {
		return err
	}
	if err := c.multi(zookeeper.Set(manifestNode, b, old.version)); err != nil {
		return err
	}
	j.mu.Lock()
	j.snapshot = ref
	j.size.compacted(ref.Index)
	j.publishStat(j.at.Index - 1)
	j.mu.Unlock()
	return c.drop(ctx, m)
}

// compaction writes one snapshot.
type compaction struct {
	journal *Journal
	session session
	version int32 // of the epoch znode
	epoch   uint64
	index   uint64
	damaged map[string]bool

	written int // znodes; part of their names
	present map[string]bool
	known   map[string]chunkRef // chunks of earlier snapshots, by their first key
	starts  []string            // first keys of the newest snapshot's chunks
	tables  map[string][]chunkRef

	raw     []byte // the chunk that grows
	offsets []int  // of its records
	from    string // first key in it
	chunks  []chunkRef
}

func (j *Journal) beginCompact(ctx context.Context, src journal.Source) (*compaction, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(ctx); err != nil {
		return nil, err
	}
	if !j.leading {
		return nil, errors.New("lead first")
	}
	c := &compaction{
		journal: j, session: j.session, version: j.epochVersion, epoch: j.at.Epoch, index: src.Index(),
		damaged: j.damaged, present: map[string]bool{}, known: map[string]chunkRef{}, tables: map[string][]chunkRef{},
	}
	if c.index >= j.at.Index {
		return nil, fmt.Errorf("the view is of entry %d, the last durable one is %d", c.index, j.at.Index-1)
	}
	return c, nil
}

// multi does ops if this scheduler still leads.
func (c *compaction) multi(ops ...zookeeper.Op) error {
	ops = append([]zookeeper.Op{zookeeper.Check(epochNode, c.version)}, ops...)
	return c.journal.fenced(c.session.Multi(ops...))
}

// write writes what is new of a snapshot, its table last.
func (c *compaction) write(ctx context.Context, src journal.Source, old manifest) (snapshotRef, error) {
	ref := snapshotRef{Index: c.index}
	if err := c.learn(old); err != nil {
		return ref, err
	}
	last, any := "", false
	for key, value := range src.Records("") {
		if ctx.Err() != nil {
			return ref, ctx.Err()
		}
		if any && key <= last {
			return ref, fmt.Errorf("key %q comes after %q", key, last)
		}
		last, any = key, true
		if err := c.add(key, value); err != nil {
			return ref, err
		}
	}
	if err := c.emit(len(c.offsets)); err != nil {
		return ref, err
	}
	table, err := json.Marshal(c.chunks)
	if err != nil {
		return ref, err
	}
	packed := pack(table)
	if ref.Table, err = c.store(packed); err != nil {
		return ref, err
	}
	ref.CRC32C, ref.Bytes = checksum(packed), int64(len(packed))+znodeBytes
	for _, k := range c.chunks {
		ref.Records += k.Records
		ref.Bytes += k.Bytes + znodeBytes
	}
	c.tables[ref.Table] = c.chunks
	return ref, nil
}

// learn finds the chunks that may serve once more.
func (c *compaction) learn(old manifest) error {
	names, err := c.session.Children(snapshotNode)
	if err != nil {
		return err
	}
	for _, n := range names {
		c.present[n] = true
	}
	for i, ref := range old.Snapshots {
		chunks, err := readTable(c.session, ref)
		var damaged *journal.CorruptError
		if errors.As(err, &damaged) {
			continue // this compaction replaces it sooner or later; its chunks cannot be told
		}
		if err != nil {
			return err
		}
		c.tables[ref.Table] = chunks
		if i > 0 {
			continue
		}
		for _, k := range chunks {
			c.starts = append(c.starts, k.From)
			if c.present[k.Node] {
				c.known[k.From] = k
			}
		}
	}
	return nil
}

// add puts a record into the chunk that grows. Chunks begin where they began before, unless they have
// outgrown or shrunk, so that the others stay as they are.
func (c *compaction) add(key string, value []byte) error {
	cut := false
	for len(c.starts) > 0 && c.starts[0] <= key {
		cut = true
		c.starts = c.starts[1:]
	}
	if cut && len(c.raw) >= chunkMin {
		if err := c.emit(len(c.offsets)); err != nil {
			return err
		}
	}
	for len(c.raw) > 0 && len(c.raw)+len(key)+len(value)+20 > chunkMax {
		if err := c.emit(c.half()); err != nil {
			return err
		}
	}
	if len(c.raw) == 0 {
		c.from = key
	}
	c.offsets = append(c.offsets, len(c.raw))
	c.raw = appendRecord(c.raw, key, value)
	return nil
}

// half returns how many records make up the first half of the chunk: cutting there leaves both with
// room to grow.
func (c *compaction) half() int {
	for n := 1; n < len(c.offsets); n++ {
		if c.offsets[n] >= len(c.raw)/2 {
			return n
		}
	}
	return len(c.offsets)
}

// emit makes a chunk of the first n records, the same znode as before if it is the same.
func (c *compaction) emit(n int) error {
	if n == 0 {
		return nil
	}
	end := len(c.raw)
	if n < len(c.offsets) {
		end = c.offsets[n]
	}
	sum := sha256.Sum256(c.raw[:end])
	k, ok := c.known[c.from]
	if !ok || string(k.SHA256) != string(sum[:]) {
		packed := pack(c.raw[:end])
		node, err := c.store(packed)
		if err != nil {
			return err
		}
		k = chunkRef{Node: node, CRC32C: checksum(packed), SHA256: sum[:], From: c.from, Cut: c.index,
			Records: uint64(n), Bytes: int64(len(packed))}
	}
	c.chunks = append(c.chunks, k)
	c.raw = append(c.raw[:0], c.raw[end:]...)
	c.offsets = append(c.offsets[:0], c.offsets[n:]...)
	for i := range c.offsets {
		c.offsets[i] -= end
	}
	if len(c.raw) > 0 {
		key, _, _ := field(c.raw)
		c.from = string(key)
	}
	return nil
}

// store creates a znode of the snapshot. Epochs are never used twice, so neither are names.
func (c *compaction) store(content []byte) (name string, err error) {
	c.written++
	name = fmt.Sprintf("%010d-%d-%d-%d", c.index, c.epoch, c.journal.attempt.Add(1), c.written)
	if err := c.multi(zookeeper.Create(snapshotPath(name), content)); err != nil {
		return "", fmt.Errorf("write %s: %w", c.session.Path(snapshotPath(name)), err)
	}
	return name, nil
}

// dropAtOnce is how many znodes one multi deletes.
const dropAtOnce = 500

// drop deletes what no snapshot of m needs, what earlier attempts left included. A reader that is
// still at it finds another manifest.
func (c *compaction) drop(ctx context.Context, m manifest) error {
	keep := map[string]bool{}
	for _, ref := range m.Snapshots {
		keep[ref.Table] = true
		for _, k := range c.tables[ref.Table] {
			keep[k.Node] = true
		}
		if c.tables[ref.Table] == nil && ref.Records > 0 {
			return nil // its chunks cannot be told: nothing is deleted until it has gone
		}
	}
	var paths []string
	names, err := c.session.Children(snapshotNode)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !keep[n] {
			paths = append(paths, snapshotPath(n))
		}
	}
	if names, err = c.session.Children(logNode); err != nil {
		return err
	}
	slices.Sort(names)
	needed := m.needed()
	for _, n := range names {
		if index, ok := parseIndex(n); ok && index < needed {
			paths = append(paths, logNode+"/"+n)
		}
	}
	for some := range slices.Chunk(paths, dropAtOnce) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		ops := make([]zookeeper.Op, len(some))
		for i, p := range some {
			ops[i] = zookeeper.Delete(p)
		}
		if err := c.multi(ops...); err != nil {
			return err
		}
	}
	return nil
}
