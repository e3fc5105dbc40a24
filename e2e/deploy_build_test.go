package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
)

// step is a service that a build deploys: its version is whatever it was built
// from, and one that is called bad does not start. Its health check has it not be
// taken for ready, however long it takes to end.
const step = `
variables: {githash: {required: true}}
job: JOB
kind: service
command: test "$VERSION" != bad || { echo "there is no database" >&2; exit 3; }; exec sleep 600
env: {VERSION: "${githash}"}
resources: {cpus: 0.05, memory: 16MiB}
health: {command: {command: test "$VERSION" != bad}, interval: 1s}
restart: {min: 100ms, max: 1s}
stop: {grace: 1s}
update: {deadline: 60s, retries: 0}
`

// script runs one of the examples for build systems.
func (w *world) script(name string, env []string, args ...string) (code int, out string) {
	w.Helper()
	c := exec.CommandContext(w.ctx, filepath.Join(built.examples, "build", name), args...)
	c.Env = append(program.Environment(w.url), append(env, "PERIGEE="+built.perigee, "PERIGEE_API="+w.url)...)
	said, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil {
		require.ErrorAs(w, err, &exit, "%s: %s", name, said)
	}
	return c.ProcessState.ExitCode(), string(said)
}

// The deploy step of a build: a version, the same build once more, and a version
// that does not start.
func TestDeploy_FromABuild(t *testing.T) {
	w := begin(t)
	job, path := w.job("step"), w.file("step", step)
	for _, b := range []struct {
		build, commit string
		code          int
		says          []string
	}{
		{"step-1", "4a1e", 0, []string{"is new", "4a1e was deployed to test."}},
		{"step-2", "9f86", 0, []string{"env.VERSION  4a1e → 9f86", "Deploy 2 of " + job + " succeeded"}},
		{"step-1", "4a1e", 0, []string{"env.VERSION  9f86 → 4a1e", "Deploy 1 of " + job + " succeeded"}}, // that was this build's
		{"step-3", "bad", 11, []string{"deploy 3 of " + job + " was rolled back", "    there is no database", "the version before runs again"}},
	} {
		code, out := w.script("deploy.sh", []string{"BUILD_TAG=" + w.team + b.build, "GIT_COMMIT=" + b.commit}, path, "test")
		require.Equal(t, b.code, code, out)
		for _, part := range b.says {
			require.Contains(t, out, part)
		}
	}
	require.EqualValues(t, 3, w.jobNow(job).LatestDeploy.Number, "nothing was deployed twice")
	code, out := w.script("deploy.sh", []string{"BUILD_TAG=" + w.team + "step-4", "GIT_COMMIT=0000"}, path, "prod")
	require.Equal(t, 3, code, out)
}

// The same with curl and nothing else.
func TestDeploy_FromABuildWithCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("there is no curl: %v", err)
	}
	w := begin(t)
	job, path := w.job("step"), w.file("step", step)
	spec := func(commit string) string {
		var specs []json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(w.must("render", path, "--set", "githash="+commit, "-o", "json")), &specs))
		file := filepath.Join(t.TempDir(), "spec.json")
		require.NoError(t, os.WriteFile(file, specs[0], 0o600))
		return file
	}
	for _, build := range []string{"curl-1", "curl-1"} {
		code, out := w.script("deploy-curl.sh", []string{"BUILD_TAG=" + w.team + build}, job, spec("4a1e"))
		require.Zero(t, code, out)
		require.Contains(t, out, "deploy 1 of "+job+": succeeded\n")
	}
	code, out := w.script("deploy-curl.sh", []string{"BUILD_TAG=" + w.team + "curl-2"}, job, spec("bad"))
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "deploy 2 of "+job+": rolled_back: ")
	require.Contains(t, out, "there is no database")
	code, out = w.script("deploy-curl.sh", []string{"BUILD_TAG=" + w.team + "curl-2"}, job, spec("4a1e"))
	require.Equal(t, 1, code)
	require.Contains(t, out, "refused with 409", strings.TrimSpace(out))
	require.Contains(t, out, "idempotency-key-reused")
}
