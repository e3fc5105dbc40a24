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
	first   = flag.Uint64("sim.first", 1, "the first of these seeds")
	agents  = flag.Int("sim.agents", 20, "agents")
	steps   = flag.Int("sim.steps", 2000, "steps of each seed")
	large   = flag.Int("sim.large", 0, "play this many seeds with 5,000 agents; make sim plays 20")
	mutants = flag.Int("sim.mutants", 0, "play up to this many seeds for each mutant; make sim plays 300")
	keep    = flag.Bool("sim.keep", false, "write the shortest scripts found for the mutants into testdata/scripts")
	script  = flag.String("sim.script", "", "play this script only, in place of seeds")
	shrink  = flag.Duration("sim.shrink", 20*time.Second, "how long to look for a shorter way to the first failure")
)

// The large simulation: more steps, since it takes many to do so much.
const (
	largeAgents = 5000
	largeSteps  = 4000
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
	opts := readScript(t, file).Options()
	if testing.Verbose() {
		opts.Trace = func(line string) { fmt.Println(line) }
	}
	require.NoError(t, Run(opts))
}

// enoughSeeds meet everything that the simulation is about.
const enoughSeeds = 1000

// TestLarge plays seeds with many agents.
func TestLarge(t *testing.T) {
	if *large == 0 {
		t.Skip("play it with -sim.large 20, or make sim")
	}
	play(t, *large, Options{Agents: largeAgents, Steps: largeSteps})
}

// play plays seeds on all processors, and shows the shortest way to
// the first failure.
func play(t *testing.T, seeds int, opts Options) {
	coverage := &Coverage{}
	opts.Coverage = coverage
	var next atomic.Uint64
	next.Store(*first - 1)
	var mu sync.Mutex
	var failures []error
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n >= *first+uint64(seeds) {
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
						next.Store(*first + uint64(seeds))
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

// TestScripts plays what once failed, shortened: it must not fail again. Those
// of mutants are for the next test.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			script := readScript(t, file)
			script.Mutant = MutantNone
			require.NoError(t, Run(script.Options()))
		})
	}
}

func readScript(t *testing.T, file string) Script {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	script, err := ParseScript(string(text))
	require.NoError(t, err)
	return script
}

// TestMutantScripts finds every mutant out, each by its script. Where a change of
// core has made that miss, some seeds do it as well.
func TestMutantScripts(t *testing.T) {
	for _, m := range Mutants {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			script := readScript(t, scriptOf(m))
			require.Equal(t, m, script.Mutant)
			if Run(script.Options()) != nil {
				return
			}
			t.Logf("the script of %q finds nothing out any more; make another with -run TestMutants -sim.mutants 300 -sim.keep", m)
			require.NotNil(t, firstFailure(m, 1, 100), "nor do 100 seeds")
		})
	}
}

// TestMutants breaks the schedulers on purpose and sees that a seed finds out,
// as testdata/scripts does faster.
func TestMutants(t *testing.T) {
	if *mutants == 0 {
		t.Skip("play it with -sim.mutants 300, or make sim")
	}
	var mu sync.Mutex
	found := map[Mutant]string{}
	t.Run("all", func(t *testing.T) {
		for _, m := range Mutants {
			t.Run(string(m), func(t *testing.T) {
				t.Parallel()
				f := firstFailure(m, 1, *mutants)
				require.NotNil(t, f, "not found out in %d seeds", *mutants)
				what, _, _ := strings.Cut(f.What, "\n")
				mu.Lock()
				found[m] = fmt.Sprintf("%4d  %s", f.Options.Seed, what)
				mu.Unlock()
				if *keep {
					require.NoError(t, os.WriteFile(scriptOf(m), []byte(shortest(f)), 0o644))
				}
			})
		}
	})
	var table strings.Builder
	for _, m := range Mutants {
		fmt.Fprintf(&table, "%-56s %s\n", m, found[m])
	}
	t.Logf("%d mutants, the seed that finds each out, and how:\n%s", len(found), table.String())
}

// scriptOf is the file with the script that finds a mutant out.
func scriptOf(m Mutant) string {
	return "testdata/scripts/" + strings.NewReplacer(" ", "-", "'", "").Replace(string(m)) + ".txt"
}

// shortest shrinks a failure, and the next two of its mutant: which of them gets
// short is luck.
func shortest(f *Failure) string {
	steps, text := -1, ""
	for range 3 {
		script, last := Shrink(f, *shrink)
		if steps < 0 || len(script.Steps) < steps {
			steps, text = len(script.Steps), script.Text(last.What, last.Remarks)
		}
		if f = firstFailure(f.Options.Mutant, f.Options.Seed+1, 100); f == nil {
			break
		}
	}
	return text
}

// firstFailure is that of the first of some seeds that finds a mutant out, nil
// if none does.
func firstFailure(m Mutant, first uint64, seeds int) *Failure {
	for n := first; n < first+uint64(seeds); n++ {
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
	f := firstFailure(MutantNoFence, 1, 100)
	require.NotNil(t, f)
	script, last := Shrink(f, time.Hour) // it ends by itself
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
