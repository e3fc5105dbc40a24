package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// send sends a request and reads the answer, over one connection for all.
func send(b *testing.B, method, url, body string) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(b, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(b, err)
	resp.Body.Close()
	require.Less(b, resp.StatusCode, 300)
}

// What the API and the scheduler behind it take to accept runs; nothing is
// offered, so nothing runs.
func BenchmarkStartRuns(b *testing.B) {
	for _, n := range []int{1, 100, 5000} {
		b.Run(fmt.Sprintf("%d-a-call", n), func(b *testing.B) {
			w := begin(b, func(w *world) { w.mesos.hold(true) })
			w.put("etl/prod/load", batch)
			run := `{"parameters":{"n":"7"},"group":"build-7"}`
			body := `{"runs":[` + run + strings.Repeat(","+run, n-1) + `]}`
			for b.Loop() {
				send(b, "POST", w.url+"/v1/jobs/etl/prod/load/runs", body)
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "runs/s")
		})
	}
}

// One page of 100 of 2,000 jobs.
func BenchmarkListJobs(b *testing.B) {
	w := begin(b, func(w *world) { w.mesos.hold(true) })
	for i := range 2000 {
		w.put(fmt.Sprintf("team-%d/prod/job-%d", i%20, i), batch)
	}
	for name, query := range map[string]string{"all": "", "team": "?team=team-7", "kind": "?kind=cron"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				send(b, "GET", w.url+"/v1/jobs"+query, "")
			}
		})
	}
}
