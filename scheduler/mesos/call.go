package mesos

import (
	"fmt"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// subscribeCall is the SUBSCRIBE of a framework.
func subscribeCall(o FrameworkOptions, s core.Subscribe) *scheduler.Call {
	timeout, checkpoint := o.FailoverTimeout.Seconds(), true
	framework := &mesos.FrameworkInfo{
		Name:            o.Name,
		User:            o.User,
		Roles:           []string{o.Role},
		FailoverTimeout: &timeout,
		Checkpoint:      &checkpoint,
		Principal:       optional(o.Principal),
		WebUiURL:        optional(o.WebUI),
		Hostname:        optional(o.Hostname),
	}
	for _, c := range []mesos.FrameworkInfo_Capability_Type{
		mesos.FrameworkInfo_Capability_MULTI_ROLE,
		mesos.FrameworkInfo_Capability_PARTITION_AWARE,
		mesos.FrameworkInfo_Capability_TASK_KILLING_STATE,
		mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT,
		mesos.FrameworkInfo_Capability_REGION_AWARE,
	} {
		framework.Capabilities = append(framework.Capabilities, mesos.FrameworkInfo_Capability{Type: c})
	}
	call := &scheduler.Call{
		Type:      scheduler.Call_SUBSCRIBE,
		Subscribe: &scheduler.Call_Subscribe{FrameworkInfo: framework},
	}
	if s.FrameworkID != "" {
		framework.ID = &mesos.FrameworkID{Value: s.FrameworkID}
		call.FrameworkID = framework.ID
	}
	if s.Suppressed {
		call.Subscribe.SuppressedRoles = framework.Roles
	}
	return call
}

// message is a call as Mesos wants it. With an error, an Accept was not
// possible, and the message, unless it is nil, gives back what it had of offers.
func (s *session) message(c core.Call) (*scheduler.Call, error) {
	m := &scheduler.Call{FrameworkID: &s.launcher.framework, Type: callType(c)}
	switch c := c.(type) {
	case core.Accept:
		return s.acceptMessage(m, c)
	case core.Decline:
		s.driver.offers.take(c.Offers)
		m.Decline = &scheduler.Call_Decline{OfferIDs: offerIDs(c.Offers), Filters: refuse(c.RefuseSeconds)}
	case core.Kill:
		m.Kill = &scheduler.Call_Kill{TaskID: mesos.TaskID{Value: c.Task}, AgentID: agentID(c.Agent)}
	case core.Acknowledge:
		m.Acknowledge = &scheduler.Call_Acknowledge{
			AgentID: mesos.AgentID{Value: c.Agent}, TaskID: mesos.TaskID{Value: c.Task}, UUID: c.UUID}
	case core.Reconcile:
		m.Reconcile = &scheduler.Call_Reconcile{}
		for _, t := range c.Tasks {
			m.Reconcile.Tasks = append(m.Reconcile.Tasks, scheduler.Call_Reconcile_Task{
				TaskID: mesos.TaskID{Value: t.Task}, AgentID: agentID(t.Agent)})
		}
	}
	return m, nil
}

func (s *session) acceptMessage(m *scheduler.Call, c core.Accept) (*scheduler.Call, error) {
	known, offers, missing := s.driver.offers.take(c.Offers)
	tasks, err := s.launcher.tasks(c.Agent, c.Launches, offers)
	if len(missing) > 0 {
		err = fmt.Errorf("offer %s is not outstanding (any more)", strings.Join(missing, ", "))
	}
	if err != nil {
		if len(known) == 0 {
			return nil, err
		}
		// Core counts all of the offers as used; kept, they would be nobody's.
		m.Type = scheduler.Call_DECLINE
		m.Decline = &scheduler.Call_Decline{OfferIDs: offerIDs(known), Filters: refuse(0)}
		return m, err
	}
	m.Accept = &scheduler.Call_Accept{
		OfferIDs: offerIDs(known),
		Operations: []mesos.Offer_Operation{{
			Type: mesos.Offer_Operation_LAUNCH, Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks}}},
		Filters: refuse(0),
	}
	return m, nil
}

func callType(c core.Call) scheduler.Call_Type {
	switch c.(type) {
	case core.Subscribe:
		return scheduler.Call_SUBSCRIBE
	case core.Accept:
		return scheduler.Call_ACCEPT
	case core.Decline:
		return scheduler.Call_DECLINE
	case core.Kill:
		return scheduler.Call_KILL
	case core.Acknowledge:
		return scheduler.Call_ACKNOWLEDGE
	case core.Reconcile:
		return scheduler.Call_RECONCILE
	case core.Suppress:
		return scheduler.Call_SUPPRESS
	case core.Revive:
		return scheduler.Call_REVIVE
	}
	panic(fmt.Sprintf("mesos: no such call: %T", c))
}

// barrier says whether all calls before this one must be answered before it is
// sent, and it before all that follow.
func barrier(c core.Call) bool {
	switch c.(type) {
	case core.Suppress, core.Revive:
		return true
	}
	return false
}

// question says whether a call only asks. It changes nothing, so it needs no
// order among the others, and takes the master long: nothing waits for it. Core
// asks by name only about launches whose ACCEPT was answered.
func question(c core.Call) bool {
	_, is := c.(core.Reconcile)
	return is
}

// laneKey is what calls that must stay in order have in common: the agent.
func laneKey(c core.Call) string {
	switch c := c.(type) {
	case core.Accept:
		return c.Agent
	case core.Kill:
		return c.Agent
	case core.Acknowledge:
		return c.Agent
	case core.Decline: // of any number of agents; offers come in no order
		if len(c.Offers) > 0 {
			return c.Offers[0]
		}
	}
	return ""
}

// reconcileAtOnce is how many tasks one RECONCILE names: the master answers all
// of a call before it does anything else.
const reconcileAtOnce = 1000

// split cuts a call that would be too big into several.
func split(c core.Call) []core.Call {
	r, ok := c.(core.Reconcile)
	if !ok || len(r.Tasks) <= reconcileAtOnce {
		return []core.Call{c}
	}
	var out []core.Call
	for len(r.Tasks) > 0 {
		n := min(reconcileAtOnce, len(r.Tasks))
		out = append(out, core.Reconcile{Tasks: r.Tasks[:n]})
		r.Tasks = r.Tasks[n:]
	}
	return out
}

func offerIDs(ids []string) []mesos.OfferID {
	out := make([]mesos.OfferID, len(ids))
	for i, id := range ids {
		out[i].Value = id
	}
	return out
}

// refuse is set even when 0: absent, it means 5 seconds.
func refuse(seconds float64) *mesos.Filters { return &mesos.Filters{RefuseSeconds: &seconds} }

func agentID(id string) *mesos.AgentID {
	if id == "" {
		return nil
	}
	return &mesos.AgentID{Value: id}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
