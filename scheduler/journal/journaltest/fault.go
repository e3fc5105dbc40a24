package journaltest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// testFaults runs the same script with the 1st, 2nd, 3rd … storage operation failing, until no
// operation is left to fail. Each time the fault is healed in the middle of the script, and
// everything acknowledged must be there, once, and the journal usable.
func testFaults(t *testing.T, s *Storage) {
	need(t, s.Fail != nil && s.Crash != nil, "fail an operation")
	var m model
	j, at, _ := open(t, s)
	for n := 1; ; n++ {
		rng := rand.New(rand.NewPCG(uint64(n), 14))
		heal := s.Fail(n)
		at = m.survive(t, j, at, rng, heal)
		if !heal() {
			require.Greater(t, n, 3, "the script has that many operations")
			break
		}
		if n%2 == 0 {
			s.Crash(j)
		} else {
			require.NoError(t, j.Close())
		}
		var r *replayed
		j, at, r = open(t, s)
		m.sawCompaction(j) // one that failed may be there all the same
		m.requireEqual(t, r, fmt.Sprintf("operation %d failed", n))
	}
	m.reopen(t, s, j, "at last")
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
	for step := range 600 {
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
