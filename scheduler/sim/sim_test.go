package sim

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	seed   = flag.Uint64("sim.seed", 0, "play this seed only")
	seeds  = flag.Int("sim.seeds", 20, "play this many seeds; make sim plays 2,000")
	agents = flag.Int("sim.agents", 20, "agents")
	steps  = flag.Int("sim.steps", 2000, "steps of each seed")
)

// TestSeeds plays random seeds. `make sim` plays many more.
func TestSeeds(t *testing.T) {
	if *seed != 0 {
		opts := Options{Seed: *seed, Agents: *agents, Steps: *steps}
		if testing.Verbose() {
			opts.Trace = func(line string) { fmt.Println(line) }
		}
		require.NoError(t, Run(opts))
		return
	}
	var next atomic.Uint64
	var mu sync.Mutex
	var failures []error
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > uint64(*seeds) {
					return
				}
				if err := Run(Options{Seed: n, Agents: *agents, Steps: *steps}); err != nil {
					mu.Lock()
					failures = append(failures, err)
					enough := len(failures) >= 5
					mu.Unlock()
					if enough {
						next.Store(uint64(*seeds))
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(failures...))
	t.Logf("%d seeds × %d agents × %d steps", *seeds, *agents, *steps)
}

// TestRegressions plays the seeds that once failed.
func TestRegressions(t *testing.T) {
	text, err := os.ReadFile("testdata/regressions.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		var opts Options
		_, err := fmt.Sscan(line, &opts.Seed, &opts.Agents, &opts.Steps)
		require.NoError(t, err, line)
		t.Run(fmt.Sprint(opts.Seed), func(t *testing.T) {
			t.Parallel()
			require.NoError(t, Run(opts), line)
		})
	}
}

// TestMutants breaks the scheduler on purpose and sees that a seed finds out.
func TestMutants(t *testing.T) {
	for _, m := range Mutants {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			for n := uint64(1); n <= 100; n++ {
				if err := Run(Options{Seed: n, Agents: 20, Steps: 2000, Mutant: m}); err != nil {
					what, _, _ := strings.Cut(err.Error(), "\n")
					t.Logf("seed %d: %s", n, what)
					return
				}
			}
			t.Fatal("not found out in 100 seeds")
		})
	}
}
