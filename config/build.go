package config

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/nearest"
	"github.com/perigee-sched/perigee/api/strict"
)

// builder makes one job of what its files say, for one stage.
type builder struct {
	*unit
	stage    string
	vars     map[string]*variable
	names    []string // of vars, in order
	inJob    bool     // job itself is being filled in
	key      string   // team/stage/name, once it is known
	notes    map[strict.Position][]string
	spoiled  map[strict.Position]bool // values that were told about already
	problems []trouble
	open     []string // variables that are being filled in
	visited  int
	grown    int // bytes of text that was filled in
	sums     []Checksum
}

// trouble is a problem of a job.
type trouble struct {
	strict.Problem
	where   string // of what is in no file: "--set replicas=two"
	context []string
}

func (b *builder) fail(at strict.Position, path, format string, args ...any) *trouble {
	b.problems = append(b.problems, trouble{Problem: strict.Problem{Path: path, Message: fmt.Sprintf(format, args...), At: at}})
	return &b.problems[len(b.problems)-1]
}

// build returns the job, or nil after it told everything that is wrong.
func (b *builder) build(tree *strict.Node) *Job {
	b.declare(field(tree, "variables"))
	b.identify(field(tree, "job"), field(tree, "name"))
	for _, name := range b.names {
		b.variable(name)
	}
	confirm := b.confirm(field(tree, "confirm"))
	tree = b.misspelt(without(tree, append([]string{"job"}, ownNames...)...))
	tree = b.expand(tree, nil)
	if b.key != "" {
		at := field(b.layer, "job").At
		tree.Fields = append([]strict.Field{{Name: "job", At: at, Value: &strict.Node{Kind: strict.String, Text: b.key, At: at}}}, tree.Fields...)
	}
	b.artifacts(tree)
	spec, problems := api.SpecFromTree(tree)
	for _, p := range problems {
		if !b.spoiled[p.At] && (p.Path != "job" || b.key != "" || field(b.layer, "job") == nil) {
			// Which names a spec has is not all that there is.
			p.Message = strings.Replace(p.Message, "; known here: job,", "; known here: "+strings.Join(ownNames, ", ")+", job,", 1)
			b.problems = append(b.problems, trouble{Problem: p})
		}
	}
	if len(b.problems) > 0 {
		b.report()
		return nil
	}
	for _, c := range b.sums {
		spec.Artifacts[c.Artifact].SHA256 = ""
	}
	_, stage, _, _ := api.ParseJobKey(spec.Job)
	job := &Job{Spec: *spec, File: b.src.name, Line: b.at.Line, Stage: stage, Checksums: b.sums, at: b.at}
	job.Confirm = stage == "prod" || stage == "production"
	if confirm != nil {
		job.Confirm = *confirm
	}
	return job
}

// report tells the problems, those in the job's own file first.
func (b *builder) report() {
	rank := func(p trouble) int {
		if p.At.File == b.src.name {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(b.problems, func(x, y trouble) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x.At.File, y.At.File),
			cmp.Compare(x.At.Line, y.At.Line), cmp.Compare(x.At.Column, y.At.Column))
	})
	for _, p := range b.problems {
		if p.More > 0 {
			b.more += p.More
			continue
		}
		told := b.problem(p.Problem)
		if p.where != "" {
			told.Where = p.where
		}
		told.Context = append(p.context, b.notes[p.At]...)
		if below, is := b.laid[p.At]; is {
			told.Context = append(told.Context, fmt.Sprintf("laid on %s:%d", below.File, below.Line))
		}
		told.Context = append(told.Context, b.trail.of(p.At.File)...)
		told.jobs = []string{b.key}
		b.add(told)
	}
}

// misspelt tells the fields of a job file that are misspelt; those of a spec
// are told when it is read.
func (b *builder) misspelt(tree *strict.Node) *strict.Node {
	specNames := strict.Names(reflect.TypeFor[api.Spec](), "json")
	for _, f := range tree.Fields {
		if slices.Contains(specNames, f.Name) || strict.Nearest(f.Name, specNames) != "" {
			continue
		}
		if near := strict.Nearest(f.Name, ownNames); near != "" {
			b.fail(f.At, f.Name, "unknown field %q: did you mean %q?", strict.Shorten(f.Name), near)
			tree = without(tree, f.Name)
		}
	}
	return tree
}

func (b *builder) confirm(n *strict.Node) *bool {
	if n == nil {
		return nil
	}
	n = b.expand(n, &place{name: "confirm"})
	if n.Kind != strict.Bool {
		if !b.spoiled[n.At] {
			b.fail(n.At, "confirm", "wants true or false, not %s", n.Describe())
		}
		return nil
	}
	yes := strings.EqualFold(n.Text, "true")
	return &yes
}

