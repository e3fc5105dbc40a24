package journaltest

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// watched is a replayed that another goroutine may look at.
type watched struct {
	mu sync.Mutex
	replayed
}

func (w *watched) Record(key string, value []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.replayed.Record(key, value)
}

func (w *watched) Past(group []*record.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.replayed.Past(group)
}

func (w *watched) Apply(group []*record.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.replayed.Apply(group)
}

func (w *watched) last() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.applied) == 0 {
		return 0
	}
	return lastIndex(w.applied[len(w.applied)-1])
}

func openFollower(t *testing.T, s *Storage) journal.Follower {
	t.Helper()
	need(t, s.Shared, "open it twice")
	j, err := s.Open()
	require.NoError(t, err)
	f, ok := j.(journal.Follower)
	need(t, ok, "follow it")
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// followTo follows until entry index was passed.
func followTo(t *testing.T, f journal.Follower, w *watched, index uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Follow(ctx, w) }()
	require.Eventually(t, func() bool { return w.last() >= index }, 30*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// testFollow has a standby follow a leader that appends and compacts beside it, and lead in the
// end: all that it was passed in both is what a Lead would have passed it at first.
func testFollow(t *testing.T, s *Storage) {
	standby := openFollower(t, s)
	var m model
	rng := rand.New(rand.NewPCG(20, 1))
	leader, at, _ := open(t, s)
	at = m.add(t, leader, at, rng, 20)
	require.NoError(t, leader.Compact(t.Context(), m.view(m.groups[9][len(m.groups[9])-1].GetIndex())))
	m.compacted(lastIndex(m.groups[9]))
	seen := m // the snapshots as they were when it began
	w := new(watched)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- standby.Follow(ctx, w) }()
	for range 4 {
		at = m.add(t, leader, at, rng, 20)
		require.Eventually(t, func() bool { return w.last() >= m.last() }, 30*time.Second, time.Millisecond)
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	at = m.add(t, leader, at, rng, 5)
	require.NoError(t, leader.Compact(t.Context(), m.view(m.last())))
	now, err := standby.Lead(t.Context(), w)
	require.NoError(t, err)
	require.Equal(t, journal.Position{Epoch: at.Epoch + 1, Index: at.Index}, now)
	seen.groups = m.groups
	seen.requireEqual(t, &w.replayed, "followed, then led")
	require.ErrorIs(t, leader.Append(t.Context(), randomGroup(rng, at)), journal.ErrFenced)
	m.add(t, standby, now, rng, 3)
}

// testFollowBehind has two compactions overtake a standby between its Follow and its Lead: what is
// missing is not skipped.
func testFollowBehind(t *testing.T, s *Storage) {
	standby := openFollower(t, s)
	var m model
	rng := rand.New(rand.NewPCG(21, 1))
	leader, at, _ := open(t, s)
	at = m.add(t, leader, at, rng, 5)
	followTo(t, standby, new(watched), m.last())
	for range 2 {
		at = m.add(t, leader, at, rng, 5)
		require.NoError(t, leader.Compact(t.Context(), m.view(m.last())))
		m.compacted(m.last())
	}
	w := new(watched)
	_, err := standby.Lead(t.Context(), w)
	require.NoError(t, err, "it begins anew at once")
	m.requireEqual(t, &w.replayed, "led anew")
}
