package engine_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Names that are beginnings of others, and that sort on both sides of "/".
var neighbours = []string{"a/prod/x", "a/prod/x-1", "a/prod/x0", "a/prod/xx", "a/prod-2/x", "b/prod/x"}

func TestViewIterates(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.subscribe()
		for _, job := range neighbours {
			w.do(batch(w, job))
		}
		started := map[string][]string{}
		for range 40 {
			for _, job := range neighbours {
				started[job] = append(started[job], w.do(runs(job, 1)).Runs...)
			}
		}
		w.deliver(offer("a1"))
		v := w.engine.View()

		sorted := slices.Sorted(slices.Values(neighbours))
		require.Equal(w, sorted, keys(func(yield func(*record.Job) bool) { v.Jobs("", yield) }, (*record.Job).GetKey))
		for i, job := range sorted {
			require.Equal(w, sorted[i:], keys(func(yield func(*record.Job) bool) { v.Jobs(job, yield) }, (*record.Job).GetKey))
			require.Equal(w, sorted[i+1:], keys(func(yield func(*record.Job) bool) { v.Jobs(job+"\x00", yield) }, (*record.Job).GetKey), "a cursor after the job")
		}

		var all []string
		for job, ids := range started {
			up := keys(func(yield func(*record.Run) bool) { v.Runs(job, "", yield) }, (*record.Run).GetId)
			require.Equal(w, ids, up, "runs of %s only", job)
			down := keys(func(yield func(*record.Run) bool) { v.RunsDescending(job, "", yield) }, (*record.Run).GetId)
			slices.Reverse(down)
			require.Equal(w, ids, down)
			for i, id := range ids {
				require.Equal(w, ids[i:], keys(func(yield func(*record.Run) bool) { v.Runs(job, id, yield) }, (*record.Run).GetId))
				down := keys(func(yield func(*record.Run) bool) { v.RunsDescending(job, id, yield) }, (*record.Run).GetId)
				slices.Reverse(down)
				require.Equal(w, ids[:i+1], down)
			}
			tasks := keys(func(yield func(*record.Task) bool) { v.JobTasks(job, "", yield) }, (*record.Task).GetId)
			require.Len(w, tasks, 40)
			for i, id := range tasks {
				require.Equal(w, job, v.Task(id).Job)
				require.Equal(w, tasks[i:], keys(func(yield func(*record.Task) bool) { v.JobTasks(job, id, yield) }, (*record.Task).GetId))
			}
			all = append(all, tasks...)
			require.Len(w, keys(func(yield func(*record.Deploy) bool) { v.Deploys(job, yield) }, (*record.Deploy).GetJob), 1)
		}
		slices.Sort(all)
		require.Equal(w, all, keys(func(yield func(*record.Task) bool) { v.Tasks("", yield) }, (*record.Task).GetId))
		require.Equal(w, all[100:], keys(func(yield func(*record.Task) bool) { v.Tasks(all[100], yield) }, (*record.Task).GetId))

		seen := 0
		v.Tasks("", func(*record.Task) bool { seen++; return seen < 3 })
		v.JobTasks("a/prod/x", "", func(*record.Task) bool { seen++; return seen < 6 })
		v.Jobs("", func(*record.Job) bool { seen++; return false })
		require.Equal(w, 7, seen, "who has enough is not given more")
	})
}

func keys[T any](all func(yield func(T) bool), key func(T) string) []string {
	out := []string{}
	all(func(t T) bool { out = append(out, key(t)); return true })
	return out
}

func TestViewLacksWhatIsNotThere(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.do(batch(w, "etl/prod/load"))
		v := w.engine.View()
		require.Nil(w, v.Job("etl/prod"))
		require.Nil(w, v.Deploy("etl/prod/load", 2))
		require.NotNil(w, v.Deploy("etl/prod/load", 1))
		require.Nil(w, v.Run("etl/prod/load", "x"))
		require.Nil(w, v.Task("x"))
		require.Nil(w, v.Spec("etl/prod/load", 2))
		require.Equal(w, "etl/prod/load", v.Spec("etl/prod/load", 1).Job)
		require.Equal(w, "test", v.Leader().Scheduler)
		require.Equal(w, "i1", v.Cluster().Incarnation)
	})
}

// Deleted tasks leave every index.
func TestViewForgetsTasks(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.subscribe()
		w.do(batch(w, "etl/prod/load"))
		w.deliver(offer("a1"))
		w.do(runs("etl/prod/load", 300))
		for _, task := range w.mesos.launched() {
			require.NoError(w, w.engine.Deliver(w.Context(), update(task, "a1", core.MesosFinished)))
		}
		w.settle()
		require.Len(w, keys(func(yield func(*record.Task) bool) { w.engine.View().JobTasks("etl/prod/load", "", yield) }, (*record.Task).GetId), 300)
		w.do(core.RemoveJob{Job: "etl/prod/load"})
		require.Empty(w, keys(func(yield func(*record.Task) bool) { w.engine.View().JobTasks("etl/prod/load", "", yield) }, (*record.Task).GetId))
		require.Empty(w, keys(func(yield func(*record.Task) bool) { w.engine.View().Tasks("", yield) }, (*record.Task).GetId))
	})
}
