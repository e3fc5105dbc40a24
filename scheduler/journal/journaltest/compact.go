package journaltest

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func testSnapshot(t *testing.T, s *Storage) {
	var m model
	rng := rand.New(rand.NewPCG(10, 1))
	j, at, _ := open(t, s)
	for round := range 6 {
		at = m.add(t, j, at, rng, 20)
		index := m.last()
		src := m.view(index)
		at = m.add(t, j, at, rng, 5) // the view is older than the journal
		before := j.Stat()
		require.NoError(t, j.Compact(t.Context(), src))
		require.NoError(t, j.Compact(t.Context(), src), "again is no work")
		m.compacted(index)
		after := j.Stat()
		require.Equal(t, index, after.Snapshot)
		require.Positive(t, after.SnapshotBytes)
		require.Less(t, after.LogBytes, before.LogBytes)
		require.Positive(t, after.LogBytes, "five groups came after the snapshot")
		at = m.add(t, j, at, rng, 5)
		j, at = m.reopen(t, s, j, fmt.Sprintf("after compaction %d", round+1))
		require.Equal(t, index, j.Stat().Snapshot)
	}
	require.NoError(t, j.Compact(t.Context(), m.view(m.snapshots[1])), "an older view is no work")
	m.reopen(t, s, j, "after an older view")
}

// backwards yields its records in the wrong order.
type backwards struct{ *view }

func (backwards) Records(string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		_ = yield("b", nil) && yield("a", nil)
	}
}

func testBadSource(t *testing.T, s *Storage) {
	var m model
	rng := rand.New(rand.NewPCG(11, 1))
	j, at, _ := open(t, s)
	m.add(t, j, at, rng, 5)
	require.ErrorContains(t, j.Compact(t.Context(), backwards{m.view(m.last())}), `key "a" comes after "b"`)
	require.ErrorContains(t, j.Compact(t.Context(), &view{index: m.last() + 1}), "last durable")
	require.Zero(t, j.Stat().Snapshot)
	m.reopen(t, s, j, "after a bad source")
}

func testCompactBesideAppends(t *testing.T, s *Storage) {
	var m model
	rng := rand.New(rand.NewPCG(12, 1))
	j, at, _ := open(t, s)
	views := make(chan *view, 1)
	var group errgroup.Group
	group.Go(func() error {
		for v := range views {
			if err := j.Compact(t.Context(), v); err != nil {
				return err
			}
			if got := j.Stat().Snapshot; got != v.index {
				return fmt.Errorf("newest snapshot is %d, want %d", got, v.index)
			}
		}
		return nil
	})
	for range 60 {
		at = m.add(t, j, at, rng, 5)
		select {
		case views <- m.view(m.last()):
			m.compacted(m.last())
		default: // the compactor is still busy
		}
	}
	close(views)
	require.NoError(t, group.Wait())
	require.NotEmpty(t, m.snapshots)
	m.reopen(t, s, j, "after compactions beside appends")
}

func testDamagedSnapshot(t *testing.T, s *Storage) {
	need(t, s.DamageSnapshot != nil, "damage a snapshot")
	var m model
	rng := rand.New(rand.NewPCG(13, 1))
	j, at, _ := open(t, s)
	for round := range 3 {
		at = m.add(t, j, at, rng, 10)
		require.NoError(t, j.Compact(t.Context(), m.view(m.last())))
		m.compacted(m.last())
		m.add(t, j, at, rng, 10)
		require.NoError(t, j.Close())
		require.NoError(t, s.DamageSnapshot())
		m.snapshots = m.snapshots[1:]
		var r *replayed
		j, at, r = open(t, s)
		require.NoError(t, r.problem)
		requireState(t, m.state(m.last()), r.state(), fmt.Sprintf("snapshot %d damaged", round+1))
		require.Equal(t, m.last(), lastIndex(r.groups()[len(r.groups())-1]))
		at = m.add(t, j, at, rng, 3)
		require.NoError(t, j.Compact(t.Context(), m.view(m.last())))
		m.compacted(m.last())
		j, at = m.reopen(t, s, j, "compacted after the damage")
	}
}
