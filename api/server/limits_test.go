package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/server"
)

// clock is one that a test sets.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(1_800_000_000, c.at.Load()) }
func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }
func limits(c *clock, l server.Limits) func(*world) {
	return func(w *world) {
		l.Now = c.now
		w.options.Limits = l
	}
}

// tooMany wants 429, and returns when to ask again.
func (a answer) tooMany() (detail, after string) {
	a.Helper()
	p := a.problem(http.StatusTooManyRequests)
	require.Equal(a, "urn:perigee:too-many-requests", p.Type)
	return p.Detail, a.header.Get("Retry-After")
}

func TestLimits_OfATokenAreItsOwn(t *testing.T) {
	t.Parallel()
	c := new(clock)
	w := begin(t, closed(server.ReadsTeam), limits(c, server.Limits{Requests: 1, Strangers: 2, Failures: 60}))
	ci, ann := w.token("deployer", "web"), w.token("viewer", "*")
	for range 20 {
		require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", ci).status)
	}
	detail, after := w.do("PUT", "/v1/jobs/web/prod/hello", service, ci).tooMany()
	require.Contains(t, detail, "asks too often: limits.requests is 1 a second; ask again in 1s")
	require.Equal(t, "1", after)
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", ann).status, "others go on, from the same address")
	w.do("GET", "/v1/jobs/web/prod/hello", "", ann).problem(http.StatusNotFound)
	c.pass(2 * time.Second)
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/hello", service, ci).status)
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", ci).status)
	w.do("GET", "/v1/jobs", "", ci).tooMany()

	// Strangers are counted by address, but for what asks whether a scheduler is well.
	for range 40 {
		w.do("GET", "/v1/jobs", "").problem(http.StatusUnauthorized)
	}
	detail, _ = w.do("GET", "/v1/jobs", "").tooMany()
	require.Contains(t, detail, "too many requests without a token come from 127.0.0.1: limits.strangers is 2 a second")
	w.do("GET", "/openapi.json", "").tooMany()
	for range 50 {
		require.Equal(t, http.StatusOK, w.do("GET", "/healthz", "").status)
		require.Equal(t, http.StatusOK, w.do("GET", "/readyz", "").status)
		require.NotEqual(t, http.StatusTooManyRequests, w.do("HEAD", "/v1/executor/perigee-executor", "").status)
	}
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", ann).status)
	said := w.do("GET", "/metrics", "", ann).body
	require.Contains(t, said, `perigee_http_limited_total{limit="requests"} 2`)
	require.Contains(t, said, `perigee_http_limited_total{limit="strangers"} 2`)
	require.Contains(t, said, `perigee_http_limited_total{limit="failures"} 0`)
}

// Who tries tokens is not listened to any more, and those beside them are.
func TestLimits_OfWhoTriesTokens(t *testing.T) {
	t.Parallel()
	c := new(clock)
	w := begin(t, closed(server.ReadsTeam), limits(c, server.Limits{Failures: 6}), func(w *world) { w.options.InitCode = "the code of this world" })
	ann, bob := w.token("viewer", "*"), w.token("viewer", "*")
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", ann).status)
	for i := range 3 {
		w.do("GET", "/v1/jobs", "", fmt.Sprintf("Authorization: Bearer pgt_%010d_%064d", i, i)).problem(http.StatusUnauthorized)
		w.do("GET", "/v1/jobs", "", "Authorization: Basic x").problem(http.StatusUnauthorized)
	}
	for _, shown := range []string{"Authorization: Bearer pgt_aaaaaaaaaa_" + strings.Repeat("0", 64), "Authorization: x", bob} {
		detail, after := w.do("GET", "/v1/jobs", "", shown).tooMany()
		require.Contains(t, detail, "too much was shown from 127.0.0.1 that is no token: tokens and codes are not looked at; limits.failures is 6 a minute")
		require.Equal(t, "10", after, "a right one is answered as a wrong one is")
	}
	w.do("POST", "/v1/tokens/init", `{"code": "the code of this world"}`).tooMany()
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", ann).status, "it was shown from there before")
	w.do("GET", "/v1/jobs", "").problem(http.StatusUnauthorized) // shows nothing

	c.pass(10 * time.Second)
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", bob).status)
	w.do("POST", "/v1/tokens/init", `{"code": "another"}`).problem(http.StatusForbidden)
	w.do("POST", "/v1/tokens/init", `{"code": "another"}`).tooMany()
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", bob).status)

	// A token that ends is one more that is none.
	id := strings.Split(ann, "_")[1]
	require.Equal(t, http.StatusOK, w.do("DELETE", "/v1/tokens/"+id, "", ann).status)
	w.do("GET", "/v1/jobs", "", ann).problem(http.StatusUnauthorized)
	w.do("GET", "/v1/jobs", "", ann).tooMany()
}

