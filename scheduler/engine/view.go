package engine

import (
	"fmt"
	"iter"
	"strings"

	"github.com/tidwall/btree"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// View is the durable state as of one journal index, and what was last
// observed of the cluster. It never changes; records in it are not to be
// changed by readers either.
type View struct {
	// Index of the journal's last entry that is in the view.
	Index uint64
	// Epoch of the leadership that wrote it, or that began since.
	Epoch uint64
	// Loaded says whether the journal was read: before, the view is empty.
	Loaded bool
	// Leads says whether this scheduler leads.
	Leads bool

	records *btree.Map[string, record.Message] // by key, tasks excepted
	tasks   *btree.Map[string, taskItem]       // by id
	byJob   *btree.BTreeG[taskItem]            // by job and id

	// Observed of the cluster: agents, offers, reasons. Never nil.
	Observed *core.Observed
}

// taskItem keeps a task's methods from the trees, which would use Copy: they
// would copy every task of a node that they copy.
type taskItem struct{ task *record.Task }

func newView() *View {
	return &View{
		records:  new(btree.Map[string, record.Message]),
		tasks:    new(btree.Map[string, taskItem]),
		byJob:    btree.NewBTreeGOptions(lessByJob, btree.Options{NoLocks: true}), // changed before it is seen
		Observed: new(core.Observed),
	}
}

func lessByJob(a, b taskItem) bool {
	if a.task.Job != b.task.Job {
		return a.task.Job < b.task.Job
	}
	return a.task.Id < b.task.Id
}

// put stores a record, or deletes it when m is nil, in place.
func (v *View) put(key string, m record.Message) {
	id, isTask := strings.CutPrefix(key, record.PrefixTask)
	switch {
	case !isTask && m == nil:
		v.records.Delete(key)
	case !isTask:
		v.records.Set(key, m)
	case m == nil:
		if old, ok := v.tasks.Delete(id); ok {
			v.byJob.Delete(old)
		}
	default:
		t := taskItem{m.(*record.Task)}
		v.tasks.Set(t.task.Id, t) // the record's string, so that the key's is not kept
		v.byJob.Set(t)
	}
}

// clone returns a view that may be changed while v stays as it is.
func (v *View) clone() *View {
	c := *v
	c.records, c.tasks, c.byJob = v.records.IsoCopy(), v.tasks.IsoCopy(), v.byJob.IsoCopy()
	return &c
}

// Cluster returns the record about the whole, nil before the first election.
func (v *View) Cluster() *record.Cluster {
	m, _ := v.records.Get(record.KeyCluster)
	c, _ := m.(*record.Cluster)
	return c
}

// Leader returns who led last, nil when nobody ever did.
func (v *View) Leader() *record.Leader {
	m, _ := v.records.Get(record.KeyLeader)
	l, _ := m.(*record.Leader)
	return l
}

// Job returns a job, nil when there is none.
func (v *View) Job(key string) *record.Job {
	m, _ := v.records.Get(record.JobKey(key))
	j, _ := m.(*record.Job)
	return j
}

// Deploy returns a deploy of a job, nil when it is unknown or no longer kept.
func (v *View) Deploy(job string, number uint32) *record.Deploy {
	m, _ := v.records.Get(record.DeployKey(job, number))
	d, _ := m.(*record.Deploy)
	return d
}

// Rollout returns how far a job's deploy is, nil when none goes on.
func (v *View) Rollout(job string) *record.Rollout {
	m, _ := v.records.Get(record.RolloutKey(job))
	r, _ := m.(*record.Rollout)
	return r
}

// Rollouts are those of the deploys that go on, by job.
func (v *View) Rollouts(yield func(*record.Rollout) bool) {
	ascend(v.records, record.PrefixRollout, record.PrefixRollout, yield)
}

// Answered returns what the request with a (scoped) idempotency key was answered, nil
// when there was none or it is no longer kept.
func (v *View) Answered(key string) *record.IdempotentReply {
	m, _ := v.records.Get(record.IdempotencyKey(key))
	r, _ := m.(*record.IdempotentReply)
	return r
}

// Token returns a token, nil when there is none.
func (v *View) Token(id string) *record.Token {
	m, _ := v.records.Get(record.TokenKey(id))
	t, _ := m.(*record.Token)
	return t
}

// Tokens whose id is not less than from, by id.
func (v *View) Tokens(from string, yield func(*record.Token) bool) {
	ascend(v.records, record.PrefixToken, record.TokenKey(from), yield)
}

// Group returns a deploy group, nil when it is unknown or no longer kept.
func (v *View) Group(id string) *record.Group {
	m, _ := v.records.Get(record.GroupKey(id))
	g, _ := m.(*record.Group)
	return g
}

// Groups are the deploy groups that are kept, by id, which is by age.
func (v *View) Groups(yield func(*record.Group) bool) {
	ascend(v.records, record.PrefixGroup, record.PrefixGroup, yield)
}

// Agent returns an agent that joined, nil when it is unknown or was lost.
func (v *View) Agent(id string) *record.Agent {
	m, _ := v.records.Get(record.AgentKey(id))
	a, _ := m.(*record.Agent)
	return a
}

// Run returns a run, nil when it is unknown or no longer kept.
func (v *View) Run(job, id string) *record.Run {
	m, _ := v.records.Get(record.RunKey(job, id))
	r, _ := m.(*record.Run)
	return r
}

// Task returns a task, nil when it is unknown or no longer kept.
func (v *View) Task(id string) *record.Task {
	t, _ := v.tasks.Get(id)
	return t.task
}

// Jobs calls yield with every job whose key is not less than from, in order,
// until it returns false.
func (v *View) Jobs(from string, yield func(*record.Job) bool) {
	ascend(v.records, record.PrefixJob, record.JobKey(from), yield)
}

// Deploys of a job, oldest first.
func (v *View) Deploys(job string, yield func(*record.Deploy) bool) {
	prefix := record.PrefixDeploy + job + "/"
	ascend(v.records, prefix, prefix, yield)
}

// Runs of a job whose id is not less than from, by id.
func (v *View) Runs(job, from string, yield func(*record.Run) bool) {
	ascend(v.records, record.PrefixRun+job+"/", record.RunKey(job, from), yield)
}

// RunsDescending is like Runs, from the greatest id that is not more than from
// ("" is the greatest there is) down.
func (v *View) RunsDescending(job, from string, yield func(*record.Run) bool) {
	prefix := record.PrefixRun + job + "/"
	pivot := prefix + from
	if from == "" {
		pivot = prefix + "\xff"
	}
	v.records.Descend(pivot, func(key string, m record.Message) bool {
		return strings.HasPrefix(key, prefix) && yield(m.(*record.Run))
	})
}

// Tasks of all jobs whose id is not less than from, by id.
func (v *View) Tasks(from string, yield func(*record.Task) bool) {
	v.tasks.Ascend(from, func(_ string, t taskItem) bool { return yield(t.task) })
}

// JobTasks are a job's tasks whose id is not less than from, by id: live ones
// and those that ended and are still kept.
func (v *View) JobTasks(job, from string, yield func(*record.Task) bool) {
	first := taskItem{&record.Task{Job: job, Id: from}}
	v.byJob.Ascend(first, func(t taskItem) bool { return t.task.Job == job && yield(t.task) })
}

// Spec returns the spec of a deploy with defaults filled in, nil when the
// deploy is no longer kept.
func (v *View) Spec(job string, number uint32) *api.Spec {
	d := v.Deploy(job, number)
	if d == nil {
		return nil
	}
	spec, err := api.ParseSpec(d.Spec)
	if err != nil {
		return nil // of a newer version; told as unknown
	}
	full := spec.WithDefaults()
	return &full
}

// afterTasks is the first key that sorts behind all tasks'.
const afterTasks = "task0"

// from yields the records whose keys are at or after from, in order of keys.
func (v *View) from(from string) iter.Seq2[string, record.Message] {
	return func(yield func(string, record.Message) bool) {
		more := true
		others := func(first, end string) {
			v.records.Ascend(max(first, from), func(key string, m record.Message) bool {
				if key >= end {
					return false
				}
				more = yield(key, m)
				return more
			})
		}
		others("", record.PrefixTask)
		if more && from < afterTasks {
			v.tasks.Ascend(strings.TrimPrefix(max(from, record.PrefixTask), record.PrefixTask), func(id string, t taskItem) bool {
				more = yield(record.TaskKey(id), t.task)
				return more
			})
		}
		if more {
			others(afterTasks, "\xff")
		}
	}
}

// Keys are those of all records, in order.
func (v *View) Keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		for key := range v.from("") {
			if !yield(key) {
				return
			}
		}
	}
}

// Records are the records whose keys are at or after from, in order of keys and
// encoded, those of types that this version does not know too. A value is valid
// until the loop goes on.
func (v *View) Records(from string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		var buf []byte
		for key, m := range v.from(from) {
			if u, ok := m.(unknown); ok {
				buf = append(buf[:0], u.value...)
			} else {
				var err error
				if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], m); err != nil {
					panic(fmt.Sprintf("engine: encode record %q: %v", key, err)) // it was encoded before
				}
			}
			if !yield(key, buf) {
				return
			}
		}
	}
}

func ascend[T record.Message](tree *btree.Map[string, record.Message], prefix, pivot string, yield func(T) bool) {
	tree.Ascend(pivot, func(key string, m record.Message) bool {
		return strings.HasPrefix(key, prefix) && yield(m.(T))
	})
}
