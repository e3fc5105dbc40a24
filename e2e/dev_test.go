package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
)

// startDev starts `perigee dev` with its state in a directory, and waits until it
// is ready.
func startDev(t *testing.T, dir, listen string) (*program.Process, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := program.Start(built.dir, filepath.Base(dir), built.perigee, "dev", "--dir", dir, "--api-listen", listen,
		"--first-port", fmt.Sprint(firstPort()+200), "--examples", built.examples)
	require.NoError(t, err)
	line, err := p.Stdout.Await(ctx, "API ")
	require.NoError(t, err)
	return p, strings.Fields(line)[1]
}

// perigee dev runs the examples; it is killed with -9 while runs are at work,
// and started again; then it is interrupted, and leaves nothing behind.
func TestDev(t *testing.T) {
	needsOwnCluster(t)
	t.Parallel()
	dir := filepath.Join(built.dir, program.Again("dev"))
	dev, url := startDev(t, dir, "127.0.0.1:0")
	t.Cleanup(func() { _ = dev.Cmd.Process.Signal(syscall.SIGINT) }) // when the test failed early
	w := see(t, url)
	w.awaitLine(dev.Stdout, "web/devel/hello  deploy succeeded")
	require.Regexp(t, `(?m)^web/devel/hello +service +running +2/2 ready`, w.must("status"))
	require.Regexp(t, `(?m)^web/devel/tick +cron`, w.must("status"))
	require.Contains(t, w.must("logs", "web/devel/hello"), "1 │ listening on")
	require.Equal(t, "the sum of 1 to 1000 is 500500\n", w.must("run", "web/devel/sum", "--param", "to=1000", "--logs"))
	require.Contains(t, w.must("explain", "web/devel/hello"), "Nothing waits, and nothing fails.")

	web, long := w.job("web"), w.job("long")
	w.must("deploy", w.file("web", service))
	w.must("deploy", w.file("long", batch))
	w.must("run", long, "-p", "gate=during")
	w.must("run", long, "-p", "gate=after")
	w.witness.await("begin", 2)
	instances := w.witness.await("start", 2)
	before := w.must("status", web)

	require.NoError(t, dev.End(w.ctx, os.Kill))
	w.witness.open("during") // ends while nobody is there
	w.witness.await("end", 1)
	dev, again := startDev(t, dir, strings.TrimPrefix(url, "http://"))
	require.Equal(t, url, again)
	w.witness.open("after")
	w.await(long, "both runs succeed", func() bool { return strings.Count(w.must("runs", long), "succeeded") == 2 })
	w.awaitReady(web, 2)
	w.awaitReady("web/devel/hello", 2)
	for _, n := range instances {
		require.True(t, program.Alive(n.pid), "task %s did not survive", n.task)
		require.Contains(t, before, n.task)
		require.Contains(t, w.must("status", web), n.task)
	}
	require.Len(t, w.witness.told("start"), 2)
	require.Len(t, w.witness.told("begin"), 2)
	require.Len(t, w.witness.told("end"), 2)
	require.Contains(t, w.must("deploys", "web/devel/hello"), "example of perigee dev")
	require.NotContains(t, w.must("deploys", "web/devel/hello"), "\n2 ")

	// The instance that is killed after the restart is replaced as ever.
	require.NoError(t, syscall.Kill(instances[0].pid, syscall.SIGKILL))
	w.witness.await("start", 3)
	w.awaitReady(web, 2)

	require.NoError(t, dev.End(w.ctx, syscall.SIGINT))
	require.Zero(t, dev.Cmd.ProcessState.ExitCode())
	for _, n := range w.witness.told("start") {
		require.False(t, program.Alive(n.pid), "task %s lives on", n.task)
		require.False(t, program.Alive(n.parent), "the executor of %s lives on", n.task)
	}
}
