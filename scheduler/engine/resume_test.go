package engine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Who has seen the last event that compaction took away resumes: it misses
// nothing. Who has not is told so.
func TestResume_ExactlyWhereWhatIsKeptBegins(t *testing.T) {
	inBubbles(t, 1, func(s *several) {
		t := s.T
		s.a().do(batch(t, "etl/prod/load"))
		s.a().do(runs("etl/prod/load", 3))
		before := s.a().follow("i1-0-0")
		last := before[len(before)-1].ID
		s.a().compactNow() // which writes an entry without events
		s.a().do(runs("etl/prod/load", 2))
		s.a().do(runs("etl/prod/load", 1))
		s.a().compactNow()
		s.a().do(runs("etl/prod/load", 1))
		all := s.a().follow("i1-0-0")
		missed := all[len(before):]
		require.NotEmpty(t, missed)

		check := func(w *world) {
			t.Helper()
			requireSameEvents(w, missed, w.follow(last.String()))
			for _, tooOld := range []engine.EventID{before[len(before)-2].ID, {Incarnation: "i1", Index: 1}, {Incarnation: "i1"}} {
				_, err := w.engine.Follow(tooOld.String())
				var gone *engine.GoneError
				require.ErrorAs(t, err, &gone, tooOld.String())
				require.Equal(t, last.String(), gone.Oldest)
			}
		}
		b := s.add("b")
		check(b) // a standby
		require.NoError(t, s.a().engine.StepDown(t.Context()))
		s.settle()
		s.leads(b)
		b.do(runs("etl/prod/load", 1))
		missed = b.follow(last.String()) // its election is told too
		c := s.add("c")
		check(c)
	})
}

// A log that is cut because it is long says which event was the last to go.
func TestResume_WhereALongLogWasCut(t *testing.T) {
	inBubbles(t, 1, func(s *several) {
		t := s.T
		s.a().do(batch(t, "etl/prod/load"))
		s.a().do(runs("etl/prod/load", 40))
		all := s.a().follow("i1-0-0")
		b := s.add("b", func(o *engine.Options) { o.EventsKeep = 10 })
		_, err := b.engine.Follow("i1-0-0")
		var gone *engine.GoneError
		require.ErrorAs(t, err, &gone)
		kept := b.follow(gone.Oldest)
		require.Len(t, kept, 10)
		requireSameEvents(b, all[len(all)-10:], kept)
	})
}
