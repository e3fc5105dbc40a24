package journaltest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// open opens and leads, and closes at the end of the test.
func open(t *testing.T, s *Storage) (journal.Journal, journal.Position, *replayed) {
	t.Helper()
	j, err := s.Open()
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	r := new(replayed)
	at, err := j.Lead(t.Context(), r)
	require.NoError(t, err)
	return j, at, r
}

// add appends n random groups to journal and model and returns the next position.
func (m *model) add(t *testing.T, j journal.Journal, at journal.Position, rng *rand.Rand, n int) journal.Position {
	t.Helper()
	for range n {
		group := randomGroup(rng, at)
		require.NoError(t, j.Append(t.Context(), group))
		m.groups = append(m.groups, group)
		at.Index = lastIndex(group) + 1
	}
	return at
}

// reopen closes the journal and compares what is found afterwards with the model.
func (m *model) reopen(t *testing.T, s *Storage, j journal.Journal, context string) (journal.Journal, journal.Position) {
	t.Helper()
	require.NoError(t, j.Close())
	j, at, r := open(t, s)
	m.requireEqual(t, r, context)
	require.Equal(t, m.last()+1, at.Index, context)
	return j, at
}

func testEmpty(t *testing.T, s *Storage) {
	j, at, r := open(t, s)
	require.Equal(t, journal.Position{Epoch: 1, Index: 1}, at)
	require.Empty(t, r.groups())
	require.Empty(t, r.records)
	require.Equal(t, journal.Stat{}, j.Stat())
	require.NoError(t, j.Resolve(t.Context()), "nothing is open")
}

func testReplay(t *testing.T, s *Storage) {
	var m model
	rng := rand.New(rand.NewPCG(1, 1))
	j, at, _ := open(t, s)
	at = m.add(t, j, at, rng, 50)
	big := &record.Entry{Index: at.Index, Epoch: at.Epoch, Puts: []*record.Put{{Key: "a", Value: bytes.Repeat([]byte("s"), 490<<10)}}}
	nothing := &record.Entry{Index: at.Index + 1, Epoch: at.Epoch}
	for _, e := range []*record.Entry{big, nothing} {
		require.NoError(t, j.Append(t.Context(), []*record.Entry{e}))
		m.groups = append(m.groups, []*record.Entry{e})
	}
	require.Equal(t, m.last(), j.Stat().Index)
	require.Greater(t, j.Stat().LogBytes, int64(490<<10))
	for range 5 {
		j, at = m.reopen(t, s, j, "reopened")
		m.add(t, j, at, rng, 3)
	}
	m.reopen(t, s, j, "reopened at last")
}

func testEpoch(t *testing.T, s *Storage) {
	var m model
	j, at, _ := open(t, s)
	rng := rand.New(rand.NewPCG(2, 1))
	for want := at.Epoch; want < at.Epoch+20; want++ {
		r := new(replayed)
		if want > at.Epoch {
			again, err := j.Lead(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, journal.Position{Epoch: want, Index: m.last() + 1}, again)
			m.requireEqual(t, r, "led again")
		}
		if want%2 == 0 { // an epoch counts also when nothing was appended in it
			m.add(t, j, journal.Position{Epoch: want, Index: m.last() + 1}, rng, 2)
		}
	}
}

func testFenced(t *testing.T, s *Storage) {
	var m model
	rng := rand.New(rand.NewPCG(3, 1))
	j, old, _ := open(t, s)
	old = m.add(t, j, old, rng, 3)
	now, err := j.Lead(t.Context(), new(replayed))
	require.NoError(t, err)
	require.ErrorIs(t, j.Append(t.Context(), randomGroup(rng, old)), journal.ErrFenced)
	m.add(t, j, now, rng, 3)
	m.reopen(t, s, j, "after a fenced append")
}

func testFencedByAnother(t *testing.T, s *Storage) {
	need(t, s.Shared, "open it twice")
	var m model
	rng := rand.New(rand.NewPCG(4, 1))
	first, old, _ := open(t, s)
	old = m.add(t, first, old, rng, 3)
	second, now, r := open(t, s)
	m.requireEqual(t, r, "seen by the second")
	require.Greater(t, now.Epoch, old.Epoch)
	require.ErrorIs(t, first.Append(t.Context(), randomGroup(rng, old)), journal.ErrFenced)
	require.ErrorIs(t, first.Compact(t.Context(), m.view(m.last())), journal.ErrFenced)
	m.add(t, second, now, rng, 3)
	require.ErrorIs(t, first.Append(t.Context(), randomGroup(rng, old)), journal.ErrFenced)
	m.reopen(t, s, second, "after fenced appends")
}

