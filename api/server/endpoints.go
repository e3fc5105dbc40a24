package server

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

type endpointsOutput struct {
	Body api.Endpoints
}

func (s *Server) getEndpoints(ctx context.Context, in *jobInput) (*endpointsOutput, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	r, err := in.in(v)
	if err != nil {
		return nil, err
	}
	return &endpointsOutput{s.endpoints(v, r)}, nil
}

func (s *Server) followEndpoints(ctx context.Context, in *jobInput) (*huma.StreamResponse, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	r, err := in.in(v)
	if err != nil {
		return nil, err
	}
	job, last := r.Key, []api.Endpoint(nil)
	t := &stateStream{s: s, kind: "endpoints", pause: lookPause}
	t.tell = func(v *engine.View) told {
		r := v.Job(job)
		if r == nil { // who comes again is told so
			return told{event: "endpoints", state: api.Endpoints{Job: job, Index: v.Index, Endpoints: []api.Endpoint{}}, last: true}
		}
		state := s.endpoints(v, r)
		if last != nil && slices.EqualFunc(last, state.Endpoints, sameEndpoint) {
			return told{}
		}
		last = state.Endpoints
		return told{event: "endpoints", state: state}
	}
	return t.from(v), nil
}

// endpoints lists the tasks of a job that serve, by instance and task.
func (s *Server) endpoints(v *engine.View, r *record.Job) api.Endpoints {
	out := api.Endpoints{Job: r.Key, Index: v.Index, Endpoints: []api.Endpoint{}}
	v.JobTasks(r.Key, "", func(t *record.Task) bool {
		if t.Run == "" && serves(r, t) {
			e := api.Endpoint{Instance: int(t.Instance), Task: t.Id, Deploy: t.Deploy, Host: t.Host, ReadyAt: millis(t.ReadyAt)}
			if len(t.Ports) > 0 {
				e.Ports = portNames(s.specs.of(v.Deploy(t.Job, t.Deploy)), t.Ports)
			}
			out.Endpoints = append(out.Endpoints, e)
		}
		return true
	})
	slices.SortFunc(out.Endpoints, func(a, b api.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Task, b.Task))
	})
	return out
}

func sameEndpoint(a, b api.Endpoint) bool {
	return a.Task == b.Task && a.Instance == b.Instance && a.Deploy == b.Deploy && a.Host == b.Host &&
		a.ReadyAt.Equal(b.ReadyAt) && maps.Equal(a.Ports, b.Ports)
}
