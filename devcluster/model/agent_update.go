package model

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
)

// updateStream is the status updates of one task that the scheduler has not
// acknowledged. Only the first is out; it is repeated until it is acknowledged,
// and holds back the others.
type updateStream struct {
	key     taskKey
	pending []pendingUpdate
	retry   *timer
	wait    time.Duration
}

type pendingUpdate struct {
	status mesos.TaskStatus
	seq    int
}

const (
	firstRetry = 10 * time.Second
	lastRetry  = 10 * time.Minute
)

func (a *agent) withUUID(s mesos.TaskStatus) mesos.TaskStatus {
	uuid := a.m.opts.UUID()
	s.UUID = uuid[:]
	return s
}

// executorUpdate is UPDATE of an executor.
func (a *agent) executorUpdate(f *agentFramework, c *executor.Call) {
	a.executorStatus(f, c.Update.Status)
}

func (a *agent) executorStatus(f *agentFramework, s mesos.TaskStatus) {
	if s.AgentID != nil && s.AgentID.Value != a.id {
		return // for another agent: dropped, though answered 202
	}
	s.AgentID = &mesos.AgentID{Value: a.id}
	if s.Timestamp == nil {
		at := seconds(a.m.now)
		s.Timestamp = &at
	}
	a.statusUpdate(f, s, true)
}

// statusUpdate takes an update of an executor, or one that the agent made up.
func (a *agent) statusUpdate(f *agentFramework, s mesos.TaskStatus, fromExecutor bool) {
	if f.terminating {
		return
	}
	if a.drainOf != nil && (s.GetState() == mesos.TASK_KILLING || s.GetState() == mesos.TASK_KILLED) {
		s.Reason = mesos.REASON_AGENT_DRAINING.Enum()
		if a.drainOf.GetMarkGone() && f.aware {
			s.State = mesos.TASK_GONE_BY_OPERATOR.Enum()
		}
	}
	id := s.TaskID.Value
	e := f.tasks[id]
	if e != nil {
		known := true
		if s, known = a.updateTaskState(e, s, fromExecutor); !known {
			a.tellAcknowledged(e, s, fromExecutor)
			return
		}
	}
	a.enqueueUpdate(f.id(), s)
	if e != nil {
		a.tellAcknowledged(e, s, fromExecutor)
	}
}

// tellAcknowledged tells an executor that the agent has its update. It says
// nothing of the scheduler.
func (a *agent) tellAcknowledged(e *agentExecutor, s mesos.TaskStatus, fromExecutor bool) {
	if fromExecutor {
		a.send(e, &executor.Event{Type: executor.Event_ACKNOWLEDGED,
			Acknowledged: &executor.Event_Acknowledged{TaskID: s.TaskID, UUID: s.UUID}})
	}
}

// updateTaskState returns the update with what the agent adds, and false when
// the task is not one that can have such an update any more.
func (a *agent) updateTaskState(e *agentExecutor, s mesos.TaskStatus, fromExecutor bool) (mesos.TaskStatus, bool) {
	id := s.TaskID.Value
	ends := terminal(s.GetState())
	var t *mesos.Task
	if info := e.queued.get(id); info != nil {
		if !ends {
			return s, false
		}
		e.queued.delete(id)
		t = newTask(info, s.GetState(), e.framework.id())
	} else if t = e.launched.get(id); t != nil {
		dropped := s.GetState() == mesos.TASK_DROPPED || s.GetState() == mesos.TASK_LOST
		if fromExecutor || !dropped {
			s.ContainerStatus = a.containerStatus(e, s.ContainerStatus)
		}
		if ends {
			e.launched.delete(id)
		}
	} else {
		return s, false
	}
	addStatus(t, s)
	t.State = s.State
	if ends {
		e.terminated.set(id, t)
	}
	a.storeTask(e, t)
	return s, true
}

// containerStatus is what the agent says of a container that has a process.
func (a *agent) containerStatus(e *agentExecutor, given *mesos.ContainerStatus) *mesos.ContainerStatus {
	if e.pid == 0 {
		return given
	}
	out := &mesos.ContainerStatus{}
	if given != nil {
		*out = *given
	}
	pid, ip := e.pid, a.spec.IP
	out.ContainerID = &mesos.ContainerID{Value: e.container}
	out.ExecutorPID = &pid
	if len(out.NetworkInfos) == 0 {
		out.NetworkInfos = []mesos.NetworkInfo{{IPAddresses: []mesos.NetworkInfo_IPAddress{{
			IPAddress: &ip, Protocol: mesos.IPv4.Enum()}}}}
	}
	return out
}

