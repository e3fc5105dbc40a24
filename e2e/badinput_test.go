package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// doomed deploys a service that cannot start, and returns what a user is told.
func (w *world) doomed(change ...string) (job, told string) {
	w.Helper()
	job = w.job("web")
	text := strings.NewReplacer(change...).Replace(strings.Replace(service, "instances: 2", "instances: 1", 1))
	require.NotEqual(w, service, text)
	w.must("deploy", "--detach", w.file("web", text))
	failure := w.awaitFailure(job)
	require.Empty(w, w.witness.told("start"))
	require.Contains(w, w.must("status", job), failure.Message)
	return job, w.must("explain", job)
}

func TestBad_Checksum(t *testing.T) {
	w := begin(t)
	wrong := strings.Repeat("0", 64)
	_, told := w.doomed("SHA256", wrong)
	require.Contains(t, told, wrong)
	require.Contains(t, told, pexSum(t))
}

func TestBad_MissingArtifact(t *testing.T) {
	w := begin(t)
	_, told := w.doomed("/app.pex", "/nothing.pex", "SHA256", strings.Repeat("1", 64)) // not of a file in the cache
	require.Contains(t, told, "nothing.pex")
	require.Contains(t, told, "404")
}

// The executor gives a server up that sends nothing for half a minute.
func TestBad_StallingArtifactServer(t *testing.T) {
	w := begin(t)
	_, told := w.doomed("/app.pex", "/stall.pex", "SHA256", strings.Repeat("2", 64))
	require.Contains(t, told, "stall.pex")
	require.Contains(t, told, "30s")
}

func TestBad_CommandNotFound(t *testing.T) {
	w := begin(t)
	_, told := w.doomed("exec ./app.pex serve", "exec ./no-such-program serve")
	require.Contains(t, told, "no-such-program")
	require.Contains(t, told, "127")
}

func TestBad_NeverFits(t *testing.T) {
	w := begin(t)
	job := w.job("big")
	r := w.cli("deploy", "--detach", w.file("big", strings.Replace(service, "cpus: 0.05", "cpus: 1000", 1)))
	require.Zero(t, r.code, r.errors)
	require.Contains(t, r.errors, "warning: this can run on none of the")
	w.await(job, "the reason is told", func() bool {
		return strings.Contains(w.must("explain", job), "cpus")
	})
	require.Contains(t, w.must("status", job), "needs 1000.01 with its executor")
	require.Contains(t, w.must("jobs", "--team", w.team), "fits on none of")

	job = w.job("elsewhere")
	r = w.cli("deploy", "--detach", w.file("elsewhere", service+`constraints: ["rack in (nowhere)"]`))
	require.Contains(t, r.errors, "warning: this can run on none of the")
	w.await(job, "the reason is told", func() bool {
		return strings.Contains(w.must("explain", job), "constraint")
	})
}

func TestBad_JobFile(t *testing.T) {
	w := begin(t)
	for name, bad := range map[string]struct{ change, to, says string }{
		"unknown field":    {"command:", "comand:", `did you mean "command"`},
		"wrong type":       {"instances: 2", "instances: two", "instances"},
		"negative":         {"cpus: 0.05", "cpus: -1", "resources.cpus: is -1"},
		"duplicate port":   {"[http]", "[http, http]", "is given twice"},
		"undeclared port":  {"port: http,", "port: admin,", "is not declared"},
		"unknown kind":     {"kind: service", "kind: servce", `did you mean "service"`},
		"not a constraint": {"kind: service", "kind: service\nconstraints: [rack is r1]", "constraints[0]"},
	} {
		file := w.file("web", strings.Replace(service, bad.change, bad.to, 1))
		for _, command := range []string{"validate", "deploy"} {
			r := w.cli(command, file)
			require.Equal(t, 3, r.code, name)
			require.Contains(t, r.errors, file+":", name)
			require.Contains(t, r.errors, bad.says, name)
		}
	}
	bad := w.file("tick", "job: JOB\nkind: cron\ncommand: x\nresources: {cpus: 1, memory: 1MiB}\nschedule: {cron: '61 * * * *', zone: Europe/Berln}\n")
	r := w.cli("deploy", bad)
	require.Equal(t, 3, r.code)
	require.Contains(t, r.errors, "schedule.cron")
	require.Contains(t, r.errors, `did you mean "Europe/Berlin"`)
	require.Contains(t, w.must("jobs", "--team", w.team), "There is no such job")
	require.Contains(t, w.must("validate", w.file("web", service)), "is valid")
}

func TestBad_SandboxPath(t *testing.T) {
	w := begin(t)
	job := w.job("links")
	w.must("deploy", w.file("links", `
job: JOB
kind: batch
command: ln -s /etc/passwd passwd; ln -s / root; echo fine > file
resources: {cpus: 0.05, memory: 16MiB}
`))
	w.must("run", job, "--wait")
	task := w.tasks(job)[0].ID
	content, err := w.ReadFile(w.ctx, task, "file", 0, -1)
	require.NoError(t, err)
	require.Equal(t, "fine\n", string(content.Data))
	for _, path := range []string{"../../../../../../../../../etc/passwd", "/etc/passwd", "passwd", "root/etc/passwd", "logs/../../stdout"} {
		_, err := w.ReadFile(w.ctx, task, path, 0, -1)
		require.Error(t, err, path)
		body, err := w.DownloadFile(w.ctx, task, path)
		require.Error(t, err, path)
		require.Nil(t, body)
		if path != "passwd" {
			_, err = w.Files(w.ctx, task, path)
			require.Error(t, err, path)
		}
	}
}

// A scheduler whose executor ends at once: that is told, and not counted
// against the job.
func TestBad_ExecutorThatCannotStart(t *testing.T) {
	t.Parallel()
	require.NoError(t, shared.open())
	broken := filepath.Join(t.TempDir(), "perigee-executor")
	require.NoError(t, os.WriteFile(broken, []byte("#!/bin/sh\nexit 3\n"), 0o755))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := shared.startScheduler(ctx, "broken-executor", "--executor-path", broken)
	require.NoError(t, err)
	w := see(t, s.url)
	t.Cleanup(func() {
		w.removeAll()
		require.NoError(t, s.End(context.Background(), os.Interrupt))
	})
	job := w.job("web")
	w.must("deploy", "--detach", w.file("web", strings.Replace(service, "instances: 2", "instances: 1", 1)))
	w.await(job, "it is tried again", func() bool { return len(w.tasks(job)) > 1 })
	require.Contains(t, w.must("explain", job), "could not start on")
	require.Contains(t, w.must("status", job), "could not start on")
	deploy, err := w.Deploy(w.ctx, job, 1)
	require.NoError(t, err)
	require.Equal(t, api.DeployInProgress, deploy.State)
}
