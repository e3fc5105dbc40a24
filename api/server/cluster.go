package server

import (
	"context"
	"net/http"
	"slices"
	"sort"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
)

type pendingOutput struct {
	Body api.JobPending
}

func (s *Server) getPending(ctx context.Context, in *jobInput) (*pendingOutput, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	if _, err := in.in(v); err != nil {
		return nil, err
	}
	out := &pendingOutput{Body: api.JobPending{Job: in.key(), Reasons: v.Observed.Pending[in.key()]}}
	if out.Body.Reasons == nil {
		out.Body.Reasons = []api.PendingReason{}
	}
	return out, nil
}

type listPendingInput struct {
	Reading
	Paging
}

func (s *Server) listPending(ctx context.Context, in *listPendingInput) (*listed[api.JobPending], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	var jobs []string
	sees := callerOf(ctx).sees
	for job := range v.Observed.Pending {
		if job > after && sees(job) {
			jobs = append(jobs, job)
		}
	}
	slices.Sort(jobs)
	p := newPager[api.JobPending](in.limit())
	for _, job := range jobs {
		if !p.see(job) {
			break
		}
		if reasons := v.Observed.Pending[job]; len(reasons) > 0 {
			p.add(api.JobPending{Job: job, Reasons: reasons})
		}
	}
	return p.answer(), nil
}

type listAgentsInput struct {
	Reading
	Paging
}

func (s *Server) listAgents(ctx context.Context, in *listAgentsInput) (*listed[api.Agent], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	agents := v.Observed.Agents
	key := func(a *core.AgentStatus) string { return a.Host + "\x00" + a.ID }
	first := sort.Search(len(agents), func(i int) bool { return key(&agents[i]) > after })
	p := newPager[api.Agent](in.limit())
	for i := first; i < len(agents) && p.see(key(&agents[i])); i++ {
		p.add(agent(v, &agents[i]))
	}
	return p.answer(), nil
}

type agentInput struct {
	Reading
	Agent string `path:"agent" maxLength:"255"`
}

type agentOutput struct {
	Body api.Agent
}

func (s *Server) getAgent(ctx context.Context, in *agentInput) (*agentOutput, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	for i := range v.Observed.Agents {
		if a := &v.Observed.Agents[i]; a.ID == in.Agent || a.Host == in.Agent {
			return &agentOutput{Body: agent(v, a)}, nil
		}
	}
	return nil, newProblem(http.StatusNotFound, "no agent is called %s, by id or host", in.Agent).kind("not-found")
}
