package history

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/history/pgtest"
	"github.com/perigee-sched/perigee/scheduler/record"
)

var (
	benchTasks  = flag.Int("history.tasks", 100_000, "how many finished tasks BenchmarkQueries looks among")
	benchSQLite = flag.String("history.sqlite", "", "a file that BenchmarkQueries makes, or uses again, and leaves there; a temporary one otherwise")
)

// past is a cluster's past, made up: tasks that ended one after the other in half a
// year, of 2,000 jobs on 1,000 agents. One in ten is of a run, with parameters; one
// in twenty has failed, and says why in words.
type past struct {
	random *rand.Rand
	tasks  int
	from   time.Time
	every  time.Duration
	jobs   *rand.Zipf
}

const (
	pastJobs   = 2_000
	pastAgents = 1_000
	pastLasts  = 180 * 24 * time.Hour
	runEvery   = 10
)

func newPast(tasks int) *past {
	r := rand.New(rand.NewPCG(1, 2))
	return &past{random: r, tasks: tasks, from: began, every: pastLasts / time.Duration(tasks), jobs: rand.NewZipf(r, 1.1, 20, pastJobs-1)}
}

func pastJob(n int) string   { return fmt.Sprintf("team-%02d/prod/job-%04d", n%40, n) }
func pastTask(n int) string  { return fmt.Sprintf("b1x7-%08d", n) }
func pastRun(n int) string   { return fmt.Sprintf("r%08d", n) }
func pastHost(n int) string  { return fmt.Sprintf("host-%04d.example.net", n) }
func pastOrder(n int) string { return fmt.Sprintf("order-%d", n) }

// at is when the nth ended.
func (p *past) at(n int) time.Time { return p.from.Add(time.Duration(n) * p.every) }

var causes = []string{
	"exited with status 1; its last line on stderr: connection refused by db-%d.example.com:5432",
	"killed by SIGKILL (out of memory?) after %ds",
	"the health check failed: GET /healthz on port 31%03d: 503 Service Unavailable",
	"exited with status 2; its last line on stderr: no such file or directory: /data/part-%d",
	"fetching artifact https://artifacts.example.com/build/%d failed: 404 Not Found",
}

// task is the nth that ended, and the run it is of, if it is.
func (p *past) task(n int) (*record.Task, *record.Run) {
	ended := p.at(n).UnixMilli()
	took := int64(p.random.ExpFloat64() * 600_000)
	host := p.random.IntN(pastAgents)
	t := &record.Task{
		Id: pastTask(n), Job: pastJob(int(p.jobs.Uint64())), Deploy: uint32(1 + n%50), Attempt: 1, State: finished,
		Agent: fmt.Sprintf("5f3b7a1c-9d0e-4c38-8f1a-0a6a2b0d7c5f-S%d", host), Host: pastHost(host),
		AgentUrl: "http://" + pastHost(host) + ":5051", SandboxRoot: fmt.Sprintf("/var/lib/mesos/slaves/5f3b7a1c-9d0e-4c38-8f1a-0a6a2b0d7c5f-S%d", host),
		Sandbox:   fmt.Sprintf("frameworks/5f3b7a1c-9d0e-4c38-8f1a-0a6a2b0d7c5f-0000/executors/%s/runs/%016x", pastTask(n), p.random.Uint64()),
		CreatedAt: ended - took - 2000, LaunchedAt: ended - took - 1000, RunningAt: ended - took, EndedAt: ended, StateAt: ended,
		Message: "exited with status 0",
	}
	if n%20 == 0 {
		t.State, t.Message = failed, fmt.Sprintf(causes[p.random.IntN(len(causes))], p.random.IntN(900))
	}
	t.Timeline, _ = proto.Marshal(&record.Timeline{Moments: []*record.Moment{ // which never fails
		{State: record.TaskState_TASK_STATE_PENDING, At: t.CreatedAt}, {State: record.TaskState_TASK_STATE_STAGING, At: t.LaunchedAt},
		{State: record.TaskState_TASK_STATE_RUNNING, At: t.RunningAt}, {State: t.State, At: ended, Message: t.Message},
	}})
	if n%runEvery != 0 {
		return t, nil
	}
	t.Run = pastRun(n / runEvery)
	run := &record.Run{Id: t.Run, Job: t.Job, State: record.RunState_RUN_STATE_SUCCEEDED, CreatedAt: t.CreatedAt, StartedAt: t.LaunchedAt, EndedAt: ended,
		Parameters: map[string]string{"order": pastOrder(n / runEvery), "region": []string{"north", "south", "east"}[n%3]}, RequestedBy: fmt.Sprintf("user-%d", n%300)}
	return t, run
}

