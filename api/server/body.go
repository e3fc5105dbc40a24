package server

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// reading collects what is wrong with a body, all of it: what does not fit, and
// what is wrong with the specs in it, at their places.
type reading struct{ found []api.ProblemField }

func (r *reading) add(at string, found []strict.Problem) {
	for _, f := range found {
		r.field(at, api.ProblemField{Location: f.Path, Message: f.Message, Value: f.Value})
	}
}

func (r *reading) field(at string, f api.ProblemField) {
	switch {
	case at == "":
	case f.Location == "":
		f.Location = at
	case f.Location[0] == '[':
		f.Location = at + f.Location
	default:
		f.Location = at + "." + f.Location
	}
	r.found = append(r.found, f)
}

// invalid takes what a check of the API's types found.
func (r *reading) invalid(err error) {
	var wrong api.Invalid
	if errors.As(err, &wrong) {
		for _, f := range wrong {
			r.field("", f)
		}
	}
}

// notes checks what is kept with a deploy for people.
func (r *reading) notes(n *api.DeployNotes) {
	r.invalid(n.Validate())
}

// spec reads the spec at a node; job is whose it has to be, or "" where it has
// to say so itself.
func (r *reading) spec(at string, node *strict.Node, job string) *api.Spec {
	if node == nil || node.Kind == strict.Null {
		r.field(at, api.ProblemField{Message: "is missing: it is the job's spec"})
		return nil
	}
	if job != "" && node.Kind == strict.Map && node.Field("job") == nil {
		named := *node
		named.Fields = append(named.Fields[:len(named.Fields):len(named.Fields)],
			strict.Field{Name: "job", Value: &strict.Node{Kind: strict.String, Text: job}})
		node = &named
	}
	spec, found := api.SpecFromTree(node)
	r.add(at, found)
	if spec != nil && job != "" && spec.Job != job {
		r.field(at, api.ProblemField{Location: "job", Value: spec.Job, Message: "is not the job of the path, " + job + ": leave it out"})
	}
	return spec
}

func (r *reading) err() error {
	if len(r.found) == 0 {
		return nil
	}
	p := newProblem(http.StatusUnprocessableEntity, "the request is not valid").kind("invalid")
	p.Errors = inBody(r.found)
	return p
}

// rest reads everything of a body but the fields that were read already.
func (r *reading) rest(tree *strict.Node, into any, already string) {
	if tree.Kind == strict.Map {
		rest := *tree
		rest.Fields = make([]strict.Field, len(tree.Fields))
		for i, f := range tree.Fields {
			f.Removed = f.Name == already
			rest.Fields[i] = f
		}
		tree = &rest
	}
	_, found := strict.Decode(tree, into, "json")
	r.add("", found)
}

// deployRequest reads a request for a deploy of a job.
func deployRequest(job string, body []byte) (*api.DeployRequest, error) {
	if _, _, _, err := api.ParseJobKey(job); err != nil {
		return nil, wrongInput("path", job, "%v", err)
	}
	tree, err := parse(body)
	if err != nil {
		return nil, err
	}
	if tree.Kind == strict.Map && tree.Field("spec") == nil && tree.Field("kind") != nil {
		return nil, wrongInput("body.spec", nil, `is missing: the body is a spec itself; send it as {"spec": …}`).kind("invalid")
	}
	var (
		r   reading
		req api.DeployRequest
	)
	r.rest(tree, &req, "spec")
	if tree.Kind == strict.Map {
		req.Spec = r.spec("spec", tree.Field("spec"), job)
	}
	r.notes(&req.DeployNotes)
	return &req, r.err()
}

// groupRequest reads a request for a deploy group.
func groupRequest(body []byte) (*api.DeployGroupRequest, error) {
	tree, err := parse(body)
	if err != nil {
		return nil, err
	}
	var (
		r   reading
		req api.DeployGroupRequest
	)
	r.rest(tree, &req, "specs")
	r.notes(&req.DeployNotes)
	var list *strict.Node
	if tree.Kind == strict.Map {
		list = tree.Field("specs")
	}
	switch {
	case tree.Kind != strict.Map:
	case list == nil || list.Kind != strict.List || len(list.Items) == 0:
		r.field("specs", api.ProblemField{Message: "is missing or no list: name the specs to deploy, in order"})
	case len(list.Items) > api.MaxGroup:
		r.field("specs", api.ProblemField{Value: len(list.Items), Message: fmt.Sprintf("has %d specs: at most %d jobs are one group", len(list.Items), api.MaxGroup)})
	default:
		for i, node := range list.Items {
			if spec := r.spec(strict.Index("specs", i), node, ""); spec != nil {
				req.Specs = append(req.Specs, *spec)
			}
		}
	}
	return &req, r.err()
}

// optional reads a body that may be left out.
func optional(body []byte, into any) error {
	if len(body) == 0 {
		return nil
	}
	return decode(body, into)
}

// withNotes reads a body that may be left out, and has notes.
func withNotes(body []byte, into any, notes *api.DeployNotes) error {
	if err := optional(body, into); err != nil {
		return err
	}
	var r reading
	r.notes(notes)
	return r.err()
}