// identify finds the job's name, from which team, stage and name follow.
func (b *builder) identify(job, name *strict.Node) {
	if b.stage != "" {
		b.vars["stage"] = builtIn("stage", b.stage)
	}
	if name != nil {
		if n := b.text(name, &place{name: "name"}); n != nil {
			b.vars["name"] = builtIn("name", n.Text)
		}
	}
	if job == nil {
		return // told when the spec is read
	}
	before := len(b.problems)
	b.inJob = true
	key := b.text(job, &place{name: "job"})
	b.inJob = false
	if key == nil || len(b.problems) > before {
		return
	}
	parts := strings.Split(key.Text, "/")
	switch {
	case b.stage != "" && len(parts) == 2:
		parts = []string{parts[0], b.stage, parts[1]}
	case b.stage != "" && len(parts) == 3 && parts[1] != b.stage:
		b.fail(job.At, "job", "%q says which stage, and the stage is chosen with --stage: write %s/%s", strict.Shorten(key.Text), parts[0], parts[2])
		return
	case b.stage == "" && len(parts) == 2:
		b.fail(job.At, "job", "%q is not a job: it is written team/stage/name; or team/name with stages", strict.Shorten(key.Text))
		return
	case b.stage == "" && len(parts) == 3 && b.o.Stage != "" && b.o.Stage != parts[1]:
		b.fail(job.At, "job", "there is no stage %q: this is %s, without stages", strict.Shorten(b.o.Stage), strict.Shorten(key.Text))
	}
	b.key = strings.Join(parts, "/")
	if len(parts) != 3 {
		return // told when the spec is read
	}
	if given := b.vars["name"]; given != nil && given.result.Text != parts[2] {
		b.fail(name.At, "name", "has no effect: job has to use it, as in job: %s/${name}", parts[0])
	}
	for i, name := range []string{"team", "stage", "name"} {
		b.vars[name] = builtIn(name, parts[i])
	}
}

// text fills in a value that has to be one of text, nil when it cannot.
func (b *builder) text(n *strict.Node, p *place) *strict.Node {
	out := n
	if n.Kind == strict.String {
		out = b.fill(n, p)
	}
	if b.spoiled[out.At] {
		return nil
	}
	if !out.Scalar() {
		b.fail(n.At, p.String(), "wants a string, not %s", out.Describe())
		return nil
	}
	return out
}

// artifacts makes relative file:// URIs absolute, and takes out where
// checksums are to be read from.
func (b *builder) artifacts(tree *strict.Node) {
	list := field(tree, "artifacts")
	if list == nil || list.Kind != strict.List {
		return
	}
	for i, a := range list.Items {
		if a.Kind != strict.Map {
			continue
		}
		at := &place{parent: &place{name: "artifacts"}, item: i + 1}
		uri := field(a, "uri")
		if uri != nil && uri.Kind == strict.String {
			b.vars["uri"] = builtIn("uri", uri.Text)
		}
		list.Items[i] = b.checksumOf(i, a, at)
		delete(b.vars, "uri")
	}
}

// checksumOf takes sha256_from out of an artifact.
func (b *builder) checksumOf(i int, a *strict.Node, at *place) *strict.Node {
	for i, f := range a.Fields {
		if f.Name != checksumField && meansChecksum(f.Name) {
			b.fail(f.At, at.field(f.Name).String(), "unknown field %q: did you mean %q?", strict.Shorten(f.Name), checksumField)
			a.Fields[i].Name = checksumField
		}
	}
	from := field(a, checksumField)
	if from == nil {
		return without(a, checksumField)
	}
	path := at.field(checksumField)
	if field(a, "sha256") != nil {
		b.fail(from.At, path.String(), "is one checksum too many: there is sha256 already")
		a = without(a, "sha256")
	}
	a = without(a, checksumField)
	where := b.text(from, path)
	if where == nil {
		b.spoiled[from.At] = true
	} else if problem := checksumURL(where.Text); problem != "" {
		b.fail(from.At, path.String(), "%q %s", strict.Shorten(where.Text), problem)
	} else {
		p := b.problem(strict.Problem{Path: path.String(), At: from.At})
		p.Context = b.trail.of(from.At.File)
		b.sums = append(b.sums, Checksum{Artifact: i, URL: where.Text, place: p})
	}
	// Any checksum will do to check all else.
	a.Fields = append(a.Fields, strict.Field{Name: "sha256", At: from.At,
		Value: &strict.Node{Kind: strict.String, Text: strings.Repeat("0", 64), At: from.At}})
	return a
}

// meansChecksum says whether a field of an artifact was meant to be
// sha256_from.
func meansChecksum(name string) bool {
	return name == checksumField || nearest.Name(name, []string{"sha256", checksumField}) == checksumField
}

// absoluteURI returns a relative file:// URI that was written in a file of dir
// as an absolute one, and any other as it is.
func absoluteURI(uri, dir string) string {
	rest, isFile := strings.CutPrefix(uri, "file://")
	if !isFile || !strings.HasPrefix(rest, "./") && !strings.HasPrefix(rest, "../") {
		return uri
	}
	path, err := url.PathUnescape(rest)
	if err != nil {
		return uri // told when it is checked
	}
	abs, err := filepath.Abs(filepath.Join(dir, filepath.FromSlash(path)))
	if err != nil {
		return uri
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String()
}
