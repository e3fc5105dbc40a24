package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// JobPath names a job.
type JobPath struct {
	Team  string `path:"team" maxLength:"63"`
	Stage string `path:"stage" maxLength:"63"`
	Name  string `path:"name" maxLength:"63"`
}

func (p JobPath) key() string { return p.Team + "/" + p.Stage + "/" + p.Name }

// in returns the job's record, or 404.
func (p JobPath) in(v *engine.View) (*record.Job, error) {
	if r := v.Job(p.key()); r != nil {
		return r, nil
	}
	return nil, newProblem(http.StatusNotFound, "there is no job %s", p.key()).kind("not-found")
}

type jobInput struct {
	JobPath
	Reading
}

type listJobsInput struct {
	Reading
	Paging
	Team  string   `query:"team"`
	Stage string   `query:"stage"`
	Name  string   `query:"name" doc:"A pattern: check*"`
	Kind  string   `query:"kind" enum:"service,cron,batch"`
	State string   `query:"state" enum:"running,deploying,waiting,paused,removing,idle"`
	Label []string `query:"label,explode" doc:"name or name=value; all that are given must match"`
}

// prefix of the keys of the jobs that may match.
func (in *listJobsInput) prefix() string {
	switch {
	case in.Team == "":
		return ""
	case in.Stage == "":
		return in.Team + "/"
	}
	return in.Team + "/" + in.Stage + "/"
}

func (s *Server) listJobs(ctx context.Context, in *listJobsInput) (*listed[api.Job], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	named := func(string) bool { return true }
	if in.Name != "" {
		if named, err = glob("query.name", in.Name); err != nil {
			return nil, err
		}
	}
	p, prefix, sees := newPager[api.Job](in.limit()), in.prefix(), callerOf(ctx).sees
	v.Jobs(max(after, prefix), func(r *record.Job) bool {
		if r.Key == after {
			return true
		}
		if !strings.HasPrefix(r.Key, prefix) || !p.see(r.Key) {
			return false
		}
		_, rest, _ := strings.Cut(r.Key, "/")
		stage, name, _ := strings.Cut(rest, "/")
		if (in.Stage == "" || in.Stage == stage) && named(name) && sees(r.Key) && s.chosen(v, r, in) {
			if j := s.job(v, r, false); in.State == "" || in.State == j.State {
				p.add(j)
			}
		}
		return true
	})
	return p.answer(), nil
}

// chosen says whether a job's spec is of the kind and has the labels asked for.
func (s *Server) chosen(v *engine.View, r *record.Job, in *listJobsInput) bool {
	if in.Kind == "" && len(in.Label) == 0 {
		return true
	}
	p := s.specs.of(v.Deploy(r.Key, r.Deploy))
	if p == nil || in.Kind != "" && string(p.spec.Kind) != in.Kind {
		return false
	}
	for _, wanted := range in.Label {
		name, value, withValue := strings.Cut(wanted, "=")
		if has, ok := p.spec.Labels[name]; !ok || withValue && has != value {
			return false
		}
	}
	return true
}

type jobOutput struct {
	ETag string `header:"ETag" doc:"The job's revision: what If-Match takes"`
	Body api.Job
}

func (s *Server) getJob(ctx context.Context, in *jobInput) (*jobOutput, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	r, err := in.in(v)
	if err != nil {
		return nil, err
	}
	return &jobOutput{ETag: etag(r.Revision), Body: s.job(v, r, true)}, nil
}

type putJobInput struct {
	JobPath
	Match
	IfNoneMatch string `header:"If-None-Match" enum:"*" doc:"*: create the job, or refuse when it exists"`
	Supersede   bool   `query:"supersede" doc:"Supersede an unfinished deploy instead of being refused because of it"`
	Message     string `query:"message" maxLength:"1024" doc:"Kept with the deploy"`
}

