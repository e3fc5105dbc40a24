package history

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func id(index uint64, ordinal int) engine.EventID {
	return engine.EventID{Incarnation: "b1x7", Index: index, Ordinal: ordinal}
}

// inOrder reads all events after one as a consumer does, who goes on behind gaps,
// which are marked.
func (s *scheduler) inOrder(after engine.EventID, limit int) string {
	s.p.Helper()
	var out []string
	for range 1000 {
		events, err := s.Events(s.p.Context(), after, limit)
		var gap *GapError
		if errors.As(err, &gap) {
			after = gap.Next
			out = append(out, "gap")
			continue
		}
		require.NoError(s.p, err)
		if len(events) == 0 {
			return strings.Join(out, " ")
		}
		for _, e := range events {
			out = append(out, strings.TrimPrefix(e.ID.String(), "b1x7-"))
		}
		after = events[len(events)-1].ID
	}
	s.p.Fatal("events without end")
	return ""
}

func TestTellsEventsInOrder(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		s.Record(loaded(1))
		two := func(n int) []record.Message {
			return []record.Message{task("web/prod/shop", 2*n, finished), task("web/prod/shop", 2*n+1, finished)}
		}
		for i := range 4 {
			s.Record(entry(uint64(i+2), two(i)...))
			s.through(uint64(i + 2))
		}
		const all = "2-0 2-1 3-0 3-1 4-0 4-1 5-0 5-1"
		require.Equal(p, all, s.inOrder(engine.EventID{}, 3))
		require.Equal(p, all, s.inOrder(id(1, 0), 100))
		require.Equal(p, all[12:], s.inOrder(id(3, 0), 1))
		require.Equal(p, "", s.inOrder(id(5, 1), 1))
		require.Equal(p, "gap "+all, s.inOrder(engine.EventID{Incarnation: "none", Index: 7}, 5), "of no known life of the journal")
	})
}

// Events that left the journal while this history was not there are missing, and
// that is known.
func TestKnowsWhatIsMissing(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		s.Record(loaded(1))
		s.Record(entry(2, task("web/prod/shop", 1, finished)))
		s.Record(entry(3, task("web/prod/shop", 2, finished), task("web/prod/shop", 3, finished)))
		s.through(3)
		require.NoError(p, s.stop())

		s = p.start()
		later := loaded(9, entry(8, task("web/prod/shop", 4, finished)), entry(9, task("web/prod/shop", 5, finished)))
		later.Before = id(7, 1)
		s.Record(later)
		s.through(9)
		require.Equal(p, "2-0 3-0 3-1 gap 8-0 9-0", s.inOrder(engine.EventID{}, 2))
		require.Equal(p, "gap 8-0 9-0", s.inOrder(id(5, 0), 2), "in the gap")
		require.NoError(p, s.stop())

		s = p.start() // entries without events are no gap
		later = loaded(12, entry(12, task("web/prod/shop", 6, finished)))
		later.Before = id(9, 1<<31-1)
		s.Record(later)
		s.through(12)
		require.Equal(p, "2-0 3-0 3-1 gap 8-0 9-0 12-0", s.inOrder(engine.EventID{}, 2))
		state := s.State(p.Context())
		require.Len(p, state.Gaps, 1)
		require.Equal(p, "b1x7-3-1", state.Gaps[0].After)
		require.Equal(p, "b1x7-7-1", state.Gaps[0].Through)
		require.Equal(p, began.UnixMilli()+3*60_000, state.Gaps[0].From.UnixMilli())
	})
}

// What was before the first journal that a history was told of is not in it.
func TestBeginsInTheMiddle(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		d := loaded(9, entry(9, task("web/prod/shop", 1, finished)))
		d.Before = id(7, 3)
		s.Record(d)
		s.through(9)
		require.Equal(p, "9-0", s.inOrder(engine.EventID{}, 2))
		require.Equal(p, "gap 9-0", s.inOrder(id(2, 0), 2))
		require.Equal(p, "9-0", s.inOrder(id(7, 3), 2))
		require.Empty(p, s.State(p.Context()).Gaps)
	})
}

// A restore from a backup begins a new life of the journal: what was before stays
// to be read, and what ends again is told as it ended last.
func TestNewIncarnation(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		s.Record(loaded(1))
		s.Record(entry(2, task("web/prod/shop", 1, finished), task("web/prod/shop", 2, finished)))
		s.through(2)
		restored := engine.Durable{Anew: true, Incarnation: "c2y8", Index: 1, Finished: []record.Message{task("web/prod/shop", 1, finished)}}
		s.Record(restored)
		again := entry(2, task("web/prod/shop", 2, failed, ran(0, 50, "h17")))
		again.Incarnation = "c2y8"
		again.Events[0].ID.Incarnation = "c2y8"
		s.Record(again)
		s.through(2)
		p.eventually("the later life's events are there", func() bool { return s.inOrder(engine.EventID{}, 5) == "2-0 2-1 c2y8-2-0" })
		require.Equal(p, "c2y8-2-0", s.inOrder(id(2, 1), 5))
		last, err := s.FindTask(p.Context(), "b1x7-000002")
		require.NoError(p, err)
		require.Equal(p, failed, last.State)

		// A scheduler of the life before must not write any more.
		old := entry(3, task("web/prod/shop", 3, finished))
		s.Record(old)
		p.eventually("it says why not", func() bool {
			return strings.Contains(s.State(p.Context()).Problem, "another cluster of the same name uses this history")
		})
	})
}
