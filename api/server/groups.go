package server

import (
	"context"
	"net/http"
	"slices"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// GroupPath names a deploy group.
type GroupPath struct {
	Group string `path:"group" maxLength:"255"`
}

// in returns the group's record, or 404.
func (p GroupPath) in(v *engine.View) (*record.Group, error) {
	if g := v.Group(p.Group); g != nil {
		return g, nil
	}
	return nil, p.missing()
}

func (p GroupPath) missing() *problem {
	return newProblem(http.StatusNotFound, "there is no deploy group %s, or it is no longer kept", p.Group).kind("not-found")
}

type listGroupsInput struct {
	Reading
	Paging
}

func (s *Server) listGroups(ctx context.Context, in *listGroupsInput) (*listed[api.DeployGroup], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	var kept []*record.Group
	v.Groups(func(g *record.Group) bool { kept = append(kept, g); return true })
	p, c := newPager[api.DeployGroup](in.limit()), callerOf(ctx)
	for _, g := range slices.Backward(kept) {
		if after != "" && g.Id >= after {
			continue
		}
		if !p.see(g.Id) {
			break
		}
		if c.seesGroup(g) {
			p.add(group(v, g))
		}
	}
	return p.answer(), nil
}

type getGroupInput struct {
	GroupPath
	Reading
	Waiting
}

type groupOutput struct {
	Body api.DeployGroup
}

// getGroup tells a group, at once or when it is over.
func (s *Server) getGroup(ctx context.Context, in *getGroupInput) (*groupOutput, error) {
	wait, err := in.duration()
	if err != nil {
		return nil, err
	}
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	v, err = s.await(ctx, v, wait, func(v *engine.View) bool {
		g := v.Group(in.Group)
		return g == nil || g.State.Terminal()
	})
	if err != nil {
		return nil, err
	}
	g, err := in.in(v)
	if err != nil {
		return nil, err
	}
	return &groupOutput{group(v, g)}, nil
}

// group tells a deploy group.
func group(v *engine.View, g *record.Group) api.DeployGroup {
	out := api.DeployGroup{
		ID: g.Id, State: api.DeployState(name(deployStates, int32(g.State))), Reason: g.Reason,
		Author: g.Author, Message: g.Message, Links: g.Links, CreatedAt: millis(g.CreatedAt), EndedAt: moment(g.EndedAt),
		Members: make([]api.DeployGroupEntry, len(g.Members)),
	}
	for i, m := range g.Members {
		e := api.DeployGroupEntry{Job: m.Job, Deploy: m.Deploy, Rollback: m.Rollback, Reason: m.Reason}
		if d := v.Deploy(m.Job, m.Deploy); d != nil {
			e.State = api.DeployState(name(deployStates, int32(d.State)))
			if e.Reason == "" {
				e.Reason = d.Reason
			}
		}
		out.Members[i] = e
	}
	return out
}

// writtenGroup answers a write of a group.
type writtenGroup struct {
	Status   int
	Replayed string `header:"Idempotency-Replayed" doc:"true when an earlier request with the same key was answered with this group"`
	Body     api.WrittenGroup
}

func (s *Server) writeGroup(ctx context.Context, op core.Op) (*writtenGroup, error) {
	result, v, err := s.execute(ctx, op)
	if err != nil {
		return nil, err
	}
	out := &writtenGroup{Status: http.StatusOK, Body: api.WrittenGroup{
		DeployGroup: api.DeployGroup{ID: result.Group, Members: []api.DeployGroupEntry{}}, // should it be gone by now
		Changed:     result.Changed, Warnings: result.Warnings,
	}}
	_, out.Replayed = marks(result)
	if result.Created {
		out.Status = http.StatusCreated
	}
	if g := v.Group(result.Group); g != nil {
		out.Body.DeployGroup = group(v, g)
	}
	return out, nil
}

func (s *Server) startGroup(ctx context.Context, _ *struct{}) (*writtenGroup, error) {
	req, err := groupRequest(writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	for i := range req.Specs {
		if p := c.needs(access.Deployer, req.Specs[i].Job); p != nil {
			return nil, p
		}
	}
	op := core.PutGroup{Notes: notesOf(req.DeployNotes), Supersede: req.Replace}
	for i := range req.Specs {
		canonical, err := req.Specs[i].Canonical()
		if err != nil {
			return nil, wrongInput("body.specs", req.Specs[i].Job, "%v", err)
		}
		op.Specs, op.Canonical = append(op.Specs, &req.Specs[i]), append(op.Canonical, canonical)
	}
	return s.writeGroup(ctx, op)
}

func (s *Server) cancelGroup(ctx context.Context, in *GroupPath) (*writtenGroup, error) {
	reason, err := reasonOf(writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	return s.writeGroup(ctx, core.CancelGroup{ID: in.Group, Reason: reason})
}
