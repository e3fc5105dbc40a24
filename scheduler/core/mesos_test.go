package core

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// A new leader lets what is pending have its first offers, asks for all that
// Mesos knows, and then by name for what was left out of the answer, some at a
// time, each once, until it was heard of.
func TestReconciliationIsPaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("lead")
	w.do(`put {"job":"web/prod/site","kind":"service","instances":1700}`)
	w.do("offer a1 cpus=4000 mem=1000000")
	w.do("fail over")
	require.Len(t, w.core.tasks, 1700)
	ids := w.core.launchedTasks(func(*task) bool { return true })

	hear := func(of []*task) {
		for _, task := range of {
			w.step(Update{Task: task.rec.Id, Agent: "a1", State: MesosRunning, Source: SourceMaster})
		}
	}
	// asked returns the names in the calls made until a time passed, by when.
	asked := func(ms int64) (at []int64, names [][]string) {
		for end := w.now + ms; w.wake != 0 && w.wake <= end; {
			w.now = max(w.now, w.wake)
			for _, c := range w.step().Calls {
				if r, ok := c.(Reconcile); ok {
					at = append(at, w.now-w.core.mesos.since)
					var of []string
					for _, n := range r.Tasks {
						require.Equal(t, "a1", n.Agent)
						of = append(of, n.Task)
					}
					names = append(names, of)
				}
			}
		}
		return at, names
	}
	named := func(of []*task) (names []string) {
		for _, task := range of {
			names = append(names, task.rec.Id)
		}
		return names
	}

	hear(ids[1600:])
	at, names := asked(2000)
	require.Equal(t, []int64{1000, 2000}, at)
	require.Equal(t, [][]string{nil, named(ids[:500])}, names)
	hear(ids[450:550])
	at, names = asked(5000)
	require.Equal(t, []int64{2050, 2100, 2150}, at)
	require.Equal(t, [][]string{named(ids[550:1000]), named(ids[1000:1500]), named(ids[1500:1600])}, names)

	hear(ids[1:450])
	hear(ids[550:])
	at, names = asked(60_000)
	require.Equal(t, []int64{17_150, 47_150}, at)
	require.Equal(t, [][]string{named(ids[:1]), named(ids[:1])}, names, "silence means to ask again, ever less often")

	hear(ids[:1])
	at, names = asked(11*60_000 + 2_000)
	require.Len(t, at, 2, "the next round")
	require.Equal(t, []string(nil), names[0])
	require.Equal(t, named(ids[:500]), names[1])
	require.Equal(t, int64(1000), at[1]-at[0])
}

// However often the subscription ends, one round goes on, from the last.
func TestReconciliationOfTheLastSubscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("lead")
	w.do(`put {"job":"web/prod/site","kind":"service"}`)
	w.do("offer a1 cpus=4 mem=4096")
	w.do("connect")
	w.do("wait 2m") // the next timer of this subscription is minutes away
	for range 3 {
		w.do("connect")
	}
	w.out.Reset()
	w.do("wait 2s")
	id := slices.Collect(func(yield func(string) bool) {
		for id := range w.core.tasks {
			yield(id)
		}
	})[0]
	require.Equal(t, fmt.Sprintf("  RECONCILE \n  RECONCILE %s at a1\n", id), w.out.String())
	require.Equal(t, record.TaskState_TASK_STATE_LAUNCHING, w.core.tasks[id].rec.State)
	w.do("disconnect")
	w.out.Reset()
	w.do("wait 1h")
	require.NotContains(t, w.out.String(), "RECONCILE")
}
