package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/config"
)

const hello = `# The example of the documentation.
job: web/devel/hello
kind: service
instances: 2
artifacts:
  - uri: file:///srv/hello.pex
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
command: ./hello.pex --port $PORT_HTTP
resources: {cpus: 0.1, memory: 64MiB, disk: 64MiB}
ports: [http]
health:
  http: {port: http, path: /healthz}
constraints: ["rack in (r1, r2)"]
`

func requireParsed(t *testing.T, data string) api.Spec {
	t.Helper()
	jobs, err := config.Parse("hello.yaml", []byte(data), config.Options{})
	require.NoError(t, err)
	require.Len(t, jobs, 1)
	return jobs[0].Spec
}

func canonical(t *testing.T, s api.Spec) string {
	t.Helper()
	b, err := s.Canonical()
	require.NoError(t, err)
	return string(b)
}

func TestJobFile(t *testing.T) {
	t.Parallel()
	require.Equal(t, `{"job":"web/devel/hello","kind":"service","artifacts":[{"uri":"file:///srv/hello.pex","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}],"command":"./hello.pex --port $PORT_HTTP","resources":{"cpus":0.1,"memory":"64MiB","disk":"64MiB"},"ports":["http"],"instances":2,"health":{"http":{"port":"http","path":"/healthz"}},"constraints":["rack in (r1, r2)"]}`,
		canonical(t, requireParsed(t, hello)))
	require.Equal(t, canonical(t, requireParsed(t, hello)),
		canonical(t, requireParsed(t, "\ufeff"+strings.ReplaceAll(hello, "\n", "\r\n"))), "with a byte order mark and CRLF")
}

func TestJobFileTakesScalarsAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	s := requireParsed(t, `
job: web/devel/sum
kind: batch
command: >-
  ./sum
  --all
setup:
  - |
    set -e
    ./prepare
resources: {cpus: 1, memory: 67108864}
timeout: 90
env:
  A: 010
  B: yes
  C: 1.10
  D: 'it''s'
  E: "tab\t"
  F: true
  G: 12:30
  H: ""
  "I": -5
artifacts:
- uri: https://example.com/x
  sha256: 1234567890123456789012345678901234567890123456789012345678901234
parameters:
  count: {type: int, default: 3, values: [3, 5]}
`)
	require.Equal(t, map[string]string{"A": "010", "B": "yes", "C": "1.10", "D": "it's", "E": "tab\t", "F": "true", "G": "12:30", "H": "", "I": "-5"}, s.Env)
	require.Equal(t, "./sum --all", s.Command)
	require.Equal(t, "set -e\n./prepare\n", s.Setup[0])
	require.Equal(t, 64*api.MiB, s.Resources.Memory)
	require.Equal(t, 90*time.Second, s.Timeout.Std())
	require.Equal(t, "3", *s.Parameters["count"].Default)
	require.Len(t, s.Artifacts[0].SHA256, 64)
}

func TestJobFileAnchors(t *testing.T) {
	t.Parallel()
	s := requireParsed(t, `
job: web/devel/hello
kind: service
command: &c ./hello
setup: [*c]
resources: {cpus: 1, memory: 1GiB}
env: &base {A: "1", B: "2"}
labels:
  <<: *base
  B: "3"
`)
	require.Equal(t, []string{"./hello"}, s.Setup)
	require.Equal(t, map[string]string{"A": "1", "B": "3"}, s.Labels)
}

func TestJobFileRelativeArtifacts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "jobs", "hello.yaml")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	for uri, want := range map[string]string{
		"file://./hello.pex":          "file://" + dir + "/jobs/hello.pex",
		"file://../build/hello.pex":   "file://" + dir + "/build/hello.pex",
		"file://./a%20b/../hello.pex": "file://" + dir + "/jobs/hello.pex",
		"file:///srv/hello.pex":       "file:///srv/hello.pex",
	} {
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(hello, "file:///srv/hello.pex", uri, 1)), 0o644))
		jobs, err := config.Load(path, config.Options{})
		require.NoError(t, err)
		require.Equal(t, want, jobs[0].Spec.Artifacts[0].URI)
	}
}

func TestBadJobFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, old, new, want string }{
		{"misspelt field", "command:", "comand:", `hello.yaml:8:1: comand: unknown field "comand": did you mean "command"?
    comand: ./hello.pex --port $PORT_HTTP
    ^`},
		{"misspelt inner field", "memory: 64MiB", "memroy: 64MiB", `hello.yaml:9:24: resources.memroy: unknown field "memroy": did you mean "memory"?
    resources: {cpus: 0.1, memroy: 64MiB, disk: 64MiB}
                           ^`},
		{"field of elsewhere", "kind: service", "kind: service\ncpus: 1", `hello.yaml:4:1: cpus: unknown field "cpus": did you mean "resources.cpus"?
    cpus: 1
    ^`},
		{"wrong type", "instances: 2", "instances: two", `hello.yaml:4:12: instances: wants a whole number, not the string "two"
    instances: two
               ^`},
		{"wrong type", "ports: [http]", "ports: http", `hello.yaml:10:8: ports: wants a list, not the string "http"
    ports: http
           ^`},
		{"forgotten value", "instances: 2", "instances:", `hello.yaml:4:11: instances: is empty: it wants a whole number; leave it out if it is not needed
    instances:
              ^`},
		{"value not allowed", "port: http", "port: htp", `hello.yaml:12:16: health.http.port: "htp" is not declared: the ports are http; did you mean "http"?
      http: {port: htp, path: /healthz}
                   ^`},
		{"missing value", "cpus: 0.1, ", "", `hello.yaml:9:1: resources.cpus: is missing: it must be from 0.01 to 1024
    resources: {memory: 64MiB, disk: 64MiB}
    ^`},
		{"name not allowed", "kind: service", "kind: service\nenv: {PORT: 1}", `hello.yaml:4:7: env.PORT: PORT is Perigee's to set, as are PORT, PORT_*, PARAM_* and PERIGEE_*: choose another name
    env: {PORT: 1}
          ^`},
		{"repeated field", "kind: service", "kind: service\njob: a/b/c", `hello.yaml:4:1: job: is given twice: it is on line 2 already
    job: a/b/c
    ^`},
		{"zero for the default", "path: /healthz}", "path: /healthz}\n  startup: 0", `hello.yaml:13:12: health.startup: must be more than 0; leave it out for the default (1m)
      startup: 0
               ^`},
		{"bad indentation", "  http: {", "\thttp: {", "hello.yaml:12:1: found character '\t' that cannot start any token\n    \thttp: {port: http, path: /healthz}\n    ^"},
		{"unclosed list", "ports: [http]", "ports: [http", `hello.yaml:11:1: ',' or ']' must be specified
    health:
    ^`},
		{"unknown alias", "[http]", "*none", `hello.yaml:10:8: no anchor &none before this alias
    ports: *none
           ^`},
		{"tag", "[http]", "!foo [http]", `hello.yaml:10:8: the tag !foo is not supported
    ports: !foo [http]
           ^`},
		{"character", "2\n", "2\x00\n", "hello.yaml:4:13: has a NUL character\n    instances: 2\x00\n                ^"},
		{"long line", "./hello.pex", "./hello.pex " + strings.Repeat("y", 200) + "\x00" + strings.Repeat("z", 200),
			"hello.yaml:8:222: has a NUL character\n    " + strings.Repeat("y", 60) + "\x00" + strings.Repeat("z", 39) + "\n    " + strings.Repeat(" ", 60) + "^"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, hello, c.old)
			_, err := config.Parse("hello.yaml", []byte(strings.Replace(hello, c.old, c.new, 1)), config.Options{})
			require.EqualError(t, err, c.want)
		})
	}
	for data, want := range map[string]string{
		"":           "hello.yaml: is empty: it must say what a job should be",
		"# nothing":  "hello.yaml: is empty: it must say what a job should be",
		"just words": "wants a map with job, kind, ",
		"- job: x":   "wants a map with job, kind, ",
		"a: \xff":    "hello.yaml:1:1: is not valid UTF-8",
	} {
		_, err := config.Parse("hello.yaml", []byte(data), config.Options{})
		require.ErrorContains(t, err, want, data)
	}
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), config.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestBadJobFileTellsAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("jobs/hello.yaml", []byte(`job: hello
kind: service
comand: x
ports: [a, a]
resources:
  cpus: lots
  memory: 1
health:
  http: {port: b}
`), config.Options{})
	var all *config.Error
	require.ErrorAs(t, err, &all)
	lines := make([]string, len(all.Problems))
	for i, p := range all.Problems {
		lines[i] = p.String()
	}
	require.Equal(t, []string{
		`jobs/hello.yaml:1:6: job: "hello" is not a job: it is written team/stage/name, for example web/devel/hello`,
		`jobs/hello.yaml:3:1: comand: unknown field "comand": did you mean "command"?`,
		`jobs/hello.yaml:4:12: ports[1]: "a" is given twice`,
		`jobs/hello.yaml:6:9: resources.cpus: wants a number, not the string "lots"`,
		`jobs/hello.yaml:7:11: resources.memory: is 1B: it must be from 1MiB to 64TiB`,
		`jobs/hello.yaml:9:16: health.http.port: "b" is not declared: the ports are a and a`,
	}, lines)
}