// enqueueUpdate puts an update at the end of its task's stream. One that is
// there already, told by its uuid, is not put there again.
func (a *agent) enqueueUpdate(framework string, s mesos.TaskStatus) {
	key := taskKey{framework, s.TaskID.Value}
	stream := a.updates.get(key)
	if stream == nil {
		stream = &updateStream{key: key}
		a.updates.set(key, stream)
	}
	for i := range stream.pending {
		if string(stream.pending[i].status.UUID) == string(s.UUID) {
			return
		}
	}
	a.seq++
	stream.pending = append(stream.pending, pendingUpdate{s, a.seq})
	a.storeUpdate(key, stream.pending[len(stream.pending)-1])
	if len(stream.pending) == 1 {
		a.sendUpdate(stream)
	}
}

// sendUpdate sends the first update of a stream and sets the time to repeat it.
func (a *agent) sendUpdate(stream *updateStream) {
	if a.state != running || len(stream.pending) == 0 {
		return
	}
	if stream.wait == 0 {
		stream.wait = firstRetry
	}
	a.m.stop(stream.retry)
	stream.retry = a.after(stream.wait, func() {
		stream.wait = min(2*stream.wait, lastRetry)
		a.sendUpdate(stream)
	})
	s := stream.pending[0].status
	latest := s.GetState()
	if t := a.task(stream.key); t != nil {
		latest = t.GetState()
		t.StatusUpdateState, t.StatusUpdateUUID = s.State, s.UUID
	}
	framework := stream.key.framework
	a.toMaster(func(ma *master) { ma.statusUpdate(a.id, framework, s, latest) })
}

func (a *agent) task(key taskKey) *mesos.Task {
	f := a.frameworks.get(key.framework)
	if f == nil || f.tasks[key.id] == nil {
		return nil
	}
	e := f.tasks[key.id]
	if t := e.launched.get(key.id); t != nil {
		return t
	}
	return e.terminated.get(key.id)
}

func (a *agent) pauseUpdates() {
	for _, s := range a.updates.all() {
		a.m.stop(s.retry)
	}
}

func (a *agent) resumeUpdates() {
	for _, s := range a.updates.values() {
		s.wait = 0
		a.sendUpdate(s)
	}
}

// cleanupUpdates forgets the updates of a framework that has left.
func (a *agent) cleanupUpdates(framework string) {
	for key, s := range a.updates.all() {
		if key.framework == framework {
			a.dropStream(s)
		}
	}
}

func (a *agent) dropStream(s *updateStream) {
	a.m.stop(s.retry)
	for _, u := range s.pending {
		a.forgetUpdate(s.key, u)
	}
	a.updates.delete(s.key)
}

// acknowledgement is ACKNOWLEDGE of the scheduler. One that nobody waits for
// is ignored.
func (a *agent) acknowledgement(framework, id string, uuid []byte) {
	stream := a.updates.get(taskKey{framework, id})
	if a.state != running || stream == nil || len(stream.pending) == 0 ||
		string(stream.pending[0].status.UUID) != string(uuid) {
		return
	}
	first := stream.pending[0]
	a.forgetUpdate(stream.key, first)
	stream.pending = stream.pending[1:]
	stream.wait = 0
	a.m.stop(stream.retry)
	if !terminal(first.status.GetState()) {
		if len(stream.pending) == 0 {
			a.updates.delete(stream.key)
		}
		a.sendUpdate(stream)
		return
	}
	a.dropStream(stream)
	a.completeTask(framework, id)
}

// completeTask forgets a task whose end was acknowledged.
func (a *agent) completeTask(framework, id string) {
	f := a.frameworks.get(framework)
	if f == nil || f.tasks[id] == nil {
		return
	}
	e := f.tasks[id]
	if e.terminated.has(id) {
		e.terminated.delete(id)
		delete(f.tasks, id)
		a.forgetTask(e, id)
	}
	a.removeIfDone(e)
}
