package sim

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// journal is what is durable: the records, encoded, as the real one keeps them.
type journal struct {
	w       *world
	epoch   int
	index   int
	records map[string][]byte
	decoded map[string]core.Record // the same, for checks
}

func newJournal(w *world) *journal {
	return &journal{w: w, records: map[string][]byte{}, decoded: map[string]core.Record{}}
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

// append makes a Ready's writes durable.
func (j *journal) append(r core.Ready) {
	if len(r.Writes) == 0 {
		return
	}
	j.index++
	if j.w.opts.Mutant == MutantForgetEntry && j.w.chance(40) {
		return
	}
	for _, wr := range r.Writes {
		before := j.decoded[wr.Key]
		if wr.Record == nil {
			delete(j.records, wr.Key)
			delete(j.decoded, wr.Key)
		} else {
			b, err := proto.Marshal(wr.Record)
			if err != nil {
				panic(failed(fmt.Sprintf("record %s cannot be encoded: %v", wr.Key, err)))
			}
			j.records[wr.Key] = b
			m, err := record.Decode(wr.Key, b)
			if err != nil {
				panic(failed(fmt.Sprintf("record %s: %v", wr.Key, err)))
			}
			j.decoded[wr.Key] = m
		}
		j.w.checks.written(wr.Key, before, j.decoded[wr.Key])
	}
	j.w.checks.entryWritten()
}

func (j *journal) task(id string) *record.Task {
	t, _ := j.decoded[record.TaskKey(id)].(*record.Task)
	return t
}

// tasks are the durable tasks, by id.
func (j *journal) tasks() []*record.Task {
	var out []*record.Task
	for _, key := range slices.Sorted(maps.Keys(j.decoded)) {
		if t, ok := j.decoded[key].(*record.Task); ok {
			out = append(out, t)
		}
	}
	return out
}
