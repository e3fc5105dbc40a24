package mesos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// agents lists the master's agents whenever it is due, not more often than
// AgentsEvery, until ctx ends. Failures are only logged: scheduling needs offers,
// not this list, which is for totals and for people.
func (s *session) agents(ctx context.Context) error {
	pause := time.NewTicker(s.driver.o.AgentsEvery)
	defer pause.Stop()
	for {
		select {
		case <-s.agentsDue:
		case <-ctx.Done():
			return ctx.Err()
		}
		pause.Reset(s.driver.o.AgentsEvery)
		agents, err := s.driver.getAgents(ctx, s.master)
		if err == nil {
			s.driver.outbox.put(core.Agents{Agents: agents})
		} else if ctx.Err() == nil {
			s.driver.log.Warn("agents not listed", "error", err)
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxAgents bounds the answer to GET_AGENTS, in bytes.
const maxAgents = 256 << 20

func (d *Driver) getAgents(ctx context.Context, address string) ([]core.Agent, error) {
	body, err := (&master.Call{Type: master.Call_GET_AGENTS}).Marshal()
	if err != nil {
		return nil, fmt.Errorf("GET_AGENTS: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("GET_AGENTS: %w", err)
	}
	request.Header.Set("Content-Type", protobufType)
	request.Header.Set("Accept", protobufType)
	answer, err := d.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("GET_AGENTS: %w", err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAgents))
	if err != nil {
		return nil, fmt.Errorf("GET_AGENTS: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET_AGENTS was answered %s: %s", answer.Status, b[:min(len(b), 200)])
	}
	var response master.Response
	if err := response.Unmarshal(b); err != nil {
		return nil, fmt.Errorf("GET_AGENTS: %w", err)
	}
	listed := response.GetGetAgents().GetAgents()
	agents := make([]core.Agent, len(listed))
	for i := range listed {
		agents[i] = coreAgent(&listed[i], d.o.Framework.Role)
	}
	return agents, nil
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