func testRefused(t *testing.T, s *Storage) {
	var m model
	rng := rand.New(rand.NewPCG(5, 1))
	unled, err := s.Open()
	require.NoError(t, err)
	require.ErrorIs(t, unled.Append(t.Context(), randomGroup(rng, journal.Position{Epoch: 1, Index: 1})), journal.ErrRefused)
	require.NoError(t, unled.Close())
	j, at, _ := open(t, s)
	at = m.add(t, j, at, rng, 3)
	entry := func(change func(e *record.Entry)) *record.Entry {
		e := &record.Entry{Index: at.Index, Epoch: at.Epoch, Puts: []*record.Put{{Key: "wrong"}}}
		change(e)
		return e
	}
	for what, group := range map[string][]*record.Entry{
		"no entry":             {},
		"a gap":                {entry(func(e *record.Entry) { e.Index++ })},
		"an index used before": {entry(func(e *record.Entry) { e.Index-- })},
		"an epoch never won":   {entry(func(e *record.Entry) { e.Epoch++ })},
		"a group without end":  {entry(func(e *record.Entry) { e.Continued = true })},
		"two groups":           {entry(func(*record.Entry) {}), entry(func(e *record.Entry) { e.Index++ })},
		"a gap within": {entry(func(e *record.Entry) { e.Continued = true }),
			entry(func(e *record.Entry) { e.Index += 2 })},
		"an entry too big": {entry(func(e *record.Entry) { e.Puts[0].Value = make([]byte, journal.MaxEntryBytes) })},
	} {
		err := j.Append(t.Context(), group)
		require.ErrorIs(t, err, journal.ErrRefused, what)
		require.False(t, errors.Is(err, journal.ErrUnknown), what)
		at = m.add(t, j, at, rng, 1)
	}
	m.reopen(t, s, j, "after refused appends")
}

func testContext(t *testing.T, s *Storage) {
	var m model
	rng := rand.New(rand.NewPCG(6, 1))
	j, at, _ := open(t, s)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err := j.Append(ended, randomGroup(rng, at))
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, errors.Is(err, journal.ErrUnknown))
	m.add(t, j, at, rng, 2)
	require.ErrorIs(t, j.Compact(ended, m.view(m.last())), context.Canceled)
	m.reopen(t, s, j, "after an ended context")
}

func testClosed(t *testing.T, s *Storage) {
	j, at, _ := open(t, s)
	require.NoError(t, j.Close())
	require.NoError(t, j.Close(), "closing twice is no error")
	require.ErrorIs(t, j.Append(t.Context(), randomGroup(rand.New(rand.NewPCG(7, 1)), at)), journal.ErrClosed)
	require.ErrorIs(t, j.Resolve(t.Context()), journal.ErrClosed)
	require.ErrorIs(t, j.Compact(t.Context(), &view{index: 1}), journal.ErrClosed)
	_, err := j.Lead(t.Context(), new(replayed))
	require.ErrorIs(t, err, journal.ErrClosed)
}

func testOpenGroup(t *testing.T, s *Storage) {
	need(t, s.Leave != nil, "leave a group open")
	var m model
	rng := rand.New(rand.NewPCG(8, 1))
	j, at, _ := open(t, s)
	at = m.add(t, j, at, rng, 3)
	for range 3 {
		require.NoError(t, j.Close())
		var left []*record.Entry
		for i := range uint64(2) {
			left = append(left, &record.Entry{Index: at.Index + i, Epoch: at.Epoch, Continued: true,
				Puts: []*record.Put{{Key: "never"}}, Events: [][]byte{{1}}})
		}
		require.NoError(t, s.Leave(left))
		var r *replayed
		j, at, r = open(t, s)
		m.requireEqual(t, r, "with an open group at the tail")
		at = m.add(t, j, at, rng, 2)
		require.NoError(t, j.Close())
		j, at, r = open(t, s)
		m.requireEqual(t, r, "with a newer epoch after the open group")
		require.NoError(t, j.Compact(t.Context(), m.view(m.last())))
		m.compacted(m.last())
		at = m.add(t, j, at, rng, 1)
	}
	require.NoError(t, j.Close())
	_, _, r := open(t, s)
	m.requireEqual(t, r, "compacted")
}
