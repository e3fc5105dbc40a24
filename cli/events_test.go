package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/eventtest"
)

// Every type of events has a line that says what it is about, and what happened.
func TestEventLine_OfEveryType(t *testing.T) {
	t.Parallel()
	a := &app{now: func() time.Time { return time.Date(2026, 11, 21, 3, 20, 0, 0, time.UTC) }}
	var b strings.Builder
	for _, kind := range api.EventKinds() {
		for _, et := range kind.Types {
			e := et.Example
			e.Time = time.Date(2026, 11, 21, 3, 11, 39, 0, time.Local)
			_, line, ok := strings.Cut(a.eventLine(&e, true), ":39  ")
			require.True(t, ok)
			fmt.Fprintln(&b, line)
		}
	}
	file := filepath.Join("testdata", "events.txt")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "run with -update, and look at the difference")
}

// lossy is a scheduler whose connections end after each event, and that forgets
// some: those up to number 4, once number 2 was read.
func lossy(t *testing.T) *httptest.Server {
	event := func(w http.ResponseWriter, n int) {
		e := api.EventTypes()["job.resumed"].Example
		e.ID = fmt.Sprintf("i1-%d-0", n)
		b, err := json.Marshal(e)
		require.NoError(t, err)
		fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Type, b)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch after := r.Header.Get("Last-Event-ID"); after {
		case "i1-2-0":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, `{"title":"Gone","status":410,"detail":"too old","errors":[{"location":"query.after","message":"is too old","value":"i1-4-0"}]}`)
		case "i1-6-0":
			<-r.Context().Done()
		default:
			var n int
			_, err := fmt.Sscanf(after, "i1-%d-0", &n)
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, ": heartbeat\n\n")
			if err == nil {
				event(w, n+1)
			} else {
				event(w, 1)
			}
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// Following goes on when the connection is lost, and says what was missed.
func TestEvents_FollowsAcrossWhatIsLost(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	errs := new(bytes.Buffer)
	out := &until{want: `"i1-6-0"`, then: cancel}
	Run(ctx, []string{"events", "-f", "-o", "json", "--type", "job.resumd", "--api", lossy(t).URL}, Streams{Out: out, Err: errs})
	var ids []string
	for line := range strings.Lines(out.String()) {
		require.NoError(t, eventtest.Check([]byte(line)), "one CloudEvent a line")
		var e api.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		ids = append(ids, e.ID)
	}
	require.Equal(t, []string{"i1-1-0", "i1-2-0", "i1-5-0", "i1-6-0"}, ids)
	require.Contains(t, errs.String(), "warning: the events after i1-2-0 up to i1-4-0 are no longer kept")
	require.Contains(t, errs.String(), `warning: no type of events that is known here matches "job.resumd"; did you mean job.resumed?`)
}

// until calls then once what is written has a text in it.
type until struct {
	bytes.Buffer
	want string
	then func()
}

func (u *until) Write(b []byte) (int, error) {
	n, err := u.Buffer.Write(b)
	if strings.Contains(u.String(), u.want) {
		u.then()
	}
	return n, err
}
