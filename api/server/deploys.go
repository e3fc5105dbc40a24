package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

type listDeploysInput struct {
	JobPath
	Reading
	Paging
}

func (s *Server) listDeploys(ctx context.Context, in *listDeploysInput) (*listed[api.Deploy], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	r, err := in.in(v)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	before := ^uint64(0)
	if after != "" {
		if before, err = strconv.ParseUint(after, 10, 64); err != nil {
			return nil, wrongInput("query.cursor", in.Cursor, "is not a cursor of deploys")
		}
	}
	// Few are kept of each job, so they are collected and turned round.
	var kept []*record.Deploy
	v.Deploys(r.Key, func(d *record.Deploy) bool { kept = append(kept, d); return true })
	p, tasks := newPager[api.Deploy](in.limit()), take(v, r)
	for i := len(kept) - 1; i >= 0; i-- {
		if n := uint64(kept[i].Number); n < before {
			if !p.see(strconv.FormatUint(n, 10)) {
				break
			}
			p.add(s.deploy(v, kept[i], r, tasks))
		}
	}
	return p.answerWith(s.older("deploys", r.Key)), nil
}

// current names the deploy in progress, or else the one whose spec is wanted.
const current = "current"

// DeployPath names a deploy.
type DeployPath struct {
	JobPath
	Number string `path:"number" maxLength:"10" doc:"A deploy's number, or current: the one in progress"`
}

// number is what the path says, 0 for current.
func (p DeployPath) number() (uint32, error) {
	if p.Number == current {
		return 0, nil
	}
	n, err := strconv.ParseUint(p.Number, 10, 32)
	if err != nil || n == 0 {
		return 0, wrongInput("path.number", p.Number, "is not the number of a deploy: write it as 12, or current")
	}
	return uint32(n), nil
}

// in returns the records of the job and the deploy, or 404.
func (p DeployPath) in(v *engine.View) (*record.Job, *record.Deploy, error) {
	n, err := p.number()
	if err != nil {
		return nil, nil, err
	}
	r, err := p.JobPath.in(v)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		n = r.Deploy
		if going := inProgress(v, r.Key); going != 0 {
			n = going
		}
	}
	if d := v.Deploy(r.Key, n); d != nil {
		return r, d, nil
	}
	return nil, nil, newProblem(http.StatusNotFound, "%s has no deploy %d, or it is no longer kept", r.Key, n).kind("not-found")
}

// inProgress is the number of a job's deploy in progress, 0 when there is none.
func inProgress(v *engine.View, job string) uint32 {
	if roll := v.Rollout(job); roll != nil {
		if d := v.Deploy(job, roll.Deploy); d != nil && !d.State.Terminal() {
			return d.Number
		}
	}
	return 0
}

type getDeployInput struct {
	DeployPath
	Reading
	Waiting
	IfNoneMatch string `header:"If-None-Match" doc:"Answer 304 when the deploy is as it was at this ETag; with wait, once it is not"`
}

type deployOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"Of how far the deploy is, for If-None-Match"`
	Body   api.Deploy
}

// getDeploy tells a deploy, at once, or when it is over or has come to stand still
// because it failed. With a condition it waits for any change instead.
func (s *Server) getDeploy(ctx context.Context, in *getDeployInput) (*deployOutput, error) {
	wait, err := in.duration()
	if err != nil {
		return nil, err
	}
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	_, d, err := in.in(v)
	if err != nil {
		if n, wrong := in.number(); n > 0 && wrong == nil && s.History != nil {
			out, err := s.pastDeploy(ctx, in.JobPath, n)
			if err != nil {
				return nil, err
			}
			return &deployOutput{Status: http.StatusOK, Body: out.Body}, nil
		}
		return nil, err
	}
	in.Number = strconv.FormatUint(uint64(d.Number), 10) // also where it was current
	out, known := new(deployOutput), strings.TrimPrefix(in.IfNoneMatch, "W/")
	stood, first := false, true // who asks of one that stands still waits for what comes of that
	_, over := s.await(ctx, v, wait, func(v *engine.View) bool {
		out, err = s.deployAsOf(v, in.DeployPath)
		stands := err == nil && out.Body.Rollout != nil && out.Body.Rollout.Failed != ""
		if first || !stands {
			stood, first = stands, false
		}
		return err != nil || out.Body.State.Over() || stands && !stood || known != "" && !out.matches(known)
	})
	if over != nil {
		return nil, over
	}
	if wait == 0 {
		out, err = s.deployAsOf(v, in.DeployPath)
	}
	if err == nil && out.matches(known) {
		out.Status = http.StatusNotModified
	}
	return out, err
}

func (o *deployOutput) matches(etag string) bool { return strings.TrimPrefix(o.ETag, "W/") == etag }

func (s *Server) deployAsOf(v *engine.View, p DeployPath) (*deployOutput, error) {
	r, d, err := p.in(v)
	if err != nil {
		return nil, err
	}
	out := &deployOutput{Status: http.StatusOK, Body: s.wholeDeploy(v, d, r)}
	text, err := json.Marshal(out.Body)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	out.ETag = `W/"` + hex.EncodeToString(sum[:8]) + `"`
	if spec := s.specs.of(d); spec != nil {
		whole := spec.spec
		out.Body.Spec = &whole
	}
	return out, nil
}

const (
	// progressPause is the least time between two events of a deploy's progress.
	progressPause = 200 * time.Millisecond
	// progressLook is how often what a deploy waits for is looked at: why a task
	// is pending is not in the journal.
	progressLook = 2 * time.Second
)

type followDeployInput struct {
	DeployPath
	Reading
}

func (s *Server) followDeploy(ctx context.Context, in *followDeployInput) (*huma.StreamResponse, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	r, d, err := in.in(v)
	if err != nil {
		return nil, err
	}
	job, created, number, last := r.Key, r.CreatedAt, d.Number, []byte(nil)
	t := &stateStream{s: s, kind: "deploys", pause: progressPause, look: progressLook}
	t.tell = func(v *engine.View) told {
		r, d := v.Job(job), v.Deploy(job, number)
		if r == nil || d == nil || r.CreatedAt != created {
			return told{last: true} // who comes again is told that it is gone
		}
		state := s.wholeDeploy(v, d, r)
		text, err := json.Marshal(state)
		if err == nil && bytes.Equal(text, last) {
			return told{}
		}
		last = text
		if d.State.Terminal() {
			return told{event: "end", state: state, last: true}
		}
		return told{event: "progress", state: state}
	}
	return t.from(v), nil
}
