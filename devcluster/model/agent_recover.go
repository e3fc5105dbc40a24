package model

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// What an agent stores, so that its next life goes on where this one ends:
//
//	agent                      agentRecordOf
//	drain                      mesos.DrainConfig
//	framework/F                mesos.FrameworkInfo
//	executor/F/E               executorRecord
//	task/F/T                   taskRecord
//	update/F/T/N               updateRecord
//
// Ids contain no slash. Frameworks without checkpoint are not stored, so their
// executors do not survive the agent, as in Mesos.
type agentRecordOf struct {
	ID   string `json:"id"`
	Info []byte `json:"info"` // mesos.AgentInfo
}

type executorRecord struct {
	Seq       int    `json:"seq"`
	Container string `json:"container"`
	Command   bool   `json:"command,omitempty"`
	Info      []byte `json:"info"` // mesos.ExecutorInfo
}

type taskRecord struct {
	Seq      int    `json:"seq"`
	Executor string `json:"executor"`
	Task     []byte `json:"task"` // mesos.Task
}

type updateRecord struct {
	Seq    int    `json:"seq"`
	Status []byte `json:"status"` // mesos.TaskStatus
}

// stores says whether what an agent knows of a framework outlives its process;
// nil is what it knows of itself.
func (a *agent) stores(f *agentFramework) bool {
	return a.spec.Durable && (f == nil || f.info.GetCheckpoint())
}

// store takes nil as the value of a record that is over.
func (a *agent) store(key string, value []byte) {
	a.m.emit(Store{Agent: a.spec.Name, Key: key, Value: value})
}

func (a *agent) storeAgent() {
	if a.stores(nil) {
		a.store("agent", encodeJSON(agentRecordOf{a.id, encode(a.info)}))
	}
}

func (a *agent) storeDrain() {
	if a.stores(nil) && a.drainOf == nil {
		a.store("drain", nil)
	} else if a.stores(nil) {
		a.store("drain", encode(a.drainOf))
	}
}

func (a *agent) storeFramework(f *agentFramework) {
	if a.stores(f) {
		a.store("framework/"+f.id(), encode(f.info))
	}
}

func (a *agent) forgetFramework(f *agentFramework) {
	if a.stores(f) {
		a.store("framework/"+f.id(), nil)
	}
}

func (e *agentExecutor) key() string {
	return "executor/" + e.framework.id() + "/" + e.info.ExecutorID.Value
}

func (a *agent) storeExecutor(e *agentExecutor) {
	if a.stores(e.framework) {
		a.store(e.key(), encodeJSON(executorRecord{e.seq, e.container, e.command, encode(e.info)}))
	}
}

func (a *agent) forgetExecutor(e *agentExecutor) {
	if a.stores(e.framework) {
		a.store(e.key(), nil)
	}
}

func (a *agent) storeTask(e *agentExecutor, t *mesos.Task) {
	if a.stores(e.framework) {
		a.seq++
		a.store("task/"+e.framework.id()+"/"+t.TaskID.Value,
			encodeJSON(taskRecord{a.seq, e.info.ExecutorID.Value, encode(t)}))
	}
}

func (a *agent) forgetTask(e *agentExecutor, id string) {
	if a.stores(e.framework) {
		a.store("task/"+e.framework.id()+"/"+id, nil)
	}
}

func updateKey(key taskKey, u pendingUpdate) string {
	return "update/" + key.framework + "/" + key.id + "/" + strconv.Itoa(u.seq)
}

func (a *agent) storeUpdate(key taskKey, u pendingUpdate) {
	if a.stores(a.frameworks.get(key.framework)) {
		a.store(updateKey(key, u), encodeJSON(updateRecord{u.seq, encode(&u.status)}))
	}
}

func (a *agent) forgetUpdate(key taskKey, u pendingUpdate) {
	if a.stores(a.frameworks.get(key.framework)) {
		a.store(updateKey(key, u), nil)
	}
}

// StartAgent starts an agent's process with what an earlier one stored,
// nothing the first time. The front then says of each container in Containers
// whether it still runs, by ContainerStarted or ContainerExited, and destroys
// what else there is.
//
// With executors to wait for, the agent takes
// AgentSpec.ExecutorReregistrationTimeout until it registers.
func (m *Model) StartAgent(now time.Time, name string, records map[string][]byte) {
	m.step(now, func() {
		h := m.hosts.get(name)
		if h == nil || h.agent != nil {
			return
		}
		a := &agent{m: m, host: h, spec: h.spec, frameworks: newOrdered[string, *agentFramework](),
			updates: newOrdered[taskKey, *updateStream](), streams: map[StreamID]*agentExecutor{},
			containers: map[string]*agentExecutor{}}
		port := int32(a.spec.Port)
		a.info = &mesos.AgentInfo{Hostname: a.spec.Hostname, Port: &port,
			Resources: a.spec.Resources, Attributes: a.spec.Attributes}
		h.agent = a
		a.recover(records)
		if a.frameworks.len() == 0 {
			a.state = unregistered
			a.masterDetected()
			return
		}
		a.after(a.spec.ExecutorReregistrationTimeout, a.recovered)
	})
}

