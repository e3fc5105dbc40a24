package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/lease/static"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// A record that the journal cannot hold, which the API lets nobody ask for, is
// refused, changes nothing, and stops nobody.
func TestTooBig_IsRefusedAndWedgesNothing(t *testing.T) {
	monster := func(t testing.TB) core.PutJob {
		op := batch(t, "etl/prod/monster")
		op.Canonical = append(op.Canonical, bytes.Repeat([]byte(" "), 600<<10)...)
		return op
	}
	check := func(w, leader *world) {
		w.Helper()
		w.pass(time.Second)
		require.True(w, leader.engine.View().Leads, "a leader goes on from what is durable")
		require.Nil(w, leader.engine.View().Job("etl/prod/monster"))
		leader.do(runs("etl/prod/load", 1))
	}
	t.Run("alone", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.start(func(o *engine.Options) { o.Lease = static.New("a") })
			w.do(batch(w, "etl/prod/load"))
			for range 3 {
				var tooBig *engine.TooBigError
				err := w.ask(w.Context(), monster(w)).err
				require.ErrorAs(w, err, &tooBig)
				require.Contains(w, tooBig.Key, "monster")
				require.Greater(w, tooBig.Bytes, 600<<10)
				require.ErrorContains(w, err, "nothing was changed")
				check(w, w)
			}
		})
	})
	t.Run("with a standby", func(t *testing.T) {
		inBubbles(t, 2, func(s *several) {
			s.a().do(batch(s, "etl/prod/load"))
			require.ErrorAs(s, s.a().ask(s.Context(), monster(s)).err, new(*engine.TooBigError))
			check(s.b(), s.b())
		})
	})
	t.Run("among others", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.start(func(o *engine.Options) { o.Lease = static.New("a") })
			w.do(batch(w, "etl/prod/load"))
			w.journal.close()
			w.ask(w.Context(), runs("etl/prod/load", 1))
			others := []*answer{w.askQuietly(monster(w)), w.askQuietly(runs("etl/prod/load", 1)), w.askQuietly(runs("etl/prod/load", 1))}
			w.settle()
			w.journal.open()
			w.settle()
			for i, a := range others {
				require.True(w, a.done)
				if tooBig := errors.As(a.err, new(*engine.TooBigError)); i > 0 || !tooBig {
					require.False(w, tooBig)
					require.ErrorIs(w, a.err, engine.ErrUnavailable, "it is to be asked for again")
				}
			}
			check(w, w)
			require.ErrorAs(w, w.ask(w.Context(), monster(w)).err, new(*engine.TooBigError), "alone, it is told")
			check(w, w)
		})
	})
}

// The biggest of all that can be asked for, and of what Mesos may send, fits
// into the journal.
func TestTooBig_IsNothingThatMayBeAskedFor(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start(func(o *engine.Options) { o.Lease = static.New("a") })
		w.subscribe()
		big := api.Spec{Job: "etl/prod/big", Kind: api.KindBatch, Parameters: map[string]api.Parameter{}, Env: map[string]string{}}
		values := map[string]string{}
		for i := range 100 {
			name := fmt.Sprintf("p%02d%s", i, strings.Repeat("x", 60))
			big.Parameters[name] = api.Parameter{}
			values[name] = strings.Repeat("v", 4096)
		}
		for i := range 3 {
			big.Env[fmt.Sprintf("E%d", i)] = strings.Repeat("e", 32<<10)
		}
		w.do(put(w, big))
		require.Greater(w, len(w.journal.wrote(record.DeployKey("etl/prod/big", 1))), 100<<10)
		started := w.ask(w.Context(), core.StartRuns{Job: "etl/prod/big", Runs: []core.NewRun{{Parameters: values}}})
		require.NoError(w, started.err)
		run := w.journal.wrote(record.RunKey("etl/prod/big", started.result.Runs[0]))
		require.Greater(w, len(run), 400<<10)

		w.do(batch(w, "etl/prod/load"))
		many := w.askWith(w.Context(), core.Request{IdempotencyKey: strings.Repeat("k", 255), Digest: "d", Op: runs("etl/prod/load", api.MaxRunsPerCall)})
		require.NoError(w, many.err)

		w.do(service(w, "web/prod/shop", 1))
		w.deliver(offer("a1"))
		var id string
		w.engine.View().JobTasks("web/prod/shop", "", func(t *record.Task) bool { id = t.Id; return true })
		chatter := strings.Repeat("é", 1<<20)
		for i := range 3000 { // as often as an agent may be lost and come back
			u := update(id, "a1", core.MesosRunning)
			if i%2 == 1 {
				u.State = core.MesosUnreachable
			}
			u.UUID, u.Message = fmt.Append(nil, i), chatter[:min(len(chatter), 1<<(i%20))]
			require.NoError(w, w.engine.Deliver(w.Context(), u))
		}
		w.settle()
		task := w.engine.View().Task(id)
		moments := task.Moments()
		require.Equal(w, record.TaskState_TASK_STATE_PENDING, moments[0].State, "where it began is kept")
		require.Equal(w, task.State, moments[len(moments)-1].State)
		require.True(w, w.engine.View().Leads, "no leadership ended")
		require.Greater(w, len(moments), 5)
		most := 0
		for _, group := range w.journal.written() {
			for _, entry := range group {
				for _, p := range entry.GetPuts() {
					if strings.HasPrefix(p.GetKey(), "task/") {
						require.Less(w, len(p.GetValue()), 64<<10, p.GetKey())
					}
					most = max(most, len(p.GetValue()))
				}
				for _, e := range entry.GetEvents() {
					require.Less(w, len(e), 16<<10)
				}
			}
		}
		require.Less(w, most, journal.MaxEntryBytes-8<<10)
	})
}
