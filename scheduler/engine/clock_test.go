package engine_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// The loop steps the core when it asked to be, at that time, and not before or
// again and again.
func TestTimersWakeTheLoop(t *testing.T) {
	inBubble(t, func(w *world) {
		var steps atomic.Int64
		w.watch = func(s *engine.Stats) { s.OnStep = func(time.Duration) { steps.Add(1) } }
		w.start()
		w.pass(time.Until(time.Now().Truncate(time.Minute).Add(90 * time.Second))) // half past a minute
		w.do(put(w, api.Spec{Job: "etl/prod/tick", Kind: api.KindCron,
			Schedule: &api.Schedule{Cron: "* * * * *", Overlap: api.OverlapAllow}}))
		begun := steps.Load()
		count := func() int {
			n := 0
			w.engine.View().Runs("etl/prod/tick", "", func(r *record.Run) bool {
				require.Zero(w, r.Instant%60)
				require.Equal(w, r.Instant*1000, r.CreatedAt, "at its instant, not later")
				n++
				return true
			})
			return n
		}
		w.pass(29*time.Second + 999*time.Millisecond)
		require.Zero(w, count())
		require.Equal(w, begun, steps.Load(), "nothing was due")
		w.pass(time.Millisecond)
		require.Equal(w, 1, count())
		w.pass(time.Hour)
		require.Equal(w, 61, count())
		require.LessOrEqual(w, steps.Load()-begun, int64(61))
	})
}

// What is observed is looked at five times a second at most, and the last
// state is seen without another event.
func TestObservedIsThrottled(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.subscribe()
		w.do(service(w, "web/prod/shop", 1))
		w.pass(time.Second)
		var last *core.Observed
		looks := 0
		look := func() {
			if o := w.engine.View().Observed; o != last {
				last = o
				looks++
			}
		}
		look()
		looks = 0
		for i := range 1000 {
			w.deliver(core.Agents{Agents: []core.Agent{{ID: "a1", Host: "h1", Active: true, Total: core.Amounts{CPUs: int64(i)}}}})
			look()
			w.pass(time.Millisecond)
			look()
		}
		require.GreaterOrEqual(w, looks, 4)
		require.LessOrEqual(w, looks, 6)
		w.pass(200 * time.Millisecond)
		require.EqualValues(w, 999, w.engine.View().Observed.Agents[0].Total.CPUs)
		reasons := w.engine.View().Observed.Pending["web/prod/shop"]
		require.Len(w, reasons, 1)
		require.Equal(w, 1, reasons[0].Tasks)
		look()
		looks = 0
		w.pass(10 * time.Second)
		look()
		require.LessOrEqual(w, looks, 1, "not when nothing happens")
	})
}

// A clock that jumps back does not make the loop spin or decide twice.
func TestClockThatJumpsBack(t *testing.T) {
	inBubble(t, func(w *world) {
		var back, steps atomic.Int64
		w.watch = func(s *engine.Stats) { s.OnStep = func(time.Duration) { steps.Add(1) } }
		w.start(func(o *engine.Options) {
			o.Now = func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
		})
		w.do(put(w, api.Spec{Job: "etl/prod/tick", Kind: api.KindCron,
			Schedule: &api.Schedule{Cron: "* * * * *", Overlap: api.OverlapAllow}}))
		w.pass(5 * time.Minute)
		before := steps.Load()
		back.Store(int64(10 * time.Minute))
		w.pass(9 * time.Minute)
		require.LessOrEqual(w, steps.Load()-before, int64(10))
		n := 0
		w.engine.View().Runs("etl/prod/tick", "", func(r *record.Run) bool { n++; return true })
		require.LessOrEqual(w, n, 6)
		w.pass(10 * time.Minute)
		m := 0
		w.engine.View().Runs("etl/prod/tick", "", func(r *record.Run) bool { m++; return true })
		require.Greater(w, m, n, "it goes on once the clock has caught up")
	})
}
