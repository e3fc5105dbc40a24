package server_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/history"
)

// shelf is where a world's engine puts what is finished: nowhere, until there is a
// history.
type shelf struct {
	mu      sync.Mutex
	history *history.History
	stopped bool
	waiting []engine.Durable
}

func (s *shelf) Record(d engine.Durable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		s.waiting = append(s.waiting, d)
	case s.history != nil:
		s.history.Record(d)
	}
}

// stop keeps what happens from history, until it is told to go on.
func (s *shelf) stop() (goOn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopped = false
		for _, d := range s.waiting {
			s.history.Record(d)
		}
	}
}

func (s *shelf) Through() (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.history == nil {
		return 0, false
	}
	return s.history.Through()
}

// keeping gives a world a real history.
func keeping(w *world) {
	h, err := history.New(history.Options{URL: "sqlite://" + filepath.Join(w.TempDir(), "history.db"), Cluster: "test",
		Held: w.engine.Held, Log: slog.New(slog.DiscardHandler)})
	require.NoError(w, err)
	require.NoError(w, h.Open(w.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		require.NoError(w, <-ended)
	})
	w.shelf.mu.Lock()
	defer w.shelf.mu.Unlock()
	h.Record(w.engine.Held())
	w.shelf.history = h
	w.options.History = h
}

// kept waits until history has all that happened.
func (w *world) kept() {
	w.Helper()
	index := w.engine.View().Index
	w.eventually("history has all that happened", func() bool {
		through, _ := w.shelf.Through()
		return through >= index
	})
}
