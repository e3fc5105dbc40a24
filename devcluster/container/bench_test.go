package container_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster/container"
	"github.com/perigee-sched/perigee/devcluster/sandbox"
)

// BenchmarkStart measures from Start to the executor's first act, and what the
// supervisor costs meanwhile in memory that no other process shares.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	private := 0
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		box := filepath.Join(dir, strconv.Itoa(i))
		require.NoError(b, sandbox.Create(box, ""))
		ready := filepath.Join(box, "ready")
		require.NoError(b, syscall.Mkfifo(ready, 0o600))
		b.StartTimer()
		p, err := container.Start(container.Spec{Sandbox: box, StateDir: box + ".state", Shell: "echo > ready; exec sleep 1000"})
		require.NoError(b, err)
		_, err = os.ReadFile(ready)
		require.NoError(b, err)
		b.StopTimer()
		private += privateKiB(b, p.Pid())
		require.NoError(b, p.Destroy(context.Background()))
		require.NoError(b, p.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(private)/float64(b.N), "supervisor-private-KiB")
}

func privateKiB(b *testing.B, pid int) (sum int) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	require.NoError(b, err)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "Private_") {
			n, err := strconv.Atoi(fields[1])
			require.NoError(b, err)
			sum += n
		}
	}
	return sum
}
