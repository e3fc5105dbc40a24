package server_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal/file"
)

// Of a cluster with 100 slots, whose tasks take a second.
const (
	bigBuild, smallBuild = 3_000, 10
	another              = 1_000 // runs of the big build, with every tenth small one
)

// BenchmarkSmallBuild has builds of 10 runs come one after the other while some 3,000
// of a big one wait, and reports how long after the task in a slot was known to be
// over a run of the small build was launched in its place: the first run after the
// first slot, the second after the second. In between the executor ends, and the
// master offers what it had, which it does every 50 ms.
func BenchmarkSmallBuild(b *testing.B) {
	j, err := file.Open(b.TempDir(), file.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, j.Close()) })
	w := beginOf(b, j, nil, devcluster.Simulation{Duration: time.Second}, "cpus:5.9;mem:100000;disk:100000")
	w.send("PUT", "/v1/jobs/ci/prod/build", `{"kind":"batch","command":"./work","resources":{"cpus":1,"memory":"64MiB"}}`)
	f, err := w.engine.Follow(w.engine.Newest().String())
	require.NoError(b, err)
	var took []time.Duration
	b.ResetTimer()
	for i := range b.N {
		switch {
		case i == 0:
			w.build("big", bigBuild)
			w.drain(b, f, "task.finished", bigBuild/10)
		case i%10 == 0:
			w.build("big", another)
		}
		took = append(took, w.small(b, f, fmt.Sprint("small-", i))...)
	}
	b.StopTimer()
	slices.Sort(took)
	ms := func(percent int) float64 { return float64(took[(len(took)-1)*percent/100].Microseconds()) / 1000 }
	b.ReportMetric(ms(50), "p50-ms")
	b.ReportMetric(ms(99), "p99-ms")
	b.ReportMetric(ms(100), "max-ms")
	b.ReportMetric(0, "ns/op")
}

// build starts the runs of a build, and returns their ids.
func (w *whole) build(group string, n int) []string {
	w.Helper()
	one := fmt.Sprintf(`{"group":%q}`, group)
	answer := w.send("POST", "/v1/jobs/ci/prod/build/runs", `{"runs":[`+one+strings.Repeat(","+one, n-1)+`]}`)
	var started struct {
		Runs []string `json:"runs"`
	}
	require.NoError(w, json.Unmarshal(answer, &started))
	require.Len(w, started.Runs, n)
	return started.Runs
}

// drain waits for n events of a type.
func (w *whole) drain(b *testing.B, f *engine.Follower, typ string, n int) {
	for n > 0 {
		events, err := f.Next(b.Context())
		require.NoError(b, err)
		for _, e := range events {
			if e.Event.Type == typ {
				n--
			}
		}
	}
}

// small starts a small build, and returns how long each of its runs was launched
// after it could be.
func (w *whole) small(b *testing.B, f *engine.Follower, group string) (took []time.Duration) {
	mine := map[string]bool{}
	for _, run := range w.build(group, smallBuild) {
		mine[run] = true
	}
	var free []time.Time
	begun := false
	for len(took) < smallBuild {
		events, err := f.Next(b.Context())
		require.NoError(b, err)
		now := time.Now()
		for _, e := range events {
			begun = begun || mine[e.Event.Run] // what came before is of the time before
			switch {
			case !begun:
			case e.Event.Type == "task.finished":
				free = append(free, now)
			case e.Event.Type == "task.launching" && mine[e.Event.Run]:
				at := now // a slot that was free before
				if len(took) < len(free) {
					at = free[len(took)]
				}
				took = append(took, now.Sub(at))
			}
		}
	}
	return took
}
