package model

import (
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// forward sends an update to its framework, and remembers what was sent of a
// task that wants an acknowledgement.
func (ma *master) forward(f *framework, s mesos.TaskStatus) {
	if s.UUID != nil {
		if t := f.tasks.get(s.TaskID.Value); t != nil {
			t.StatusUpdateState, t.StatusUpdateUUID = s.State, s.UUID
		}
	}
	ma.send(f, &scheduler.Event{Type: scheduler.Event_UPDATE, Update: &scheduler.Event_Update{Status: s}})
}

// statusUpdate is an update from an agent; latest is the newest state that the
// agent knows of the task, which may be ahead of the update.
func (ma *master) statusUpdate(agentID, frameworkID string, s mesos.TaskStatus, latest mesos.TaskState) {
	slave := ma.slaves.get(agentID)
	if slave == nil {
		return
	}
	if f := ma.frameworks.get(frameworkID); f != nil && f.state == connected {
		ma.forward(f, s)
	}
	if t := slave.tasks.get(taskKey{frameworkID, s.TaskID.Value}); t != nil {
		ma.updateTask(t, s, latest)
	}
}

// updateTask takes over a new state. What the task used is free as soon as it
// is over, acknowledged or not.
func (ma *master) updateTask(t *task, s mesos.TaskStatus, latest mesos.TaskState) {
	over := func(s mesos.TaskState) bool { return terminal(s) || s == mesos.TASK_UNREACHABLE }
	ends := !over(t.GetState()) && over(latest)
	if !terminal(t.GetState()) {
		t.State = latest.Enum()
	}
	s.Data = nil
	if addStatus(t.Task, s) {
		ma.publishTaskUpdated(t, s)
	}
	if ends && t.slave != nil {
		ma.giveBack(t.framework, t.slave, roleOfBag(t.bag), t.bag, noFilter)
	}
}

func roleOfBag(b bag) string {
	if len(b) == 0 {
		return ""
	}
	return b[0].role
}

// removeTask forgets a task that is over, but for operators' curiosity.
// Unreachable ones are kept to be recognised when they come back.
func (ma *master) removeTask(t *task, unreachable bool) {
	id := t.TaskID.Value
	t.framework.tasks.delete(id)
	if t.slave != nil {
		t.slave.tasks.delete(taskKey{t.framework.id, id})
		delete(t.slave.killed, taskKey{t.framework.id, id})
		t.slave = nil
	}
	if unreachable {
		t.framework.unreachable.set(id, t)
		if t.framework.unreachable.len() > maxCompletedTasks {
			t.framework.unreachable.delete(t.framework.unreachable.first.key)
		}
		return
	}
	t.framework.unreachable.delete(id)
	t.framework.done = append(t.framework.done, t)
	if n := len(t.framework.done); n > 2*maxCompletedTasks {
		t.framework.done = append([]*task(nil), t.framework.done[n-maxCompletedTasks:]...)
	}
}

func (ma *master) removeExecutor(s *slave, e *slaveExecutor) {
	s.executors.delete(taskKey{e.framework.id, e.info.ExecutorID.Value})
	ma.giveBack(e.framework, s, roleOfBag(e.bag), e.bag, noFilter)
}

// acknowledge is ACKNOWLEDGE. It is passed on to the agent, which alone knows
// whether anything waited for it.
func (ma *master) acknowledge(f *framework, c *scheduler.Call_Acknowledge) {
	s := ma.slaves.get(c.AgentID.Value)
	if s == nil || !s.connected {
		return
	}
	if t := s.tasks.get(taskKey{f.id, c.TaskID.Value}); t != nil {
		if t.StatusUpdateState == nil {
			return
		}
		if terminal(*t.StatusUpdateState) && string(t.StatusUpdateUUID) == string(c.UUID) {
			ma.removeTask(t, false)
		}
	}
	id, uuid := c.TaskID.Value, c.UUID
	ma.toAgent(s, func(a *agent) { a.acknowledgement(f.id, id, uuid) })
	ma.drained(s)
}

// kill is KILL. Of a task that the master does not know it is answered like
// RECONCILE; for a task on an agent that is away it is remembered.
func (ma *master) kill(f *framework, c *scheduler.Call_Kill) {
	id := c.TaskID.Value
	t := f.tasks.get(id)
	if t == nil {
		ma.reconcileTask(f, id, c.AgentID)
		return
	}
	if c.AgentID != nil && c.AgentID.Value != t.AgentID.Value {
		return
	}
	t.slave.killed[taskKey{f.id, id}] = true
	policy := c.KillPolicy
	ma.toAgent(t.slave, func(a *agent) { a.killTask(f.id, id, policy) })
}

func (ma *master) shutdownExecutor(f *framework, c *scheduler.Call_Shutdown) {
	if s := ma.slaves.get(c.AgentID.Value); s != nil {
		id := c.ExecutorID.Value
		ma.toAgent(s, func(a *agent) { a.shutdownExecutor(f.id, id) })
	}
}

func (ma *master) message(f *framework, c *scheduler.Call_Message) {
	if s := ma.slaves.get(c.AgentID.Value); s != nil {
		id, data := c.ExecutorID.Value, c.Data
		ma.toAgent(s, func(a *agent) { a.message(f.id, id, data) })
	}
}

// executorMessage passes on a message of an executor.
func (ma *master) executorMessage(agentID, frameworkID, executorID string, data []byte) {
	if f := ma.frameworks.get(frameworkID); f != nil && ma.slaves.has(agentID) {
		ma.send(f, &scheduler.Event{Type: scheduler.Event_MESSAGE, Message: &scheduler.Event_Message{
			AgentID: mesos.AgentID{Value: agentID}, ExecutorID: mesos.ExecutorID{Value: executorID}, Data: data}})
	}
}

// exitedExecutor tells of the end of a custom executor.
func (ma *master) exitedExecutor(agentID, frameworkID, executorID string, status int32) {
	s := ma.slaves.get(agentID)
	if s == nil {
		return
	}
	e := s.executors.get(taskKey{frameworkID, executorID})
	if e == nil {
		return
	}
	ma.removeExecutor(s, e)
	ma.send(e.framework, &scheduler.Event{Type: scheduler.Event_FAILURE, Failure: &scheduler.Event_Failure{
		AgentID: &mesos.AgentID{Value: agentID}, ExecutorID: &mesos.ExecutorID{Value: executorID}, Status: &status}})
}

// reconcile is RECONCILE: of the named tasks, or of all that are not removed.
func (ma *master) reconcile(f *framework, c *scheduler.Call_Reconcile) {
	for i := range c.Tasks {
		ma.reconcileTask(f, c.Tasks[i].TaskID.Value, c.Tasks[i].AgentID)
	}
	if len(c.Tasks) == 0 {
		for _, t := range f.tasks.all() {
			ma.forward(f, ma.latest(t))
		}
	}
}

// latest is the last state that was sent to the framework; the agent may know
// a later one.
func (ma *master) latest(t *task) mesos.TaskStatus {
	state := t.GetState()
	if t.StatusUpdateState != nil {
		state = *t.StatusUpdateState
	}
	s := ma.m.status(statusOf{task: t.TaskID.Value, agent: t.AgentID.Value, state: state, source: mesos.SOURCE_MASTER,
		reason: mesos.REASON_RECONCILIATION, message: "Reconciliation: Latest task state", executor: t.ExecutorID})
	keepOf(&s, t.Task)
	return s
}

// keepOf copies what master-made updates keep of a task's statuses: health of
// the last, and the container of the last that had one.
func keepOf(s *mesos.TaskStatus, t *mesos.Task) {
	n := len(t.Statuses)
	if n > 0 {
		s.Healthy, s.CheckStatus = t.Statuses[n-1].Healthy, t.Statuses[n-1].CheckStatus
	}
	for i := n - 1; i >= 0 && s.ContainerStatus == nil; i-- {
		s.ContainerStatus = t.Statuses[i].ContainerStatus
	}
}

func (ma *master) reconcileTask(f *framework, id string, agent *mesos.AgentID) {
	if t := f.tasks.get(id); t != nil {
		ma.forward(f, ma.latest(t))
		return
	}
	of := statusOf{task: id, agent: agent.GetValue(), source: mesos.SOURCE_MASTER, reason: mesos.REASON_RECONCILIATION}
	var since *mesos.TimeInfo
	switch {
	case agent != nil && ma.recovered.has(agent.Value), agent == nil && ma.recovered.len() > 0:
		return // the agent may still tell; the framework has to ask again
	case agent != nil && ma.slaves.has(agent.Value):
		of.state, of.message = mesos.TASK_GONE, "Reconciliation: Task is unknown to the agent"
	case agent != nil && ma.unreachable.has(agent.Value):
		of.state, of.message = mesos.TASK_UNREACHABLE, "Reconciliation: Task is unreachable"
		since = timeInfo(ma.unreachable.get(agent.Value).at)
	case agent != nil && ma.gone[agent.Value]:
		of.state, of.message = mesos.TASK_GONE_BY_OPERATOR, "Reconciliation: Task is gone"
	default:
		of.state, of.message = mesos.TASK_UNKNOWN, "Reconciliation: Task is unknown"
	}
	of.state = orLost(f.aware, of.state)
	s := ma.m.status(of)
	s.UnreachableTime = since
	ma.forward(f, s)
}
