package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/devcluster"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/journal/file"
	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/mesos"
)

// whole is all of a cluster in one process: users' HTTP requests, the API, the
// scheduler with its journal, the Mesos driver, and over HTTP again a
// master with 20 simulated agents, whose tasks last 10 ms.
type whole struct {
	testing.TB
	engine *engine.Engine
	url    string
	client http.Client
}

// begin has the journal in a local directory.
func begin(b *testing.B) *whole {
	b.Helper()
	j, err := file.Open(b.TempDir(), file.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, j.Close()) })
	return beginOn(b, j, nil)
}

func beginOn(b *testing.B, j journal.Journal, l lease.Lease) *whole {
	b.Helper()
	return beginWith(b, j, l, devcluster.Simulation{Duration: 10 * time.Millisecond})
}

// beginWith has tasks behave otherwise.
func beginWith(b *testing.B, j journal.Journal, l lease.Lease, tasks devcluster.Simulation) *whole {
	b.Helper()
	return beginOf(b, j, l, tasks, "cpus:1000;mem:1000000;disk:1000000")
}

// beginOf has agents of other sizes.
func beginOf(b *testing.B, j journal.Journal, l lease.Lease, tasks devcluster.Simulation, resources string) *whole {
	b.Helper()
	w := &whole{TB: b}
	w.client.Transport = &http.Transport{MaxIdleConnsPerHost: 256}
	quiet := slog.New(slog.DiscardHandler)
	options := devcluster.Options{Dir: b.TempDir(), Listen: "127.0.0.1:0", Ephemeral: true, AllocationInterval: 50 * time.Millisecond}
	for range 20 {
		options.Agents = append(options.Agents, devcluster.AgentOptions{Resources: resources, Simulated: &tasks})
	}
	cluster, err := devcluster.Open(options)
	require.NoError(b, err)
	executors := mesos.ExecutorOptions{URL: "http://127.0.0.1:1/executor", SHA256: strings.Repeat("0", 64)}
	w.engine = engine.New(engine.Options{Journal: j, Lease: l, Logger: quiet,
		Connect: func(deliver engine.Deliver) engine.Driver {
			return mesos.New(mesos.Options{Master: cluster.MasterAddr(), Executor: executors, Deliver: deliver, Logger: quiet})
		},
		Core:    core.Config{Overhead: executors.Overhead(), DefaultUser: "nobody"},
		Elected: core.Elected{Scheduler: "bench", Incarnation: "b1x7"}})
	s, err := server.New(server.Options{Scheduler: w.engine, Cluster: "bench", Log: quiet, Metrics: prometheus.NewRegistry()})
	require.NoError(b, err)
	front := httptest.NewServer(s.Handler())
	w.url = front.URL
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{"cluster": cluster.Run, "engine": w.engine.Run} {
		parts.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
				b.Errorf("%s: %v", name, err)
			}
		})
	}
	b.Cleanup(func() {
		front.Close()
		cancel()
		parts.Wait()
	})
	require.Eventually(b, func() bool { return w.engine.View().Observed.Subscribed }, 20*time.Second, time.Millisecond)
	w.send("PUT", "/v1/jobs/etl/prod/load", `{"kind":"batch","command":"./work","resources":{"cpus":0.1,"memory":"64MiB"}}`)
	return w
}

func (w *whole) send(method, path, body string) []byte {
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err == nil {
		var resp *http.Response
		if resp, err = w.client.Do(req); err == nil {
			defer resp.Body.Close()
			var text []byte
			if text, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode < 300 {
				return text
			}
			err = fmt.Errorf("%s: %s: %w", resp.Status, text, err)
		}
	}
	w.Error(err)
	return nil
}

