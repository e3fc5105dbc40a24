package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api/nearest"
	"github.com/perigee-sched/perigee/api/strict"
)

// source is a file whose documents have the shape that job files have.
type source struct {
	file
	path string // absolute, without symbolic links
	docs []*strict.Node
	bad  *Error
}

// read returns the file at path, which is read once.
func (s *session) read(path string) (*source, *Error) {
	abs := absolute(path)
	if src := s.sources[abs]; src != nil {
		return src, nil
	}
	if len(s.sources) >= maxFiles {
		return nil, &Error{[]Problem{{Where: path, File: path, Message: fmt.Sprintf("is one file too many: at most %d are read together", maxFiles)}}}
	}
	data, err := readFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if s.bytes += len(data); s.bytes > maxBytes {
		return nil, &Error{[]Problem{{Where: path, File: path, Message: fmt.Sprintf("is too much: files that are read together may have %d bytes", maxBytes)}}}
	}
	return s.parsed(abs, file{name: path, data: data}), nil
}

// parsed keeps a file that was read.
func (s *session) parsed(abs string, f file) *source {
	f.lines = strings.Split(string(f.data), "\n")
	src := &source{file: f, path: abs}
	s.sources[abs], s.files[f.name] = src, f
	trees, err := f.parse()
	var wrong *Error
	if errors.As(err, &wrong) {
		src.bad = wrong
		return src
	}
	c := &shape{file: f}
	for _, tree := range trees {
		c.document(tree)
	}
	if src.docs = trees; len(c.found) > 0 {
		src.bad = &Error{c.found}
	}
	return src
}

// absolute returns what a file is known by; a path that leads nowhere stays as
// it is.
func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	return abs
}

func unreadable(path string, err error) *Error {
	return &Error{[]Problem{{Where: path, File: path, Message: "cannot be read: " + reason(err), err: err}}}
}

// reason is an error of a file without its path.
func reason(err error) string {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return err.Error()
}

// link says how a file came in.
type link struct {
	verb string // extended, included
	at   strict.Position
}

func (l link) String() string {
	return fmt.Sprintf("%s by %s:%d", l.verb, l.at.File, l.at.Line)
}

// trail is how the files of a job came in, by name; the file that was named on
// the command line came in by itself.
type trail map[string]link

// of returns by what a file came in, the nearest first.
func (t trail) of(name string) []string {
	var lines []string
	for range maxNested {
		l, is := t[name]
		if !is {
			break
		}
		lines = append(lines, l.String())
		name = l.at.File
	}
	return lines
}

// follow opens the file that a string of src names; field is extends or
// include, open the files that led here. It tells what is wrong.
func (s *session) follow(src *source, n *strict.Node, field string, open []*source, t trail) *source {
	fail := func(format string, args ...any) *source {
		p := s.problem(strict.Problem{Path: field, Message: fmt.Sprintf(format, args...), At: n.At})
		p.Context = append(p.Context, t.of(src.name)...)
		s.add(p)
		return nil
	}
	if s.visits += costOfFile; s.full(n.At) {
		return nil
	}
	path := filepath.FromSlash(n.Text)
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(src.name), path)
	}
	abs := absolute(path)
	if i := slices.IndexFunc(open, func(o *source) bool { return o.path == abs }); i >= 0 {
		circle := ""
		for _, o := range open[i:] {
			circle += o.name + " → "
		}
		return fail("goes round in a circle: %s%s", circle, path)
	}
	if len(open) >= maxNested {
		return fail("is one file too many: at most %d may lead to one another", maxNested)
	}
	if err := regular(path); err != nil {
		return fail("%s cannot be read: %s%s", path, reason(err), similar(path, src.name))
	}
	next, err := s.read(path)
	if err != nil {
		for _, p := range err.Problems {
			p.Context = append(p.Context, fmt.Sprintf("%s by %s:%d", past[field], src.name, n.At.Line))
			s.add(p)
		}
		return nil
	}
	if _, is := t[next.name]; !is && next.name != open[0].name {
		t[next.name] = link{past[field], n.At}
	}
	if next.bad != nil {
		for _, p := range next.bad.Problems {
			p.Context = append(slices.Clone(p.Context), t.of(next.name)...)
			s.add(p)
		}
		return nil
	}
	return next
}

// similar names the file that a path was likely meant to be, or says where
// paths start.
func similar(path, from string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) > 10_000 {
		return "; the path starts from the directory of " + from
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	stem := func(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }
	near := nearest.Name(filepath.Base(path), names)
	if near != "" && near != filepath.Base(path) && nearest.Name(stem(filepath.Base(path)), []string{stem(near)}) != "" {
		return fmt.Sprintf("; did you mean %s?", filepath.Join(filepath.Dir(path), near))
	}
	return "; the path starts from the directory of " + from
}

var past = map[string]string{"extends": "extended", "include": "included"}

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
