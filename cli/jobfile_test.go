package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/cli"
)

const twoStages = `job: web/hello
kind: batch
variables: {githash: {required: true}}
command: ./hello-${githash}
resources: {cpus: 0.1, memory: 16MiB}
stages: {devel: {}, prod: {retries: 3}}
`

// command runs a command line that needs no scheduler, and returns its exit
// status and what it wrote.
func command(t *testing.T, in string, args ...string) (code int, out, errors string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Run(t.Context(), args, cli.Streams{In: strings.NewReader(in), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func jobFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hello.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestValidateTellsPrograms(t *testing.T) {
	t.Parallel()
	path := jobFile(t, strings.Replace(twoStages, "retries: 3", "retires: 3", 1))
	code, out, errors := command(t, "", "validate", path, "--set", "githash=abc", "-o", "json")
	require.Equal(t, 3, code)
	require.Empty(t, errors, "all is in the JSON")
	var got struct {
		Valid    bool
		Problems []struct {
			File, Path, Message string
			Line, Column        int
			Context             []string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.False(t, got.Valid)
	require.Len(t, got.Problems, 1)
	p := got.Problems[0]
	require.Equal(t, path, p.File)
	require.Equal(t, []int{6, 28}, []int{p.Line, p.Column})
	require.Equal(t, "retires", p.Path)
	require.Contains(t, p.Message, `did you mean "retries"?`)
	require.Equal(t, []string{"in web/prod/hello"}, p.Context)

	code, out, _ = command(t, twoStages, "validate", "-", "--set", "githash=abc", "-o", "json")
	require.Zero(t, code)
	var valid struct {
		Valid bool
		Jobs  []struct {
			Job, Stage string
			Confirm    bool
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &valid))
	require.True(t, valid.Valid)
	require.Len(t, valid.Jobs, 2)
	require.Equal(t, "web/prod/hello", valid.Jobs[1].Job)
	require.True(t, valid.Jobs[1].Confirm)
	require.False(t, valid.Jobs[0].Confirm)
}

func TestValidateExitStatus(t *testing.T) {
	t.Parallel()
	path := jobFile(t, twoStages)
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{0, "", []string{path, "--set", "githash=abc"}},
		{0, "", []string{path, "--set", "githash=abc", "--stage", "prod"}},
		{2, "leave out one of them", []string{path, "--stage", "prod", "--all-stages"}},
		{2, "unknown flag", []string{path, "--stages", "prod"}},
		{3, "githash: has no value", []string{path}},
		{3, `no stage "test"`, []string{path, "--set", "githash=abc", "--stage", "test"}},
		{3, "no such file", []string{path + ".none"}},
		{3, "cannot be read", []string{path, "--set-file", "/no/such/file"}},
	} {
		code, _, errors := command(t, "", append([]string{"validate"}, c.args...)...)
		require.Equal(t, c.code, code, c.args)
		require.Contains(t, errors, c.says, c.args)
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	path := jobFile(t, twoStages)
	code, out, errors := command(t, "", "render", path, "--set", "githash=abc", "--all-stages", "-o", "json")
	require.Zero(t, code, errors)
	var specs []api.Spec
	require.NoError(t, json.Unmarshal([]byte(out), &specs))
	require.Len(t, specs, 2)
	require.Equal(t, "./hello-abc", specs[0].Command)
	require.Equal(t, 3, specs[1].Retries)

	code, again, _ := command(t, "", "render", path, "--set", "githash=abc", "--stage", "prod")
	require.Zero(t, code)
	code, same, errors := command(t, again, "render", "-")
	require.Zero(t, code, errors)
	require.Equal(t, again, same, "what is printed is a job file")
	require.NotContains(t, again, "${")

	code, yaml, _ := command(t, "", "render", path, "--set", "githash=abc", "--stage", "prod", "-o", "yaml")
	require.Zero(t, code)
	require.Equal(t, again, yaml)
}

func TestRenderSaysWhatIsNotResolved(t *testing.T) {
	t.Parallel()
	code, out, errors := command(t, twoStages+"artifacts: [{uri: 'https://builds.example.com/a.pex', sha256_from: \"${uri}.sha256\"}]\n",
		"render", "-", "--stage", "devel", "--set", "githash=abc")
	require.Zero(t, code)
	require.Contains(t, out, "sha256_from: https://builds.example.com/a.pex.sha256 # read when deploying")
	require.Contains(t, errors, "A checksum is not filled in")
}

func TestSchema(t *testing.T) {
	t.Parallel()
	code, out, _ := command(t, "", "schema")
	require.Zero(t, code)
	var schema struct {
		Schema     string `json:"$schema"`
		Properties map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(out), &schema))
	require.Equal(t, "https://json-schema.org/draft/2020-12/schema", schema.Schema)
	require.Contains(t, schema.Properties, "stages")
}
