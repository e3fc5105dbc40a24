package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

func newQueue(items int) *queue {
	return &queue{itemsMost: items, bytesMost: queueBytesMost, now: time.Now, filled: make(chan struct{}, 1)}
}

// indexes are those of the entries that wait.
func (q *queue) indexes() (out []uint64) {
	for _, t := range q.waiting {
		out = append(out, t.Index)
	}
	return out
}

// What is told while a batch is written waits after it, whether or not the queue
// had to grow for that, and what was written is not written again.
func TestQueueDropsWhatIsWritten(t *testing.T) {
	t.Parallel()
	q := newQueue(1000)
	index := uint64(0)
	tell := func(n int) {
		for range n {
			index++
			q.add(entry(index, task("web/prod/shop", int(index), finished)))
		}
	}
	tell(10)
	for round := range 40 {
		before := q.waiting[0].Index
		batch := q.first(5)
		require.Len(t, batch, 2, "a record and an event each")
		tell(3)
		q.written(batch)
		require.Equal(t, before+2, q.waiting[0].Index)
		require.Len(t, q.waiting, 11+round)
	}
	for len(q.waiting) > 0 {
		q.written(q.first(100))
	}
	items, bytes, _, _ := q.state()
	require.Zero(t, items)
	require.Zero(t, bytes)
}

// A batch that was dropped while it was written takes nothing with it of what was
// told since.
func TestQueueDropsNothingElse(t *testing.T) {
	t.Parallel()
	q := newQueue(6)
	for i := range uint64(3) {
		q.add(entry(i+1, task("web/prod/shop", int(i), finished)))
	}
	batch := q.first(100)
	q.add(entry(4, task("web/prod/shop", 4, finished))) // too much
	require.Empty(t, q.waiting)
	require.True(t, q.again())
	require.False(t, q.again())
	q.add(entry(5, task("web/prod/shop", 5, finished)))
	q.written(batch)
	require.Equal(t, []uint64{5}, q.indexes())
	q.refill(loaded(5))
	require.Equal(t, []uint64{5, 5}, q.indexes())
	require.True(t, q.waiting[0].Anew)
	require.Len(t, q.first(100), 2)
	require.Equal(t, 1, q.overflows())
}

// What was dropped is counted once, however often it was told, by the events that
// are missing.
func TestQueueCountsWhatIsMissing(t *testing.T) {
	t.Parallel()
	q := newQueue(12)
	two := func(index uint64) engine.Durable {
		return entry(index, task("web/prod/shop", int(2*index), finished), task("web/prod/shop", int(2*index)+1, finished))
	}
	q.add(two(1))
	q.add(two(2))
	q.add(loaded(2, two(1), two(2)))
	q.add(two(3)) // too much
	q.add(two(4))
	require.True(t, q.again())
	q.add(two(5))
	q.refill(loaded(5, two(4), two(5)))
	missing := q.waiting[0].missing
	for _, c := range []struct {
		after, through engine.EventID
		want           int
	}{
		{engine.EventID{}, id(3, 1), 6},
		{engine.EventID{}, id(3, 0), 5},
		{id(1, 0), id(3, 1), 5},
		{id(2, 1), id(3, 0), 1},
		{id(3, 1), id(3, 1), 0},
		{id(4, 1), id(9, 1), 0},
		{engine.EventID{}, engine.EventID{Index: 9, Ordinal: 1<<31 - 1}, 8},
	} {
		require.Equal(t, c.want, missing.between(c.after, c.through), "%v to %v", c.after, c.through)
	}

	// Too much again, before what was told anew is written: it adds up.
	q.add(two(6))
	q.add(two(7))
	q.add(two(8))
	require.Empty(t, q.waiting)
	require.True(t, q.again())
	q.refill(loaded(8, two(8)))
	require.Equal(t, 2*7, q.waiting[0].missing.between(engine.EventID{}, id(7, 1)))
}

func TestMissingStaysSmall(t *testing.T) {
	t.Parallel()
	var m missing
	const entries = 3 * missingMost
	for i := range uint64(entries) {
		m.add([]engine.Published{{ID: id(i+1, 0)}, {ID: id(i+1, 1)}})
	}
	require.LessOrEqual(t, len(m.entries), missingMost)
	require.Equal(t, 2*entries, m.between(engine.EventID{}, id(entries, 1)))
}