// succeeded waits until n runs succeeded, durably. A task that is lost or run
// twice fails the benchmark.
func (w *whole) succeeded(ctx context.Context, f *engine.Follower, n int) {
	for n > 0 {
		events, err := f.Next(ctx)
		if err != nil {
			w.Error(err)
			return
		}
		for _, e := range events {
			switch e.Event.Type {
			case "run.succeeded":
				n--
			case "task.lost", "task.failed", "run.failed":
				w.Errorf("%s: %s", e.Event.Type, e.Event.Message)
			}
		}
	}
}

// BenchmarkRuns has runs submitted over HTTP, placed, launched, run and
// finished, over two HTTP connections and a disk: everything but the executors
// is real. "100 a call" has 4 users and "1 a call" 64, each of whom waits for
// the answer before the next call.
func BenchmarkRuns(b *testing.B) { measureRuns(b, begin) }

func measureRuns(b *testing.B, begin func(*testing.B) *whole) {
	for _, how := range []struct{ each, users int }{{100, 4}, {1, 64}} {
		b.Run(fmt.Sprintf("%d-a-call", how.each), func(b *testing.B) {
			w := begin(b)
			tasks := (b.N + how.each - 1) / how.each * how.each
			f, err := w.engine.Follow("")
			require.NoError(b, err)
			body := `{"runs":[{}` + strings.Repeat(",{}", how.each-1) + `]}`
			var left atomic.Int64
			left.Store(int64(tasks))
			used := cpuTime(b)
			b.ResetTimer()
			var over sync.WaitGroup
			over.Go(func() { w.succeeded(b.Context(), f, tasks) })
			var users sync.WaitGroup
			for range how.users {
				users.Go(func() {
					for left.Add(int64(-how.each)) >= 0 && !b.Failed() {
						w.send("POST", "/v1/jobs/etl/prod/load/runs", body)
					}
				})
			}
			users.Wait()
			acknowledged := b.Elapsed()
			over.Wait()
			b.StopTimer()
			b.ReportMetric(float64(tasks)/b.Elapsed().Seconds(), "tasks/s")
			b.ReportMetric(float64(tasks)/acknowledged.Seconds(), "submitted/s")
			used.report(b)
		})
	}
}

// witness notes when each run's events were seen, until n runs succeeded.
func (w *whole) witness(ctx context.Context, f *engine.Follower, seen map[string]map[string]time.Time, n int) {
	for len(seen["run.succeeded"]) < n {
		events, err := f.Next(ctx)
		if err != nil {
			w.Error(err)
			return
		}
		now := time.Now()
		for _, e := range events {
			if at, ok := seen[e.Event.Type]; ok {
				at[e.Event.Run] = now
			}
		}
	}
}

// BenchmarkPaced submits 500 runs a second, one a call, and reports how long
// after its submission each was placed, durably, and when it was known to run.
func BenchmarkPaced(b *testing.B) {
	w := begin(b)
	f, err := w.engine.Follow("")
	require.NoError(b, err)
	submitted, names := make([]time.Time, b.N), make([]string, b.N)
	seen := map[string]map[string]time.Time{"task.launching": {}, "task.running": {}, "run.succeeded": {}}
	b.ResetTimer()
	var over sync.WaitGroup
	over.Go(func() { w.witness(b.Context(), f, seen, b.N) })
	first := time.Now()
	var users sync.WaitGroup
	for i := range b.N {
		submitted[i] = first.Add(time.Duration(i) * 2 * time.Millisecond)
		time.Sleep(time.Until(submitted[i]))
		users.Go(func() {
			answer := w.send("POST", "/v1/jobs/etl/prod/load/runs", `{"runs":[{}]}`)
			_, name, _ := bytes.Cut(answer, []byte(`"runs":["`))
			name, _, _ = bytes.Cut(name, []byte(`"`))
			names[i] = string(name)
		})
	}
	users.Wait()
	over.Wait()
	b.StopTimer()
	for typ, name := range map[string]string{"task.launching": "placed", "task.running": "running"} {
		var took []time.Duration
		for i, run := range names {
			require.Contains(b, seen[typ], run)
			took = append(took, seen[typ][run].Sub(submitted[i]))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(took[(len(took)-1)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}
