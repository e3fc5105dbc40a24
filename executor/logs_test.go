package executor_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func TestLogs_RotateExactly(t *testing.T) {
	t.Parallel()
	d := definition("seq 1 20000; echo end >&2")
	d.Spec.Logs = &api.Logs{Size: 50_000, Keep: 5}
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	var whole strings.Builder
	for _, name := range []string{"stdout.4", "stdout.3", "stdout.2", "stdout.1", "stdout"} {
		part := r.file("logs/" + name)
		require.LessOrEqual(t, len(part), 50_000)
		require.True(t, part == "" || strings.HasSuffix(part, "\n"), "lines stay whole")
		whole.WriteString(part)
	}
	var want strings.Builder
	for i := 1; i <= 20000; i++ {
		want.WriteString(strconv.Itoa(i) + "\n")
	}
	require.Equal(t, want.String(), whole.String())
	require.Equal(t, "end\n", r.file("logs/stderr"))
}

func TestLogs_KeepNoMoreThanAsked(t *testing.T) {
	t.Parallel()
	d := definition("yes | head -c 1000000")
	d.Spec.Logs = &api.Logs{Size: 10_000, Keep: 3}
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	entries, err := os.ReadDir(filepath.Join(r.sandbox, "logs"))
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(10_000))
		names = append(names, e.Name())
	}
	require.Equal(t, []string{"stderr", "stdout", "stdout.1", "stdout.2"}, names)
}
