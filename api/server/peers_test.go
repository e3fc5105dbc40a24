package server_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/server"
)

// Whoever asks a standby is answered as by the leader, also when reads are closed.
func TestPeers_StandbyAnswersAsTheLeader(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPairWith(t, &server.Access{Reads: server.ReadsTeam})
	admin, deployer, shop := leader.token("admin", "*"), leader.token("deployer", "web"), leader.token("deployer", "shop")
	standby.eventually("it knows the tokens", func() bool { return standby.engine.View().Index == leader.engine.View().Index })
	for _, w := range []*world{leader, standby} {
		require.Equal(t, http.StatusOK, w.do("PUT", "/v1/jobs/web/prod/hello", service, deployer).status&^1)
		for _, path := range []string{"/v1/jobs/web/prod/hello", "/v1/jobs/web/prod/none"} {
			w.do("PUT", path, service).problem(http.StatusUnauthorized)
			w.do("GET", path, "").problem(http.StatusUnauthorized)
			w.do("GET", path, "", "Authorization: Bearer x").problem(http.StatusUnauthorized)
			w.do("PUT", path, service, "Authorization: Bearer x").problem(http.StatusUnauthorized)
			w.do("PUT", path, service, shop).problem(http.StatusForbidden)
			w.do("GET", path, "", shop).problem(http.StatusForbidden)
		}
		w.do("GET", "/v1/agents", "").problem(http.StatusUnauthorized)
		for _, a := range []answer{w.do("PUT", "/v1/jobs/web/prod/hello", service), w.do("GET", "/v1/agents", ""), w.do("GET", "/v1/jobs", "")} {
			require.Empty(t, a.header.Get(api.HeaderLeader), "strangers are not told who leads")
			require.Empty(t, a.header.Get(api.HeaderRole))
			require.NotEmpty(t, a.header.Get("WWW-Authenticate"))
		}
		require.Equal(t, http.StatusOK, w.do("GET", "/v1/agents", "", deployer).status)
		w.do("POST", "/v1/tokens/init", `{"code": "code of `+leader.url+`"}`).problem(http.StatusConflict)
	}
	var all api.Page[api.Scheduler]
	require.NoError(t, json.Unmarshal([]byte(standby.do("GET", "/v1/schedulers", "", admin).body), &all))
	require.Len(t, all.Items, 2)
	for _, s := range all.Items {
		require.Empty(t, s.Unreachable, "schedulers know each other")
	}
	var is api.Scheduler
	require.NoError(t, json.Unmarshal([]byte(standby.do("GET", "/v1/scheduler", "", admin).body), &is))
	require.NotNil(t, is.Lag)
}

// Nobody else may say that a request comes from a scheduler, or for whom.
func TestPeers_AreNotForged(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPairWith(t, &server.Access{Reads: server.ReadsTeam})
	viewer := leader.token("viewer", "*")
	for _, proof := range []string{"", "x", "1 00", "9999999999 " + strings.Repeat("0", 64), strings.Repeat("1", 100)} {
		leader.do("GET", "/v1/scheduler", "", "X-Perigee-Peer: "+proof).problem(http.StatusUnauthorized)
	}
	standby.eventually("it knows the token", func() bool { return standby.engine.View().Index == leader.engine.View().Index })
	for _, w := range []*world{leader, standby} {
		var who api.Caller
		a := w.do("GET", "/v1/whoami", "", viewer, "X-Perigee-Client: 1.2.3.4", "X-Forwarded-For: 1.2.3.4", "X-Perigee-Forwarded-By: http://x")
		require.NoError(t, json.Unmarshal([]byte(a.body), &who), a.body)
		require.Equal(t, "127.0.0.1", who.From)
	}
}

// What one scheduler proves to another is good for that request alone.
func TestPeers_ProveOneRequest(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPairWith(t, &server.Access{Reads: server.ReadsTeam})
	admin := leader.token("admin", "*")
	standby.eventually("it knows the token", func() bool { return standby.engine.View().Index == leader.engine.View().Index })
	// A scheduler that is asked by the standby hears what it proves.
	heard := make(chan string, 1)
	leader.overhear(func(h http.Header) {
		if proof := h.Get("X-Perigee-Peer"); proof != "" {
			select {
			case heard <- proof:
			default:
			}
		}
	})
	require.Equal(t, http.StatusOK, standby.do("GET", "/v1/scheduler", "", admin).status)
	proof := "X-Perigee-Peer: " + <-heard
	require.Equal(t, http.StatusOK, leader.do("GET", "/v1/scheduler", "", proof).status)
	for _, other := range []string{"/v1/scheduler?x=1", "/v1/schedulers", "/v1/jobs", "/v1/tokens"} {
		leader.do("GET", other, "", proof).problem(http.StatusUnauthorized)
	}
	leader.do("PUT", "/v1/jobs/web/prod/hello", service, proof).problem(http.StatusUnauthorized)
	leader.do("GET", "/v1/scheduler", "", proof, "X-Perigee-Client: 1.2.3.4").problem(http.StatusUnauthorized)
}

func TestPeers_ProxiesSayForWhomTheyAsk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		proxies []netip.Prefix
		said    string
		from    string
	}{
		{nil, "1.2.3.4", "127.0.0.1"},
		{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "", "127.0.0.1"},
		{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "1.2.3.4", "1.2.3.4"},
		{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "9.9.9.9, 1.2.3.4", "1.2.3.4"},
		{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.1/32")}, "9.9.9.9, 1.2.3.4, 10.0.0.1", "1.2.3.4"},
		{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "1.2.3.4, unknown", "127.0.0.1"},
		{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "::ffff:1.2.3.4", "1.2.3.4"},
	} {
		w := begin(t, closed(server.ReadsTeam), func(w *world) { w.options.Access.Proxies = c.proxies })
		var who api.Caller
		a := w.do("GET", "/v1/whoami", "", w.token("viewer", "*"), "X-Forwarded-For: "+c.said)
		require.NoError(t, json.Unmarshal([]byte(a.body), &who), a.body)
		require.Equal(t, c.from, who.From, "%v says %q", c.proxies, c.said)
	}
}
