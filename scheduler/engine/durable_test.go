package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// quiet wants that do shows nothing until the journal has it: no answer, call,
// event or change of the records.
func (w *world) quiet(what string, do func() *answer) *answer {
	w.Helper()
	before, calls, index := state(w, w.engine.View()), len(w.mesos.all()), w.engine.View().Index
	f, err := w.engine.Follow("")
	require.NoError(w, err)
	w.journal.close()
	a := do()
	w.pass(time.Minute)
	require.Equal(w, before, state(w, w.engine.View()), "%s: in the view", what)
	require.Equal(w, index, w.engine.View().Index)
	require.Len(w, w.mesos.all(), calls, "%s: told to Mesos", what)
	require.Empty(w, w.read(f), "%s: told to followers", what)
	require.False(w, a != nil && a.done, "%s: answered", what)
	w.journal.open()
	w.settle()
	require.NotEqual(w, before, state(w, w.engine.View()), "%s: in the view at last", what)
	require.Greater(w, len(w.mesos.all())+len(w.read(f)), calls)
	return a
}

func TestNothingIsSeenBeforeItIsDurable(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		deliver := func(events ...core.Event) func() *answer {
			return func() *answer { w.deliver(events...); return nil }
		}
		w.quiet("a subscription", deliver(core.Connecting{}))
		require.IsType(w, core.Subscribe{}, w.mesos.last())
		w.quiet("the framework's id", deliver(core.Subscribed{FrameworkID: "fw-1", Master: "m"}))
		a := w.quiet("a job", func() *answer { return w.ask(w.Context(), batch(w, "etl/prod/load")) })
		require.NoError(w, a.err)
		require.NotNil(w, a.view.Job("etl/prod/load"))
		a = w.quiet("runs", func() *answer { return w.ask(w.Context(), runs("etl/prod/load", 2)) })
		require.Len(w, a.result.Runs, 2)
		w.quiet("launches", deliver(offer("a1")))
		tasks := w.mesos.launched()
		require.Len(w, tasks, 2)
		w.quiet("an update", deliver(update(tasks[0], "a1", core.MesosRunning)))
		require.Equal(w, core.Acknowledge{Task: tasks[0], Agent: "a1", UUID: []byte(tasks[0] + "-RUNNING")}, w.mesos.last())
		a = w.quiet("a kill", func() *answer { return w.ask(w.Context(), core.KillTask{Task: tasks[0]}) })
		require.NoError(w, a.err)
		require.Equal(w, core.Kill{Task: tasks[0], Agent: "a1"}, w.mesos.last())
	})
}

// What needs no write keeps its place behind what was decided before it.
func TestRefusalsAreAnsweredInOrder(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.journal.close()
		job := w.ask(w.Context(), batch(w, "etl/prod/load"))
		again := w.ask(w.Context(), core.PutJob{Create: true, Spec: batch(w, "etl/prod/load").Spec, Canonical: batch(w, "etl/prod/load").Canonical})
		w.pass(time.Second)
		require.False(w, job.done)
		require.False(w, again.done, "that it exists is not known before it does")
		w.journal.open()
		w.settle()
		require.NoError(w, job.err)
		require.ErrorContains(w, again.err, "exists")
	})
}

func TestStepsTakenDuringAnAppendAreWrittenTogether(t *testing.T) {
	inBubble(t, func(w *world) {
		batched := make(chan int, 100)
		w.watch = func(s *engine.Stats) { s.OnBatched = func(steps int) { batched <- steps } }
		w.start()
		w.do(service(w, "web/prod/shop", 1))
		written := len(w.journal.written())
		w.journal.close()
		first := w.ask(w.Context(), core.ScaleJob{Job: "web/prod/shop", Instances: 2})
		var more []*answer
		for n := range 20 {
			more = append(more, w.ask(w.Context(), core.ScaleJob{Job: "web/prod/shop", Instances: 3 + n}))
		}
		w.journal.open()
		w.settle()
		for _, a := range append(more, first) {
			require.NoError(w, a.err)
			require.True(w, a.result.Changed)
		}
		require.Len(w, w.journal.written(), written+2, "one entry for the first, one for all that came meanwhile")
		for _, steps := range []int{1, 1, 1, 20} { // the election's first
			require.Equal(w, steps, <-batched)
		}
		last := w.journal.written()[written+1]
		require.Len(w, last, 1)
		times := map[string]int{}
		for _, p := range last[0].Puts {
			times[p.Key]++
			require.Equal(w, 1, times[p.Key], "%s is written once", p.Key)
		}
		job := new(record.Job)
		require.NoError(w, proto.Unmarshal(w.journal.wrote("job/web/prod/shop"), job))
		require.EqualValues(w, 22, job.Instances)
		require.EqualValues(w, 22, job.Revision)
		require.True(w, proto.Equal(job, w.engine.View().Job("web/prod/shop")))
		require.Len(w, last[0].Events, 40, "each step's events: scaled, and a pending task")
		require.Greater(w, more[19].result.Revision, more[18].result.Revision)
	})
}

// A record that was created and deleted between two entries leaves nothing.
func TestDeletedAfterWrittenIsDeleted(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.journal.close()
		w.do2(batch(w, "etl/prod/one"), batch(w, "etl/prod/two"), core.RemoveJob{Job: "etl/prod/two"})
		w.journal.open()
		w.settle()
		require.NotNil(w, w.engine.View().Job("etl/prod/one"))
		require.Nil(w, w.engine.View().Job("etl/prod/two"))
		before := state(w, w.engine.View())
		require.NoError(w, w.stop())
		w.launch(w.storage.Open())
		w.journal.close()
		w.settle()
		require.Equal(w, before, state(w, w.engine.View()))
	})
}

