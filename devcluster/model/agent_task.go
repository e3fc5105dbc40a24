package model

import (
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
)

func (a *agent) runTask(info *mesos.FrameworkInfo, t *mesos.TaskInfo, newExecutor bool) {
	if a.state == recovering || t.AgentID.Value != a.id {
		return
	}
	f := a.frameworks.get(info.ID.Value)
	if f == nil {
		f = a.addFramework(info)
	}
	if f.terminating {
		return
	}
	id := executorIDOf(t)
	drop := func(reason mesos.TaskStatus_Reason, text string) {
		s := a.m.status(statusOf{task: t.TaskID.Value, agent: a.id, state: orLost(f.aware, mesos.TASK_DROPPED),
			source: mesos.SOURCE_AGENT, reason: reason, message: text, executor: &mesos.ExecutorID{Value: id}})
		a.enqueueUpdate(f.id(), a.withUUID(s))
		a.removeIfIdle(f)
	}
	e := f.executors.get(id)
	command := t.Executor == nil
	switch {
	case a.drainOf != nil:
		drop(mesos.REASON_AGENT_DRAINING, "Task was received while agent was already draining")
		a.exitUnlaunched(f, t, newExecutor)
		return
	case command && e != nil:
		drop(mesos.REASON_TASK_INVALID, "Cannot reuse an already existing executor for a command task")
		return
	case !command && newExecutor && e != nil:
		drop(mesos.REASON_EXECUTOR_TERMINATED, "Master wants to launch executor, but one already exists")
		if e.state == executorTerminated {
			a.sendExited(e, -1)
		} else {
			a.shutdown(e)
		}
		return
	case !command && !newExecutor && e == nil:
		drop(mesos.REASON_EXECUTOR_TERMINATED, "No executor is expected to launch and there is none running")
		return
	}
	if e == nil {
		e = a.addExecutor(f, t)
	}
	a.giveTask(f, e, t)
}

func (a *agent) exitUnlaunched(f *agentFramework, t *mesos.TaskInfo, newExecutor bool) {
	if t.Executor != nil && newExecutor {
		id, fid := t.Executor.ExecutorID.Value, f.id()
		a.toMaster(func(ma *master) { ma.exitedExecutor(a.id, fid, id, -1) })
	}
}

func executorIDOf(t *mesos.TaskInfo) string {
	if t.Executor != nil {
		return t.Executor.ExecutorID.Value
	}
	return t.TaskID.Value
}

func (a *agent) giveTask(f *agentFramework, e *agentExecutor, t *mesos.TaskInfo) {
	id := t.TaskID.Value
	switch e.state {
	case executorTerminating, executorTerminated:
		name := "terminating"
		if e.state == executorTerminated {
			name = "terminated"
		}
		s := a.m.status(statusOf{task: id, agent: a.id, state: orLost(f.aware, mesos.TASK_DROPPED),
			source: mesos.SOURCE_AGENT, reason: mesos.REASON_EXECUTOR_TERMINATED, message: "Executor " + name})
		a.enqueueUpdate(f.id(), a.withUUID(s))
	case executorRegistering:
		f.tasks[id] = e
		e.queued.set(id, t)
		a.storeTask(e, newTask(t, mesos.TASK_STAGING, f.id()))
	case executorRunning:
		f.tasks[id] = e
		a.launch(e, t)
	}
}

func (a *agent) launch(e *agentExecutor, t *mesos.TaskInfo) {
	task := newTask(t, mesos.TASK_STAGING, e.framework.id())
	e.launched.set(t.TaskID.Value, task)
	e.sentTask = true
	a.storeTask(e, task)
	a.send(e, &executor.Event{Type: executor.Event_LAUNCH, Launch: &executor.Event_Launch{Task: *t}})
}

func (a *agent) killTask(frameworkID, id string, policy *mesos.KillPolicy) {
	if a.state == recovering {
		return
	}
	f := a.frameworks.get(frameworkID)
	if f == nil || f.terminating {
		return
	}
	e := f.tasks[id]
	if e == nil {
		s := a.m.status(statusOf{task: id, agent: a.id, state: orLost(f.aware, mesos.TASK_DROPPED),
			source: mesos.SOURCE_AGENT, reason: mesos.REASON_EXECUTOR_TERMINATED, message: "Cannot find executor"})
		a.enqueueUpdate(frameworkID, a.withUUID(s))
		return
	}
	a.kill(e, id, policy)
}

func (a *agent) kill(e *agentExecutor, id string, policy *mesos.KillPolicy) {
	switch {
	case e.state == executorTerminating || e.state == executorTerminated:
	case e.queued.has(id):
		s := a.m.status(statusOf{task: id, agent: a.id, state: mesos.TASK_KILLED, source: mesos.SOURCE_AGENT,
			reason: mesos.REASON_TASK_KILLED_DURING_LAUNCH, message: "Killed before delivery to the executor",
			executor: &e.info.ExecutorID})
		a.statusUpdate(e.framework, a.withUUID(s), false)
		if e.state == executorRunning && !e.sentTask && e.queued.len() == 0 {
			a.shutdown(e)
		}
	case e.state == executorRunning:
		a.send(e, &executor.Event{Type: executor.Event_KILL,
			Kill: &executor.Event_Kill{TaskID: mesos.TaskID{Value: id}, KillPolicy: policy}})
	}
}

func (a *agent) message(frameworkID, executorID string, data []byte) {
	f := a.frameworks.get(frameworkID)
	if f == nil || f.terminating || a.state != running {
		return
	}
	if e := f.executors.get(executorID); e != nil && e.state == executorRunning {
		a.send(e, &executor.Event{Type: executor.Event_MESSAGE, Message: &executor.Event_Message{Data: data}})
	}
}

func (a *agent) drain(config *mesos.DrainConfig) {
	if a.frameworks.len() == 0 {
		return
	}
	a.drainOf, a.drainStart = config, a.m.now
	a.storeDrain()
	policy := func(own *mesos.KillPolicy) *mesos.KillPolicy {
		g := config.MaxGracePeriod
		if g == nil || own.GetGracePeriod() != nil && own.GracePeriod.Nanoseconds <= g.Nanoseconds {
			return nil
		}
		return &mesos.KillPolicy{GracePeriod: g}
	}
	for _, f := range a.frameworks.values() {
		for _, e := range f.executors.values() {
			for _, t := range e.launched.values() {
				a.kill(e, t.TaskID.Value, policy(t.KillPolicy))
			}
			for _, t := range e.queued.values() {
				a.kill(e, t.TaskID.Value, policy(t.KillPolicy))
			}
		}
	}
}

func (a *agent) shutdownFramework(id string) {
	f := a.frameworks.get(id)
	if f == nil || f.terminating || a.state != running {
		return
	}
	f.terminating = true
	for _, e := range f.executors.values() {
		switch e.state {
		case executorRegistering, executorRunning:
			a.shutdown(e)
		case executorTerminated:
			a.removeExecutor(e)
		}
	}
	a.removeIfIdle(f)
}

func (a *agent) shutdownExecutor(frameworkID, id string) {
	f := a.frameworks.get(frameworkID)
	if f == nil || f.terminating || a.state != running {
		return
	}
	if e := f.executors.get(id); e != nil && (e.state == executorRegistering || e.state == executorRunning) {
		a.shutdown(e)
	}
}
