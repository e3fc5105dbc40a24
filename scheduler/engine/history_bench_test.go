package engine_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/history"
	"github.com/perigee-sched/perigee/scheduler/history/pgtest"
)

// round is a part of a benchmark that ends what it began.
type round struct {
	testing.TB
	ends []func()
}

func (r *round) Cleanup(f func()) { r.ends = append(r.ends, f) }

func (r *round) end() {
	for _, f := range slices.Backward(r.ends) {
		f()
	}
}

// historyPlaces are where a history may be; each call of what they return is for
// another one.
var historyPlaces = []struct {
	name  string
	begin func(b *testing.B) (address func() string)
}{
	{"sqlite", func(b *testing.B) func() string {
		return func() string { return "sqlite://" + filepath.Join(b.TempDir(), "history.db") }
	}},
	{"postgres", func(b *testing.B) func() string {
		server, err := pgtest.Start()
		pgtest.Require(b, err)
		b.Cleanup(server.Close)
		return func() string {
			address, err := server.Database()
			require.NoError(b, err)
			return address
		}
	}},
}

// leadWith leads with a history, which is written meanwhile; with none at "".
func leadWith(b testing.TB, address string, change ...func(*engine.Options, *fastMesos)) (*engine.Engine, *fastMesos, *history.History) {
	b.Helper()
	if address == "" {
		e, m := lead(b, change...)
		return e, m, nil
	}
	var e *engine.Engine
	h, err := history.New(history.Options{URL: address, Cluster: "bench", Held: func() engine.Durable { return e.Held() }, Log: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	require.NoError(b, h.Open(context.Background()))
	e, m := lead(b, append(change, func(o *engine.Options, _ *fastMesos) {
		o.History, o.Core.History, o.Core.FinishedFor, o.Core.FinishedKeep = h, true, 60_000, 50_000
	})...)
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(func() {
		if err := h.Run(ctx); err != nil {
			b.Errorf("the history failed: %v", err)
		}
	})
	b.Cleanup(func() {
		cancel()
		writing.Wait()
	})
	return e, m, h
}

// awaitKept waits until a history has all that is durable.
func awaitKept(b testing.TB, e *engine.Engine, h *history.History) {
	b.Helper()
	for at := e.View().Index; !b.Failed(); time.Sleep(time.Millisecond) {
		if through, _ := h.Through(); through >= at {
			return
		}
	}
}

func middle(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// BenchmarkHistory has 20,000 runs submitted as BenchmarkRuns does, 100 a call,
// without a history and beside one that is written, in turn. It reports the median
// tasks a second of each, and of their ratio. "kept-tasks/s" counts until the
// history has all.
func BenchmarkHistory(b *testing.B) {
	const tasks, rounds = 20_000, 5
	for _, place := range historyPlaces {
		b.Run(place.name, func(b *testing.B) {
			address := place.begin(b)
			var without, with, kept, ratio []float64
			for b.Loop() {
				for range rounds {
					speed, _ := submitAll(b, "", tasks)
					beside, all := submitAll(b, address(), tasks)
					without, with, kept, ratio = append(without, speed), append(with, beside), append(kept, all), append(ratio, beside/speed)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(middle(without), "without-tasks/s")
			b.ReportMetric(middle(with), "with-tasks/s")
			b.ReportMetric(middle(kept), "kept-tasks/s")
			b.ReportMetric(middle(ratio), "with/without")
		})
	}
}

// submitAll has so many runs submitted and brought to their end, and returns how
// many a second that were, and until a history had them all.
func submitAll(b *testing.B, address string, tasks int) (finished, kept float64) {
	b.Helper()
	const each, callers = 100, 4
	r := &round{TB: b}
	defer r.end()
	e, m, h := leadWith(r, address)
	_, _, err := e.Do(context.Background(), core.Request{Op: batch(r, benchJob)})
	require.NoError(b, err)
	began := time.Now()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range tasks / each / callers {
				start(r, e, each)
			}
		})
	}
	all.Wait()
	settled(r, e, m, tasks)
	finished = float64(tasks) / time.Since(began).Seconds()
	if h != nil {
		awaitKept(r, e, h)
		kept = float64(tasks) / time.Since(began).Seconds()
		require.EqualValues(b, 2*tasks+1, h.Stats().Records, "a task and a run each, and the deploy")
	}
	return finished, kept
}

// BenchmarkHistoryPaced submits 5,000 runs a second, 100 a call, for as long as it
// takes, without a history and beside each, and reports how long after its
// submission each was placed, and how far the history was behind at the most.
func BenchmarkHistoryPaced(b *testing.B) {
	b.Run("none", func(b *testing.B) { paced(b, "") })
	for _, place := range historyPlaces {
		b.Run(place.name, func(b *testing.B) { paced(b, place.begin(b)()) })
	}
}

func paced(b *testing.B, address string) {
	const each, every = 100, 20 * time.Millisecond
	r := &round{TB: b} // b.N grows, and with it what is done
	defer r.end()
	e, m, h := leadWith(r, address, func(_ *engine.Options, m *fastMesos) { m.placed = map[string]time.Time{} })
	_, _, err := e.Do(context.Background(), core.Request{Op: batch(r, benchJob)})
	require.NoError(b, err)
	calls := (b.N + each - 1) / each
	due, names := make([]time.Time, calls), make([][]string, calls)
	behind := time.Duration(0)
	first := time.Now()
	var callers sync.WaitGroup
	b.ResetTimer()
	for i := range calls {
		due[i] = first.Add(time.Duration(i) * every)
		time.Sleep(time.Until(due[i]))
		callers.Go(func() { names[i] = start(r, e, each) })
		if h != nil {
			behind = max(behind, h.Stats().Behind)
		}
	}
	callers.Wait()
	settled(r, e, m, calls*each)
	if h != nil {
		awaitKept(r, e, h)
	}
	b.StopTimer()
	var took []time.Duration
	for i, list := range names {
		for _, name := range list {
			at, ok := m.placed[benchJob+"/"+name]
			require.True(b, ok)
			took = append(took, at.Sub(due[i]))
		}
	}
	slices.Sort(took)
	for name, q := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99} {
		b.ReportMetric(float64(took[int(float64(len(took)-1)*q)].Microseconds())/1000, name)
	}
	b.ReportMetric(float64(calls*each)/b.Elapsed().Seconds(), "tasks/s")
	b.ReportMetric(behind.Seconds(), "behind-s")
	b.ReportMetric(0, "ns/op")
}
