package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// TestCoreDoesWhatIsPlanned: for every pair of specs, putting one after the
// other does what the plan said.
func TestCoreDoesWhatIsPlanned(t *testing.T) {
	specs := []string{
		`{}`, `{"instances":3}`, `{"instances":1}`, `{"env":{"V":"1"}}`, `{"env":{"V":"2"},"instances":3}`, `{"owners":["ann"]}`,
		`{"owners":["bob"],"instances":3}`, `{"update":{"batch":2}}`, `{"update":{"strategy":"blue-green"}}`,
		`{"stop":{"grace":"10s"}}`, `{"stop":{"grace":"11s"}}`, `{"labels":{"a":"b"}}`, `{"update":{"retries":2}}`,
	}
	for _, first := range specs {
		for _, then := range specs {
			t.Run(fmt.Sprintf("%s then %s", first, then), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.observed.Agents = []core.AgentStatus{{ID: "a", Host: "a", Active: true, Total: core.Amounts{CPUs: 1e6, Memory: 1e9, Disk: 1e9}}}
				real := newReal(t, w)
				real.put(first)
				real.settle()
				old := w.job.Deploy
				planned := Of(w, &w.observed, real.spec(then))
				before := real.alive()
				result := real.put(then)
				d := w.deploys[w.job.Deploy]
				did := api.PlanDeploy
				switch {
				case !result.Changed:
					did = api.PlanNone
				case w.job.Deploy == old:
					did = api.PlanScale
				case d.Kind == record.DeployKind_DEPLOY_KIND_IN_PLACE:
					did = api.PlanInPlace
				}
				require.Equal(t, planned.Action, did, "planned, and done")
				real.settle()
				var replaced []int
				for i, id := range real.alive() {
					if was := before[i]; was != id && was != "" && int(i) < int(w.job.Instances) {
						replaced = append(replaced, int(i))
					}
				}
				var restarts []int
				for _, b := range planned.Restarts {
					restarts = append(restarts, b.Instances...)
				}
				require.ElementsMatch(t, restarts, replaced, "instances planned to be replaced, and those that were")
				require.Len(t, real.alive(), int(w.job.Instances))
			})
		}
	}
}

// real is a core whose tasks run, and are ready, as soon as they are launched.
type real struct {
	*world
	core   *core.Core
	now    int64
	uuid   int
	offers int
	wake   int64
	reply  core.Result
}

func newReal(t *testing.T, w *world) *real {
	c, err := core.Load(core.Config{}, func(func(string, core.Record) bool) {})
	require.NoError(t, err)
	r := &real{world: w, core: c, now: 1_800_000_000_000}
	r.step(core.Elected{Scheduler: "s", Incarnation: "i"}, core.Connecting{})
	r.step(core.Subscribed{FrameworkID: "f", Master: "m"})
	return r
}

func (r *real) spec(text string) *api.Spec {
	return r.world.spec(`{"job":"web/prod/site","kind":"service","restart":{"min":"1s"}` + strings.Replace(","+strings.TrimPrefix(text, "{"), ",}", "}", 1))
}

func (r *real) put(text string) core.Result {
	spec := r.spec(text)
	canonical, err := spec.Canonical()
	require.NoError(r, err)
	r.step(core.Request{ID: 1, Op: core.PutJob{Spec: spec, Canonical: canonical}})
	return r.reply
}

func (r *real) step(events ...core.Event) {
	for len(events) > 0 {
		ready := r.core.Step(r.now, events)
		events = nil
		for _, w := range ready.Writes {
			r.keep(w)
		}
		for _, reply := range ready.Replies {
			require.Nil(r, reply.Err)
			r.reply = reply.Result
		}
		for _, call := range ready.Calls {
			events = append(events, r.react(call)...)
		}
		r.wake = ready.Wake
	}
}

func (r *real) keep(w core.Write) {
	switch m := w.Record.(type) {
	case *record.Job:
		r.job = m
	case *record.Deploy:
		r.deploys[m.Number] = m
	case *record.Rollout:
		r.rollout = m
	case *record.Task:
		for i, t := range r.tasks {
			if t.Id == m.Id {
				r.tasks[i] = m
				return
			}
		}
		r.tasks = append(r.tasks, m)
	case nil:
		if strings.HasPrefix(w.Key, record.PrefixRollout) {
			r.rollout = nil
		}
	}
}

func (r *real) react(call core.Call) []core.Event {
	switch call := call.(type) {
	case core.Revive:
		r.offers++
		return []core.Event{core.Offers{Offers: []core.Offer{{ID: fmt.Sprint(r.offers), Agent: "a", Host: "a", Free: core.Amounts{CPUs: 1e6, Memory: 1e9, Disk: 1e9}}}}}
	case core.Accept:
		events := []core.Event{}
		for _, l := range call.Launches {
			events = append(events, core.Accepted{Tasks: []string{l.Task}}, r.update(l.Task, core.MesosRunning))
		}
		return append(events, r.react(core.Revive{})...)
	case core.Kill:
		return []core.Event{r.update(call.Task, core.MesosKilled)}
	}
	return nil
}

func (r *real) update(task string, state core.MesosState) core.Event {
	r.uuid++
	return core.Update{Task: task, Agent: "a", State: state, UUID: []byte(fmt.Sprint(r.uuid)), Source: core.SourceExecutor,
		Report: &api.Report{Phase: api.PhaseRun}}
}

// settle lets time pass until a deploy, and the keeping of its old set, is over.
func (r *real) settle() {
	for i := 0; i < 100 && r.wake != 0 && (i < 10 || r.rollout != nil); i++ {
		r.now = max(r.wake, r.now+1)
		r.step(core.ClockBehind{})
	}
	require.Nil(r, r.rollout)
}

// alive is the task of each instance that is not over.
func (r *real) alive() map[uint32]string {
	out := map[uint32]string{}
	for _, t := range r.tasks {
		if !t.State.Terminal() && t.StopAt == 0 {
			out[t.Instance] = t.Id
		}
	}
	return out
}
