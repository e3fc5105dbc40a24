package sim

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

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
	live    *liveTasks

	subscriptions map[uint64]uint64 // by epoch: how often it wrote that it will subscribe
}

// entry is one group of writes. It is the same bytes only if it is the same
// entry.
type entry struct {
	epoch, index uint64
	writes       []core.Write
	events       []*record.Event
	left         map[string]bool // keys of records that go, and are left to history
}

// verdict is what storage says to an append.
type verdict int

const (
	committed verdict = iota
	fenced
)

func newJournal(w *world) *journal {
	return &journal{w: w, entries: map[uint64]*entry{}, records: map[string][]byte{}, decoded: map[string]core.Record{},
		tasks_: map[string]*record.Task{}, live: newLiveTasks(), subscriptions: map[uint64]uint64{}}
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
		j.w.checks.fencedOut(e)
		return fenced
	}
	j.w.checks.oneWriter(e)
	j.index++
	j.entries[j.index] = e
	delete(j.entries, j.index-64)
	if j.w.opts.Mutant == MutantForgetEntry && j.w.chance(40) {
		return committed
	}
	before := make([]core.Record, len(e.writes))
	for i, wr := range e.writes {
		before[i] = j.decoded[wr.Key]
		j.put(wr, before[i])
		if l, ok := wr.Record.(*record.Leader); ok {
			j.subscriptions[e.epoch] = l.Subscriptions
		}
	}
	for i, wr := range e.writes {
		j.w.checks.written(wr.Key, before[i], wr.Record)
	}
	for _, event := range e.events {
		j.w.checks.told(event)
	}
	j.w.checks.entryWritten()
	return committed
}

func (j *journal) put(wr core.Write, before core.Record) {
	old, _ := before.(*record.Task)
	now, _ := wr.Record.(*record.Task)
	j.live.replace(wr.Key, old, now)
	if wr.Record == nil {
		delete(j.records, wr.Key)
		delete(j.decoded, wr.Key)
		delete(j.tasks_, wr.Key)
		return
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(wr.Record)
	if err != nil {
		panic(failed(fmt.Sprintf("record %s cannot be encoded: %v", wr.Key, err)))
	}
	j.records[wr.Key] = b
	j.decoded[wr.Key] = wr.Record
	if now != nil {
		j.tasks_[wr.Key] = now
	}
}

func (j *journal) rollout(job string) *record.Rollout {
	r, _ := j.decoded[record.RolloutKey(job)].(*record.Rollout)
	return r
}

// tasksOf is what tasks of a deploy and of those like it have in common; the
// number itself when it is not kept.
func (j *journal) tasksOf(job string, number uint32) uint32 {
	if d := j.deploy(job, number); d != nil {
		return d.TasksOf()
	}
	return number
}

// tell traces what is durable, for whoever looks at a failure.
func (j *journal) tell() {
	if j.w.opts.Trace == nil {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(j.decoded)) {
		switch m := j.decoded[key].(type) {
		case *record.Job:
			j.w.trace("%s: %d instances on deploy %d, stable %d, paused %v, removing %v, decided through %d",
				key, m.Instances, m.Deploy, m.Stable, m.Paused, m.Removing, m.DecidedThrough)
		case *record.Deploy:
			j.w.trace("%s: %v %s, created %v, ended %v, %+v", key, m.State, m.Reason, millis(m.CreatedAt), millis(m.EndedAt), j.w.checks.specOf(m).Update)
		case *record.Rollout:
			j.w.trace("%s: of deploy %d, %v, step %d, back %d, progress %v, paused %v, keeps until %v", key, m.Deploy, m.Phase, m.Step, m.Back,
				millis(m.ProgressAt), m.Paused, millis(m.KeepUntil))
		case *record.Group:
			j.w.trace("%s: %v %s, %v", key, m.State, m.Reason, m.Members)
		case *record.Run:
			j.w.trace("%s: %v %s, %d failures", key, m.State, m.Reason, m.Failures)
		case *record.Task:
			j.w.trace("%s: %s deploy %d instance %d run %q on %s: %s, ready %v, stop %v %s", key, m.Job, m.Deploy, m.Instance, m.Run, m.Host,
				describe(m), m.Ready, m.StopAt != 0, m.StopReason)
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

func (j *journal) liveTasks() []*record.Task { return sortedTasks(j.live.byKey) }

// jobs are all durable jobs, by name.
func (j *journal) jobs() []*record.Job {
	var out []*record.Job
	for _, m := range j.decoded {
		if job, ok := m.(*record.Job); ok {
			out = append(out, job)
		}
	}
	slices.SortFunc(out, func(a, b *record.Job) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// groups are all durable groups of deploys, in no order.
func (j *journal) groups() []*record.Group {
	var out []*record.Group
	for _, m := range j.decoded {
		if g, ok := m.(*record.Group); ok {
			out = append(out, g)
		}
	}
	return out
}

// runs are all durable runs, in no order.
func (j *journal) runs() []*record.Run {
	var out []*record.Run
	for _, m := range j.decoded {
		if run, ok := m.(*record.Run); ok {
			out = append(out, run)
		}
	}
	return out
}

func (j *journal) job(key string) *record.Job {
	job, _ := j.decoded[record.JobKey(key)].(*record.Job)
	return job
}

func (j *journal) deploy(job string, number uint32) *record.Deploy {
	d, _ := j.decoded[record.DeployKey(job, number)].(*record.Deploy)
	return d
}

func sortedTasks(m map[string]*record.Task) []*record.Task {
	out := make([]*record.Task, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[key])
	}
	return out
}
