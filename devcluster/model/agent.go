package model

import (
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
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

// updateFramework is told of a framework whose scheduler subscribed again or
// changed it. As in Mesos, all updates that wait for an acknowledgement are sent
// again at once: whoever got them before may not be there any more.
func (a *agent) updateFramework(info *mesos.FrameworkInfo) {
	f := a.frameworks.get(info.ID.Value)
	if a.state != running || f == nil || f.terminating {
		return
	}
	f.setInfo(info)
	a.storeFramework(f)
	a.resumeUpdates()
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
// exitUnlaunched takes back an executor that the master counts already.
// executorIDOf is the id of the task's executor; one that is made up for a
// command has the task's.
// giveTask hands a task to its executor, or keeps it until that subscribes.
// killTask is KILL from the master, or from draining.
// drain kills all tasks and refuses new ones until the last framework is gone.
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
