package server_test

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/history/pgtest"
	"github.com/perigee-sched/perigee/server"
)

func keepingHistory(at string) func(*server.Options) {
	return func(o *server.Options) { o.Config.History.URL = at }
}

// load deploys the job whose runs the tests start.
func (p *process) load() {
	p.Helper()
	spec, err := api.DecodeSpec([]byte(`{"job":"etl/prod/load","kind":"batch","command":"./work","resources":{"cpus":0.1,"memory":"64MiB"}}`))
	require.NoError(p, err)
	_, err = p.PutJob(context.Background(), spec, client.PutOptions{})
	require.NoError(p, err)
}

// figure is one of a scheduler's metrics.
func (p *process) figure(name string) float64 {
	p.Helper()
	resp, err := http.Get(p.Base() + "/metrics")
	require.NoError(p, err)
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			require.NoError(p, err)
			return n
		}
	}
	p.Fatalf("there is no metric %s", name)
	return 0
}

func (p *process) history() *api.HistoryState {
	p.Helper()
	h, err := p.History(context.Background())
	require.NoError(p, err)
	return h
}

// keepsAll waits until nothing waits for the history, and wants each of these runs
// to be there once, with its task and its events.
func (p *process) keepsAll(runs []string) {
	p.Helper()
	p.eventually("nothing waits for the history", func() bool {
		h := p.history()
		return h.Problem == "" && h.Waiting == 0 && p.figure("perigee_history_up") == 1
	})
	ctx := context.Background()
	list := func(page func(api.HistoryFilter) (ids []string, next string, err error), f api.HistoryFilter) (all []string) {
		f.Job, f.Limit = "etl/prod/load", 100
		for {
			ids, next, err := page(f)
			require.NoError(p, err)
			all = append(all, ids...)
			if f.Cursor = next; next == "" {
				return all
			}
		}
	}
	found := list(func(f api.HistoryFilter) (ids []string, next string, err error) {
		page, err := p.PastRuns(ctx, f)
		if err != nil {
			return nil, "", err
		}
		for _, r := range page.Items {
			ids = append(ids, r.ID)
		}
		return ids, page.Next, nil
	}, api.HistoryFilter{})
	require.ElementsMatch(p, runs, found, "each run once")
	ofTasks := list(func(f api.HistoryFilter) (runs []string, next string, err error) {
		page, err := p.PastTasks(ctx, f)
		if err != nil {
			return nil, "", err
		}
		for _, t := range page.Items {
			runs = append(runs, t.Run)
		}
		return runs, page.Next, nil
	}, api.HistoryFilter{})
	require.ElementsMatch(p, runs, ofTasks, "each run's task once")
	told := list(func(f api.HistoryFilter) (runs []string, next string, err error) {
		page, err := p.PastEvents(ctx, f)
		if err != nil {
			return nil, "", err
		}
		for _, e := range page.Items {
			runs = append(runs, e.Data.Run)
		}
		return runs, page.Next, nil
	}, api.HistoryFilter{Types: []string{"run.succeeded"}})
	require.ElementsMatch(p, runs, told, "each run's success once")
	require.Empty(p, p.history().Gaps)
	require.Zero(p, p.figure("perigee_history_lost_events"))
}

// The disk of the history gets full: the scheduler goes on, says why, and keeps all
// of it once there is room.
func TestHistory_FullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small file system cannot be mounted here (that needs root): %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	s := beginSeveral(t, 0)
	p := s.start(keepingHistory("sqlite://" + filepath.Join(disk, "history.db")))
	p.load()
	all := p.run(20)
	p.succeed(all)
	p.keepsAll(all)

	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, f.Close())
	s.eventually("it says that the disk is full", func() bool {
		all = append(all, p.run(20)...)
		return strings.Contains(p.history().Problem, "full") && p.figure("perigee_history_up") == 0
	})
	more := p.run(20)
	p.succeed(more) // it goes on
	all = append(all, more...)
	require.Positive(t, p.history().Waiting)
	require.Positive(t, p.figure("perigee_history_lag_entries"))
	require.Positive(t, p.figure("perigee_history_errors_total"))
	page, err := p.PastRuns(context.Background(), api.HistoryFilter{Limit: 5})
	require.NoError(t, err, "what is there is still told")
	require.Len(t, page.Items, 5)
	require.NotEmpty(t, page.History.Problem, "and that some is not")

	require.NoError(t, os.Remove(filler))
	p.succeed(all)
	p.keepsAll(all)
}

// Two schedulers share a PostgreSQL, which is killed; the other one leads when it
// is back, and has all.
func TestHistory_SharedPostgreSQLIsKilled(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	pgtest.Require(t, err)
	t.Cleanup(pg.Close)
	address, err := pg.Database()
	require.NoError(t, err)
	s := beginSeveral(t, 0)
	first, second := s.start(keepingHistory(address)), s.start(keepingHistory(address))
	leader, standbys := s.leader(first, second)
	leader.load()
	all := leader.run(50)
	leader.succeed(all)
	leader.keepsAll(all)
	standbys[0].keepsAll(all)
	require.Positive(t, leader.figure("perigee_history_batches_total"))
	require.Zero(t, standbys[0].figure("perigee_history_batches_total"), "the leader alone writes")

	all = append(all, leader.run(50)...)
	pg.Kill()
	all = append(all, leader.run(50)...)
	leader.succeed(all)
	s.eventually("it says that PostgreSQL is away", func() bool { return leader.history().Problem != "" && leader.figure("perigee_history_up") == 0 })
	_, err = leader.PastRuns(context.Background(), api.HistoryFilter{Limit: 5})
	require.Error(t, err, "what cannot be read is not told as nothing")

	_, err = leader.StepDown(context.Background())
	require.NoError(t, err)
	next, _ := s.leader(first, second)
	require.NotSame(t, leader, next)
	all = append(all, next.run(50)...)
	require.NoError(t, pg.Restart())
	next.succeed(all)
	next.keepsAll(all)
	leader.keepsAll(all)
	require.Positive(t, next.figure("perigee_history_batches_total"))

	said := s.refused(time.Minute, keepingHistory(address), func(o *server.Options) {
		o.Config.Cluster, o.NewCluster = "other", true
		o.Config.Journal.URL += "-other"
	})
	require.Contains(t, said, `history.url: this is the history of the cluster "three", and this one is "other"`)
}
