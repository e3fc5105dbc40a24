package devcluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster"
)

// TestEphemeral_LeavesNothing ends clusters while containers are launched: at
// whatever moment that is, nothing of them is left.
func TestEphemeral_LeavesNothing(t *testing.T) {
	t.Parallel()
	for n, launched := range []int{0, 1, 3, 6, 10, 15} { // that run when it ends, of twenty
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := t.TempDir()
			t.Cleanup(func() { destroyContainers(t, dir) }) // of a test that failed
			opts := conformanceOptions(dir)
			opts.Ephemeral = true
			c, err := devcluster.Open(opts)
			require.NoError(t, err)
			ctx, end := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			f := subscribe(t, "http://"+c.MasterAddr(), "")
			f.launchMany(20, "sleep 1000 & exec sleep 1000")
			require.Eventually(t, func() bool { return len(inside(t, dir)) >= 2*launched }, 30*time.Second, time.Millisecond)
			end()
			require.NoError(t, <-ended)
			require.Empty(t, inside(t, dir))
		})
	}
}

// TestEphemeral_EndsWhatAnAgentLeft ends a cluster whose agents were stopped,
// and whose containers nobody watches.
func TestEphemeral_EndsWhatAnAgentLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Cleanup(func() { destroyContainers(t, dir) })
	opts := conformanceOptions(dir)
	opts.Ephemeral = true
	c, err := devcluster.Open(opts)
	require.NoError(t, err)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	f := subscribe(t, "http://"+c.MasterAddr(), "")
	f.launch("stays", "exec sleep 1000")
	f.state("stays", "TASK_RUNNING")
	require.NoError(t, c.StopAgent(c.Agents()[0]))
	require.NotEmpty(t, inside(t, dir), "the executor goes on without its agent")
	end()
	require.NoError(t, <-ended)
	require.Empty(t, inside(t, dir))
}

// inside are the command lines of processes that work in a directory.
func inside(t *testing.T, dir string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	require.NoError(t, err)
	var all []string
	for _, link := range links {
		if at, err := os.Readlink(link); err != nil || !strings.HasPrefix(at, dir) {
			continue
		}
		if line, err := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline")); err == nil && len(line) > 0 {
			all = append(all, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return all
}
