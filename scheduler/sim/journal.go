package sim

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// journal is what is durable: the records, encoded, as the real one keeps them;
// and the fence that keeps out a scheduler that no longer leads.
type journal struct {
	w       *world
	epoch   uint64
	index   uint64            // of the last entry
	entries map[uint64]*entry // the last ones
	records map[string][]byte
	decoded map[string]core.Record  // the same, for checks
	tasks_  map[string]*record.Task // of decoded
	live    map[string]*record.Task // those that are not terminal

	subscriptions map[uint64]uint64 // by epoch: how often it wrote that it will subscribe
}

// entry is one group of writes. It is the same bytes only if it is the same
// entry.
type entry struct {
	epoch, index uint64
	writes       []core.Write
}

// verdict is what storage says to an append.
type verdict int

const (
	committed verdict = iota
	fenced
)

func newJournal(w *world) *journal {
	return &journal{w: w, entries: map[uint64]*entry{}, records: map[string][]byte{}, decoded: map[string]core.Record{},
		tasks_: map[string]*record.Task{}, live: map[string]*record.Task{}, subscriptions: map[uint64]uint64{}}
}

// lead raises the epoch, unless the session that asks for it is over.
func (j *journal) lead(x *session) (epoch, index uint64, ok bool) {
	if x.over {
		return 0, 0, false
	}
	j.epoch++
	return j.epoch, j.index, true
}

func (j *journal) all() iter.Seq2[string, core.Record] {
	return func(yield func(string, core.Record) bool) {
		for _, key := range slices.Sorted(maps.Keys(j.records)) {
			m, err := record.Decode(key, j.records[key])
			if err != nil {
				panic(failed(fmt.Sprintf("record %s: %v", key, err)))
			}
			if !yield(key, m) {
				return
			}
		}
	}
}

// append makes an entry durable, unless another epoch leads. One that is there
// already, since an append of it whose answer was lost did arrive, is found.
func (j *journal) append(e *entry) verdict {
	if j.entries[e.index] == e {
		return committed
	}
	switch unfenced := j.w.opts.Mutant == MutantNoFence; {
	case unfenced:
		e.index = j.index + 1
	case e.epoch != j.epoch, e.index != j.index+1:
		return fenced
	}
	j.w.checks.oneWriter(e)
	j.index++
	j.entries[j.index] = e
	delete(j.entries, j.index-64)
	if j.w.opts.Mutant == MutantForgetEntry && j.w.chance(40) {
		return committed
	}
	for _, wr := range e.writes {
		before := j.decoded[wr.Key]
		j.put(wr)
		if l, ok := wr.Record.(*record.Leader); ok {
			j.subscriptions[e.epoch] = l.Subscriptions
		}
		j.w.checks.written(wr.Key, before, wr.Record)
	}
	j.w.checks.entryWritten()
	return committed
}

func (j *journal) put(wr core.Write) {
	if wr.Record == nil {
		delete(j.records, wr.Key)
		delete(j.decoded, wr.Key)
		delete(j.tasks_, wr.Key)
		delete(j.live, wr.Key)
		return
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(wr.Record)
	if err != nil {
		panic(failed(fmt.Sprintf("record %s cannot be encoded: %v", wr.Key, err)))
	}
	j.records[wr.Key] = b
	j.decoded[wr.Key] = wr.Record
	switch m := wr.Record.(type) {
	case *record.Task:
		j.tasks_[wr.Key] = m
		if m.State.Terminal() {
			delete(j.live, wr.Key)
		} else {
			j.live[wr.Key] = m
		}
	}
}

// unchanged: a record that was returned is never changed.
func (j *journal) unchanged() {
	for _, key := range slices.Sorted(maps.Keys(j.decoded)) {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(j.decoded[key])
		if err != nil || !bytes.Equal(b, j.records[key]) {
			panic(failed(fmt.Sprintf("record %s was changed after it was written", key)))
		}
	}
}

func (j *journal) task(id string) *record.Task { return j.tasks_[record.TaskKey(id)] }

// tasks are the durable tasks, by id.
func (j *journal) tasks() []*record.Task { return sortedTasks(j.tasks_) }

func (j *journal) liveTasks() []*record.Task { return sortedTasks(j.live) }

func sortedTasks(m map[string]*record.Task) []*record.Task {
	out := make([]*record.Task, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[key])
	}
	return out
}
