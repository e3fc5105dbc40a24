package executor_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// BenchmarkExecutor_MemoryWhileCheckingHealth reports the resident memory of an
// executor that fetched an artifact and has made 200 HTTP health checks.
func BenchmarkExecutor_MemoryWhileCheckingHealth(b *testing.B) {
	var checks atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { checks.Add(1) }))
	defer server.Close()
	for b.Loop() {
		checks.Store(0)
		d := definition("sleep 1000")
		d.Spec.Artifacts = []api.Artifact{writeArtifact(b, 1<<20)}
		d.Spec.Ports = []string{"http"}
		d.Ports["http"] = portOf(b, server.Listener.Addr().String())
		d.Spec.Health = &api.Health{HTTP: &api.HTTPCheck{Port: "http"}, Interval: api.Duration(10 * time.Millisecond)}
		r := start(b, d, option{plain: true})
		r.eventually("200 checks", func() bool { return checks.Load() >= 200 })
		b.ReportMetric(float64(r.statusKB("VmRSS"))*1024/1e6, "MB-resident")
		b.ReportMetric(float64(r.statusKB("RssAnon"))*1024/1e6, "MB-anonymous")
		r.close()
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkExecutor_LaunchToMainProcess reports the time from an agent's LAUNCH
// to the first instruction of the main process, to an executor that waits for
// it, with an artifact of 8 MiB in the cache.
func BenchmarkExecutor_LaunchToMainProcess(b *testing.B) {
	cache := directory(b)
	for name, artifacts := range map[string][]api.Artifact{"bare": nil, "cached-8MiB": {writeArtifact(b, 8<<20)}} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				d := definition("/bin/date +%s%N")
				d.Spec.Artifacts = artifacts
				r := start(b, d, option{hold: true, plain: true, env: []string{"PERIGEE_CACHE=" + filepath.Join(cache, "c")}})
				r.eventually("the subscription", func() bool { return len(r.agent.subscriptions()) == 1 })
				launched := time.Now()
				r.agent.launch(d.Task, marshal(b, d))
				require.Equal(b, 0, r.exit())
				started, err := strconv.ParseInt(strings.TrimSpace(r.file("logs/stdout")), 10, 64)
				require.NoError(b, err)
				if i > 0 { // the first fills the cache
					took = append(took, time.Unix(0, started).Sub(launched))
				}
				r.close()
			}
			if len(took) == 0 {
				return
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
		})
	}
}

// writeArtifact makes a file to fetch, and its artifact.
func writeArtifact(t testing.TB, size int) api.Artifact {
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	name := filepath.Join(directory(t), "app.bin")
	require.NoError(t, os.WriteFile(name, content, 0o644))
	return api.Artifact{URI: "file://" + name, SHA256: digest(content)}
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
