package fault

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
)

// novelty is the number of the field that the next version's records have.
const novelty = 1000

// noveltyKey is where the next version keeps a record of a type of its own, which
// counts its elections.
const noveltyKey = "novelty"

// nextVersion builds the scheduler that comes after this one: its records have
// one more field, which it fills in whatever it writes, and there is one more
// type of record. Its source is this one's with a few lines changed as a
// developer would, and what is generated from the .proto files generated anew.
func nextVersion(t *testing.T) (perigee string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := filepath.Join(built.dir, program.Again("next"))
	n := &changedSource{T: t, root: root, dir: filepath.Join(dir, "source"), replaced: map[string]string{}}
	for _, message := range []string{"Cluster", "Job", "Deploy", "Run", "Task"} {
		head := "message " + message + " {\n"
		n.change(n.fileWith(protoFiles, head), head, head+"  string novelty = 1000;\n")
	}
	n.change(n.fileWith(protoFiles, "message Leader {\n"), "message Leader {\n", "message Novelty {\n  uint64 elections = 1;\n}\n\nmessage Leader {\n")
	n.generate()
	for _, of := range []string{"t", "r"} {
		n.change("scheduler/record/clone.go", "c.unknownFields = "+of+".unknownFields\n", "c.unknownFields, c.Novelty = "+of+".unknownFields, "+of+".Novelty\n")
	}
	n.change("scheduler/record/keys.go", "case key == KeyLeader:\n", "case key == \""+noveltyKey+"\":\n\t\treturn new(Novelty)\n\tcase key == KeyLeader:\n")
	n.change("scheduler/core/core.go", "type Core struct {\n", "type Core struct {\n\tnovelty *record.Novelty\n")
	n.change("scheduler/core/core.go", "Record: e.current()", "Record: novel(e.current())")
	n.change("scheduler/core/core.go", "\tc.resume()\n", "\tc.countElection()\n\tc.resume()\n")
	n.change("scheduler/core/load.go", "case *record.Leader:\n", "case *record.Novelty:\n\t\tc.novelty = m\n\tcase *record.Leader:\n")
	n.add("scheduler/core/novelty.go", noveltySource)

	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": n.replaced})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, text, 0o644))
	perigee = filepath.Join(dir, "perigee")
	require.NoError(t, program.Command(root, append(os.Environ(), "CGO_ENABLED=0"), "go", "build", "-overlay", overlay, "-trimpath",
		"-ldflags", "-s -w -X github.com/perigee-sched/perigee/server.Version=next", "-o", perigee, "."))
	require.NoError(t, os.Link(built.perigee+"-executor", perigee+"-executor"))
	return perigee
}

const noveltySource = `package core

import (
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// novel fills in the new field where it is not yet.
func novel(r Record) Record {
	set := func(field *string, text string) {
		if *field == "" {
			*field = text
		}
	}
	switch r := r.(type) {
	case *record.Cluster:
		set(&r.Novelty, "of the cluster")
	case *record.Job:
		set(&r.Novelty, "of "+r.Key)
	case *record.Deploy:
		set(&r.Novelty, "of a deploy of "+r.Job)
	case *record.Run:
		set(&r.Novelty, "of "+r.Id)
	case *record.Task:
		set(&r.Novelty, "of "+r.Id)
	}
	return r
}

func (c *Core) countElection() {
	counted := &record.Novelty{}
	if c.novelty != nil {
		counted = proto.CloneOf(c.novelty)
	}
	counted.Elections++
	c.novelty = counted
	c.write("` + noveltyKey + `", func() Record { return counted })
}
`

// protoFiles are those of the records.
const protoFiles = "scheduler/record/*.proto"

// changedSource is source in which some files stand for others.
type changedSource struct {
	*testing.T
	root, dir string
	replaced  map[string]string // path of the file by that of the one it stands for
}

// fileWith is the file of a pattern that has a text.
func (c *changedSource) fileWith(pattern, part string) string {
	c.Helper()
	for _, file := range c.files(pattern) {
		text, err := os.ReadFile(filepath.Join(c.root, file))
		require.NoError(c, err)
		if strings.Contains(string(text), part) {
			return file
		}
	}
	require.FailNow(c, "the next version cannot be made", "no %s has %q", pattern, part)
	return ""
}

func (c *changedSource) files(pattern string) (files []string) {
	c.Helper()
	paths, err := filepath.Glob(filepath.Join(c.root, pattern))
	require.NoError(c, err)
	for _, path := range paths {
		file, err := filepath.Rel(c.root, path)
		require.NoError(c, err)
		files = append(files, file)
	}
	return files
}

// change replaces a text that is there once.
func (c *changedSource) change(file, old, with string) {
	c.Helper()
	from := filepath.Join(c.root, file)
	if changed, again := c.replaced[from]; again {
		from = changed
	}
	text, err := os.ReadFile(from)
	require.NoError(c, err)
	require.Equal(c, 1, strings.Count(string(text), old), "the next version cannot be made: %s has not once\n%s", file, old)
	c.add(file, strings.Replace(string(text), old, with, 1))
}

func (c *changedSource) add(file, text string) {
	c.Helper()
	to := filepath.Join(c.dir, file)
	require.NoError(c, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(c, os.WriteFile(to, []byte(text), 0o644))
	c.replaced[filepath.Join(c.root, file)] = to
}

// generate makes Go of the .proto files, in a module of its own with no more in
// it than that takes.
func (c *changedSource) generate() {
	c.Helper()
	protos := c.files(protoFiles)
	for _, name := range append([]string{"go.mod", "go.sum", "scheduler/record/gen/generate.go", "scheduler/record/gen/main.go"}, protos...) {
		if c.replaced[filepath.Join(c.root, name)] != "" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(c.root, name))
		require.NoError(c, err)
		to := filepath.Join(c.dir, name)
		require.NoError(c, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(c, os.WriteFile(to, text, 0o644))
	}
	require.NoError(c, program.Command(c.dir, append(os.Environ(), "GOWORK=off"), "go", "run", "./scheduler/record/gen"))
	for _, file := range protos { // only what is made of them is built
		generated := strings.TrimSuffix(file, ".proto") + ".pb.go"
		c.replaced[filepath.Join(c.root, generated)] = filepath.Join(c.dir, generated)
		delete(c.replaced, filepath.Join(c.root, file))
	}
}
