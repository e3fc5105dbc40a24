package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// A gate is asked once that the deploy is where it asks is durable, and never
// by one who does not lead any more.
func TestGatesAreAskedOnceWhatTheyAreAboutIsDurable(t *testing.T) {
	inBubble(t, func(w *world) {
		var asked []core.AskGate
		w.start(func(o *engine.Options) { o.Ask = func(asks []core.AskGate) { asked = append(asked, asks...) } })
		w.subscribe()
		soon, one := api.Duration(time.Millisecond), 1
		spec := api.Spec{Job: "web/prod/shop", Kind: api.KindService, Instances: &one, Ready: &api.Ready{After: &soon}}
		launched := func() string {
			w.deliver(offer("a1"))
			tasks := w.mesos.launched()
			return tasks[len(tasks)-1]
		}
		runs := func(task string) {
			w.deliver(update(task, "a1", core.MesosRunning))
			w.pass(time.Second)
		}
		w.do(put(w, spec))
		runs(launched())
		spec.Command = "./new"
		spec.Update = &api.Update{Strategy: api.StrategyCanary, Steps: []api.Step{{Name: "half", Instances: "1", Checks: &api.Checks{
			Gate: &api.Gate{URL: "https://checks/shop", Deadline: api.Duration(time.Hour)}}}}}
		d := w.do(put(w, spec))
		task := launched()
		w.journal.close()
		runs(task)
		require.Empty(w, asked)
		w.journal.open()
		w.settle()
		require.Len(w, asked, 1)
		require.Equal(w, "https://checks/shop", asked[0].URL)
		require.Equal(w, "half", asked[0].Question.Step)
		w.deliver(core.GateAnswered{Job: spec.Job, Deploy: d.Deploy, Step: asked[0].Step, Decision: api.GateGo})
		w.pass(time.Second)
		require.EqualValues(w, d.Deploy, w.engine.View().Job(spec.Job).Stable)
		require.Len(w, asked, 1)
	})
}
