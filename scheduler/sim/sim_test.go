package sim

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	seed    = flag.Uint64("sim.seed", 0, "play this seed only")
	seeds   = flag.Int("sim.seeds", 20, "play this many seeds; make sim plays 2,000")
	agents  = flag.Int("sim.agents", 20, "agents")
	steps   = flag.Int("sim.steps", 2000, "steps of each seed")
	large   = flag.Int("sim.large", 0, "play this many seeds with 5,000 agents; make sim plays 20")
	mutants = flag.Int("sim.mutants", 0, "play up to this many seeds for each mutant; make sim plays 300")
	keep    = flag.Bool("sim.keep", false, "write the shortest scripts found for the mutants into testdata/scripts")
	script  = flag.String("sim.script", "", "play this script only, in place of seeds")
	shrink  = flag.Duration("sim.shrink", 20*time.Second, "how long to look for a shorter way to the first failure")
)

// The large simulation: fewer steps, since each meets so much more.
const (
	largeAgents = 5000
	largeSteps  = 1000
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
	if *script != "" {
		playScript(t, *script)
		return
	}
	play(t, *seeds, Options{Agents: *agents, Steps: *steps})
}

// playScript plays a script that failed, and tells all that happens.
func playScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	script, err := ParseScript(string(text))
	require.NoError(t, err)
	opts := script.Options()
	if testing.Verbose() {
		opts.Trace = func(line string) { fmt.Println(line) }
	}
	require.NoError(t, Run(opts))
}

// enoughSeeds meet everything that the simulation is about.
const enoughSeeds = 500

// TestLarge plays seeds with many agents.
func TestLarge(t *testing.T) {
	if *large == 0 {
		t.Skip("play it with -sim.large 20, or make sim")
	}
	play(t, *large, Options{Agents: largeAgents, Steps: largeSteps})
}

// play plays seeds from 1 up on all processors, and shows the shortest way to
// the first failure.
func play(t *testing.T, seeds int, opts Options) {
	coverage := &Coverage{}
	opts.Coverage = coverage
	var next atomic.Uint64
	var mu sync.Mutex
	var failures []error
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > uint64(seeds) {
					return
				}
				one := opts
				one.Seed = n
				if err := Run(one); err != nil {
					mu.Lock()
					failures = append(failures, err)
					enough := len(failures) >= 5
					mu.Unlock()
					if enough {
						next.Store(uint64(seeds))
					}
				}
			}
		})
	}
	wg.Wait()
	var first *Failure
	if errors.As(errors.Join(failures...), &first) && *shrink > 0 {
		script, f := Shrink(first, *shrink)
		text := script.Text(f.What, f.Remarks)
		file := filepath.Join(os.TempDir(), fmt.Sprintf("sim-seed-%d.txt", first.Options.Seed))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		t.Logf("the shortest script found for seed %d is in %s; play it with\n  go test ./scheduler/sim -run TestSeeds -v -sim.script %s\nand keep it in testdata/scripts:\n%s",
			first.Options.Seed, file, file, text)
	}
	require.NoError(t, errors.Join(failures...))
	t.Logf("%d seeds × %d agents × %d steps\n%s", seeds, opts.Agents, opts.Steps, coverage)
	if seeds >= enoughSeeds {
		require.Empty(t, coverage.Missing(), "no seed met these")
	}
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

// TestScripts plays what once failed, shortened. One of a mutant must fail.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			script, err := ParseScript(string(text))
			require.NoError(t, err)
			err = Run(script.Options())
			if script.Mutant == MutantNone {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			what, _, _ := strings.Cut(string(text), "\n")
			require.Equal(t, rule(strings.TrimPrefix(what, "# ")), rule(err.Error()))
			script.Mutant = MutantNone
			require.NoError(t, Run(script.Options()), "without the mutant")
		})
	}
}

// TestMutants breaks the schedulers on purpose and sees that a seed finds out,
// as testdata/scripts does faster.
func TestMutants(t *testing.T) {
	if *mutants == 0 {
		t.Skip("play it with -sim.mutants 300, or make sim")
	}
	for _, m := range Mutants {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			f := firstFailure(m, *mutants)
			require.NotNil(t, f, "not found out in %d seeds", *mutants)
			what, _, _ := strings.Cut(f.What, "\n")
			t.Logf("seed %d: %s", f.Options.Seed, what)
			if *keep {
				script, last := Shrink(f, *shrink)
				file := "testdata/scripts/" + strings.NewReplacer(" ", "-", "'", "").Replace(string(m)) + ".txt"
				require.NoError(t, os.WriteFile(file, []byte(script.Text(last.What, last.Remarks)), 0o644))
			}
		})
	}
}

func firstFailure(m Mutant, seeds int) *Failure {
	for n := uint64(1); n <= uint64(seeds); n++ {
		var f *Failure
		if errors.As(Run(Options{Seed: n, Agents: 20, Steps: 2000, Mutant: m}), &f) {
			return f
		}
	}
	return nil
}

// TestShrink: what is left of a failure breaks the same rule, and is short.
func TestShrink(t *testing.T) {
	t.Parallel()
	f := firstFailure(MutantDeadline, 100)
	require.NotNil(t, f)
	script, last := Shrink(f, time.Minute)
	require.Equal(t, rule(f.What), rule(last.What))
	require.Less(t, len(script.Steps), 60)
	text := script.Text(last.What, last.Remarks)
	again, err := ParseScript(text)
	require.NoError(t, err)
	require.Equal(t, script, again)
	t.Log("\n" + text)
}

func TestParseScript_NamesTheLine(t *testing.T) {
	t.Parallel()
	_, err := ParseScript("seed 1\n2 dance\n")
	require.EqualError(t, err, `line 2: there is no action "dance"`)
	_, err = ParseScript("seed 1\n\ntwo user\n")
	require.ErrorContains(t, err, "line 3: ")
}