// recovered ends recovery: executors that have not come back are given up.
func (a *agent) recovered() {
	for _, f := range a.frameworks.values() {
		for _, e := range f.executors.values() {
			if e.state == executorRegistering {
				a.destroy(e, &termination{orLost(f.aware, mesos.TASK_GONE), mesos.REASON_EXECUTOR_REREGISTRATION_TIMEOUT,
					"Executor did not reregister within " + duration(a.spec.ExecutorReregistrationTimeout)})
			}
		}
	}
	if a.drainOf != nil {
		a.drain(a.drainOf)
	}
	a.state = unregistered
	a.masterDetected()
}

// Containers are those that the agent believes to run.
func (m *Model) Containers(agent string) []string {
	var out []string
	if a := m.agentOf(agent); a != nil {
		for _, f := range a.frameworks.all() {
			for _, e := range f.executors.all() {
				if e.state != executorTerminated {
					out = append(out, e.container)
				}
			}
		}
	}
	return out
}

// recover reads records. One that cannot be read is as good as none.
func (a *agent) recover(records map[string][]byte) {
	var self agentRecordOf
	var info mesos.AgentInfo
	if json.Unmarshal(records["agent"], &self) != nil || info.Unmarshal(self.Info) != nil {
		return
	}
	a.id = self.ID
	// What the agent was given this time counts; only its id is from before.
	a.info.ID = info.ID
	var d mesos.DrainConfig
	if b := records["drain"]; b != nil && d.Unmarshal(b) == nil {
		a.drainOf, a.drainStart = &d, a.m.now
	}
	a.recoverFrameworks(records)
	a.recoverTasks(records)
	a.recoverUpdates(records)
	for _, f := range a.frameworks.values() {
		for _, e := range f.executors.values() {
			if e.launched.len()+e.terminated.len() > 0 {
				e.sentTask = true
			}
		}
		a.removeIfIdle(f)
	}
}

// stored is one record that is read back.
type stored[T any] struct {
	path  []string // the key, without its first part
	value T
}

// load reads all records of a kind in the order of their numbers.
func load[T any](records map[string][]byte, kind string, parts int, seq func(*T) int) []stored[T] {
	var out []stored[T]
	for key, b := range records {
		path := strings.Split(key, "/")
		var v T
		if path[0] != kind || len(path) != parts+1 || json.Unmarshal(b, &v) != nil {
			continue
		}
		out = append(out, stored[T]{path[1:], v})
	}
	slices.SortFunc(out, func(x, y stored[T]) int {
		return cmp.Or(cmp.Compare(seq(&x.value), seq(&y.value)), slices.Compare(x.path, y.path))
	})
	return out
}

func (a *agent) recoverFrameworks(records map[string][]byte) {
	executors := load(records, "executor", 2, func(r *executorRecord) int { return r.Seq })
	for _, r := range executors {
		a.seq = max(a.seq, r.value.Seq)
		f := a.frameworks.get(r.path[0])
		if f == nil {
			var info mesos.FrameworkInfo
			if info.Unmarshal(records["framework/"+r.path[0]]) != nil || info.ID == nil {
				continue
			}
			f = &agentFramework{executors: newOrdered[string, *agentExecutor](), tasks: map[string]*agentExecutor{}}
			f.setInfo(&info)
			a.frameworks.set(f.id(), f)
		}
		var info mesos.ExecutorInfo
		if info.Unmarshal(r.value.Info) == nil {
			seq := a.seq
			e := a.newExecutor(f, &info, r.value.Container, r.value.Command)
			e.seq, a.seq = r.value.Seq, seq
		}
	}
}

func (a *agent) recoverTasks(records map[string][]byte) {
	for _, r := range load(records, "task", 2, func(r *taskRecord) int { return r.Seq }) {
		a.seq = max(a.seq, r.value.Seq)
		f := a.frameworks.get(r.path[0])
		var t mesos.Task
		if f == nil || f.executors.get(r.value.Executor) == nil || t.Unmarshal(r.value.Task) != nil {
			continue
		}
		e := f.executors.get(r.value.Executor)
		t.StatusUpdateState, t.StatusUpdateUUID = nil, nil // until this life sends an update of it
		f.tasks[t.TaskID.Value] = e
		if terminal(t.GetState()) {
			e.terminated.set(t.TaskID.Value, &t)
		} else {
			e.launched.set(t.TaskID.Value, &t)
		}
	}
}

func (a *agent) recoverUpdates(records map[string][]byte) {
	for _, r := range load(records, "update", 3, func(r *updateRecord) int { return r.Seq }) {
		a.seq = max(a.seq, r.value.Seq)
		var s mesos.TaskStatus
		if s.Unmarshal(r.value.Status) != nil {
			continue
		}
		key := taskKey{r.path[0], r.path[1]}
		if a.updates.get(key) == nil {
			a.updates.set(key, &updateStream{key: key})
		}
		stream := a.updates.get(key)
		stream.pending = append(stream.pending, pendingUpdate{s, r.value.Seq})
	}
}
