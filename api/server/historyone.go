package server

import (
	"context"
	"net/http"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// pastTask returns a task of history that the caller may see, or what is wrong.
func (s *Server) pastTask(ctx context.Context, p TaskPath) (*taskOutput, error) {
	h, err := s.past()
	if err != nil {
		return nil, err
	}
	r, err := h.FindTask(ctx, p.Task)
	switch {
	case err != nil:
		return nil, unread(err)
	case r == nil || !callerOf(ctx).sees(r.Job):
		return nil, p.missing()
	}
	v := s.Scheduler.View()
	t := s.task(v, r)
	if len(r.Ports) > 0 && len(t.Ports) == 0 {
		d, err := h.FindDeploy(ctx, r.Job, r.Deploy)
		if err == nil && d != nil && len(d.Spec) > 0 {
			t.Ports = portNames(s.specs.of(d), r.Ports)
		}
	}
	t.Timeline, t.Archived = timeline(r), v.Task(r.Id) == nil
	return &taskOutput{Body: t}, nil
}

type pastTaskInput struct{ TaskPath }

func (s *Server) getPastTask(ctx context.Context, in *pastTaskInput) (*taskOutput, error) {
	return s.pastTask(ctx, in.TaskPath)
}

// pastRun returns a run of history.
func (s *Server) pastRun(ctx context.Context, p JobPath, id string) (*runOutput, error) {
	h, err := s.past()
	if err != nil {
		return nil, err
	}
	r, err := h.FindRun(ctx, p.key(), id)
	switch {
	case err != nil:
		return nil, unread(err)
	case r == nil:
		return nil, newProblem(http.StatusNotFound, "%s has no run %s, or it is no longer kept", p.key(), id).kind("not-found")
	}
	out := &runOutput{Body: run(r)}
	out.Body.Archived = s.Scheduler.View().Run(p.key(), id) == nil
	return out, nil
}

type pastRunInput struct {
	JobPath
	Run string `path:"run" maxLength:"255"`
}

func (s *Server) getPastRun(ctx context.Context, in *pastRunInput) (*runOutput, error) {
	return s.pastRun(ctx, in.JobPath, in.Run)
}

// pastDeploy returns a deploy of history with its spec.
func (s *Server) pastDeploy(ctx context.Context, p JobPath, number uint32) (*pastDeployOutput, error) {
	h, err := s.past()
	if err != nil {
		return nil, err
	}
	d, err := h.FindDeploy(ctx, p.key(), number)
	switch {
	case err != nil:
		return nil, unread(err)
	case d == nil:
		return nil, newProblem(http.StatusNotFound, "%s has no deploy %d, or it is no longer kept", p.key(), number).kind("not-found")
	}
	out := &pastDeployOutput{Body: deployOf(d)}
	out.Body.Archived = s.Scheduler.View().Deploy(d.Job, d.Number) == nil
	if len(d.Spec) > 0 {
		if spec := s.specs.of(d); spec != nil {
			whole := spec.spec
			out.Body.Spec = &whole
		}
	}
	return out, nil
}

type pastDeployInput struct {
	JobPath
	Number uint32 `path:"number" minimum:"1"`
}

type pastDeployOutput struct{ Body api.Deploy }

func (s *Server) getPastDeploy(ctx context.Context, in *pastDeployInput) (*pastDeployOutput, error) {
	return s.pastDeploy(ctx, in.JobPath, in.Number)
}

type pastEventInput struct {
	Event string `path:"event" maxLength:"255" doc:"Its id"`
}

type eventOutput struct{ Body api.Event }

func (s *Server) getPastEvent(ctx context.Context, in *pastEventInput) (*eventOutput, error) {
	h, err := s.past()
	if err != nil {
		return nil, err
	}
	id, err := engine.ParseEventID(in.Event)
	if err != nil {
		return nil, wrongInput("path.event", in.Event, "is not the id of an event: that is incarnation-index-ordinal")
	}
	e, err := h.FindEvent(ctx, id)
	switch {
	case err != nil:
		return nil, unread(err)
	case e == nil || !seesEvent(callerOf(ctx), e.Event):
		return nil, newProblem(http.StatusNotFound, "there is no event %s, or it is no longer kept", in.Event).kind("not-found")
	}
	return &eventOutput{s.event(*e)}, nil
}

type historyOutput struct{ Body api.HistoryState }

func (s *Server) getHistory(ctx context.Context, _ *struct{}) (*historyOutput, error) {
	h, err := s.past()
	if err != nil {
		return nil, err
	}
	return &historyOutput{h.State(ctx)}, nil
}
