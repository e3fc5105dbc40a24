package journaltest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// testRestore: what was there stays until Erase, nothing is opened until Finish, and then there is
// what was appended, and nothing else.
func testRestore(t *testing.T, s *Storage) {
	need(t, s.OpenToRestore != nil, "restore it")
	rng := rand.New(rand.NewPCG(5, 1))
	var before model
	j, at, _ := open(t, s)
	for range 3 {
		at = before.add(t, j, at, rng, 10)
		require.NoError(t, j.Compact(t.Context(), before.view(before.last())))
		before.compacted(before.last())
	}
	at = before.add(t, j, at, rng, 10)
	if !s.Shared {
		require.NoError(t, j.Close())
	}

	r, err := s.OpenToRestore()
	require.NoError(t, err)
	require.NoError(t, r.Close(), "which changes nothing")
	if !s.Shared {
		j, at = before.reopen(t, s, j, "opened to restore, and closed")
		require.ErrorIs(t, j.(journal.Restorer).Erase(t.Context()), journal.ErrNotToRestore)
		require.NoError(t, j.Close())
	}

	after := restored(t, s, rng, true)
	if s.Shared {
		require.ErrorIs(t, j.Append(t.Context(), randomGroup(rng, at)), journal.ErrFenced, "who led before may not write into it")
		_, err := j.Lead(t.Context(), new(replayed))
		requireUnfinished(t, err)
	}
	for range 2 {
		_, err = s.Open()
		requireUnfinished(t, err)
	}

	// Another restore may, and what the first left is not among what it gives.
	after = restored(t, s, rng, false)
	j, at, got := open(t, s)
	after.requireEqual(t, got, "restored")
	at = after.add(t, j, at, rng, 10)
	require.NoError(t, j.Compact(t.Context(), after.view(after.last())))
	after.compacted(after.last())
	after.reopen(t, s, j, "and used")
}

func requireUnfinished(t *testing.T, err error) {
	t.Helper()
	require.ErrorAs(t, err, new(*journal.UnfinishedError))
	require.ErrorContains(t, err, "run `perigee state restore` again")
}

// restored restores random groups, and leaves that unfinished or not.
func restored(t *testing.T, s *Storage, rng *rand.Rand, unfinished bool) model {
	t.Helper()
	var m model
	r, err := s.OpenToRestore()
	require.NoError(t, err)
	require.NoError(t, r.Erase(t.Context()))
	require.NoError(t, r.Erase(t.Context()), "once more")
	require.Error(t, r.Finish(t.Context()), "nothing was appended")
	got := new(replayed)
	at, err := r.Lead(t.Context(), got)
	require.NoError(t, err)
	m.requireEqual(t, got, "erased")
	require.Equal(t, uint64(1), at.Index)
	m.add(t, r, at, rng, 20)
	if !unfinished {
		require.NoError(t, r.Finish(t.Context()))
	}
	require.NoError(t, r.Close())
	return m
}

// testFaultyRestore restores with each operation failing. Whatever that comes to, what is opened
// afterwards is what was there before, as long as nothing was erased, or all that was restored.
func testFaultyRestore(t *testing.T, s *Storage) {
	need(t, s.OpenToRestore != nil && s.Fail != nil, "fail an operation of a restore")
	rng := rand.New(rand.NewPCG(5, 2))
	var now model
	j, at, _ := open(t, s)
	now.add(t, j, at, rng, 20)
	require.NoError(t, j.Close())
	unfinished, finished, untouched := 0, 0, 0
	for n := 1; ; n++ {
		var next model
		heal := s.Fail(n, 1)
		err := attempt(t, s, rng, &next)
		failed := heal()
		j, openErr := s.Open()
		if openErr == nil {
			got := new(replayed)
			_, openErr = j.Lead(t.Context(), got)
			_ = j.Close()
			if openErr == nil {
				switch {
				case err == nil || next.last() > 0 && len(got.groups()) > 0 && sameAs(&next, got):
					now = next
					finished++
				default:
					untouched++
				}
				now.requireEqual(t, got, fmt.Sprintf("operation %d of a restore failed: %v", n, err))
			}
		}
		if openErr != nil {
			requireUnfinished(t, openErr)
			unfinished++
			now = restored(t, s, rng, false)
		}
		if !failed {
			require.NoError(t, err)
			break
		}
	}
	t.Logf("of restores that failed %d were not finished, %d changed nothing, %d were finished all the same", unfinished, untouched, finished)
	require.Positive(t, unfinished)
}

// sameAs says whether a replay is that of m.
func sameAs(m *model, r *replayed) bool {
	got := r.groups()
	return len(got) == len(m.groups) && lastIndex(got[len(got)-1]) == m.last() && got[0][0].GetAt() == m.groups[0][0].GetAt()
}

// attempt restores some groups; an append whose outcome is not known is resolved.
func attempt(t *testing.T, s *Storage, rng *rand.Rand, m *model) error {
	r, err := s.OpenToRestore()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Erase(t.Context()); err != nil {
		return err
	}
	at, err := r.Lead(t.Context(), new(replayed))
	if err != nil {
		return err
	}
	for range 6 {
		group := randomGroup(rng, at)
		if err := r.Append(t.Context(), group); err != nil {
			require.ErrorIs(t, err, journal.ErrUnknown)
			if err := r.Resolve(t.Context()); err != nil {
				return err
			}
		}
		m.groups = append(m.groups, group)
		at.Index = lastIndex(group) + 1
	}
	return r.Finish(t.Context())
}