// write has a history keep it all, as its own batches do, but without looking
// first for what is there: nothing is.
func (p *past) write(b *testing.B, s *scheduler) {
	b.Helper()
	store := s.store.Load()
	const atOnce = 20_000
	for from := 0; from < p.tasks; from += atOnce {
		_, err := store.transact(b.Context(), func(tx *batch) error {
			var rows [kinds][]row
			for n := from; n < min(from+atOnce, p.tasks); n++ {
				t, run := p.task(n)
				for _, m := range []record.Message{t, run} {
					if run == nil && m != record.Message(t) {
						continue
					}
					r, err := rowOf(m, 1, tx)
					if err != nil {
						return err
					}
					rows[r.kind] = append(rows[r.kind], r)
				}
			}
			for k := range kinds {
				if err := tx.put(tx, k, rows[k]); err != nil {
					return err
				}
				for i := range rows[k] {
					tx.add(k.String(), 1, rows[k][i].bytes())
				}
			}
			return nil
		})
		require.NoError(b, err)
	}
}

// question is a query with what it asks for at random.
type question struct {
	name string
	ask  func(ctx context.Context, h *History) (found int, err error)
}

func (p *past) questions() []question {
	r := p.random
	of := func(ask func() api.HistoryFilter) func(context.Context, *History) (int, error) {
		return func(ctx context.Context, h *History) (int, error) {
			f := ask()
			f.Limit = 50
			page, _, err := h.Tasks(ctx, f)
			return len(page), err
		}
	}
	someJob := func() string { return pastJob(int(p.jobs.Uint64())) }
	someHost := func() string { return pastHost(r.IntN(pastAgents)) }
	within := func(f api.HistoryFilter, d time.Duration) api.HistoryFilter {
		f.From = p.at(r.IntN(p.tasks))
		f.To = f.From.Add(d)
		return f
	}
	return []question{
		{"task", func(ctx context.Context, h *History) (int, error) {
			t, err := h.FindTask(ctx, pastTask(r.IntN(p.tasks)))
			if t == nil {
				return 0, err
			}
			return 1, err
		}},
		{"job", of(func() api.HistoryFilter { return api.HistoryFilter{Job: someJob()} })},
		{"job-state", of(func() api.HistoryFilter { return api.HistoryFilter{Job: someJob(), States: []string{"failed"}} })},
		{"team", of(func() api.HistoryFilter { return api.HistoryFilter{Team: fmt.Sprintf("team-%02d", r.IntN(40))} })},
		{"agent", of(func() api.HistoryFilter { return api.HistoryFilter{Agent: someHost()} })},
		{"agent-time", of(func() api.HistoryFilter { return within(api.HistoryFilter{Agent: someHost()}, 2*time.Hour) })},
		{"job-time", of(func() api.HistoryFilter { return within(api.HistoryFilter{Job: someJob()}, 24*time.Hour) })},
		{"time", of(func() api.HistoryFilter { return within(api.HistoryFilter{}, 10*time.Minute) })},
		{"state-time", of(func() api.HistoryFilter { return within(api.HistoryFilter{States: []string{"failed"}}, 2*time.Hour) })},
		{"text", of(func() api.HistoryFilter { return api.HistoryFilter{Text: fmt.Sprintf("refused db-%d", r.IntN(900))} })},
		{"text-common", of(func() api.HistoryFilter { return api.HistoryFilter{Text: "health check"} })},
		{"text-job", of(func() api.HistoryFilter { return api.HistoryFilter{Text: "out of memory", Job: someJob()} })},
		{"parameter", func(ctx context.Context, h *History) (int, error) {
			page, _, err := h.Runs(ctx, api.HistoryFilter{Parameters: map[string]string{"order": pastOrder(r.IntN(p.tasks / runEvery))}, Limit: 50})
			return len(page), err
		}},
		{"parameter-common", func(ctx context.Context, h *History) (int, error) {
			page, _, err := h.Runs(ctx, api.HistoryFilter{Parameters: map[string]string{"region": "north"}, Actor: fmt.Sprintf("user-%d", 3*r.IntN(100)), Limit: 50})
			return len(page), err
		}},
	}
}