// do2 asks one after the other without waiting for answers.
func (w *world) do2(ops ...core.Op) {
	for _, op := range ops {
		w.ask(w.Context(), op)
	}
}

// Effects come in the order: journal, view, events and calls, answers.
func TestEffectsComeInOrder(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.subscribe()
		w.do(batch(w, "etl/prod/load"))
		launching := record.TaskState_TASK_STATE_LAUNCHING
		w.mesos.look(func(call core.Call) {
			switch call := call.(type) {
			case core.Accept:
				for _, l := range call.Launches {
					task := new(record.Task)
					require.NoError(w, proto.Unmarshal(w.journal.wrote(record.TaskKey(l.Task)), task))
					require.Equal(w, launching, task.State, "durable when Mesos is told")
					require.True(w, proto.Equal(task, w.engine.View().Task(l.Task)), "seen when Mesos is told")
				}
			case core.Kill:
				require.NotZero(w, w.engine.View().Task(call.Task).StopAt)
			}
		})
		w.deliver(offer("a1"))
		w.do(runs("etl/prod/load", 100))
		tasks := w.mesos.launched()
		require.Len(w, tasks, 100)
		var want []core.Call
		var events []core.Event
		for _, task := range tasks {
			events = append(events, update(task, "a1", core.MesosRunning))
			want = append(want, core.Acknowledge{Task: task, Agent: "a1", UUID: []byte(task + "-RUNNING")})
		}
		before := len(w.mesos.all())
		for _, e := range events {
			require.NoError(w, w.engine.Deliver(w.Context(), e))
		}
		w.settle()
		var acks []core.Call
		for _, call := range w.mesos.all()[before:] {
			if _, ok := call.(core.Acknowledge); ok {
				acks = append(acks, call)
			}
		}
		require.Equal(w, want, acks)
		before = len(w.mesos.all())
		kill := w.ask(w.Context(), core.KillTask{Task: tasks[7]})
		require.NoError(w, kill.err)
		require.Greater(w, kill.calls, before, "Mesos was told when the user is")
		require.NotZero(w, kill.view.Task(tasks[7]).StopAt)
	})
}

// The loop does not run ahead of the journal without bound, and whoever hands
// it more waits.
func TestBackPressure(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.do(batch(w, "etl/prod/load"))
		w.journal.close()
		var asked []*answer
		for range 60 {
			asked = append(asked, w.ask(w.Context(), runs("etl/prod/load", 500)))
		}
		steps := w.engine.Stats.Inputs.Load()
		require.Less(w, steps, uint64(45), "about 32,000 writes are decided ahead, of 1,000 a request")
		require.Greater(w, steps, uint64(30))
		held := 0
		for range 2000 {
			ctx, cancel := context.WithTimeout(w.Context(), time.Millisecond)
			if err := w.engine.Deliver(ctx, core.Offers{}); err != nil {
				cancel()
				require.ErrorIs(w, err, context.DeadlineExceeded)
				break
			}
			cancel()
			held++
		}
		require.Less(w, held, 1100, "the inbox is bounded")
		require.Equal(w, steps, w.engine.Stats.Inputs.Load())
		w.journal.open()
		w.settle()
		for i, a := range asked {
			require.True(w, a.done, "request %d", i)
			require.NoError(w, a.err)
			require.Len(w, a.result.Runs, 500)
		}
		require.Equal(w, steps+uint64(60-int(steps)+2)+uint64(held), w.engine.Stats.Inputs.Load(), "nothing was dropped")
	})
}

func TestRequestMayHappenAfterItsContextEnded(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.journal.close()
		ctx, cancel := context.WithCancel(w.Context())
		a := w.ask(ctx, batch(w, "etl/prod/load"))
		require.False(w, a.done)
		cancel()
		w.settle()
		require.ErrorIs(w, a.err, context.Canceled)
		require.Nil(w, w.engine.View().Job("etl/prod/load"))
		w.journal.open()
		w.settle()
		require.NotNil(w, w.engine.View().Job("etl/prod/load"))
		w.do(runs("etl/prod/load", 1))
	})
}

func TestWaitIndex(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		now := w.engine.View().Index
		v, err := w.engine.WaitIndex(w.Context(), now)
		require.NoError(w, err)
		require.Equal(w, now, v.Index)
		var waited *engine.View
		go func() { waited, _ = w.engine.WaitIndex(w.Context(), now+2) }()
		w.do(batch(w, "etl/prod/one"))
		require.Nil(w, waited)
		w.do(batch(w, "etl/prod/two"))
		require.NotNil(w, waited)
		require.NotNil(w, waited.Job("etl/prod/two"))
		ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
		defer cancel()
		v, err = w.engine.WaitIndex(ctx, now+3)
		require.ErrorIs(w, err, context.DeadlineExceeded)
		require.Equal(w, now+2, v.Index, "the newest there is")
	})
}

// A view that was taken stays as it is whatever follows.
func TestViewNeverChanges(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.subscribe()
		w.do(batch(w, "etl/prod/load"))
		w.deliver(offer("a1"))
		var views []*engine.View
		var states []map[string]string
		for range 5 {
			w.do(runs("etl/prod/load", 3))
			for _, task := range w.mesos.launched() {
				w.deliver(update(task, "a1", core.MesosRunning), update(task, "a1", core.MesosFinished))
			}
			w.deliver(offer("a1"))
			views, states = append(views, w.engine.View()), append(states, state(w, w.engine.View()))
		}
		w.do(core.RemoveJob{Job: "etl/prod/load"})
		for i, v := range views {
			require.Equal(w, states[i], state(w, v), "view %d", i)
		}
		require.Nil(w, w.engine.View().Job("etl/prod/load"))
		require.Len(w, state(w, w.engine.View()), 2, fmt.Sprint("only cluster and leader are left"))
	})
}
