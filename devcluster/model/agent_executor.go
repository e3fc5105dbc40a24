package model

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
)

type executorState int

const (
	executorRegistering executorState = iota // its container starts, or is awaited after a restart
	executorRunning                          // it has subscribed
	executorTerminating                      // it was told to end
	executorTerminated                       // it has ended; updates may still wait
)

// agentExecutor is what an agent knows of one executor, which has one
// container and never another.
type agentExecutor struct {
	framework *agentFramework
	info      *mesos.ExecutorInfo
	container string
	command   bool // made up for a command task
	state     executorState
	stream    StreamID // 0 while it is not connected
	sentTask  bool     // it was ever given a task
	pid       uint32   // 0 while there is no process
	why       *termination
	seq       int

	queued     *ordered[string, *mesos.TaskInfo] // until it subscribes
	launched   *ordered[string, *mesos.Task]
	terminated *ordered[string, *mesos.Task] // until the last update is acknowledged
}

// termination is why tasks end with their executor, when the agent knows more
// than that it ended.
type termination struct {
	state   mesos.TaskState
	reason  mesos.TaskStatus_Reason
	message string
}

func (a *agent) addExecutor(f *agentFramework, t *mesos.TaskInfo) *agentExecutor {
	e := a.newExecutor(f, executorInfoOf(t, f.id()), a.m.uuid(), t.Executor == nil)
	a.storeExecutor(e)
	launch := LaunchContainer{Agent: a.spec.Name, AgentID: a.id, Container: e.container, Framework: f.info, Executor: e.info}
	if e.command {
		launch.Task = t
	}
	a.m.emit(launch)
	a.after(a.spec.ExecutorRegistrationTimeout, func() {
		if e.state == executorRegistering && !f.terminating && f.executors.get(e.info.ExecutorID.Value) == e {
			a.destroy(e, &termination{mesos.TASK_FAILED, mesos.REASON_EXECUTOR_REGISTRATION_TIMEOUT,
				"Executor did not register within " + duration(a.spec.ExecutorRegistrationTimeout)})
		}
	})
	return e
}

func (a *agent) newExecutor(f *agentFramework, info *mesos.ExecutorInfo, container string, command bool) *agentExecutor {
	a.seq++
	e := &agentExecutor{framework: f, info: info, container: container, command: command, seq: a.seq,
		queued:   newOrdered[string, *mesos.TaskInfo](),
		launched: newOrdered[string, *mesos.Task](), terminated: newOrdered[string, *mesos.Task]()}
	f.executors.set(info.ExecutorID.Value, e)
	a.containers[container] = e
	return e
}

// executorInfoOf is the task's executor, or the one that is made up to run its
// command.
func executorInfoOf(t *mesos.TaskInfo, framework string) *mesos.ExecutorInfo {
	if t.Executor != nil {
		return t.Executor
	}
	name := "Command Executor (Task: " + t.TaskID.Value + ")"
	e := &mesos.ExecutorInfo{
		ExecutorID:  mesos.ExecutorID{Value: t.TaskID.Value},
		FrameworkID: &mesos.FrameworkID{Value: framework},
		Name:        &name, Source: &t.TaskID.Value, Labels: t.Labels,
		Command: &mesos.CommandInfo{URIs: t.Command.URIs, Environment: t.Command.Environment, User: t.Command.User},
	}
	role := ""
	if len(t.Resources) > 0 {
		role = t.Resources[0].GetAllocationInfo().GetRole()
	}
	e.Resources = bag{{name: "cpus", role: role, milli: 100}, {name: "mem", role: role, milli: 32000}}.proto()
	return e
}

// send is lost when the executor is not connected, as in Mesos.
func (a *agent) send(e *agentExecutor, event *executor.Event) {
	if e.stream != 0 {
		a.m.emit(ExecutorEvent{Agent: a.spec.Name, Container: e.container, Stream: e.stream, Event: event})
	}
}

// destroy kills an executor's container.
func (a *agent) destroy(e *agentExecutor, why *termination) {
	e.state = executorTerminating
	if why != nil {
		e.why = why
	}
	a.m.emit(DestroyContainer{a.spec.Name, e.container})
}

// shutdown tells an executor to end, and kills it when its grace is over.
func (a *agent) shutdown(e *agentExecutor) {
	a.send(e, &executor.Event{Type: executor.Event_SHUTDOWN})
	e.state = executorTerminating
	grace := a.spec.ExecutorShutdownGracePeriod
	if g := e.info.ShutdownGracePeriod; g != nil {
		grace = time.Duration(g.Nanoseconds)
	}
	a.after(grace, func() {
		if e.state == executorTerminating {
			a.destroy(e, nil)
		}
	})
}

