package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
	"github.com/perigee-sched/perigee/docs"
)

// bound of a number. api.Spec's Validate has them as code; TestSchemaBounds
// compares.
type bound struct{ min, max float64 }

var bounds = map[string]bound{
	"resources.cpus":             {0.01, 1024},
	"instances":                  {0, api.MaxInstances},
	"priority":                   {-1000, 1000},
	"retries":                    {0, 1000},
	"health.failures":            {1, 1000},
	"health.http.fail_at_once[]": {100, 599},
	"ready.successes":            {1, 1000},
	"logs.keep":                  {1, 100},
	"update.retries":             {0, 1000},
	"limits.*":                   {1, api.MaxInstances},
	"schedule.max_runs":          {1, 1000},
	"schedule.max_missed":        {1, 1000},
}

var choicesOf = map[string][]string{"health.http.scheme": {"http", "https"}}

var mostEntries = map[string]int{
	"artifacts": 100, "setup": 100, "ports": 100, "constraints": 100, "owners": 32, "labels": 64, "env": 1000, "limits": 16,
	"parameters": 100, "variables": 200, "stages": maxStages, "health.http.fail_at_once": 100, "update.batch": 100, "update.steps": 100,
}

// namesIn are patterns of the names in maps.
var namesIn = map[string]string{
	"env":        `^[A-Za-z_][A-Za-z0-9_]{0,254}$`,
	"parameters": `^[a-z][a-z0-9_-]{0,62}$`,
	"stages":     stageName.String(),
	"variables":  variableName.String(),
}

// patterns of strings.
var patterns = map[string]string{
	"job":                `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){1,2}$`,
	"ports[]":            `^[a-z][a-z0-9_-]{0,31}$`,
	"user":               `^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`,
	"artifacts[].sha256": `^[0-9a-fA-F]{64}$`,
}

// TestSchemaIsCurrent writes docs/job-file.schema.json with -update.
func TestSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	const path = "../docs/job-file.schema.json"
	got, err := jobFileSchema()
	require.NoError(t, err)
	if updating() {
		require.NoError(t, os.WriteFile(path, got, 0o644))
		return
	}
	require.Equal(t, string(docs.JobFileSchema), string(got), "docs/job-file.schema.json follows from api.Spec: go test ./config -update")
}

func compiledSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(docs.JobFileSchema)))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("job-file.schema.json", document))
	schema, err := c.Compile("job-file.schema.json")
	require.NoError(t, err)
	return schema
}

// editorSees returns a YAML text's documents as an editor's validator has them.
func editorSees(t testing.TB, text string) []any {
	t.Helper()
	var all []any
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var v any
		if err := d.Decode(&v); err != nil {
			require.ErrorContains(t, err, "EOF")
			return all
		}
		if v == nil {
			continue
		}
		b, err := json.Marshal(v)
		require.NoError(t, err)
		v, err = jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
		require.NoError(t, err)
		all = append(all, v)
	}
}

func TestExamplesFollowTheSchema(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	n := 0
	require.NoError(t, filepath.WalkDir("../examples", func(path string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" || strings.Contains(path, "values") {
			return err
		}
		n++
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		first, _, _ := strings.Cut(string(data), "\n")
		relative, named := strings.CutPrefix(first, "# yaml-language-server: $schema=")
		require.True(t, named, "%s does not begin with its schema, for editors", path)
		require.FileExists(t, filepath.Join(filepath.Dir(path), relative), path)
		for _, doc := range editorSees(t, string(data)) {
			require.NoError(t, schema.Validate(doc), path)
		}
		return nil
	}))
	require.GreaterOrEqual(t, n, 5)
}

// TestSchemaAcceptsWhatLoads: an editor tells no mistake in a file that is
// right.
func TestSchemaAcceptsWhatLoads(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	scripts, err := filepath.Glob("testdata/load/*.txt")
	require.NoError(t, err)
	n := 0
	for _, path := range scripts {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		input, want, _ := strings.Cut(string(data), "-- want --\n")
		if !strings.HasPrefix(want, "job: ") {
			continue
		}
		for _, file := range append(strings.Split(input, "-- ")[1:], "rendered.yaml --\n"+want) {
			name, text, _ := strings.Cut(file, " --\n")
			if strings.HasPrefix(name, "vars") || name == "one.yaml" && !strings.Contains(text, "job") || name == "two.yaml" {
				continue // values
			}
			for _, doc := range editorSees(t, text) {
				require.NoError(t, schema.Validate(doc), "%s: %s", path, name)
				n++
			}
		}
	}
	require.Greater(t, n, 20)
}

