package model

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

func (ma *master) agentDisconnected(id string) {
	s := ma.slaves.get(id)
	if s == nil || !s.connected {
		return
	}
	s.connected = false
	ma.deactivateSlave(s)
	for _, f := range ma.frameworks.all() {
		if !f.info.GetCheckpoint() {
			ma.removeFromSlave(s, f)
		}
	}
	lasts := ma.m.opts.AgentPingTimeout * time.Duration(ma.m.opts.MaxAgentPingTimeouts)
	s.ping = ma.m.after(lasts, func() {
		if ma.alive() && ma.slaves.get(id) == s && !s.connected {
			ma.markUnreachable(s)
		}
	})
}

func (ma *master) removeFromSlave(s *slave, f *framework) {
	for _, t := range s.tasks.values() {
		if t.framework == f {
			u := ma.m.status(statusOf{task: t.TaskID.Value, agent: s.id, state: mesos.TASK_LOST,
				source: mesos.SOURCE_MASTER, reason: mesos.REASON_AGENT_DISCONNECTED,
				message: "Agent " + s.info.Hostname + " disconnected", executor: t.ExecutorID})
			ma.updateTask(t, u, mesos.TASK_LOST)
			ma.removeTask(t, false)
			ma.forward(f, u)
		}
	}
	for _, e := range s.executors.values() {
		if e.framework == f {
			ma.removeExecutor(s, e)
		}
	}
}

func (ma *master) deactivateSlave(s *slave) {
	s.active = false
	for _, o := range s.offers.values() {
		ma.rescindOffer(o)
	}
	for _, o := range s.inverse.values() {
		ma.removeInverseOffer(o, true)
	}
}

func (ma *master) markUnreachable(s *slave) {
	ma.unreachable.set(s.id, &unreachable{info: s.info, at: ma.m.now})
	ma.storeUnreachable(s.info, ma.m.now)
	ma.removeSlave(s, "health check timed out", true)
}

func (ma *master) markGone(id string) {
	ma.gone[id] = true
	ma.storeGone(id)
	delete(ma.draining, id)
	delete(ma.deactivated, id)
	const text = "Agent has been marked gone"
	if s := ma.slaves.get(id); s != nil {
		ma.toAgent(s, func(a *agent) { a.exit(text) })
		ma.removeSlave(s, text, false)
		return
	}
	ma.recovered.delete(id)
	if !ma.unreachable.has(id) {
		return
	}
	ma.unreachable.delete(id)
	for _, f := range ma.frameworks.all() {
		for _, t := range f.unreachable.values() {
			if t.AgentID.Value != id {
				continue
			}
			u := ma.m.status(statusOf{task: t.TaskID.Value, agent: id, state: orLost(f.aware, mesos.TASK_GONE_BY_OPERATOR),
				source: mesos.SOURCE_MASTER, reason: mesos.REASON_AGENT_REMOVED_BY_OPERATOR, message: text, executor: t.ExecutorID})
			if !f.aware {
				u.Reason = mesos.REASON_AGENT_REMOVED.Enum()
			}
			ma.updateTask(t, u, u.GetState())
			ma.removeTask(t, false)
			ma.forward(f, u)
		}
	}
}

func (ma *master) removeSlave(s *slave, text string, unreachable bool) {
	s.active = false
	state, reason := mesos.TASK_GONE_BY_OPERATOR, mesos.REASON_AGENT_REMOVED_BY_OPERATOR
	if unreachable {
		state, reason = mesos.TASK_UNREACHABLE, mesos.REASON_AGENT_REMOVED
	}
	ma.alloc.candidates.delete(s.id)
	for _, t := range s.tasks.values() {
		f := t.framework
		u := ma.m.status(statusOf{task: t.TaskID.Value, agent: s.id, state: orLost(f.aware, state),
			source: mesos.SOURCE_MASTER, reason: reason, message: text, executor: t.ExecutorID})
		if unreachable {
			u.UnreachableTime = timeInfo(ma.m.now)
		} else if !f.aware {
			u.Reason = mesos.REASON_AGENT_REMOVED.Enum()
		}
		ma.updateTask(t, u, u.GetState())
		ma.removeTask(t, unreachable)
		ma.forward(f, u)
	}
	for _, e := range s.executors.values() {
		ma.removeExecutor(s, e)
	}
	ma.deactivateSlave(s)
	ma.alloc.candidates.delete(s.id)
	ma.alloc.removeTotal(s)
	ma.m.stop(s.ping)
	ma.slaves.delete(s.id)
	s.connected = false
	ma.tellLost(s.id)
	ma.publishAgentRemoved(s.id)
}

func (ma *master) tellLost(id string) {
	for _, f := range ma.frameworks.all() {
		delete(f.inverseFilters, id)
		for _, role := range f.roles {
			delete(f.filters, roleOn{role, id})
		}
		ma.send(f, &scheduler.Event{Type: scheduler.Event_FAILURE,
			Failure: &scheduler.Event_Failure{AgentID: &mesos.AgentID{Value: id}}})
	}
}
