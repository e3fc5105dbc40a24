package model

import (
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
)

type agentState int

const (
	recovering   agentState = iota // waits for executors that an earlier life left
	unregistered                   // looks for the master
	running                        // registered
)

// agent is one life of an agent's process.
type agent struct {
	m          *Model
	host       *host
	spec       AgentSpec // of this life
	id         string    // "" until the master gave it one
	info       *mesos.AgentInfo
	state      agentState
	frameworks *ordered[string, *agentFramework]
	updates    *ordered[taskKey, *updateStream]
	streams    map[StreamID]*agentExecutor
	containers map[string]*agentExecutor
	drainOf    *mesos.DrainConfig // set while it drains
	drainStart time.Time
	seq        int // of stored records, for their order
}

// agentFramework is what an agent knows of a framework that has executors on it.
type agentFramework struct {
	info        *mesos.FrameworkInfo
	aware       bool
	terminating bool
	executors   *ordered[string, *agentExecutor]
	tasks       map[string]*agentExecutor // by task id
}

func (f *agentFramework) id() string { return f.info.ID.Value }

func (m *Model) agentOf(name string) *agent {
	if h := m.hosts.get(name); h != nil {
		return h.agent
	}
	return nil
}

// alive says whether this process still runs: timers outlive it.
func (a *agent) alive() bool { return a.host.agent == a }

// after is a timer of this life.
func (a *agent) after(d time.Duration, fire func()) *timer {
	return a.m.after(d, func() {
		if a.alive() {
			fire()
		}
	})
}

// StopAgent kills an agent's process with SIGKILL. Its executors go on, their
// streams are broken, and the master notices at once that the connection is
// gone.
func (m *Model) StopAgent(now time.Time, name string) {
	m.step(now, func() {
		if a := m.agentOf(name); a != nil {
			a.stop()
		}
	})
}

func (a *agent) stop() {
	a.host.agent = nil
	for _, s := range a.updates.all() {
		a.m.stop(s.retry)
	}
	id := a.id
	a.m.post(func() {
		if a.m.master != nil && a.host.agent == nil {
			a.m.master.agentDisconnected(id)
		}
	})
}

// exit ends the process by itself.
func (a *agent) exit(why string) {
	a.stop()
	a.m.emit(AgentExits{a.spec.Name, why})
}

// toMaster sends a message to the master. It is lost when the master is not
// there, or has not registered this agent, when it arrives.
func (a *agent) toMaster(message func(*master)) {
	a.m.post(func() {
		if a.m.master != nil && a.alive() {
			message(a.m.master)
		}
	})
}

// masterDetected makes the agent register.
func (a *agent) masterDetected() {
	if a.state == recovering {
		return
	}
	a.state = unregistered
	a.m.post(func() {
		if a.m.master == nil || !a.alive() || a.state != unregistered {
			return
		}
		if r := a.registration(); a.id == "" {
			a.m.master.register(r)
		} else {
			a.m.master.reregister(r)
		}
	})
}

func (a *agent) masterLost() {
	if a.state == running {
		a.state = unregistered
		a.pauseUpdates()
	}
}

func (a *agent) registration() registration {
	r := registration{host: a.host, info: a.info}
	for _, f := range a.frameworks.all() {
		r.frameworks = append(r.frameworks, f.info)
		for _, e := range f.executors.all() {
			for _, t := range e.launched.all() {
				r.tasks = append(r.tasks, copyTask(t))
			}
			for _, t := range e.terminated.all() {
				r.tasks = append(r.tasks, copyTask(t))
			}
			for _, info := range e.queued.all() {
				r.tasks = append(r.tasks, newTask(info, mesos.TASK_STAGING, f.id()))
			}
			if !e.command && e.state != executorTerminated {
				r.executors = append(r.executors, e.info)
			}
		}
	}
	return r
}

