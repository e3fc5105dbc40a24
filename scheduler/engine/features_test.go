package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
)

// A leader may use what all schedulers know, and hears of one that comes or goes.
func TestFeatures_AreThoseThatAllKnow(t *testing.T) {
	inBubbles(t, 2, func(s *several) {
		usable := func(w *world) []string {
			w.pass(time.Second)
			return w.engine.View().Observed.Features
		}
		require.Empty(s, usable(s.a()), "none of them tells")
		s.a().lease.Know("x", "y")
		require.Empty(s, usable(s.a()), "the other is an older one")
		s.b().lease.Know("y", "z")
		require.Equal(s, []string{"y"}, usable(s.a()))
		older := s.add("c")
		require.Empty(s, usable(s.a()), "an older one has come")
		require.NoError(s, older.stop())
		require.Equal(s, []string{"y"}, usable(s.a()), "it has gone")
		require.Empty(s, usable(s.b()), "only a leader uses any")
		require.NoError(s, s.a().engine.StepDown(s.Context()))
		require.Equal(s, []string{"y"}, usable(s.b()), "the next leader knows too")
	})
}

func TestFeatures_OfOneThatIsAlone(t *testing.T) {
	inBubble(t, func(w *world) {
		w.launch(new(memory.Storage).Open(), func(o *engine.Options) { o.Features = []string{"x"} })
		w.pass(time.Second)
		require.Equal(w, []string{"x"}, w.engine.View().Observed.Features)
	})
}
