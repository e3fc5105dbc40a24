package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// writtenDeploy answers a write of a deploy.
type writtenDeploy struct {
	Status   int
	ETag     string `header:"ETag" doc:"Revision of the job afterwards: what If-Match takes"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when an earlier request with the same key was answered with this deploy"`
	Body     api.WrittenDeploy
}

// writeDeploy executes a write of a deploy. Repeated, it is answered with the
// same deploy, as it is by then.
func (s *Server) writeDeploy(ctx context.Context, op core.Op) (*writtenDeploy, error) {
	result, v, err := s.execute(ctx, op)
	if err != nil {
		return nil, err
	}
	out := &writtenDeploy{Status: http.StatusOK, Body: api.WrittenDeploy{
		Deploy:  api.Deploy{Job: result.Job, Number: result.Deploy}, // should it be gone by now
		Changed: result.Changed, Created: result.Created, Revision: result.Revision, Warnings: result.Warnings,
	}}
	out.ETag, out.Replayed = marks(result)
	if r, d := v.Job(result.Job), v.Deploy(result.Job, result.Deploy); r != nil && d != nil {
		out.Body.Deploy = s.deploy(v, d, r, take(v, r))
	}
	if result.Began {
		out.Status = http.StatusCreated
	}
	return out, nil
}

// inTheWay tells the deploy that had a write refused.
func (s *Server) inTheWay(v *engine.View, op core.Op, number uint32) *api.Deploy {
	for _, job := range jobsOf(op) {
		r, d := v.Job(job), v.Deploy(job, number)
		if r != nil && d != nil && !d.State.Terminal() {
			told := s.deploy(v, d, r, take(v, r))
			return &told
		}
	}
	return nil
}

// jobsOf are the jobs that a write may be refused for because of a deploy.
func jobsOf(op core.Op) []string {
	switch op := op.(type) {
	case core.PutJob:
		return []string{op.Spec.Job}
	case core.RollBack:
		return []string{op.Job}
	case core.Bounce:
		return []string{op.Job}
	case core.PutGroup:
		jobs := make([]string, len(op.Specs))
		for i, spec := range op.Specs {
			jobs[i] = spec.Job
		}
		return jobs
	}
	return nil
}

func notesOf(n api.DeployNotes) core.Notes {
	return core.Notes{Author: n.Author, Message: n.Message, Links: n.Links}
}

func (s *Server) startDeploy(ctx context.Context, in *JobChange) (*writtenDeploy, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	req, err := deployRequest(in.key(), writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	canonical, err := req.Spec.Canonical()
	if err != nil {
		return nil, wrongInput("body.spec", nil, "%v", err)
	}
	return s.writeDeploy(ctx, core.PutJob{
		Spec: req.Spec, Canonical: canonical, IfMatch: revision, Notes: notesOf(req.DeployNotes), Supersede: req.Replace, Resume: req.Resume,
	})
}

func (s *Server) rollBack(ctx context.Context, in *JobChange) (*writtenDeploy, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	var req api.RollbackRequest
	if err := withNotes(writingOf(ctx).body, &req, &req.DeployNotes); err != nil {
		return nil, err
	}
	op := core.RollBack{Job: in.key(), To: req.To, IfMatch: revision, Notes: notesOf(req.DeployNotes), Supersede: req.Replace}
	warnings, err := s.readyToReturn(ctx, &op, req.Unchecked)
	if err != nil {
		return nil, err
	}
	out, err := s.writeDeploy(ctx, op)
	if err == nil && out.Body.Changed {
		out.Body.Warnings = append(warnings, out.Body.Warnings...)
	}
	return out, err
}

func (s *Server) bounce(ctx context.Context, in *JobChange) (*writtenDeploy, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	var req api.BounceRequest
	if err := withNotes(writingOf(ctx).body, &req, &req.DeployNotes); err != nil {
		return nil, err
	}
	return s.writeDeploy(ctx, core.Bounce{Job: in.key(), Incremental: req.Incremental, IfMatch: revision, Notes: notesOf(req.DeployNotes)})
}

type restartInput struct {
	JobPath
	Instance string `path:"instance" maxLength:"10"`
}

func (s *Server) restartInstance(ctx context.Context, in *restartInput) (*written, error) {
	n, err := strconv.ParseUint(in.Instance, 10, 32)
	if err != nil {
		return nil, wrongInput("path.instance", in.Instance, "is not an instance: they are numbered from 0")
	}
	reason, err := reasonOf(writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	return s.do(ctx, core.RestartInstance{Job: in.key(), Instance: uint32(n), Reason: reason})
}

// reasonOf reads a body that says no more than why.
func reasonOf(body []byte) (string, error) {
	var req api.SteerRequest
	if err := optional(body, &req); err != nil {
		return "", err
	}
	var r reading
	r.notes(&api.DeployNotes{Message: req.Reason})
	for i := range r.found {
		r.found[i].Location = "reason"
	}
	return req.Reason, r.err()
}

// steer returns the handler of one thing that may be done to a deploy.
func (s *Server) steer(action core.Steer) func(context.Context, *DeployPath) (*writtenDeploy, error) {
	return func(ctx context.Context, in *DeployPath) (*writtenDeploy, error) {
		number, err := in.number()
		if err != nil {
			return nil, err
		}
		op := core.SteerDeploy{Job: in.key(), Number: number, Action: action}
		body := writingOf(ctx).body
		if action == core.SteerPromote {
			var req api.PromoteRequest
			err = optional(body, &req)
			op.Full = req.Full
		} else {
			op.Reason, err = reasonOf(body)
		}
		if err != nil {
			return nil, err
		}
		return s.writeDeploy(ctx, op)
	}
}

// steers are the things that may be done to a deploy in progress.
var steers = []struct {
	name, summary string
	action        core.Steer
}{
	{"pause", "Have a deploy stand still", core.SteerPause},
	{"resume", "Have a paused deploy go on", core.SteerResume},
	{"promote", "Let a canary go on to its next step, or to its end", core.SteerPromote},
	{"cancel", "End a deploy; its instances return", core.SteerCancel},
	{"pulse", "Say that a deploy with update.pulse may go on", core.SteerPulse},
}
