package cli_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/cli"
)

// A scheduler that is asked too often is asked again when it says so, and not
// before: who would have to wait for too long is told at once.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	var after atomic.Value
	after.Store("0")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) <= 3 {
			w.Header().Set("Retry-After", after.Load().(string))
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"type":"urn:perigee:too-many-requests","title":"Too Many Requests","detail":"CI asks too often: limits.requests is 500 a second; ask again in 1h"}`))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"items":[]}`))
	}))
	t.Cleanup(s.Close)
	run := func() (string, int) {
		var out bytes.Buffer
		code := cli.Run(t.Context(), []string{"--api", s.URL, "jobs"}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out})
		return out.String(), code
	}
	said, code := run()
	require.Zero(t, code, said)
	require.EqualValues(t, 4, asked.Load())

	asked.Store(0)
	after.Store("3600")
	said, code = run()
	require.Equal(t, 6, code)
	require.Equal(t, "error: CI asks too often: limits.requests is 500 a second; ask again in 1h\n", said)
	require.EqualValues(t, 1, asked.Load())
}