// registered is the master's answer to a new agent.
func (a *agent) registered(id string) {
	if a.id != "" {
		return
	}
	a.id = id
	info := *a.info
	info.ID = &mesos.AgentID{Value: id}
	a.info = &info
	a.storeAgent()
	a.state = running
	a.resumeUpdates()
}

// reregistered is the master's answer to one it had given an id. unknown are
// tasks that the master launched and the agent did not name.
func (a *agent) reregistered(unknown []lostTask) {
	if a.state == recovering {
		return
	}
	a.state = running
	a.resumeUpdates()
	for _, t := range unknown {
		if f := a.frameworks.get(t.framework); f != nil && f.tasks[t.id] != nil {
			continue
		}
		s := a.m.status(statusOf{task: t.id, agent: a.id, state: orLost(t.aware, mesos.TASK_DROPPED),
			source: mesos.SOURCE_AGENT, reason: mesos.REASON_RECONCILIATION,
			message: "Reconciliation: task unknown to the agent"})
		a.enqueueUpdate(t.framework, a.withUUID(s))
	}
}

func (a *agent) updateFramework(info *mesos.FrameworkInfo) {
	if f := a.frameworks.get(info.ID.Value); f != nil {
		f.setInfo(info)
		a.storeFramework(f)
	}
}

func (f *agentFramework) setInfo(info *mesos.FrameworkInfo) {
	f.info = info
	f.aware = hasCapability(info, mesos.FrameworkInfo_Capability_PARTITION_AWARE)
}

func (a *agent) addFramework(info *mesos.FrameworkInfo) *agentFramework {
	f := &agentFramework{executors: newOrdered[string, *agentExecutor](), tasks: map[string]*agentExecutor{}}
	f.setInfo(info)
	a.frameworks.set(f.id(), f)
	a.storeFramework(f)
	return f
}

// removeIfIdle forgets a framework that has nothing more here. With the last
// one, draining is over.
func (a *agent) removeIfIdle(f *agentFramework) {
	if f.executors.len() > 0 || a.frameworks.get(f.id()) != f {
		return
	}
	a.frameworks.delete(f.id())
	a.cleanupUpdates(f.id())
	a.forgetFramework(f)
	if a.drainOf != nil && a.frameworks.len() == 0 {
		a.drainOf, a.drainStart = nil, time.Time{}
		a.storeDrain()
	}
}

// runTask is a task from the master. newExecutor says whether the master knows
// of no executor of that id.
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

// exitUnlaunched takes back an executor that the master counts already.
func (a *agent) exitUnlaunched(f *agentFramework, t *mesos.TaskInfo, newExecutor bool) {
	if t.Executor != nil && newExecutor {
		id, fid := t.Executor.ExecutorID.Value, f.id()
		a.toMaster(func(ma *master) { ma.exitedExecutor(a.id, fid, id, -1) })
	}
}

// executorIDOf is the id of the task's executor; one that is made up for a
// command has the task's.
func executorIDOf(t *mesos.TaskInfo) string {
	if t.Executor != nil {
		return t.Executor.ExecutorID.Value
	}
	return t.TaskID.Value
}

// giveTask hands a task to its executor, or keeps it until that subscribes.
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

// killTask is KILL from the master, or from draining.
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

// drain kills all tasks and refuses new ones until the last framework is gone.
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

// duration is how Mesos prints one in its messages.
func duration(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{7 * 24 * time.Hour, "weeks"}, {24 * time.Hour, "days"}, {time.Hour, "hrs"}, {time.Minute, "mins"},
		{time.Second, "secs"}, {time.Millisecond, "ms"}, {time.Microsecond, "us"}} {
		if d >= u.unit {
			return fmt.Sprintf("%g%s", float64(d)/float64(u.unit), u.name)
		}
	}
	return fmt.Sprintf("%dns", d.Nanoseconds())
}

// Duration prints a duration as Mesos does: "5secs", "1.5mins".
func Duration(d time.Duration) string { return duration(d) }