// ExecutorSubscribe is SUBSCRIBE of an executor. The answer's stream is open
// when its code is 200.
// ExecutorCall is any other call of an executor.
// executorOf finds whose call it is, or how it is refused.
// subscribe gives an executor a new stream, which ends an earlier one. What it
// has not had acknowledged is taken as if sent now; what it was given and does
// not name it never got.
// streamClosed notices that an executor closed its stream. It stays what it is
// until its process ends.
// ContainerStarted says that an executor's process runs. pid is shown to
// clients. It also answers an agent that was started again, for each container
// that still runs.
func (m *Model) ContainerStarted(now time.Time, agent, container string, pid int) {
	m.step(now, func() {
		if a := m.agentOf(agent); a != nil && a.containers[container] != nil {
			a.containers[container].pid = uint32(pid)
		}
	})
}

// ContainerFailed says that a container could not be launched: message goes on
// after "Failed to launch container: ", status is what FAILURE says.
func (m *Model) ContainerFailed(now time.Time, agent, container, message string, status int) {
	m.step(now, func() {
		a := m.agentOf(agent)
		if a == nil || a.containers[container] == nil {
			return
		}
		e := a.containers[container]
		e.why = &termination{mesos.TASK_FAILED, mesos.REASON_CONTAINER_LAUNCH_FAILED,
			"Failed to launch container: " + message}
		a.executorTerminated(e, int32(status))
	})
}

// ContainerExited says that an executor's process ended, with its wait status,
// or that there is no such container any more (-1).
func (m *Model) ContainerExited(now time.Time, agent, container string, status int) {
	m.step(now, func() {
		a := m.agentOf(agent)
		if a == nil || a.containers[container] == nil {
			return
		}
		e := a.containers[container]
		if status == -1 && e.why == nil {
			e.why = &termination{mesos.TASK_FAILED, mesos.REASON_EXECUTOR_TERMINATED,
				"Abnormal executor termination: unknown container"}
		}
		a.executorTerminated(e, int32(status))
	})
}

func (a *agent) executorTerminated(e *agentExecutor, status int32) {
	if e.state == executorTerminated {
		return
	}
	f := e.framework
	e.state, e.pid = executorTerminated, 0
	if e.stream != 0 {
		a.m.emit(CloseStream{e.stream})
		delete(a.streams, e.stream)
		e.stream = 0
	}
	if !f.terminating {
		for _, t := range e.launched.values() {
			a.failTask(e, t.TaskID.Value)
		}
		for _, t := range e.queued.values() {
			a.failTask(e, t.TaskID.Value)
		}
	}
	if !e.command {
		a.sendExited(e, status)
	}
	a.removeIfDone(e)
}

// failTask ends a task whose executor is gone.
func (a *agent) failTask(e *agentExecutor, id string) {
	why := termination{mesos.TASK_FAILED, mesos.REASON_EXECUTOR_TERMINATED, "Executor terminated"}
	if e.why != nil {
		why = *e.why
	}
	s := a.m.status(statusOf{task: id, agent: a.id, state: why.state, source: mesos.SOURCE_AGENT,
		reason: why.reason, message: why.message, executor: &e.info.ExecutorID})
	a.statusUpdate(e.framework, a.withUUID(s), false)
}

func (a *agent) sendExited(e *agentExecutor, status int32) {
	if a.state != running {
		return // the master finds out when the agent registers
	}
	fid, id := e.framework.id(), e.info.ExecutorID.Value
	a.toMaster(func(ma *master) { ma.exitedExecutor(a.id, fid, id, status) })
}

// removeIfDone forgets an executor that has ended and of which nothing waits
// for an acknowledgement.
func (a *agent) removeIfDone(e *agentExecutor) {
	if e.state == executorTerminated &&
		(e.framework.terminating || e.queued.len()+e.launched.len()+e.terminated.len() == 0) {
		a.removeExecutor(e)
		a.removeIfIdle(e.framework)
	}
}

func (a *agent) removeExecutor(e *agentExecutor) {
	f := e.framework
	delete(a.containers, e.container)
	f.executors.delete(e.info.ExecutorID.Value)
	forget := func(id string) {
		delete(f.tasks, id)
		a.forgetTask(e, id)
	}
	for id := range e.queued.all() {
		forget(id)
	}
	for id := range e.launched.all() {
		forget(id)
	}
	for id := range e.terminated.all() {
		forget(id)
	}
	a.forgetExecutor(e)
}
