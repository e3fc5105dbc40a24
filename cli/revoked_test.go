package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// revoking is a scheduler that takes the token back once it has told something in a
// stream, which it then ends.
func revoking(t *testing.T) (url string, refused *atomic.Int32) {
	var over atomic.Bool
	refused = new(atomic.Int32)
	const deploy = `{"job":"web/prod/site","number":1,"state":"in_progress","created_at":"2026-11-21T03:11:39Z"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if over.Load() {
			refused.Add(1)
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"type":"urn:perigee:token-revoked","title":"Unauthorized","status":401,"detail":"token 435namd367 was revoked at 2026-11-21T03:11:40Z"}`)
			return
		}
		tell := func(text string) {
			fmt.Fprint(w, text)
			over.Store(true)
			require.NoError(t, http.NewResponseController(w).Flush())
		}
		switch path := r.URL.Path; {
		case path == "/v1/events":
			tell(": heartbeat\n\n")
		case strings.HasSuffix(path, "/endpoints/watch"):
			tell("event: endpoints\ndata: {\"job\":\"web/prod/site\",\"index\":1,\"endpoints\":[]}\n\n")
		case strings.HasSuffix(path, "/deploys/1/events"):
			tell("event: deploy\ndata: " + deploy + "\n\n")
		case strings.HasSuffix(path, "/deploys/1"):
			fmt.Fprint(w, deploy)
		case strings.HasSuffix(path, "/content"):
			tell("hello\n")
			panic(http.ErrAbortHandler)
		case strings.HasPrefix(path, "/v1/tasks/"):
			fmt.Fprint(w, `{"id":"t1","job":"web/prod/site","state":"running","agent":"a1","host":"h1"}`)
		default:
			fmt.Fprint(w, `{"job":"web/prod/site","kind":"service","spec":{"job":"web/prod/site","kind":"service","ports":["http"]}}`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, refused
}

// A command that follows something ends when the token is taken back, and says so.
func TestFollowing_EndsWithTheToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "endpoints")
	for _, args := range []string{
		"events -f", "endpoints web/prod/site --watch", "endpoints web/prod/site --watch -t haproxy-servers --file " + file,
		"deploys web/prod/site 1 --watch", "logs -f t1",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			url, refused := revoking(t)
			var out, errs bytes.Buffer
			code := Run(context.Background(), append(strings.Fields(args), "--token", "pgt_x", "--api", url), Streams{Out: &out, Err: &errs})
			require.Equal(t, codeRefused, code, errs.String())
			require.Contains(t, errs.String(), "token 435namd367 was revoked at ")
			require.LessOrEqual(t, refused.Load(), int32(2), "it does not ask again and again")
		})
	}
}