// BenchmarkQueries asks for pages of 50 of a made-up past of -history.tasks tasks,
// each time for something else, and reports how long that took, the processor's
// time of it (without that of PostgreSQL), and what a task takes on the disk.
// -history.sqlite keeps the file for another time.
func BenchmarkQueries(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		path := *benchSQLite
		if path == "" {
			path = filepath.Join(b.TempDir(), "history.db")
		}
		queries(b, &where{TB: b, url: "sqlite://" + path}, func(*scheduler) int64 {
			info, err := os.Stat(path)
			require.NoError(b, err)
			return info.Size()
		})
	})
	b.Run("postgres", func(b *testing.B) {
		server, err := pgtest.Start()
		pgtest.Require(b, err)
		b.Cleanup(server.Close)
		address, err := server.Database()
		require.NoError(b, err)
		queries(b, &where{TB: b, url: address}, func(s *scheduler) (n int64) {
			_, err := s.db().Exec(`ANALYZE`) // as autovacuum does
			require.NoError(b, err)
			require.NoError(b, s.db().QueryRow(`SELECT pg_database_size(current_database())`).Scan(&n))
			return n
		})
	})
}

func queries(b *testing.B, p *where, size func(*scheduler) int64) {
	s, err := p.open()
	require.NoError(b, err)
	b.Cleanup(s.Close)
	past := newPast(*benchTasks)
	written := 0.0 // a second
	if s.rows("tasks") == 0 {
		began := time.Now()
		past.write(b, s)
		written = float64(past.tasks) / time.Since(began).Seconds()
	}
	rows := s.rows("tasks")
	require.Equal(b, past.tasks, rows, "the file has another number of tasks than -history.tasks says")
	perTask := float64(size(s)) / float64(rows)
	for _, q := range past.questions() {
		b.Run(q.name, func(b *testing.B) {
			var took []time.Duration
			found, cpu := 0, used()
			for b.Loop() {
				began := time.Now()
				n, err := q.ask(b.Context(), s.History)
				took = append(took, time.Since(began))
				require.NoError(b, err)
				found += n
			}
			cpu = used() - cpu
			slices.Sort(took)
			for name, part := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "max-ms": 1} {
				b.ReportMetric(float64(took[int(float64(len(took)-1)*part)].Microseconds())/1000, name)
			}
			b.ReportMetric(float64(found)/float64(len(took)), "found")
			b.ReportMetric(float64(cpu.Microseconds())/1000/float64(len(took)), "cpu-ms")
			b.ReportMetric(0, "ns/op")
			if q.name == "task" {
				b.ReportMetric(perTask, "B/task")
				b.ReportMetric(written, "written/s")
			}
		})
	}
}

// used is the processor's time that this process has used, which says more on a
// machine that others use too.
func used() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // which never fails
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