// What is asked as often as one likes is no place to try tokens, either.
func TestLimits_NoPlaceToTryTokens(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/healthz", "/readyz", api.ExecutorPath, "/openapi.json", "/v1/jobs"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := begin(t, closed(server.ReadsTeam), limits(new(clock), server.Limits{Failures: 3}))
			for range 3 {
				w.do("GET", path, "", "Authorization: Bearer x").problem(http.StatusUnauthorized)
			}
			w.do("GET", path, "", "Authorization: Bearer x").tooMany()
			w.do("GET", "/v1/jobs", "", "Authorization: Bearer x").tooMany()
			require.Equal(t, http.StatusOK, w.do("GET", "/healthz", "").status)
		})
	}
}

// Where nobody is asked who they are, an address is who somebody is.
func TestLimits_WhereEverybodyMay(t *testing.T) {
	t.Parallel()
	c := new(clock)
	w := begin(t, limits(c, server.Limits{Requests: 2, Strangers: 1, Failures: 1}))
	for range 39 {
		require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", "Authorization: Bearer x").status)
	}
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "").status)
	detail, _ := w.do("GET", "/v1/jobs", "").tooMany()
	require.Contains(t, detail, "127.0.0.1 asks too often")
}

// A request is counted by the scheduler that it is sent to, and not once more by
// the leader.
func TestLimits_CountWhereARequestEnters(t *testing.T) {
	t.Parallel()
	c := new(clock)
	l := server.Limits{Requests: 1, Strangers: 1, Failures: 6, Now: c.now}
	leader, standby, _ := beginPairOf(t, &pair{access: &server.Access{Reads: server.ReadsTeam}, limits: l})
	ci := leader.token("deployer", "web")
	standby.eventually("it knows the token", func() bool { return standby.engine.View().Index == leader.engine.View().Index })
	for range 20 {
		require.Equal(t, http.StatusOK, standby.do("PUT", "/v1/jobs/web/prod/hello", service, ci).status&^1)
	}
	standby.do("PUT", "/v1/jobs/web/prod/hello", service, ci).tooMany()
	for range 20 {
		require.Equal(t, http.StatusOK, leader.do("GET", "/v1/jobs", "", ci).status, "those were the standby's")
	}
	leader.do("GET", "/v1/jobs", "", ci).tooMany()
	require.Equal(t, http.StatusTooManyRequests, standby.do("GET", "/v1/agents", "", ci).status)

	// What the leader found to be no token counts here, too.
	for range 6 {
		standby.do("PUT", "/v1/jobs/web/prod/hello", service, "Authorization: Bearer x").problem(http.StatusUnauthorized)
	}
	standby.do("PUT", "/v1/jobs/web/prod/hello", service, "Authorization: Bearer x").tooMany()
	leader.do("PUT", "/v1/jobs/web/prod/hello", service, "Authorization: Bearer x").problem(http.StatusUnauthorized)
}

// Many at once are no way around.
func TestLimits_GuessesAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam), limits(new(clock), server.Limits{Failures: 5}))
	answers := make(chan int, 40)
	var guessing sync.WaitGroup
	for range cap(answers) {
		guessing.Go(func() {
			req, err := http.NewRequest("GET", w.url+"/v1/jobs", nil)
			if err == nil {
				req.Header.Set("Authorization", "Bearer x")
				if resp, err := http.DefaultClient.Do(req); err == nil {
					resp.Body.Close()
					answers <- resp.StatusCode
				}
			}
		})
	}
	guessing.Wait()
	close(answers)
	count := map[int]int{}
	for status := range answers {
		count[status]++
	}
	require.Equal(t, map[int]int{http.StatusUnauthorized: 5, http.StatusTooManyRequests: 35}, count)
}
