package sim

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// restoreSteps and restoreSeeds are enough for strays, replaced and new tasks to be
// there when a backup of any age is restored.
const (
	restoreSteps = 1200
	restoreSeeds = 12
)

// TestRestore loses the journal and restores a backup of some time before: no task
// is doubled, none is orphaned, none is missing, and ids are used once.
func TestRestore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(restoreSeeds) {
		require.NoError(t, Run(Options{Seed: seed + 1, Agents: 20, Steps: restoreSteps, Restore: true}))
	}
}

// TestRestoreMutant: without waiting for strays, a task is doubled sooner or later.
func TestRestoreMutant(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		err := Run(Options{Seed: seed + 1, Agents: 20, Steps: restoreSteps, Restore: true, Mutant: MutantUnsettled})
		if err != nil {
			require.True(t, strings.Contains(err.Error(), "which the restored backup does not know"), err)
			t.Logf("found out with seed %d", seed+1)
			return
		}
	}
	require.Fail(t, "a state that launches beside strays is not found out")
}