func (s *Server) putJob(ctx context.Context, in *putJobInput) (*written, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	if revision != nil && in.IfNoneMatch != "" {
		return nil, wrongInput("header.If-None-Match", in.IfNoneMatch, "cannot be met together with If-Match: send one of them")
	}
	spec, err := specOf(in.key(), writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	canonical, err := spec.Canonical()
	if err != nil {
		return nil, wrongInput("body", nil, "%v", err)
	}
	return s.do(ctx, core.PutJob{
		Spec: spec, Canonical: canonical, IfMatch: revision, Create: in.IfNoneMatch != "",
		Notes: core.Notes{Author: writingOf(ctx).actor, Message: in.Message}, Supersede: in.Supersede,
	})
}

// maxValues bounds the memory that reading a body takes.
const maxValues = 1_000_000

// parse reads a body as JSON: 400 when it is none.
func parse(body []byte) (*strict.Node, error) {
	if len(body) == 0 {
		return nil, newProblem(http.StatusBadRequest, "the body is missing: send JSON")
	}
	if n := bytes.Count(body, []byte(",")) + bytes.Count(body, []byte("[")) + bytes.Count(body, []byte("{")); n > maxValues {
		return nil, newProblem(http.StatusRequestEntityTooLarge, "the body has more than %d JSON values", maxValues)
	}
	tree, err := strict.ParseJSON(body)
	if err != nil {
		var at *strict.SyntaxError
		if errors.As(err, &at) && at.At.Line == 0 {
			return nil, newProblem(http.StatusBadRequest, "the body %v", err)
		}
		return nil, newProblem(http.StatusBadRequest, "the body is not what is expected at %v", err)
	}
	return tree, nil
}

// specOf reads the spec that is put at a job's path. One that does not name
// its job is of the path's.
func specOf(job string, body []byte) (*api.Spec, error) {
	if _, _, _, err := api.ParseJobKey(job); err != nil {
		return nil, wrongInput("path", job, "%v", err)
	}
	tree, err := parse(body)
	if err != nil {
		return nil, err
	}
	if tree.Kind == strict.Map && tree.Field("job") == nil {
		tree.Fields = append(tree.Fields, strict.Field{Name: "job", Value: &strict.Node{Kind: strict.String, Text: job}})
	}
	spec, found := api.SpecFromTree(tree)
	if len(found) > 0 {
		return nil, invalid("the spec is not valid", found)
	}
	if spec.Job != job {
		return nil, wrongInput("body.job", spec.Job, "is not the job of the path, %s: leave it out, or put it at /v1/jobs/%s", job, spec.Job)
	}
	return spec, nil
}

func invalid(detail string, found []strict.Problem) *problem {
	p := newProblem(http.StatusUnprocessableEntity, "%s", detail).kind("invalid")
	for _, f := range found {
		p.Errors = append(p.Errors, api.ProblemField{Location: f.Path, Message: f.Message, Value: f.Value})
	}
	p.Errors = inBody(p.Errors)
	return p
}

// JobChange is what changes of a job take.
type JobChange struct {
	JobPath
	Match
}

func (s *Server) removeJob(ctx context.Context, in *JobChange) (*written, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	return s.do(ctx, core.RemoveJob{Job: in.key(), IfMatch: revision})
}

func (s *Server) resumeJob(ctx context.Context, in *JobChange) (*written, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	return s.do(ctx, core.ResumeJob{Job: in.key(), IfMatch: revision})
}

func (s *Server) scaleJob(ctx context.Context, in *JobChange) (*written, error) {
	return s.scale(ctx, in, 0)
}

func (s *Server) scale(ctx context.Context, in *JobChange, until int64) (*written, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	var scale api.Scale
	if err := decode(writingOf(ctx).body, &scale); err != nil {
		return nil, err
	}
	switch n := scale.Instances; {
	case n == nil:
		return nil, wrongInput("body.instances", nil, "is missing")
	case *n < 0 || *n > api.MaxInstances:
		return nil, wrongInput("body.instances", *n, "is %d: it must be from 0 to %d", *n, api.MaxInstances)
	}
	return s.do(ctx, core.ScaleJob{Job: in.key(), Instances: *scale.Instances, Until: until, IfMatch: revision})
}

// decode reads a body into a struct, and tells everything that does not fit.
func decode(body []byte, into any) error {
	tree, err := parse(body)
	if err != nil {
		return err
	}
	if _, found := strict.Decode(tree, into, "json"); len(found) > 0 {
		return invalid("the body is not valid", found)
	}
	return nil
}
