package server_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Whatever is sent, the answer is one of HTTP's, and an error is a problem. The
// scheduler behind does not lead, so that what is valid ends with 503.
func FuzzBodies(f *testing.F) {
	s, err := server.New(server.Options{Scheduler: engine.New(engine.Options{}), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(f, err)
	targets := []struct{ method, path string }{
		{"PUT", "/v1/jobs/web/prod/hello"}, {"POST", "/v1/jobs/web/prod/hello/runs"}, {"PUT", "/v1/jobs/web/prod/hello/instances"},
		{"POST", "/v1/jobs/web/prod/hello/deploys"}, {"POST", "/v1/jobs/web/prod/hello/rollback"}, {"POST", "/v1/jobs/web/prod/hello/bounce"},
		{"POST", "/v1/jobs/web/prod/hello/deploys/1/promote"}, {"POST", "/v1/deploy-groups"},
	}
	for _, seed := range []string{service, batch, cronjob, `{"runs":[{"parameters":{"a":"b"},"priority":-3,"group":"g"}]}`, `{"instances":3}`,
		`{"spec":` + service + `,"links":{"a":"https://b/c"}}`, `{"specs":[` + service + `,null]}`, `{"to":1,"message":"x","replace":true}`, `{"full":true}`,
		``, `null`, `[]`, `{"runs":null}`, `{"runs":[null]}`, `{"instances":1e400}`, `{"kind":"service","kind":"batch"}`, "\xff", `{"a":` + strings.Repeat("[", 100)} {
		for i := range targets {
			f.Add(uint8(i), []byte(seed), "", "")
		}
	}
	f.Add(uint8(0), []byte(service), `"1"`, "key")
	f.Add(uint8(0), []byte(service), "*", "\x01")
	f.Fuzz(func(t *testing.T, target uint8, body []byte, match, key string) {
		to := targets[int(target)%len(targets)]
		r := httptest.NewRequest(to.method, to.path, strings.NewReader(string(body)))
		r.Header.Set("If-Match", match)
		r.Header.Set("Idempotency-Key", key)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code < 400 || w.Code == 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		var p api.Problem
		if w.Header().Get("Content-Type") != "application/problem+json" || json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Status != w.Code || p.Title == "" {
			t.Fatalf("%d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	})
}
