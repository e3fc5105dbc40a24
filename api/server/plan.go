package server

import (
	"context"
	"net/http"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/plan"
)

func (r routes) plan() {
	op := write(r, "plan-job", http.MethodPost, jobPath+"/plan", "Say what putting a spec would do, and change nothing", bodyOf[api.Spec](maxSpecBody), r.s.planJob)
	op.Description = "What differs from what is wanted now, which instances would be replaced in which order, and whether the cluster has room for it now."
}

type planOutput struct {
	Body api.Plan
}

// planJob answers from the leader's view, since only it knows what is free; a
// standby has passed the request on.
func (s *Server) planJob(ctx context.Context, in *jobInput) (*planOutput, error) {
	spec, err := specOf(in.key(), writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	return &planOutput{plan.Of(v, v.Observed, spec)}, nil
}
