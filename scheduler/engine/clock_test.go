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

// setClock is a wall clock that can be set; the monotonic one cannot.
type setClock struct{ by atomic.Int64 }

func (c *setClock) now() time.Time            { return time.Now().Round(0).Add(time.Duration(c.by.Load())) }
func (c *setClock) set(by time.Duration)      { c.by.Add(int64(by)) }
func (c *setClock) options(o *engine.Options) { o.Now = c.now }

// everyMinute is a cron; instants returns those decided.
func everyMinute(w *world) core.PutJob {
	return put(w, api.Spec{Job: "etl/prod/tick", Kind: api.KindCron,
		Schedule: &api.Schedule{Cron: "* * * * *", Overlap: api.OverlapAllow, MaxRuns: 1000}})
}

func instants(w *world) (all []string) {
	w.engine.View().Runs("etl/prod/tick", "", func(r *record.Run) bool {
		all = append(all, time.Unix(r.Instant, 0).UTC().Format("15:04 ")+core.StateName(r.State))
		return true
	})
	return all
}

// While a clock that was set back by an hour catches up, what waits for a
// duration comes, in at most twice the time; crons wait for the clock, and
// repeat nothing.
func TestClockThatIsSetBack(t *testing.T) {
	inBubble(t, func(w *world) {
		var clock setClock
		var steps atomic.Int64
		w.watch = func(s *engine.Stats) { s.OnStep = func(time.Duration) { steps.Add(1) } }
		w.start(clock.options) // at midnight
		w.subscribe()
		w.do(everyMinute(w))
		w.do(service(w, "web/prod/shop", 1))
		w.deliver(offer("a1"))
		w.pass(2*time.Minute + 30*time.Second)
		require.Equal(w, []string{"00:01 active", "00:02 active"}, instants(w))

		clock.set(-time.Hour)
		id := w.mesos.launched()[0]
		w.deliver(update(id, "a1", core.MesosRunning))
		w.pass(9 * time.Second)
		require.False(w, w.engine.View().Task(id).Ready)
		w.pass(time.Second)
		require.True(w, w.engine.View().Task(id).Ready, "it ran for 5 s of its time")
		w.do(core.KillTask{Task: id})
		kills := func() (n int) {
			for _, c := range w.mesos.all() {
				if k, is := c.(core.Kill); is && k.Task == id {
					n++
				}
			}
			return n
		}
		require.Equal(w, 1, kills())
		w.pass(20 * time.Second)
		require.Equal(w, 2, kills(), "again after 10 s of its time")

		w.deliver(update(id, "a1", core.MesosKilled))
		begun := steps.Load()
		w.pass(time.Hour - time.Millisecond)
		require.Len(w, instants(w), 2)
		require.Less(w, steps.Load()-begun, int64(100), "it does not spin")
		w.pass(time.Millisecond) // 30 s to 00:03
		require.Equal(w, []string{"00:01 active", "00:02 active", "00:03 active"}, instants(w))
		w.pass(2 * time.Minute)
		require.Equal(w, []string{"00:01 active", "00:02 active", "00:03 active", "00:04 active", "00:05 active"}, instants(w))

		behind := func() time.Duration {
			w.do(service(w, "web/prod/other", 1))
			w.do(core.ScaleJob{Job: "web/prod/other", Instances: 0})
			at := time.UnixMilli(w.engine.View().Job("web/prod/other").UpdatedAt)
			w.do(core.RemoveJob{Job: "web/prod/other"})
			return at.Sub(clock.now())
		}
		require.InDelta(w, 29*time.Minute, behind(), float64(time.Minute))
		w.pass(time.Hour)
		require.Zero(w, behind(), "two hours later it has caught up")
	})
}

// A clock that is set forward is followed at once, also when nothing else
// happens.
func TestClockThatIsSetForward(t *testing.T) {
	inBubble(t, func(w *world) {
		var clock setClock
		w.start(clock.options)
		w.do(everyMinute(w))
		w.pass(30 * time.Second)
		require.Empty(w, instants(w))
		clock.set(2 * time.Minute)
		w.pass(10 * time.Second)
		require.Equal(w, []string{"00:01 missed", "00:02 active"}, instants(w))
	})
}
