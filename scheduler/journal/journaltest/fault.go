package journaltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// testFaultyAppends runs the same script with the 1st, 2nd, 3rd … storage operation failing, once or
// several times in a row or until healed, until no operation is left to fail. Everything
// acknowledged must be there, once, and the journal usable.
func testFaultyAppends(t *testing.T, s *Storage) {
	need(t, s.Fail != nil && s.Crash != nil, "fail an operation")
	var m model
	j, at, _ := open(t, s)
	for _, times := range []int{1, 2, math.MaxInt32} {
		n := 1
		for ; ; n++ {
			context := fmt.Sprintf("operation %d failed %d times", n, times)
			rng := rand.New(rand.NewPCG(uint64(n), uint64(times)))
			heal := s.Fail(n, times)
			at = m.survive(t, j, at, rng, heal)
			if !heal() {
				break
			}
			if n%2 == 0 {
				s.Crash(j)
			} else {
				_ = j.Close()
			}
			var r *replayed
			j, at, r = open(t, s)
			m.sawCompaction(j) // one that failed may be there all the same
			m.requireEqual(t, r, context)
		}
		require.Greater(t, n, 3, "the script has that many operations")
	}
	m.reopen(t, s, j, "at last")
}

// testFaultyLead opens and leads with each operation failing: that may fail, and changes nothing.
func testFaultyLead(t *testing.T, s *Storage) {
	need(t, s.Fail != nil, "fail an operation")
	var m model
	rng := rand.New(rand.NewPCG(17, 1))
	j, at, _ := open(t, s)
	for n := 1; ; n++ {
		at = m.add(t, j, at, rng, 5)
		if n%3 == 0 {
			require.NoError(t, j.Compact(t.Context(), m.view(m.last())))
			m.compacted(m.last())
		}
		require.NoError(t, j.Close())
		heal := s.Fail(n, 1)
		if failing, err := s.Open(); err == nil {
			_, _ = failing.Lead(t.Context(), new(replayed))
			_ = failing.Close()
		}
		failed := heal()
		var r *replayed
		j, at, r = open(t, s)
		m.requireEqual(t, r, fmt.Sprintf("operation %d of a lead failed", n))
		if !failed {
			return
		}
	}
}

// survive appends and compacts with a fault to come; an append of unknown outcome is resolved in
// vain, then healed, then resolved.
func (m *model) survive(t *testing.T, j journal.Journal, at journal.Position, rng *rand.Rand, heal func() bool) journal.Position {
	t.Helper()
	for step := range 8 {
		if step == 4 {
			_ = j.Compact(t.Context(), m.view(m.last())) // fails or not; see sawCompaction
			m.sawCompaction(j)
			continue
		}
		group := randomGroup(rng, at)
		if err := j.Append(t.Context(), group); err != nil {
			require.ErrorIs(t, err, journal.ErrUnknown)
			require.ErrorIs(t, j.Append(t.Context(), group), journal.ErrUnknown, "the first must be resolved")
			if err := j.Resolve(t.Context()); err != nil {
				require.ErrorIs(t, err, journal.ErrUnknown)
				heal()
				require.NoError(t, j.Resolve(t.Context()))
			}
		}
		require.NoError(t, j.Resolve(t.Context()), "it is resolved")
		m.groups = append(m.groups, group)
		at.Index = lastIndex(group) + 1
	}
	return at
}

func (m *model) sawCompaction(j journal.Journal) { m.compacted(j.Stat().Snapshot) }

const randomSeeds = 4

// testRandom drives journal and model with the same random operations.
func testRandom(t *testing.T, s *Storage, seed uint64) {
	var m model
	rng := rand.New(rand.NewPCG(seed, 15))
	j, at, _ := open(t, s)
	for step := range 300 {
		context := fmt.Sprintf("seed %d, step %d", seed, step)
		switch dice := rng.IntN(100); {
		case dice < 70:
			at = m.add(t, j, at, rng, 1)
		case dice < 75:
			wrong := at
			wrong.Index += 1 + uint64(rng.IntN(5))
			require.ErrorIs(t, j.Append(t.Context(), randomGroup(rng, wrong)), journal.ErrRefused, context)
		case dice < 80 && at.Epoch > 1:
			old := at
			old.Epoch--
			require.ErrorIs(t, j.Append(t.Context(), randomGroup(rng, old)), journal.ErrFenced, context)
		case dice < 86 && len(m.groups) > 0:
			index := lastIndex(m.groups[rng.IntN(len(m.groups))])
			require.NoError(t, j.Compact(t.Context(), m.view(index)), context)
			m.compacted(index)
		case dice < 90:
			r := new(replayed)
			again, err := j.Lead(t.Context(), r)
			require.NoError(t, err, context)
			m.requireEqual(t, r, context)
			at = again
		case dice < 95:
			j, at = m.reopen(t, s, j, context)
		case s.Crash != nil:
			s.Crash(j)
			var r *replayed
			j, at, r = open(t, s)
			m.requireEqual(t, r, context)
		}
	}
	m.reopen(t, s, j, "at last")
}
