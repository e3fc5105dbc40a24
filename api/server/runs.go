package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

type startRunsInput struct {
	JobPath
}

func (s *Server) startRuns(ctx context.Context, in *startRunsInput) (*written, error) {
	var start api.StartRuns
	if err := decode(writingOf(ctx).body, &start); err != nil {
		return nil, err
	}
	if err := checkRuns(start.Runs); err != nil {
		return nil, err
	}
	op := core.StartRuns{Job: in.key(), Runs: make([]core.NewRun, len(start.Runs))}
	for i, r := range start.Runs {
		op.Runs[i] = core.NewRun(r)
	}
	return s.do(ctx, op)
}

// checkRuns checks what needs no spec; core checks the parameters.
func checkRuns(runs []api.NewRun) error {
	switch {
	case len(runs) == 0:
		return wrongInput("body.runs", nil, "is missing or empty: name the runs to start; {} is one with all defaults")
	case len(runs) > api.MaxRunsPerCall:
		return wrongInput("body.runs", len(runs), "has %d runs: at most %d start in one call", len(runs), api.MaxRunsPerCall)
	}
	for i, r := range runs {
		at := fmt.Sprintf("body.runs[%d].", i)
		if p := r.Priority; p != nil && (*p < -1000 || *p > 1000) {
			return wrongInput(at+"priority", *p, "is %d: it must be from -1000 to 1000", *p)
		}
		if n := r.Retries; n != nil && (*n < 0 || *n > 1000) {
			return wrongInput(at+"retries", *n, "is %d: it must be from 0 to 1000", *n)
		}
		if err := plain(at+"group", r.Group); err != nil {
			return err
		}
	}
	return nil
}

type runInput struct {
	JobPath
	Reading
	Run string `path:"run" maxLength:"255"`
}

type runOutput struct {
	Body api.Run
}

func (s *Server) getRun(ctx context.Context, in *runInput) (*runOutput, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	r := v.Run(in.key(), in.Run)
	if r == nil && s.History != nil {
		return s.pastRun(ctx, in.JobPath, in.Run)
	}
	if _, err := in.in(v); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, newProblem(http.StatusNotFound, "%s has no run %s, or it is no longer kept", in.key(), in.Run).kind("not-found")
	}
	return &runOutput{Body: run(r)}, nil
}

type cancelRunInput struct {
	JobPath
	Run string `path:"run" maxLength:"255"`
}

func (s *Server) cancelRun(ctx context.Context, in *cancelRunInput) (*written, error) {
	return s.do(ctx, core.CancelRun{Job: in.key(), Run: in.Run})
}

type listRunsInput struct {
	JobPath
	Reading
	Paging
	State string `query:"state" enum:"waiting,active,succeeded,failed,cancelled,skipped,missed"`
	Group string `query:"group"`
}

func (s *Server) listRuns(ctx context.Context, in *listRunsInput) (*listed[api.Run], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	if _, err := in.in(v); err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	p := newPager[api.Run](in.limit())
	v.RunsDescending(in.key(), after, func(r *record.Run) bool {
		if r.Id == after {
			return true
		}
		if !p.see(r.Id) {
			return false
		}
		if (in.State == "" || in.State == name(runStates, int32(r.State))) && (in.Group == "" || in.Group == r.Group) {
			p.add(run(r))
		}
		return true
	})
	return p.answerWith(s.older("runs", in.key())), nil
}
