package model

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
)

// Operate is a call of the master's operator API other than those about the
// master's own process (health, version, files, logging), which the front
// answers. SUBSCRIBE is answered with a stream.
func (m *Model) Operate(now time.Time, c *operator.Call) (a Answer) {
	m.step(now, func() {
		if m.master == nil {
			a = refuse(503, "No master")
		} else if err := ValidateOperator(c); err != nil {
			a = badRequest("Failed to validate master::Call: %v", err)
		} else {
			a = m.master.operate(c)
		}
	})
	return a
}

func (ma *master) operate(c *operator.Call) Answer {
	switch c.Type {
	case operator.Call_SUBSCRIBE:
		return ma.subscribeOperator()
	case operator.Call_TEARDOWN:
		f := ma.frameworks.get(c.Teardown.FrameworkID.Value)
		if f == nil {
			return badRequest("No framework found with specified ID")
		}
		ma.removeFramework(f)
		return okay()
	case operator.Call_MARK_AGENT_GONE:
		return ma.markAgentGone(c.MarkAgentGone.AgentID.Value)
	case operator.Call_DRAIN_AGENT:
		return ma.drainAgent(c.DrainAgent)
	case operator.Call_DEACTIVATE_AGENT:
		return ma.deactivateAgent(c.DeactivateAgent.AgentID.Value)
	case operator.Call_REACTIVATE_AGENT:
		return ma.reactivateAgent(c.ReactivateAgent.AgentID.Value)
	case operator.Call_UPDATE_MAINTENANCE_SCHEDULE:
		return ma.updateSchedule(c.UpdateMaintenanceSchedule.Schedule)
	case operator.Call_START_MAINTENANCE:
		return ma.startMaintenance(c.StartMaintenance.Machines)
	case operator.Call_STOP_MAINTENANCE:
		return ma.stopMaintenance(c.StopMaintenance.Machines)
	}
	if r := ma.query(c.Type); r != nil {
		return Answer{Code: 200, Master: r}
	}
	return refuse(501, "")
}

// known says whether operators may name the agent: it is registered, given up,
// or expected back.
func (ma *master) known(id string) bool {
	return ma.slaves.has(id) || ma.recovered.has(id) || ma.unreachable.has(id)
}

func (ma *master) markAgentGone(id string) Answer {
	switch {
	case ma.gone[id]:
		return okay()
	case !ma.known(id):
		return refuse(404, "Agent '"+id+"' not found")
	}
	ma.markGone(id)
	return okay()
}

// drainAgent is DRAIN_AGENT: no more tasks, and those that are there are killed.
func (ma *master) drainAgent(c *operator.Call_DrainAgent) Answer {
	id := c.AgentID.Value
	if !ma.known(id) {
		return badRequest("Unknown agent")
	}
	gone := c.GetMarkGone()
	d := &mesos.DrainInfo{State: mesos.DrainState_DRAINING, Config: mesos.DrainConfig{MarkGone: &gone}}
	if g := c.MaxGracePeriod; g != nil {
		d.Config.MaxGracePeriod = &mesos.DurationInfo{Nanoseconds: g.Seconds*1e9 + int64(g.Nanos)}
	}
	ma.draining[id], ma.deactivated[id] = d, true
	ma.storeKnown(id)
	if s := ma.slaves.get(id); s != nil {
		ma.deactivateSlave(s)
		config := d.Config
		ma.toAgent(s, func(a *agent) { a.drain(&config) })
		s.drainStart = ma.m.now
		ma.drained(s)
	}
	return okay()
}

// drained notices that the last task has left an agent that drains.
func (ma *master) drained(s *slave) {
	d := ma.draining[s.id]
	if d == nil || d.State == mesos.DrainState_DRAINED || s.tasks.len() > 0 {
		return
	}
	if d.Config.GetMarkGone() {
		ma.m.post(func() {
			if ma.alive() && ma.known(s.id) {
				ma.markGone(s.id)
			}
		})
		return
	}
	ma.draining[s.id] = &mesos.DrainInfo{State: mesos.DrainState_DRAINED, Config: d.Config}
	ma.storeKnown(s.id)
}

func (ma *master) deactivateAgent(id string) Answer {
	if !ma.known(id) {
		return badRequest("Unknown agent")
	}
	ma.deactivated[id] = true
	ma.storeKnown(id)
	if s := ma.slaves.get(id); s != nil {
		ma.deactivateSlave(s)
	}
	return okay()
}

func (ma *master) reactivateAgent(id string) Answer {
	if !ma.deactivated[id] {
		return badRequest("Agent is not deactivated")
	}
	if d := ma.draining[id]; d != nil && d.State == mesos.DrainState_DRAINING {
		return badRequest("Agent is still in the DRAINING state")
	}
	delete(ma.draining, id)
	delete(ma.deactivated, id)
	ma.storeKnown(id)
	s := ma.slaves.get(id)
	if s == nil {
		return refuse(409, "Agent removed while processing the call")
	}
	s.drainStart = time.Time{}
	if s.connected {
		s.active = true
		ma.alloc.touch(s)
		ma.alloc.soon(ma.m.now)
	}
	return okay()
}
