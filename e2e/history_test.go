package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/client"
)

// Long after, it is found what ran where, with which parameters, and why it failed.
func TestHistory_IsFoundWhenTheJobIsGone(t *testing.T) {
	w := begin(t)
	job := w.job("load")
	w.must("deploy", "--message", "the first of its kind", w.file("load", `
job: JOB
kind: batch
command: echo "no route to host db7" >&2; test "$PARAM_DAY" != 2026-11-20
parameters: {day: {type: string}}
resources: {cpus: 0.05, memory: 16MiB}
`))
	w.must("run", job, "-p", "day=2026-11-21", "--wait")
	require.Equal(t, 1, w.cli("run", job, "-p", "day=2026-11-20", "--wait").code)
	page, err := w.Runs(w.ctx, job, client.RunFilter{State: "failed"})
	require.NoError(t, err)
	failed := page.Items[0]
	task, err := w.Task(w.ctx, failed.Task)
	require.NoError(t, err)
	w.must("remove", job, "--yes")
	w.await(job, "history has it all", func() bool {
		return strings.Contains(w.must("history", "events", "--job", job, "--type", "job.removed"), "job removed")
	})

	listed := w.must("history", "tasks", "--job", job, "--since", "1h")
	require.Equal(t, 3, strings.Count(listed, "\n"), "a header and two tasks:\n%s", listed)
	require.Contains(t, w.must("history", "tasks", "--agent", task.Host, "--job", job, "--since", "1h"), failed.Task)
	require.Contains(t, w.must("history", "tasks", "--team", w.team, "--state", "failed", "--text", "no route db7"), failed.Task)
	require.Contains(t, w.must("history", "tasks", "--team", w.team, "--text", "no such words"), "History has no such task.")
	require.Contains(t, w.must("history", "tasks", "--job", job, "--to", "2020-01-01"), "History has no such task.")
	require.Contains(t, w.must("history", "task", failed.Task), "exited with status 1")
	require.Contains(t, w.must("task", failed.Task), "exited with status 1", "where it always was, too")
	runs := w.must("history", "runs", "--param", "day=2026-11-20", "--team", w.team)
	require.Contains(t, runs, failed.ID)
	require.Equal(t, 2, strings.Count(runs, "\n"))
	one := w.must("history", "run", job+"/"+failed.ID)
	require.Contains(t, one, "day=2026-11-20")
	require.Contains(t, one, failed.Task)
	require.Contains(t, w.must("history", "deploys", "--team", w.team, "--text", "first kind"), "the first of its kind")
	require.Contains(t, w.must("history", "deploy", job, "1"), `"kind": "batch"`)
	require.Contains(t, w.must("history"), "sqlite")

	limited := w.cli("history", "tasks", "--team", w.team, "-n", "1")
	require.Contains(t, limited.errors, "there is more")
	for _, bad := range []struct{ args, says string }{
		{"tasks --since soon", "write it as 30m, 3h or 7d"},
		{"tasks --from then", "is not a time"},
		{"tasks --since 3h --from 2026-01-01", "give one of them"},
		{"tasks --state running", "is not a state of what is over"},
		{"runs --param day", "is not NAME=VALUE"},
		{"tasks -n 0", "at least 1"},
	} {
		r := w.cli(append([]string{"history"}, strings.Fields(bad.args)...)...)
		require.NotZero(t, r.code, bad.args)
		require.Contains(t, r.errors, bad.says, bad.args)
	}
}