func TestSchemaTellsMistakes(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	good := "job: a/b/c\nkind: service\ncommand: x\nresources: {cpus: 1, memory: 1GiB}\n"
	for _, text := range []string{
		good, good + "instances: ${n}\n", good + "env: {A: 1.10, B: yes, C: null}\n", good + "health: null\n",
		good + "update: {batch: 10%}\n", good + "update: {batch: [1, 50%]}\n", "extends: t.yaml\n", "include: [a.yaml]\n",
		good + "variables: {a: 1, b: {type: int, default: 2}, c: [x]}\n", good + "stages: {devel: {}, prod: null, test: {instances: 2}}\n",
		"job: a/${stage}/${name}\njobs: [{name: x, variables: {a: 1}}]\n", good + "artifacts: [{uri: http://a/b, sha256_from: http://a/c}]\n",
		"job: a/c\nstages: {prod: {}}\n", good + "confirm: true\n",
	} {
		for _, doc := range editorSees(t, text) {
			require.NoError(t, schema.Validate(doc), text)
		}
	}
	for _, text := range []string{
		"job: a/b/c\n", good + "comand: x\n", good + "instances: two\n", good + "instances: -1\n", good + "kindness: x\n",
		strings.Replace(good, "service", "servce", 1), strings.Replace(good, "1GiB", "1 elephant", 1), strings.Replace(good, "a/b/c", "A/b/c", 1),
		good + "stages: {devel: {stages: {}}}\n", good + "stages: {Prod: {}}\n", good + "variables: {a: {typ: int}}\n",
		good + "jobs: [{name: x, extends: y.yaml}]\n", good + "health: {http: {prt: x}}\n", good + "artifacts: [{sha256: x}]\n",
		good + "limits: {host: 0}\n", good + "env: {A B: 1}\n", good + "update: {strategy: yolo}\n",
	} {
		for _, doc := range editorSees(t, text) {
			require.Error(t, schema.Validate(doc), text)
		}
	}
}

// TestSchemaBounds: what is just within a bound is accepted by api.Spec too,
// and what is just outside is refused, so that neither can change alone.
func TestSchemaBounds(t *testing.T) {
	t.Parallel()
	for path, b := range bounds {
		step := 1.0
		if path == "resources.cpus" {
			step = 0.001
		}
		require.Empty(t, told(t, path, b.min), path)
		require.Empty(t, told(t, path, b.max), path)
		require.NotEmpty(t, told(t, path, b.max+step), path)
		if b.min-step != 0 || strings.HasSuffix(path, "*") || path == "resources.cpus" { // 0 may stand for the default
			require.NotEmpty(t, told(t, path, b.min-step), path)
		}
	}
	for path, most := range mostEntries {
		if path == "variables" || path == "stages" {
			continue
		}
		require.Contains(t, told(t, path, entries(path, most+1)), fmt.Sprintf("at most %d are allowed", most), path)
		require.NotContains(t, told(t, path, entries(path, most)), "are allowed", path)
	}
}

func entries(path string, n int) any {
	switch path {
	case "labels", "env", "limits", "parameters":
		m := object{}
		for i := range n {
			m[fmt.Sprintf("x%d", i)] = map[string]any{"labels": "v", "env": "v", "limits": 1, "parameters": object{}}[path]
		}
		return m
	}
	list := make([]any, n)
	for i := range list {
		list[i] = map[string]any{"artifacts": object{"uri": fmt.Sprintf("file:///a%d", i)}, "health.http.fail_at_once": 500,
			"ports": fmt.Sprintf("p%d", i), "constraints": "has x", "update.batch": "1",
			"update.steps": object{"instances": "1"}}[path]
		if list[i] == nil {
			list[i] = "x"
		}
	}
	return list
}

// told returns what api.Spec says of a value at a path, in a job that has all
// else that it needs.
func told(t *testing.T, path string, value any) string {
	t.Helper()
	kind := "service"
	if strings.HasPrefix(path, "schedule.") || path == "retries" || path == "parameters" {
		kind = "cron"
	}
	spec := object{"job": "a/b/c", "kind": kind, "command": "x", "resources": object{"cpus": 1, "memory": "1GiB"}}
	if kind == "cron" {
		spec["schedule"] = object{"cron": "@daily"}
	} else {
		spec["ports"] = []any{"p"}
		spec["health"] = object{"http": object{"port": "p"}}
	}
	if path == "update.steps" {
		spec["update"] = object{"strategy": "canary"}
	}
	if path == "ports" {
		delete(spec, "health")
	}
	where, name := spec, path
	for {
		outer, inner, nested := strings.Cut(name, ".")
		if !nested {
			break
		}
		if where[outer] == nil {
			where[outer] = object{}
		}
		where, name = where[outer].(object), inner
	}
	switch {
	case strings.HasSuffix(name, "[]"):
		where[strings.TrimSuffix(name, "[]")] = []any{value}
	case name == "*":
		where["x"] = value
	default:
		where[name] = value
	}
	b, err := json.Marshal(spec)
	require.NoError(t, err)
	if path == "parameters" { // a cron's need defaults, which is another matter
		b = []byte(strings.ReplaceAll(string(b), `":{}`, `":{"default":"x"}`))
	}
	tree, err := strict.ParseJSON(b)
	require.NoError(t, err)
	_, problems := api.SpecFromTree(tree)
	text := ""
	for _, p := range problems {
		text += p.Path + ": " + p.Message + "\n"
	}
	return text
}

// TestJobFilesHaveNoFieldTwice: a field of a spec would be hidden by one that
// job files have of their own.
func TestJobFilesHaveNoFieldTwice(t *testing.T) {
	t.Parallel()
	spec := specPaths(reflect.TypeFor[api.Spec](), "")
	for _, name := range ownNames {
		require.NotContains(t, spec, name)
	}
	require.NotContains(t, spec, "artifacts[]."+checksumField)
}
