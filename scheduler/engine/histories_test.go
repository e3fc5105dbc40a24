package engine_test

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// shelf is a history in memory, which has what the test lets it have.
type shelf struct {
	mu      sync.Mutex
	told    []engine.Durable
	through uint64
}

func (s *shelf) Record(d engine.Durable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, d)
}

func (s *shelf) Through() (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.through, false
}

// keep has the history keep all it was told, and returns the finished records,
// the last version of each, and the ids of the events.
func (s *shelf) keep() (finished map[string]record.Message, events []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	finished = map[string]record.Message{}
	for _, d := range s.told {
		if d.Anew {
			events = nil
		}
		for _, m := range d.Finished {
			finished[record.KeyOf(m)] = m
		}
		for _, p := range d.Events {
			events = append(events, p.ID.String())
		}
		s.through = d.Index
	}
	return finished, events
}

// keeping gives an engine a history.
func (s *shelf) keeping(o *engine.Options) {
	o.History = s
	o.Core = core.Config{History: true, FinishedFor: 60_000}
}

func TestHistoryIsToldWhatEndsAndWhatHappens(t *testing.T) {
	inBubble(t, func(w *world) {
		t := w.T
		s := new(shelf)
		w.start(s.keeping)
		follower, err := w.engine.Follow("")
		require.NoError(t, err)
		at := follower.At()
		w.do(core.PutJob{Spec: &api.Spec{Job: "ci/prod/sum", Kind: api.KindBatch, Command: "true"}, Canonical: []byte(`{"job":"ci/prod/sum","kind":"batch","command":"true"}`)})
		result := w.do(core.StartRuns{Job: "ci/prod/sum", Runs: make([]core.NewRun, 3)})
		for _, run := range result.Runs {
			w.do(core.CancelRun{Job: "ci/prod/sum", Run: run})
		}
		finished, events := s.keep()
		require.Len(t, finished, 7, "three runs, three tasks that waited, a deploy")
		f, err := w.engine.Follow(at.String())
		require.NoError(t, err)
		published, err := f.Next(t.Context())
		require.NoError(t, err)
		ids := []string{}
		for _, p := range published {
			ids = append(ids, p.ID.String())
		}
		require.Equal(t, ids, events[len(events)-len(ids):])

		w.pass(3 * time.Minute)
		require.Zero(t, count(w.engine.View()), "history has them, and they are old")

		// What ends and goes in one step is told too.
		result = w.do(core.StartRuns{Job: "ci/prod/sum", Runs: make([]core.NewRun, 2)})
		w.do(core.RemoveJob{Job: "ci/prod/sum"})
		require.Zero(t, count(w.engine.View()))
		finished, _ = s.keep()
		for _, run := range result.Runs {
			m, _ := finished[record.RunKey("ci/prod/sum", run)].(*record.Run)
			require.NotNil(t, m)
			require.Equal(t, record.RunState_RUN_STATE_CANCELLED, m.State)
		}

		// And whoever reads the journal anew is told all it holds.
		require.NoError(t, w.stop())
		again := new(shelf)
		w.start(again.keeping)
		require.True(t, again.told[0].Anew)
		anew, same := again.keep()
		require.Subset(t, slices.Collect(maps.Keys(anew)), []string{record.RunKey("ci/prod/sum", result.Runs[0]), record.RunKey("ci/prod/sum", result.Runs[1])})
		_, before := s.keep()
		require.Subset(t, same, before)
	})
}

// count is how many finished tasks and runs a view has.
func count(v *engine.View) (n int) {
	v.Tasks("", func(t *record.Task) bool {
		if t.State.Terminal() {
			n++
		}
		return true
	})
	v.Runs("ci/prod/sum", "", func(r *record.Run) bool {
		if r.State.Terminal() {
			n++
		}
		return true
	})
	return n
}
