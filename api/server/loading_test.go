package server_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
)

// A scheduler that has not read its journal does not say that there are no jobs:
// who follows one across a restart would believe it.
func TestReads_BeforeTheJournalIsLoadedAreRefused(t *testing.T) {
	t.Parallel()
	w := &world{TB: t, engine: engine.New(engine.Options{Journal: new(memory.Storage).Open(), Caller: newMesos(t)})}
	s, err := server.New(server.Options{Scheduler: w.engine, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	w.api = httptest.NewServer(s.Handler())
	t.Cleanup(w.api.Close)
	w.url = w.api.URL
	for _, path := range []string{"/v1/jobs", "/v1/jobs/web/prod/site", "/v1/jobs/web/prod/site/endpoints/watch", "/v1/tasks"} {
		w.do("GET", path, "").problem(http.StatusServiceUnavailable)
	}
	require.Equal(t, http.StatusOK, w.do("GET", "/healthz", "").status)
}
