package server_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster"
	"github.com/perigee-sched/perigee/scheduler/journal/file"
)

// BenchmarkRollingDeploy replaces the 200 instances of a service in 10 batches
// of 20, each ready a second after it runs, as fast as the scheduler decides:
// the master, its agents and the journal on disk are as in BenchmarkRuns.
// Reported is by how much that took longer than 10 times a second.
func BenchmarkRollingDeploy(b *testing.B) {
	const instances, batch, job = 200, 20, "/v1/jobs/web/prod/site"
	const ideal = instances / batch * time.Second
	j, err := file.Open(b.TempDir(), file.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, j.Close()) })
	w := beginWith(b, j, nil, devcluster.Simulation{}) // until they are killed
	deploy := func(version int) time.Duration {
		f, err := w.engine.Follow("")
		require.NoError(b, err)
		began := time.Now()
		w.send("PUT", job, fmt.Sprintf(`{"kind":"service","command":"./serve","instances":%d,"resources":{"cpus":0.1,"memory":"64MiB"},
			"env":{"VERSION":"%d"},"ready":{"after":"1s"},"update":{"batch":%d}}`, instances, version, batch))
		for !b.Failed() {
			events, err := f.Next(b.Context())
			require.NoError(b, err)
			for _, e := range events {
				switch e.Event.Type {
				case "deploy.succeeded":
					return time.Since(began)
				case "task.lost", "task.failed", "deploy.failed", "deploy.rolling_back":
					b.Errorf("%s: %s %s", e.Event.Type, e.Event.Reason, e.Event.Message)
				}
			}
		}
		return 0
	}
	deploy(0)
	took, n := time.Duration(0), 0
	for b.Loop() {
		n++
		took += deploy(n)
	}
	each := took / time.Duration(max(n, 1))
	b.ReportMetric(each.Seconds(), "s/deploy")
	b.ReportMetric(100*(each.Seconds()/ideal.Seconds()-1), "%-over-ideal")
	b.ReportMetric(0, "ns/op")
}
