package sim

import (
	"maps"
	"slices"
	"time"

	mesosapi "github.com/mesos/mesos-go/api/v1/lib"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
)

// operate has a person do something to the agent; true when Mesos did it.
func (a *agent) operate(c *operator.Call) bool {
	answer := a.w.model.Operate(a.w.now, c)
	a.w.trace("operator: %s %s: %d %s", c.Type, a.name, answer.Code, answer.Text)
	if answer.Code != 200 {
		return false
	}
	switch c.Type {
	case operator.Call_DEACTIVATE_AGENT:
		a.w.sees("agent deactivated")
	case operator.Call_DRAIN_AGENT:
		a.w.sees("agent drained")
	case operator.Call_MARK_AGENT_GONE:
		a.w.sees("agent gone")
	}
	return true
}

// gaveUp notes an agent that the master says is removed.
func (w *world) gaveUp(id string) {
	for _, a := range w.agents {
		if a.lastID == id && !a.up {
			a.unreachable = true
			w.sees("agent becomes unreachable")
		}
	}
}

// anAgent is one that Mesos knows, nil if it does not know the one drawn.
func (w *world) anAgent() (*agent, mesosapi.AgentID) {
	a := w.busyAgent()
	id := w.model.AgentID(a.name)
	if id == "" || !w.masterUp {
		return nil, mesosapi.AgentID{}
	}
	return a, mesosapi.AgentID{Value: id}
}

func (w *world) deactivate() {
	if a, id := w.anAgent(); a != nil {
		w.inactive[a] = a.operate(&operator.Call{Type: operator.Call_DEACTIVATE_AGENT,
			DeactivateAgent: &operator.Call_DeactivateAgent{AgentID: id}}) || w.inactive[a]
	}
}

func (w *world) drain() {
	a, id := w.anAgent()
	if a == nil {
		return
	}
	gone := w.chance(4)
	w.inactive[a] = a.operate(&operator.Call{Type: operator.Call_DRAIN_AGENT,
		DrainAgent: &operator.Call_DrainAgent{AgentID: id, MarkGone: &gone}}) || w.inactive[a]
}

func (w *world) markGone() {
	if a, id := w.anAgent(); a != nil {
		a.operate(&operator.Call{Type: operator.Call_MARK_AGENT_GONE,
			MarkAgentGone: &operator.Call_MarkAgentGone{AgentID: id}})
	}
}

// reactivateAll ends the drains that are done, and what else keeps agents from
// being used.
func (w *world) reactivateAll() {
	if len(w.inactive) == 0 || !w.masterUp {
		return
	}
	for _, a := range w.agents {
		if !w.inactive[a] || !a.up {
			continue
		}
		id := w.model.AgentID(a.name)
		if id == "" {
			continue
		}
		answer := w.model.Operate(w.now, &operator.Call{Type: operator.Call_REACTIVATE_AGENT,
			ReactivateAgent: &operator.Call_ReactivateAgent{AgentID: mesosapi.AgentID{Value: id}}})
		if answer.Code == 200 || answer.Text == "Agent is not deactivated" {
			w.trace("operator: %s is active again", a.name)
			delete(w.inactive, a)
		}
	}
}

// exits: the agent was marked gone. Its machine is set up anew, later.
func (a *agent) exits(why string) {
	a.w.trace("agent %s exits: %s", a.name, why)
	a.up = false
	delete(a.w.inactive, a)
	a.w.later(time.Second+a.w.upTo(time.Minute), a.renew)
}

func (a *agent) renew() {
	if a.up {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(a.executors)) {
		a.executors[id].die(9)
	}
	clear(a.records)
	a.unreachable = false
	a.w.sees("agent set up anew")
	a.start()
}
