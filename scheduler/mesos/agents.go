package mesos

import (
	"context"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// agentsShare is how much of the time asking for agents may take: the answer of a
// large cluster is long.
const agentsShare = 100

// agents lists the master's agents whenever it is due, and now and then, until
// ctx ends. A failure is logged, and it is asked again, ever less often: scheduling
// needs offers, not this list, which is for totals, for people, and to tell who
// joined and who is lost.
func (s *session) agents(ctx context.Context) error {
	o := &s.driver.o
	again := time.NewTimer(o.AgentsAgain)
	defer again.Stop()
	for failures := 0; ; {
		select {
		case <-s.agentsDue:
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		start := time.Now()
		s.driver.outbox.put(core.ListingAgents{})
		agents, err := s.driver.getAgents(ctx, s.master)
		switch {
		case err == nil:
			failures = 0
			s.driver.outbox.put(agents)
			again.Reset(max(o.AgentsAgain, agentsShare*time.Since(start)))
		case ctx.Err() == nil:
			s.driver.log.Warn("agents not listed", "error", err)
			again.Reset(min(o.AgentsEvery<<min(failures, 16), o.AgentsAgain))
			failures++
		}
		select {
		case <-time.After(o.AgentsEvery - time.Since(start)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Driver) getAgents(ctx context.Context, address string) (agents core.Agents, err error) {
	response, err := d.operate(ctx, address, master.Call_GET_AGENTS)
	if err != nil {
		return agents, err
	}
	agents = coreAgents(response.GetGetAgents(), d.o.Framework.Role)
	if d.o.TLS != nil { // of the address that agents register with, no scheme is told
		for i, a := range agents.Agents {
			agents.Agents[i].URL = strings.Replace(a.URL, "http://", "https://", 1)
		}
	}
	return agents, nil
}

func coreAgents(list *master.Response_GetAgents, role string) core.Agents {
	listed := list.GetAgents()
	agents := core.Agents{Agents: make([]core.Agent, len(listed))}
	for i := range listed {
		agents.Agents[i] = coreAgent(&listed[i], role)
	}
	recovered := list.GetRecoveredAgents()
	for i := range recovered {
		if id := recovered[i].ID; id != nil {
			agents.Recovered = append(agents.Recovered, id.Value)
		}
	}
	return agents
}

// coreAgent counts, of an agent's resources, what role may ever be offered.
func coreAgent(a *master.Response_GetAgents_Agent, role string) core.Agent {
	sum, _ := total(a.TotalResources, func(r *mesos.Resource) bool { return allocatable(r, role) })
	agent := core.Agent{
		Host:       a.AgentInfo.Hostname,
		Attributes: attributes(a.AgentInfo.Attributes, a.AgentInfo.Domain),
		Total:      sum,
		Active:     a.Active && !a.GetDeactivated(),
	}
	if a.AgentInfo.ID != nil {
		agent.ID = a.AgentInfo.ID.Value
	}
	if _, address, ok := strings.Cut(a.GetPID(), "@"); ok { // slave(1)@10.0.0.1:5051
		agent.URL = "http://" + address
	}
	return agent
}
