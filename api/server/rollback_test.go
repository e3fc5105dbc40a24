package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

var millennium = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// store has artifacts, and remembers how it was asked.
type store struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	gone  map[string]int // what it answers by path, 200 otherwise
}

func newStore(t *testing.T) *store {
	s := &store{gone: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
		rest, moved := strings.CutPrefix(r.URL.Path, "/moved")
		switch status := s.gone[r.URL.Path]; {
		case moved:
			http.Redirect(w, r, rest, http.StatusFound)
		case status != 0:
			w.WriteHeader(status)
		case strings.HasPrefix(r.URL.Path, "/get/") && r.Method == http.MethodHead:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case strings.HasPrefix(r.URL.Path, "/signed/") && r.Method == http.MethodHead:
			w.WriteHeader(http.StatusForbidden)
		default:
			http.ServeContent(w, r, "", millennium, strings.NewReader("an artifact"))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// answers sets what a path is answered, and takes what was asked so far.
func (s *store) answers(path string, status int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	if path != "" {
		s.gone[path] = status
	}
	return asked
}

func artifacts(uris ...string) string {
	for i, uri := range uris {
		uris[i] = `{"uri": "` + uri + `", "sha256": "` + strings.Repeat("0", 64) + `"}`
	}
	return `"artifacts": [` + strings.Join(uris, ",") + `]`
}

// A rollback to a deploy whose artifact is gone says so before it touches
// anything.
func TestRollback_LooksForArtifactsFirst(t *testing.T) {
	t.Parallel()
	w, s := begin(t), newStore(t)
	w.deploy(shop, site(artifacts(s.URL+"/a.pex?token=secret", s.URL+"/get/b.pex", s.URL+"/signed/c.pex", s.URL+"/moved/d.pex", "file:///srv/e.pex")))
	w.over(shop, 1, api.DeploySucceeded)
	w.deploy(shop, site(`"command": "./new"`))
	w.over(shop, 2, api.DeploySucceeded)
	require.Empty(t, s.answers("", 0), "nothing is looked for by a deploy")
	index := w.engine.View().Index

	s.answers("/a.pex", http.StatusGone)
	for path, body := range map[string]string{"the last": ``, "by number": `{"to": 1}`} {
		p := w.do("POST", "/v1/jobs/"+shop+"/rollback", body).problem(http.StatusConflict)
		require.Equal(t, "urn:perigee:artifact", p.Type, path)
		require.Contains(t, p.Detail, "deploy 1 of "+shop)
		require.Contains(t, p.Detail, s.URL+"/a.pex is gone: its store answers 410")
		require.Contains(t, p.Detail, "nothing was changed")
		require.NotContains(t, p.Detail, "secret")
		require.Len(t, p.Errors, 1)
		require.Equal(t, "spec.artifacts[0].uri", p.Errors[0].Location)
	}
	require.Empty(t, w.events(index))
	s.answers("/a.pex", http.StatusBadGateway)
	require.Contains(t, w.do("POST", "/v1/jobs/"+shop+"/rollback", ``).problem(http.StatusConflict).Detail, "cannot be looked for: its store answers 502")

	s.answers("/a.pex", 0)
	d, err := w.Rollback(ctx, shop, api.RollbackRequest{}, client.WriteOptions{IdempotencyKey: "back"})
	require.NoError(t, err)
	require.EqualValues(t, 3, d.Number)
	require.Equal(t, api.DeployOfRollback, d.Kind)
	require.EqualValues(t, 1, d.Of)
	require.Equal(t, []string{"artifact file:///srv/e.pex of deploy 1 was not looked for: only agents can see it"}, d.Warnings)
	require.ElementsMatch(t, []string{"HEAD /a.pex", "HEAD /get/b.pex", "GET /get/b.pex bytes=0-0", "HEAD /signed/c.pex", "GET /signed/c.pex bytes=0-0",
		"HEAD /moved/d.pex", "HEAD /d.pex"}, s.answers("/a.pex", http.StatusNotFound))
	w.over(shop, 3, api.DeploySucceeded)

	again, err := w.Rollback(ctx, shop, api.RollbackRequest{}, client.WriteOptions{IdempotencyKey: "back"})
	require.NoError(t, err, "what was answered once is answered again")
	require.EqualValues(t, 3, again.Number)
	require.Empty(t, s.answers("", 0))
}

func TestRollback_UncheckedAndUnreachable(t *testing.T) {
	t.Parallel()
	w, s := begin(t), newStore(t)
	w.deploy(shop, site(artifacts(s.URL+"/a.pex")))
	w.over(shop, 1, api.DeploySucceeded)
	w.deploy(shop, site(`"command": "./slow"`))
	s.Close()
	p := w.do("POST", "/v1/jobs/"+shop+"/rollback", ``).problem(http.StatusConflict)
	require.Contains(t, p.Detail, "connection refused")
	require.Contains(t, p.Detail, "unchecked")
	back, err := w.Rollback(ctx, shop, api.RollbackRequest{Unchecked: true, DeployNotes: api.DeployNotes{Message: "now"}}, client.WriteOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 2, back.Number, "it undoes the one in progress")
	require.Contains(t, w.over(shop, 2, api.DeployRolledBack).Reason, "rolled back by tester: now")
}

func TestRollback_ToNothing(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	for body, status := range map[string]int{``: 409, `{"to": 7}`: 404, `{"to": -1}`: 422, `{"to": "1"}`: 422, `{"too": 1}`: 422, `[]`: 422, `{`: 400} {
		w.do("POST", "/v1/jobs/"+shop+"/rollback", body).problem(status)
	}
	w.do("POST", "/v1/jobs/web/prod/none/rollback", ``).problem(http.StatusNotFound)
	a := w.do("POST", "/v1/jobs/"+shop+"/rollback", `{"to": 1}`)
	require.Equal(t, http.StatusOK, a.status)
	require.Contains(t, a.body, `"changed":false`)
}

// asking remembers what the core was asked for.
type asking struct {
	*engine.Engine
	last atomic.Pointer[core.Request]
}

func (a *asking) Do(ctx context.Context, r core.Request) (core.Result, *engine.View, error) {
	a.last.Store(&r)
	return a.Engine.Do(ctx, r)
}

// The deploy that was looked at is the one to return to, whatever happens
// meanwhile.
func TestRollback_IsToTheDeployThatWasLookedAt(t *testing.T) {
	t.Parallel()
	a := new(asking)
	w := begin(t, func(w *world) { a.Engine = w.engine; w.options.Scheduler = a })
	for _, command := range []string{"./one", "./two", "./three"} {
		d := w.deploy(shop, site(`"command": "`+command+`"`))
		w.over(shop, d.Number, api.DeploySucceeded)
	}
	d, err := w.Rollback(ctx, shop, api.RollbackRequest{}, client.WriteOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 2, d.Of)
	require.EqualValues(t, 2, a.last.Load().Op.(core.RollBack).To)
}