func TestBadJobFileOfManyProblemsTellsTheFirst(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("hello.yaml", []byte(nonsense(500)), config.Options{})
	var all *config.Error
	require.ErrorAs(t, err, &all)
	require.Len(t, all.Problems, 101)
	require.Equal(t, "and 405 more problems", all.Problems[100].String())
}

func nonsense(fields int) string {
	var b strings.Builder
	for i := range fields {
		fmt.Fprintf(&b, "nonsense%d: 1\n", i)
	}
	return b.String()
}

// TestHostileFiles would take minutes or all memory if these reached the YAML
// parser, or were expanded.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x]\n"
	for i := 1; i < 40; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	for name, c := range map[string]struct{ data, want string }{
		"aliases":        {bomb, "values once aliases are expanded"},
		"self reference": {"a: &a [*a]", "no anchor &a"},
		"brackets":       {strings.Repeat("[", 100_000), "has more than 30000 words"},
		"fewer brackets": {strings.Repeat("[", 20_000), "nested more than 64 levels"},
		"braces":         {strings.Repeat("{a: ", 5_000), "nested more than 64 levels"},
		"dashes":         {strings.Repeat("- ", 20_000), "nested more than 64 levels"},
		"questions":      {strings.Repeat("? ", 20_000), "nested more than 64 levels"},
		"tags":           {strings.Repeat("!a ", 20_000), "nested more than 64 levels"},
		"anchors":        {strings.Repeat("&a ", 10_000), "nested more than 64 levels"},
		"fields":         {strings.Repeat("a: 1\n", 100_000), "has more than 30000 words"},
		"indentation":    {indented(300), "nested more than 64 levels"},
		"bytes":          {strings.Repeat("#", 1<<20+1), "is more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("hello.yaml", []byte(c.data), config.Options{})
			require.ErrorContains(t, err, c.want)
		})
	}
}

func indented(levels int) string {
	var b strings.Builder
	for i := range levels {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// FuzzParseJobFile: nothing panics; errors about a file are an *Error; a spec
// that is accepted is one that the API accepts too, and what Render writes of a
// job reads as the same job.
func FuzzParseJobFile(f *testing.F) {
	f.Add([]byte(hello))
	f.Add([]byte("a: &a {b: *a}\n<<: [*a, *a]\n? x\n: !!str 5\n"))
	f.Add([]byte("job: 'a/b/c'\nkind: batch\ncommand: |\n  x\nresources: {cpus: .5, memory: 1e3}\n--- \n%YAML"))
	seeds, err := filepath.Glob("testdata/load/*.txt")
	require.NoError(f, err)
	for _, path := range seeds {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		_, first, _ := strings.Cut(string(data), "-- jobs.yaml --\n")
		first, _, _ = strings.Cut(first, "\n-- ")
		f.Add([]byte(first + "\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("extends")) || bytes.Contains(data, []byte("include")) {
			return // of whatever is on this machine
		}
		jobs, err := config.Parse("job.yaml", data, config.Options{AllStages: true})
		if err != nil {
			var all *config.Error
			require.True(t, errors.As(err, &all), "%v", err)
			require.NotEmpty(t, all.Problems)
			require.NotEmpty(t, err.Error())
			return
		}
		for _, j := range jobs {
			text, err := config.Render(j)
			require.NoError(t, err)
			requireSame(t, j, text)
			for i := range j.Checksums {
				j.Spec.Artifacts[j.Checksums[i].Artifact].SHA256 = strings.Repeat("0", 64)
			}
			canonical, err := j.Spec.Canonical()
			require.NoError(t, err)
			_, err = api.DecodeSpec(canonical)
			require.NoError(t, err)
		}
	})
}
