package e2e

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
)

// The scheduler is killed with -9 while runs are at work; one ends meanwhile.
// Its successor has each once, and a stream goes on without a gap.
func TestScheduler_KilledWhileRunsAreAtWork(t *testing.T) {
	t.Parallel()
	require.NoError(t, shared.open())
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s, err := shared.startScheduler(ctx, "killed")
	require.NoError(t, err)
	w := see(t, s.url)
	t.Cleanup(func() {
		w.removeAll()
		require.NoError(t, s.End(context.Background(), os.Interrupt))
	})
	job := w.job("long")
	events, err := w.Events(ctx, client.EventFilter{Job: job})
	require.NoError(t, err)
	defer events.Close()
	w.must("deploy", w.file("long", batch))
	logs := w.following("logs", "-f", job)
	w.must("run", job, "-p", "gate=during")
	w.must("run", job, "-p", "gate=after")
	w.witness.await("begin", 2)
	w.awaitLine(logs, "working on during")
	require.NoError(t, s.End(ctx, os.Kill))
	w.witness.open("during")
	w.witness.await("end", 1)
	require.NoError(t, s.start(ctx, strings.TrimPrefix(s.url, "http://")))
	w.must("run", job, "-p", "gate=during")
	w.witness.open("after")
	w.await(job, "all runs succeed", func() bool {
		return strings.Count(w.must("runs", job), "succeeded") == 3
	})
	require.Len(t, w.witness.told("begin"), 3)
	require.Len(t, w.witness.told("end"), 3)
	w.awaitLine(logs, "working on after")

	seen, succeeded := map[string]bool{}, map[string]bool{}
	for len(succeeded) < 3 {
		e, err := events.Next(ctx)
		require.NoError(t, err)
		require.False(t, seen[e.ID], "event %s came twice", e.ID)
		seen[e.ID] = true
		if e.Type == "dev.perigee.run.succeeded" {
			succeeded[e.Data.Run] = true
		}
	}
	var all []api.Event
	decoder := json.NewDecoder(strings.NewReader(w.must("events", "-n", "1000", "--job", job, "-o", "json")))
	for decoder.More() {
		var e api.Event
		require.NoError(t, decoder.Decode(&e))
		all = append(all, e)
	}
	for _, e := range all {
		require.True(t, seen[e.ID], "event %s was missed", e.ID)
	}
}

// Mesos removes the framework: the scheduler ends and says what to do, and goes
// on with its jobs under a new id.
func TestScheduler_NewFramework(t *testing.T) {
	t.Parallel()
	require.NoError(t, shared.open())
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s, err := shared.startScheduler(ctx, "removed")
	require.NoError(t, err)
	w := see(t, s.url)
	job := w.job("web")
	w.must("deploy", w.file("web", strings.Replace(service, "instances: 2", "instances: 1", 1)))
	first := w.witness.await("start", 1)[0]
	require.NoError(t, shared.tearDown(s.framework))
	select {
	case <-s.Ended:
	case <-ctx.Done():
		require.FailNow(t, "the scheduler goes on without its framework")
	}
	require.Equal(t, 1, s.Cmd.ProcessState.ExitCode())
	log, err := os.ReadFile(s.Log)
	require.NoError(t, err)
	require.Contains(t, string(log), "--new-framework")
	require.Eventually(t, func() bool { return !program.Alive(first.pid) }, patience, 10*time.Millisecond)

	listen := strings.TrimPrefix(s.url, "http://")
	before := s.args
	s.args = append(before[:len(before):len(before)], "--new-framework")
	require.ErrorContains(t, s.start(ctx, listen), "ended")
	log, err = os.ReadFile(s.Log)
	require.NoError(t, err)
	require.Contains(t, string(log), "Say --yes")
	require.Contains(t, string(log), first.task+" of "+job)
	s.args = append(s.args, "--yes")
	require.NoError(t, s.start(ctx, listen))
	t.Cleanup(func() {
		w.removeAll()
		require.NoError(t, s.End(context.Background(), os.Interrupt))
	})
	w.witness.await("start", 2)
	w.awaitReady(job, 1)
}
