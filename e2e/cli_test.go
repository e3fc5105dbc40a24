package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/e2e/program"
)

func TestCLI_ExitStatuses(t *testing.T) {
	w := begin(t)
	job := w.job("web")
	w.must("deploy", "--detach", w.file("web", strings.Replace(service, "cpus: 0.05", "cpus: 1000", 1)))
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"no-such-command", 2, "unknown command"},
		{"status --no-such-flag", 2, "unknown flag"},
		{"status not-a-job", 2, "team/stage/name"},
		{"scale " + job + " many", 2, "is not a number of instances"},
		{"scale " + job + " -1", 2, "must be 0 or more"},
		{"-o xml jobs", 2, "table or json"},
		{"deploy /no/such/file.yaml", 3, "no such file"},
		{"scale " + job + " 1000000", 3, "it must be from 0 to"},
		{"status web/test/none", 4, "there is no job web/test/none"},
		{"task none", 4, "there is no task none"},
		{"logs " + job, 4, "perigee explain"},
		{"run " + job, 5, "service"},
		{"--api 127.0.0.1:1 jobs", 6, "PERIGEE_API"},
		{"deploy --timeout 300ms " + w.file("web", strings.Replace(service, "cpus: 0.05", "cpus: 1000", 1)), 124, "still in progress"},
	} {
		r := w.cli(strings.Fields(c.args)...)
		require.Equal(t, c.code, r.code, "perigee %s: %s", c.args, r.errors)
		require.Contains(t, r.errors, c.says, c.args)
		require.True(t, strings.HasPrefix(r.errors, "error: "), r.errors)
	}
	r := w.cli("deploy", w.file("web", service))
	require.Equal(t, 5, r.code)
	require.Contains(t, r.errors, "supersede")
}

func TestCLI_JSON(t *testing.T) {
	w := begin(t)
	job := w.job("web")
	var written api.Written
	require.NoError(t, json.Unmarshal([]byte(w.must("deploy", "--detach", "-o", "json", w.file("web", service))), &written))
	require.Equal(t, job, written.Job)
	require.True(t, written.Created)
	var jobs []api.Job
	require.NoError(t, json.Unmarshal([]byte(w.must("jobs", "--team", w.team, "-o", "json")), &jobs))
	require.Len(t, jobs, 1)
	require.Equal(t, job, jobs[0].Job)
	var agents []api.Agent
	require.NoError(t, json.Unmarshal([]byte(w.must("agents", "-o", "json")), &agents))
	require.NotEmpty(t, agents)
	for _, command := range []string{"status", "explain", "deploys"} {
		require.True(t, json.Valid([]byte(w.must(command, job, "-o", "json"))), command)
	}
	var problem api.Problem
	require.NoError(t, json.Unmarshal([]byte(w.cli("status", "web/test/none", "-o", "json").errors), &problem))
	require.Equal(t, 404, problem.Status)
}

func TestCLI_Completion(t *testing.T) {
	w := begin(t)
	job := w.job("sum")
	w.must("deploy", w.file("sum", "job: JOB\nkind: batch\ncommand: echo\nparameters: {to: {default: '1'}}\nresources: {cpus: 0.05, memory: 16MiB}\n"))
	require.Contains(t, w.must("__complete", "status", w.team), job)
	require.Contains(t, w.must("__complete", "run", w.team), job)
	require.NotContains(t, w.must("__complete", "scale", w.team), job)
	require.Contains(t, w.must("__complete", "run", job, "--param", ""), "to=")
	require.Contains(t, w.must("completion", "bash"), "perigee")
}

func TestScheduler_PrintConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "perigee.yaml")
	require.NoError(t, os.WriteFile(file, []byte("mesos:\n  role: web\n"), 0o644))
	c := exec.Command(built.perigee, "scheduler", "--config", file, "--api-listen", "127.0.0.1:1234", "--print-config")
	c.Env = append(program.Environment(""), "PERIGEE_CLUSTER=north")
	out, err := c.Output()
	require.NoError(t, err)
	require.Regexp(t, `cluster: north +# environment PERIGEE_CLUSTER`, string(out))
	require.Regexp(t, `listen: 127.0.0.1:1234 +# flag --api-listen`, string(out))
	require.Regexp(t, `role: web +# .*perigee.yaml:2`, string(out))

	c = exec.Command(built.perigee, "scheduler", "--config", file, "--mesos-role", "*")
	c.Env = program.Environment("")
	said, err := c.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 3, c.ProcessState.ExitCode())
	require.Contains(t, string(said), "mesos.role")
}
