package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// However far the clocks of schedulers differ, each instant of a cron is decided
// once, in order, and none is left out: a leader whose clock is behind waits for
// its clock to come to where the one before it was, and one that is ahead
// decides at once what it is ahead by.
func TestSkew_HandOversNeitherRepeatNorMissInstants(t *testing.T) {
	for _, apart := range []time.Duration{2 * time.Second, 20 * time.Minute, 26 * time.Hour} {
		t.Run(fmt.Sprint(apart), func(t *testing.T) {
			inBubbles(t, 0, func(s *several) {
				var ahead, behind setClock
				s.settleUntil(30 * time.Second) // past a minute
				ahead.set(apart)
				a, b := s.add("a", ahead.options), s.add("b", behind.options)
				s.leads(a)
				cron := put(s, api.Spec{Job: "etl/prod/tick", Kind: api.KindCron, Schedule: &api.Schedule{Cron: "* * * * *",
					Overlap: api.OverlapAllow, Missed: api.MissedAll, MaxRuns: 1000, MaxMissed: 1000}})
				a.do(cron)
				first := ahead.now().Truncate(time.Minute)
				a.pass(3 * time.Minute)
				decided := s.decided(a, first)
				require.Equal(s, 3, decided)

				require.NoError(s, a.engine.StepDown(s.Context()))
				s.settle()
				s.leads(b)
				b.pass(apart - time.Second)
				require.Equal(s, decided, s.decided(b, first), "its clock is not as far yet: it waits, and goes not back")
				b.pass(3 * time.Minute)
				require.Equal(s, decided+3, s.decided(b, first))

				require.NoError(s, b.engine.StepDown(s.Context()))
				s.settle()
				s.leads(a)
				a.pass(time.Second)
				due := int(ahead.now().Truncate(time.Minute).Sub(first) / time.Minute)
				require.Equal(s, due, s.decided(a, first), "what it is ahead by is decided at once")
				a.pass(2 * time.Minute)
				require.Equal(s, due+2, s.decided(a, first))
			})
		})
	}
}

// settleUntil lets time pass.
func (s *several) settleUntil(d time.Duration) {
	time.Sleep(d)
	s.settle()
}

// decided wants all instants after the first up to the last that a scheduler
// shows to be decided once, and returns how many those are. Runs of a bound that
// is exceeded stand for those before them.
func (s *several) decided(w *world, first time.Time) int {
	s.Helper()
	next, n := first.Add(time.Minute), 0
	w.engine.View().Runs("etl/prod/tick", "", func(r *record.Run) bool {
		at := time.Unix(r.Instant, 0)
		if r.Missed > 1 {
			next = next.Add(time.Duration(r.Missed-1) * time.Minute)
			n += int(r.Missed - 1)
		}
		require.Equal(s, next.UTC(), at.UTC(), "%s is the next, and %s was decided (%s)", next.UTC(), at.UTC(), core.StateName(r.State))
		next = next.Add(time.Minute)
		n++
		return true
	})
	require.Equal(s, first.Add(time.Duration(n)*time.Minute).Unix(), w.engine.View().Job("etl/prod/tick").DecidedThrough)
	return n
}
