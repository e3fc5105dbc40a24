package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// turns answers one request after the other in another way.
type turns struct {
	mu      sync.Mutex
	answers []http.HandlerFunc
	asked   []string
}

func (a *turns) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.URL.RawQuery)
	answer := a.answers[0]
	a.answers = a.answers[1:]
	a.mu.Unlock()
	answer(w, r)
}

// A file that is followed is gone on with where it was, whatever the scheduler
// was killed in the middle of, and while the next one has not loaded its journal.
func TestLogs_FollowOutlivesSchedulers(t *testing.T) {
	t.Parallel()
	problem := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"status":%d}`, status)
		}
	}
	killed := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	text := func(s string, whole bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, s)
			w.(http.Flusher).Flush()
			if !whole {
				panic(http.ErrAbortHandler)
			}
		}
	}
	content := &turns{answers: []http.HandlerFunc{killed, problem(http.StatusServiceUnavailable), problem(http.StatusNotFound),
		text("one\n", false), problem(http.StatusServiceUnavailable), text("two\n", true)}}
	mux := http.NewServeMux()
	mux.Handle("/v1/tasks/x-1/files/content", content)
	mux.HandleFunc("/v1/tasks/x-1", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"id":"x-1","job":"web/devel/hello","instance":0,"state":"running"}`)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	var out, errs bytes.Buffer
	code := Run(t.Context(), []string{"logs", "-f", "x-1"}, Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Environ: []string{"PERIGEE_API=" + s.URL}})
	require.Zero(t, code, errs.String())
	require.Equal(t, "one\ntwo\n", out.String())
	require.Empty(t, content.answers)
	require.Contains(t, content.asked[5], "offset=4")
}
