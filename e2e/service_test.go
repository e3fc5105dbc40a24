package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
)

// service is the job file of a service that runs the PEX.
const service = `
job: JOB
kind: service
instances: 2
artifacts:
  - uri: WITNESS/app.pex
    sha256: SHA256
command: exec ./app.pex serve WITNESS
resources: {cpus: 0.05, memory: 64MiB, disk: 32MiB}
ports: [http]
health:
  http: {port: http, path: /healthz}
  interval: 300ms
  startup: 60s
restart: {min: 200ms, max: 1s}
stop: {grace: 5s}
`

func pexSum(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(built.pex)
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// awaitReady waits until n instances of a service are ready, and no others are
// there.
func (w *world) awaitReady(job string, n int) {
	w.Helper()
	w.await(job, fmt.Sprintf("%d instances are ready", n), func() bool {
		c := w.jobNow(job).Tasks
		return c.Ready == n && c.Running == n && c.Pending+c.Starting+c.Stopping+c.Unreachable == 0
	})
}

func TestService_DeployedFromFile(t *testing.T) {
	w := begin(t)
	job := w.job("web")
	out := w.must("deploy", w.file("web", service), "--message", "first")
	require.Contains(t, out, "Deploy 1 of "+job+" succeeded: 2 of 2 instances ready")
	for _, n := range w.witness.await("start", 2) {
		if os.Geteuid() == 0 {
			require.NotZero(t, n.uid, "a task runs as root")
		}
	}
	require.Contains(t, w.must("status", job), "2/2 ready")
	require.Contains(t, w.must("jobs", "--team", w.team), job)
	require.Contains(t, w.must("deploys", job), "first")
	require.Contains(t, w.must("explain", job), "Nothing waits, and nothing fails.")
	require.Contains(t, w.must("task", job+"/1"), "healthy")
	require.Contains(t, w.must("deploy", w.file("web", service)), "Nothing to change")

	logs := w.must("logs", job)
	for _, n := range w.witness.told("start") {
		require.Contains(t, logs, "serving as "+n.task)
	}
	require.Regexp(t, `(?m)^0 │ serving as .*\n1 │ serving as `, logs)
}

func TestService_KilledProcessIsRestarted(t *testing.T) {
	w := begin(t)
	job := w.job("web")
	w.must("deploy", w.file("web", strings.Replace(service, "instances: 2", "instances: 1", 1)))
	first := w.witness.await("start", 1)[0]
	logs := w.following("logs", "-f", job)
	w.awaitLine(logs, "serving as "+first.task)
	require.NoError(t, syscall.Kill(first.pid, syscall.SIGKILL))

	second := w.witness.await("start", 2)[1]
	require.NotEqual(t, first.task, second.task)
	w.awaitLine(logs, "serving as "+second.task)
	w.awaitReady(job, 1)
	old, err := w.Task(w.ctx, first.task)
	require.NoError(t, err)
	require.Equal(t, "failed", old.State)
	require.Contains(t, old.Message, "SIGKILL")
	require.Contains(t, w.must("explain", job), "SIGKILL")
	require.Len(t, w.witness.told("start"), 2)
}

func TestService_KilledExecutorIsReplaced(t *testing.T) {
	w := begin(t)
	job := w.job("web")
	w.must("deploy", w.file("web", strings.Replace(service, "instances: 2", "instances: 1", 1)))
	first := w.witness.await("start", 1)[0]
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", first.parent))
	require.NoError(t, err)
	require.Contains(t, string(name), "perigee-executor")
	require.NoError(t, syscall.Kill(first.parent, syscall.SIGKILL))

	second := w.witness.await("start", 2)[1]
	require.NotEqual(t, first.task, second.task)
	w.awaitReady(job, 1)
	w.await(job, "the first process is gone", func() bool { return !program.Alive(first.pid) })
	require.Len(t, w.witness.told("start"), 2)
}

func TestService_ScalePauseResumeRemove(t *testing.T) {
	w := begin(t)
	job := w.job("web")
	w.must("deploy", w.file("web", service))
	w.must("scale", job, "3")
	w.awaitReady(job, 3)
	w.must("scale", job, "1")
	w.awaitReady(job, 1)
	require.Contains(t, w.must("scale", job, "1"), "already")
	// The highest instances go first.
	require.Contains(t, w.must("status", job), job+"/0")
	require.Len(t, w.witness.await("stop", 2), 2)

	w.must("pause", job, "--reason", "lunch")
	w.awaitReady(job, 0)
	status := w.must("status", job)
	require.Contains(t, status, "paused: lunch")
	w.must("resume", job)
	w.awaitReady(job, 1)

	require.Contains(t, w.must("kill", job+"/0", "--reason", "a test"), "is being killed")
	w.witness.await("stop", 4)
	w.awaitReady(job, 1)

	refused := w.cli("remove", job)
	require.Equal(t, 2, refused.code, refused.errors)
	require.Contains(t, refused.errors, "--yes")
	w.must("remove", job, "--yes")
	w.await(job, "the job is gone", func() bool { return w.cli("status", job).code == 4 })
	for _, n := range w.witness.told("start") {
		require.False(t, program.Alive(n.pid), "task %s lives on", n.task)
	}
}

func TestDeploy_ReplacesOneByOne(t *testing.T) {
	w := begin(t)
	job := w.job("web")
	w.must("deploy", w.file("web", service))
	events, err := w.Events(w.ctx, client.EventFilter{Job: job})
	require.NoError(t, err)
	defer events.Close()
	w.must("deploy", w.file("web", strings.Replace(service, "memory: 64MiB", "memory: 65MiB", 1)))

	// One after the other: each old task is stopped only when the new one of its
	// instance is ready.
	var order []string
	for len(order) == 0 || order[len(order)-1] != "deploy.succeeded" {
		e, err := events.Next(w.ctx)
		require.NoError(t, err)
		switch typ := strings.TrimPrefix(e.Type, "dev.perigee."); typ {
		case "task.ready", "task.stopping":
			order = append(order, fmt.Sprintf("%d %s on deploy %d", *e.Data.Instance, typ, e.Data.Deploy))
		case "deploy.succeeded":
			order = append(order, typ)
		}
	}
	require.Equal(t, []string{
		"0 task.ready on deploy 2", "0 task.stopping on deploy 1",
		"1 task.ready on deploy 2", "1 task.stopping on deploy 1"}, order[:4])
	w.witness.await("stop", 2)
	w.awaitReady(job, 2)
	require.Len(t, w.witness.told("start"), 4)
}

func TestWrites_OfTwoUsersAtOnce(t *testing.T) {
	w := begin(t)
	job := w.job("web")
	w.must("deploy", "--detach", w.file("web", service))
	seen := w.jobNow(job).Revision
	_, err := w.ScaleJob(w.ctx, job, 1, client.WriteOptions{IfMatch: &seen})
	require.NoError(t, err)
	_, err = w.ScaleJob(w.ctx, job, 3, client.WriteOptions{IfMatch: &seen})
	require.ErrorContains(t, err, "was changed meanwhile")
	require.Equal(t, 1, w.jobNow(job).Instances)
}
