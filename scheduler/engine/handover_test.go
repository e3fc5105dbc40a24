package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Calls that were released before a clean end are answered before another may
// lead, unless that takes too long; a leader that lost its lease waits for none.
func TestHandOver_FlushesCalls(t *testing.T) {
	for name, c := range map[string]struct {
		end     func(s *several, leader *world)
		flushes int
	}{
		"SIGTERM":   {func(_ *several, leader *world) { leader.end() }, 1},
		"step-down": {func(_ *several, leader *world) { go func() { _ = leader.engine.StepDown(context.Background()) }() }, 1},
		"lease lost": {func(s *several, _ *world) {
			term := s.election.Leading()
			term.Expire()
			term.Notice()
		}, 0},
		"lease not renewed": {func(s *several, leader *world) {
			s.election.Leading().Stop(true)
			leader.end()
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbles(t, 2, func(s *several) {
				hold := make(chan struct{})
				s.a().mesos.mu.Lock()
				s.a().mesos.hold = hold
				s.a().mesos.mu.Unlock()
				c.end(s, s.a())
				s.settle()
				require.Equal(s, c.flushes > 0, s.election.Leading().Address == "a", "the lease is held meanwhile")
				require.Equal(s, c.flushes, s.a().mesos.flushes())
				if c.flushes > 0 {
					require.ErrorIs(s, s.b().ask(s.Context(), runs("etl/prod/load", 1)).err, engine.ErrUnavailable)
					close(hold)
				}
				s.settle()
				require.Equal(s, "b", s.election.Leading().Address)
			})
		})
	}
}

func TestHandOver_FlushesForASecondAtMost(t *testing.T) {
	inBubbles(t, 2, func(s *several) {
		s.a().mesos.mu.Lock()
		s.a().mesos.hold = make(chan struct{})
		s.a().mesos.mu.Unlock()
		began := time.Now()
		require.NoError(s, s.a().stop())
		s.settle()
		require.Equal(s, time.Second, time.Since(began))
		s.leads(s.b())
	})
}

func (c *calls) flushes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushed
}

// While the journal cannot be written, users are told why, as far as it is
// known, and the log is not filled.
func TestStalled_SaysWhyAndRarely(t *testing.T) {
	inBubble(t, func(w *world) {
		log := new(lines)
		w.start(func(o *engine.Options) { o.Logger = log.logger() })
		w.do(batch(w, "etl/prod/load"))
		w.journal.lose(true)
		w.storage.Unreachable(true)
		require.ErrorIs(w, w.ask(w.Context(), runs("etl/prod/load", 1)).err, engine.ErrUnknownOutcome)
		w.pass(10 * time.Second)
		refused := w.ask(w.Context(), runs("etl/prod/load", 1)).err
		require.ErrorIs(w, refused, engine.ErrUnavailable)
		require.ErrorContains(w, refused, "the journal cannot be written: no connection (since ")
		require.ErrorContains(w, refused, "nothing was changed")
		require.Equal(w, "the journal cannot be written: no connection", w.engine.Status().Stalled)
		const unknown = "the outcome of a write to the journal is unknown"
		require.Len(w, log.with(unknown), 2, "what the append said, and what asking for its outcome did")

		w.journal.because(errors.New("no space left on device"))
		w.pass(time.Second)
		require.Len(w, log.with(unknown), 3, "the reason changed")
		require.ErrorContains(w, w.ask(w.Context(), runs("etl/prod/load", 1)).err, "no space left on device")
		w.pass(10 * time.Minute)
		require.Len(w, log.with(unknown), 13, "once a minute")

		w.storage.Unreachable(false)
		w.journal.lose(false)
		w.pass(time.Second)
		require.Len(w, log.with("the outcome of the write to the journal is known"), 1)
		require.Empty(w, w.engine.Status().Stalled)
		w.do(runs("etl/prod/load", 1))
	})
}
