package container

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An agent that dies before it has checkpointed its container gives no order,
// or a part of one.
func TestSupervise_StartsNothingWithoutAnOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	order := `{"Path":"/bin/sh","Argv":["sh","-c","echo started"],"Env":null,"Owner":null,"StateDir":"` + dir + `"}`
	for _, text := range []string{"", "{", order[:len(order)-1]} {
		out, err := supervisor(text)
		require.EqualError(t, err, "exit status 1", out)
		require.Contains(t, out, "The agent ended before it had said what to start")
		require.NotContains(t, out, "started\n")
		require.NoFileExists(t, filepath.Join(dir, statusFile))
	}
	out, err := supervisor(order)
	require.NoError(t, err, out)
	require.Equal(t, "started\n", out)
	require.FileExists(t, filepath.Join(dir, statusFile))
}

func supervisor(order string) (string, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = supervisorName
	cmd.Stdin = strings.NewReader(order)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestStart_FailsInAProgramThatDoesNotSupervise(t *testing.T) {
	// Not parallel, so no other test runs meanwhile.
	supervises.Store(false)
	defer supervises.Store(true)
	_, err := Start(Spec{Sandbox: t.TempDir(), StateDir: t.TempDir(), Shell: "exit 0"})
	require.ErrorContains(t, err, "does not call container.Supervise")
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	p, err := parseStat("4321 (a) R (b) S 12 34 56 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 9 10\n")
	require.NoError(t, err)
	require.Equal(t, process{pid: 4321, parent: 12, group: 34, session: 56, start: 987654}, p)
	for _, text := range []string{"", "1", "1 (x", "1 (x) S 1 2 3", "1 (x) S a 2 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 5"} {
		_, err := parseStat(text)
		require.Error(t, err, text)
	}
}
