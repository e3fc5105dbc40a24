package engine_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func id(index uint64, ordinal int) engine.EventID {
	return engine.EventID{Incarnation: "i1", Index: index, Ordinal: ordinal}
}

func TestEventID_OrdersEventsOfAnIncarnation(t *testing.T) {
	t.Parallel()
	ids := []engine.EventID{id(1, 0), id(1, 1), id(2, 0).Before(), id(2, 0), id(2, 1), id(10, 0)}
	for i, a := range ids {
		for j, b := range ids {
			require.Equal(t, i < j, a.Compare(b) < 0, "%s, %s", a, b)
			require.Equal(t, i == j, a.Compare(b) == 0, "%s, %s", a, b)
		}
	}
	require.Equal(t, id(3, 1), id(3, 2).Before())
	again, err := engine.ParseEventID(id(3, 0).Before().String())
	require.NoError(t, err)
	require.Equal(t, id(3, 0).Before(), again)
	require.Equal(t, id(7, 3), engine.IDAt(id(7, 3).Position()))
}

func TestAfter_ReadsWhatIsKept(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start(func(o *engine.Options) { o.EventsKeep = 8 })
		first := w.engine.Newest()
		w.do(batch(w, "web/prod/work"))
		for range 5 {
			w.do(runs("web/prod/work", 2))
		}
		all, err := w.engine.After(first, 100)
		if gone := new(engine.GoneError); err != nil {
			require.ErrorAs(w, err, &gone)
			oldest, err := engine.ParseEventID(gone.Oldest)
			require.NoError(w, err)
			all, err = w.engine.After(oldest, 100)
			require.NoError(w, err)
		}
		require.NotEmpty(w, all)
		last := all[len(all)-1].ID
		require.Equal(w, last, w.engine.Newest())
		for i, p := range all {
			one, err := w.engine.After(p.ID.Before(), 1)
			require.NoError(w, err)
			require.Equal(w, p, one[0], "%d", i)
		}
		none, err := w.engine.After(last, 100)
		require.NoError(w, err)
		require.Empty(w, none)
	})
}

func TestAwait_ReturnsOnceTheViewIsAsWanted(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		var job *record.Job
		go func() {
			v, err := w.engine.Await(w.Context(), func(v *engine.View) bool { return v.Job("web/prod/work") != nil })
			if err == nil {
				job = v.Job("web/prod/work")
			}
		}()
		w.settle()
		require.Nil(w, job)
		w.do(batch(w, "web/prod/work"))
		require.NotNil(w, job)
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		_, err := w.engine.Await(ctx, func(*engine.View) bool { return false })
		require.ErrorIs(w, err, context.Canceled)
	})
}
