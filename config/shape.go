package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"

	"github.com/perigee-sched/perigee/api/strict"
)

// ownFields are the fields that a job file has besides those of a spec. The
// session reads them; the type is for their names and the JSON Schema.
type ownFields struct {
	// Extends names templates that this file is laid on: a path, or several of
	// which later ones are laid on earlier ones. They start from the directory
	// of this file.
	Extends filePaths `yaml:"extends"`
	// Include names job files whose jobs are taken, in order: a path, or
	// several. Nothing else is in the document.
	Include filePaths `yaml:"include"`
	// Jobs makes one job of each entry, laid on what the document says
	// otherwise, in order.
	Jobs []jobLayer `yaml:"jobs"`
	// Name of the job, where job is written with ${name}.
	Name string `yaml:"name"`
	// Stages say, by name, what is different in each; --stage chooses one. They
	// are laid on everything else.
	Stages map[string]stageLayer `yaml:"stages"`
	// Variables are filled in where ${name} is written. By name: a value, or a
	// map with type, required, default, pattern, values and description.
	Variables map[string]declared `yaml:"variables"`
	// Confirm says whether to ask before this is deployed; true for the stages
	// prod and production.
	Confirm bool `yaml:"confirm"`
}

type (
	filePaths  []string // one may stand for a list
	jobLayer   struct{} // has all fields but topOnly
	stageLayer struct{} // has all fields but notInStage
)

var (
	ownNames   = strict.Names(reflect.TypeFor[ownFields](), "yaml")
	topOnly    = []string{"extends", "include", "jobs"}
	notInStage = []string{"extends", "include", "jobs", "stages", "job", "name"}
)

var (
	stageName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	variableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

// shape checks what a job file has besides specs, as soon as it is read.
type shape struct {
	file  file
	found []Problem
}

func (c *shape) fail(at strict.Position, path, format string, args ...any) {
	if len(c.found) < strict.Most {
		c.found = append(c.found, c.file.problem(strict.Problem{Path: path, Message: fmt.Sprintf(format, args...), At: at}))
	}
}

// want tells that n is not what belongs at path.
func (c *shape) want(n *strict.Node, path, wanted string) {
	if n.Kind == strict.Null {
		c.fail(n.At, path, "is empty: it wants %s; leave it out if it is not needed", wanted)
		return
	}
	c.fail(n.At, path, "wants %s, not %s", wanted, n.Describe())
}

func (c *shape) document(doc *strict.Node) {
	c.repeated(doc, "")
	if doc.Kind != strict.Map {
		return // told as a job that is none
	}
	if extends := doc.Field("extends"); extends != nil {
		c.paths(extends, "extends")
	}
	if include := doc.Field("include"); include != nil {
		c.paths(include, "include")
		for _, f := range doc.Fields {
			if f.Name != "include" {
				c.fail(f.At, f.Name, "does not go with include: the files that are included say all of their jobs; begin another document with ---")
				break
			}
		}
	}
	if jobs := doc.Field("jobs"); jobs != nil {
		c.jobs(jobs)
	}
	c.layer(doc, "")
}

// repeated tells fields that are given twice in one map.
func (c *shape) repeated(n *strict.Node, path string) {
	lines := make(map[string]int, len(n.Fields))
	for _, f := range n.Fields {
		if first, twice := lines[f.Name]; twice {
			c.fail(f.At, strict.Join(path, f.Name), "is given twice: it is on line %d already", first)
		}
		lines[f.Name] = f.At.Line
		if f.Value.Kind >= strict.List {
			c.repeated(f.Value, strict.Join(path, f.Name))
		}
	}
	for i, item := range n.Items {
		if item.Kind >= strict.List {
			c.repeated(item, strict.Index(path, i))
		}
	}
}

// paths checks a path or a list of paths.
func (c *shape) paths(n *strict.Node, path string) {
	if n.Kind == strict.List && len(n.Items) > 100 {
		c.fail(n.At, path, "has %d entries: at most 100 are allowed", len(n.Items))
		return
	}
	for i, item := range several(n) {
		if item.Kind != strict.String || item.Text == "" {
			at := path
			if n.Kind == strict.List {
				at = strict.Index(path, i)
			}
			c.want(item, at, "the path of a file")
		}
	}
}

// several returns the items of a list, or what is not one.
func several(n *strict.Node) []*strict.Node {
	if n.Kind == strict.List {
		return n.Items
	}
	return []*strict.Node{n}
}

func (c *shape) jobs(n *strict.Node) {
	if n.Kind != strict.List {
		c.want(n, "jobs", "a list of jobs")
		return
	}
	if len(n.Items) == 0 {
		c.fail(n.At, "jobs", "is empty: it wants a list of jobs")
	}
	for i, item := range n.Items {
		path := strict.Index("jobs", i)
		if item.Kind != strict.Map {
			c.want(item, path, "a map with what is different in this job")
			continue
		}
		for _, f := range item.Fields {
			if slices.Contains(topOnly, f.Name) {
				c.fail(f.At, strict.Join(path, f.Name), "belongs at the top of the document, for all of its jobs")
			}
		}
		c.layer(item, path)
	}
}

// layer checks what a document and a job in a list may both have.
func (c *shape) layer(n *strict.Node, path string) {
	if v := n.Field("variables"); v != nil {
		c.variables(v, strict.Join(path, "variables"))
	}
	if name := n.Field("name"); name != nil && !name.Scalar() && !removes(name) {
		c.want(name, strict.Join(path, "name"), "a job's name")
	}
	if job := n.Field("job"); job != nil && job.Kind != strict.String && !removes(job) {
		c.want(job, strict.Join(path, "job"), "a job's name")
	}
	stages := n.Field("stages")
	switch {
	case stages == nil || removes(stages):
		return
	case stages.Kind == strict.Map && len(stages.Fields) == 0:
		c.fail(stages.At, strict.Join(path, "stages"), "is empty: it wants what is different in each stage")
		return
	case stages.Kind != strict.Map:
		c.want(stages, strict.Join(path, "stages"), "a map with what is different in each stage")
		return
	case len(stages.Fields) > maxStages:
		c.fail(stages.At, strict.Join(path, "stages"), "has %d entries: at most %d are allowed", len(stages.Fields), maxStages)
		return
	}
	for _, f := range stages.Fields {
		c.stage(f, strict.Join(strict.Join(path, "stages"), f.Name))
	}
}

func (c *shape) stage(f strict.Field, path string) {
	if !stageName.MatchString(f.Name) {
		c.fail(f.At, path, "%q must be 1 to 63 lower-case letters, digits and inner hyphens", strict.Shorten(f.Name))
	}
	if f.Value.Kind == strict.Null {
		return // nothing is different, or there is no such stage
	}
	if f.Value.Kind != strict.Map {
		c.want(f.Value, path, "a map with what is different in this stage")
		return
	}
	for _, inner := range f.Value.Fields {
		if slices.Contains(notInStage, inner.Name) {
			c.fail(inner.At, strict.Join(path, inner.Name), "is not a stage's to say: it belongs beside stages")
		}
	}
	if v := f.Value.Field("variables"); v != nil {
		c.variables(v, strict.Join(path, "variables"))
	}
}
