package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
)

// patience is how long anything may take that tests wait for, on two cores
// that do other things too.
const patience = 75 * time.Second

// realMesos is the master to test against; devcluster when "".
var realMesos = os.Getenv("PERIGEE_TEST_MESOS")

// needsOwnCluster skips a test that restarts the cluster.
func needsOwnCluster(t *testing.T) {
	t.Helper()
	if realMesos != "" {
		t.Skip("this test restarts the Mesos cluster, which it may not do with that of PERIGEE_TEST_MESOS")
	}
}

// world is a scheduler as one test sees it, with jobs of its own.
type world struct {
	*testing.T
	*client.Client
	ctx     context.Context
	url     string
	team    string
	witness *witness
}

// begin is the world of a test that shares the scheduler with others. The
// test's jobs are removed at its end.
func begin(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	require.NoError(t, shared.open())
	w := see(t, shared.scheduler.url)
	t.Cleanup(w.removeAll)
	return w
}

// see is the world of a scheduler.
func see(t *testing.T, url string) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	c, err := client.New(url, client.WithActor("tester"), client.WithPatience(20*time.Second))
	require.NoError(t, err)
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	return &world{T: t, Client: c, ctx: ctx, url: url, team: program.Again(name[max(0, len(name)-58):]), witness: newWitness(t)}
}

func (w *world) removeAll() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	page, err := w.Jobs(ctx, client.JobFilter{Team: w.team})
	if err != nil {
		w.Logf("list the jobs that are left: %v", err)
		return
	}
	for _, j := range page.Items {
		if _, err := w.RemoveJob(ctx, j.Job, client.WriteOptions{}); err != nil {
			w.Logf("remove %s: %v", j.Job, err)
		}
	}
}

// job is the name of one of the test's jobs.
func (w *world) job(name string) string { return w.team + "/test/" + name }

// file writes a job file, with JOB, WITNESS and SHA256 filled in.
func (w *world) file(name, text string) string {
	w.Helper()
	text = strings.NewReplacer("job: JOB", "job: "+w.job(name), "WITNESS", w.witness.url, "SHA256", pexSum(w.T)).Replace(text)
	path := filepath.Join(w.TempDir(), name+".yaml")
	require.NoError(w, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// result is how a command of the command line ended.
type result struct {
	code        int
	out, errors string
}

// cli runs the command line.
func (w *world) cli(args ...string) result {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	c := exec.CommandContext(ctx, built.perigee, args...)
	c.Env = program.Environment(w.url)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(w, err)
	}
	require.NoError(w, ctx.Err(), "perigee %v does not end; it wrote:\n%s%s", args, &out, &errs)
	return result{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must is cli for commands that are to succeed; it returns their output.
func (w *world) must(args ...string) string {
	w.Helper()
	r := w.cli(args...)
	require.Zero(w, r.code, "perigee %v: %s%s", args, r.out, r.errors)
	return r.out
}

// following starts a command that goes on until the test ends.
func (w *world) following(args ...string) *program.Lines {
	w.Helper()
	c := exec.Command(built.perigee, args...)
	c.Env = program.Environment(w.url)
	out := program.NewLines()
	c.Stdout, c.Stderr = out, out
	require.NoError(w, c.Start())
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // it is interrupted
		out.End()
		close(ended)
	}()
	w.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGINT)
		<-ended
	})
	return out
}

// awaitLine waits for a line that contains a part.
func (w *world) awaitLine(l *program.Lines, part string) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	line, err := l.Await(ctx, part)
	require.NoError(w, err)
	return line
}

// await waits until a condition of a job holds. It looks after each event of
// the job, and now and then for what has none, such as why something waits.
func (w *world) await(job, what string, holds func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	events, err := w.Events(ctx, client.EventFilter{Job: job})
	require.NoError(w, err)
	defer events.Close()
	for !holds() {
		require.NoError(w, ctx.Err(), "%s: %s\n%s", job, what, w.cliQuietly("status", job))
		wait, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		_, err := events.Next(wait)
		require.True(w, err == nil || wait.Err() != nil, "follow events: %v", err)
		cancel()
	}
}

// cliQuietly is for messages.
func (w *world) cliQuietly(args ...string) string {
	c := exec.Command(built.perigee, args...)
	c.Env = program.Environment(w.url)
	out, _ := c.CombinedOutput()
	return string(out)
}

// jobNow is a job as it is now.
func (w *world) jobNow(job string) *api.Job {
	w.Helper()
	j, err := w.Job(w.ctx, job)
	require.NoError(w, err)
	return j
}

// tasks are a job's, the ended ones too, oldest first.
func (w *world) tasks(job string) []api.Task {
	w.Helper()
	page, err := w.Tasks(w.ctx, client.TaskFilter{Job: job, Ended: true, Limit: 1000})
	require.NoError(w, err)
	return page.Items
}

// awaitFailure waits until a task of a job has failed, and returns it.
func (w *world) awaitFailure(job string) api.Task {
	w.Helper()
	var found api.Task
	w.await(job, "a task fails", func() bool {
		for _, t := range w.tasks(job) {
			if t.State == "failed" || t.State == "lost" {
				found = t
				return true
			}
		}
		return false
	})
	return found
}
