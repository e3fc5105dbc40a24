package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
)

const batch = `
job: JOB
kind: batch
artifacts:
  - uri: WITNESS/app.pex
    sha256: SHA256
command: exec ./app.pex work WITNESS "$PARAM_GATE"
parameters:
  gate: {description: where to wait}
resources: {cpus: 0.05, memory: 64MiB}
retries: 1
`

func TestRun_WithParameters(t *testing.T) {
	w := begin(t)
	job := w.job("sum")
	require.Contains(t, w.must("deploy", w.file("sum", `
job: JOB
kind: batch
command: echo "$PARAM_A and $PARAM_B in $PERIGEE_JOB, attempt $PERIGEE_ATTEMPT"
parameters:
  a: {type: int}
  b: {values: [x, y], default: x}
resources: {cpus: 0.05, memory: 16MiB}
`)), "succeeded")
	require.Equal(t, "7 and x in "+job+", attempt 1\n", w.must("run", job, "--param", "a=007", "--logs"))
	require.Contains(t, w.must("run", job, "-p", "a=1", "-p", "b=y", "--wait", "--count", "5"), "succeeded")
	require.Equal(t, 6, strings.Count(w.must("runs", job), "succeeded"))
	require.Contains(t, w.must("logs", job), "1 and y")

	for _, bad := range []struct{ args, says string }{
		{"-p a=x", "is not an int"},
		{"-p a=1 -p c=1", "has a and b"},
		{"-p b=y", "parameters.a: is missing"},
		{"-p a=1 -p b=z", "it must be x or y"},
	} {
		r := w.cli(append([]string{"run", job}, strings.Fields(bad.args)...)...)
		require.Equal(t, 3, r.code, bad.args)
		require.Contains(t, r.errors, bad.says, bad.args)
	}
	require.Equal(t, 6, strings.Count(w.must("runs", job), "succeeded"), "a refused run started")
}

func TestRun_Retries(t *testing.T) {
	w := begin(t)
	job := w.job("flaky")
	w.must("deploy", w.file("flaky", `
job: JOB
kind: batch
command: echo "attempt $PERIGEE_ATTEMPT of $PARAM_NEEDED" >&2; test "$PERIGEE_ATTEMPT" -ge "$PARAM_NEEDED" || exit 7
parameters: {needed: {type: int}}
resources: {cpus: 0.05, memory: 16MiB}
retries: 1
`))
	w.must("run", job, "-p", "needed=2", "--wait")
	r := w.cli("run", job, "-p", "needed=3", "--wait")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.errors, "exited with status 7")
	page, err := w.Runs(w.ctx, job, client.RunFilter{})
	require.NoError(t, err)
	require.Equal(t, []string{"failed", "succeeded"}, []string{page.Items[0].State, page.Items[1].State})
	require.Equal(t, []int{2, 1}, []int{page.Items[0].Failures, page.Items[1].Failures})
	require.Contains(t, w.must("explain", job), "exited with status 7")
	require.Contains(t, w.must("logs", "--stderr", job+"/"+page.Items[0].ID), "attempt 2 of 3")
	line := fmt.Sprintf(`{"job":%q,"run":%q,"task":%q,"line":"attempt 2 of 3"}`, job, page.Items[0].ID, page.Items[0].Task)
	require.JSONEq(t, line, w.must("logs", "--stderr", "-o", "json", job+"/"+page.Items[0].ID))
}

func TestRun_Cancelled(t *testing.T) {
	w := begin(t)
	job := w.job("long")
	w.must("deploy", w.file("long", batch))
	w.must("run", job, "-p", "gate=never")
	begun := w.witness.await("begin", 1)[0]
	page, err := w.Runs(w.ctx, job, client.RunFilter{})
	require.NoError(t, err)
	run := page.Items[0].ID
	require.Contains(t, w.must("kill", job+"/"+run), "is being cancelled")
	w.await(job, "the run is cancelled", func() bool {
		r, err := w.Client.Run(w.ctx, job, run)
		return err == nil && r.State == "cancelled"
	})
	require.False(t, program.Alive(begun.pid))
	require.Len(t, w.witness.told("begin"), 1)
	require.Empty(t, w.witness.told("end"))
}

// The executor dies under a run: the run goes on with another attempt.
func TestRun_KilledExecutor(t *testing.T) {
	w := begin(t)
	job := w.job("long")
	w.must("deploy", w.file("long", batch))
	w.must("run", job, "-p", "gate=one")
	require.NoError(t, syscall.Kill(w.witness.await("begin", 1)[0].parent, syscall.SIGKILL))
	w.witness.await("begin", 2)
	w.witness.open("one")
	w.await(job, "the run succeeds", func() bool { return strings.Contains(w.must("runs", job), "succeeded") })
	require.Len(t, w.witness.told("end"), 1)
}

func TestCron_Fires(t *testing.T) {
	w := begin(t)
	job := w.job("tick")
	w.must("deploy", w.file("tick", `
job: JOB
kind: cron
schedule: {cron: "* * * * *", zone: Europe/Berlin}
command: echo "tick of $PERIGEE_RUN"
resources: {cpus: 0.05, memory: 16MiB}
`))
	require.Contains(t, w.must("status", job), "next run ")
	require.Contains(t, w.must("run", job, "--wait"), "succeeded")
	w.await(job, "it fired", func() bool {
		page, err := w.Runs(w.ctx, job, client.RunFilter{State: "succeeded"})
		require.NoError(t, err)
		for _, r := range page.Items {
			if r.Instant != nil {
				require.Zero(t, r.Instant.Second())
				require.Contains(t, w.must("logs", job+"/"+r.ID), "tick of "+r.ID)
				return true
			}
		}
		return false
	})
}
