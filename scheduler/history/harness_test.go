package history

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/history/pgtest"
	"github.com/perigee-sched/perigee/scheduler/record"
)

var postgreSQL pgtest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	postgreSQL.Close()
	os.Exit(code)
}

// onBoth runs a test of the conformance suite on each database.
func onBoth(t *testing.T, test func(*where)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(&where{TB: t, url: "sqlite://" + filepath.Join(t.TempDir(), "history.db")})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(&where{TB: t, url: postgreSQL.Database(t)})
	})
}

// where is where a history of a test is.
type where struct {
	testing.TB
	url string
	// through has a test see, or change, how the database is used.
	through func(dialect) dialect
}

// Run runs a part of a test, on a database of its own.
func (p *where) Run(what string, test func(*where)) {
	p.TB.(*testing.T).Run(what, func(t *testing.T) {
		url := "sqlite://" + filepath.Join(t.TempDir(), "history.db")
		if !strings.HasPrefix(p.url, "sqlite") {
			url = postgreSQL.Database(t)
		}
		test(&where{TB: t, url: url})
	})
}

// began is when tests' histories begin.
var began = time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)

// scheduler is a scheduler's history, and what the scheduler holds.
type scheduler struct {
	*History
	p    *where
	held atomic.Pointer[engine.Durable]
	stop func() error
}

// open opens a history; it is not yet written.
func (p *where) open(change ...func(*Options)) (*scheduler, error) {
	s := &scheduler{p: p}
	s.held.Store(&engine.Durable{Anew: true})
	o := Options{URL: p.url, Cluster: "test", Held: func() engine.Durable { return *s.held.Load() }, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	var err error
	if s.History, err = New(o); err != nil {
		return nil, err
	}
	if p.through != nil {
		s.dialect = p.through(s.dialect)
	}
	return s, s.Open(p.Context())
}

// start opens a history and runs it until the test ends.
func (p *where) start(change ...func(*Options)) *scheduler {
	p.Helper()
	s, err := p.open(change...)
	require.NoError(p, err)
	s.run()
	return s
}

// db reads the database, once it is open: a process that another test starts may
// hold what it inherits, the lock of a file too, for a moment.
func (s *scheduler) db() *sql.DB {
	s.p.Helper()
	s.p.eventually("the history is open", func() bool { return s.store.Load() != nil })
	return s.store.Load().read
}

func (s *scheduler) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var over bool
	s.stop = func() error {
		cancel()
		if over {
			return nil
		}
		over = true
		return <-ended
	}
	s.p.Cleanup(func() { require.NoError(s.p, s.stop()) })
}

// eventually waits for a condition.
func (p *where) eventually(what string, is func() bool) {
	p.Helper()
	require.Eventually(p, is, time.Minute, 5*time.Millisecond, what)
}

// through waits until all up to an index is kept.
func (s *scheduler) through(index uint64) {
	s.p.Helper()
	s.p.eventually(fmt.Sprintf("everything up to %d is kept", index), func() bool {
		at, _ := s.Through()
		return at >= index
	})
}

// at is a time after began, in ms.
func at(d time.Duration) int64 { return began.Add(d).UnixMilli() }

// task is a finished one, the nth of a job.
func task(job string, n int, state record.TaskState, change ...func(*record.Task)) *record.Task {
	t := &record.Task{
		Id: fmt.Sprintf("b1x7-%06d", n), Job: job, Deploy: 1, Attempt: 1, State: state, Agent: "5a1e-S1", Host: "host1",
		AgentUrl: "http://host1:5051", SandboxRoot: "/var/lib/mesos/slaves/5a1e-S1", Sandbox: fmt.Sprint(n),
		CreatedAt: at(0), LaunchedAt: at(time.Second), RunningAt: at(2 * time.Second), EndedAt: at(time.Duration(n) * time.Minute),
		StateAt: at(time.Duration(n) * time.Minute), Message: "exited with status 0",
	}
	for _, c := range change {
		c(t)
	}
	return t
}

// entry is what one entry of the journal brought: these records, and an event for
// each.
func entry(index uint64, finished ...record.Message) engine.Durable {
	d := engine.Durable{Incarnation: "b1x7", Index: index, Finished: finished}
	for i, m := range finished {
		e := &record.Event{Type: "task.finished", At: at(time.Duration(index) * time.Minute)}
		switch m := m.(type) {
		case *record.Task:
			e.Job, e.Task, e.Host, e.Agent = m.Job, m.Id, m.Host, m.Agent
		case *record.Run:
			e.Type, e.Job, e.Run, e.Actor = "run.succeeded", m.Job, m.Id, m.RequestedBy
		case *record.Deploy:
			e.Type, e.Job, e.Deploy, e.Actor = "deploy.succeeded", m.Job, m.Number, m.Author
		}
		d.Events = append(d.Events, engine.Published{ID: engine.EventID{Incarnation: "b1x7", Index: index, Ordinal: i}, Event: e})
	}
	return d
}

// loaded is what a scheduler tells when it has read a journal up to an index.
func loaded(index uint64, d ...engine.Durable) engine.Durable {
	out := engine.Durable{Anew: true, Incarnation: "b1x7", Index: index}
	for _, d := range d {
		out.Finished = append(out.Finished, d.Finished...)
		out.Events = append(out.Events, d.Events...)
	}
	return out
}

const (
	finished = record.TaskState_TASK_STATE_FINISHED
	failed   = record.TaskState_TASK_STATE_FAILED
)

// writeAll writes what waits and deletes what is too much, of a history that does
// not run.
func (s *scheduler) writeAll() {
	s.p.Helper()
	for more := true; more; {
		n, err := s.write(s.p.Context())
		require.NoError(s.p, err)
		more, err = s.retain(s.p.Context())
		require.NoError(s.p, err)
		more = more || n > 0
	}
}

func (s *scheduler) used() int64 {
	s.p.Helper()
	st := s.store.Load()
	n, err := st.used(s.p.Context(), st)
	require.NoError(s.p, err)
	return n
}
