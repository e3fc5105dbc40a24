package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// used is when and from where a token was used last, as the API tells.
func (w *world) used(id, admin string) (at *time.Time, from string) {
	w.Helper()
	var page api.Page[api.Token]
	require.NoError(w, json.Unmarshal([]byte(w.do("GET", "/v1/tokens", "", admin).body), &page))
	for _, t := range page.Items {
		if t.ID == id {
			return t.LastUsedAt, t.LastUsedFrom
		}
	}
	w.Fatalf("there is no token %s", id)
	return nil, ""
}

func TestTokenUses_AreSavedTogetherAndSeldom(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	admin := w.token("admin", "*")
	ids, headers := make([]string, 20), make([]string, 20)
	for i := range ids {
		ids[i], headers[i] = w.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	}
	unused, _ := w.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	began := time.Now().Truncate(time.Millisecond)
	for _, h := range headers {
		for range 5 {
			require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", h).status)
		}
	}
	w.do("GET", "/v1/jobs/shop/prod/hello", "", headers[0]).problem(http.StatusForbidden)
	index := w.engine.View().Index
	w.server.SaveTokenUses(ctx)
	require.Equal(t, index+1, w.engine.View().Index, "all in one entry")
	for _, id := range ids {
		at, from := w.used(id, admin)
		require.NotNil(t, at)
		require.WithinRange(t, *at, began, time.Now())
		require.Equal(t, "127.0.0.1", from)
	}
	at, _ := w.used(unused, admin)
	require.Nil(t, at)

	w.server.SaveTokenUses(ctx) // of the admin's
	index = w.engine.View().Index
	for _, h := range headers {
		require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", h).status)
	}
	w.server.SaveTokenUses(ctx)
	w.server.SaveTokenUses(ctx)
	require.Equal(t, index, w.engine.View().Index, "nothing more within the minute")
	for _, e := range w.engine.Recent(0) {
		require.NotContains(t, []string{"audit.write", "token.used"}, e.Event.Type, "it is no event")
	}
}

// What is shown and is not valid is no use of a token.
func TestTokenUses_AreOfValidTokens(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	admin := w.token("admin", "*")
	id, header := w.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	expired, past := w.tokenOf(&record.Token{Role: "viewer", Team: "web", ExpiresAt: time.Now().UnixMilli() - 1})
	w.do("GET", "/v1/jobs", "", header[:len(header)-1]+"x").problem(http.StatusUnauthorized)
	w.do("GET", "/v1/jobs", "", past).problem(http.StatusUnauthorized)
	w.server.SaveTokenUses(ctx)
	for _, id := range []string{id, expired} {
		at, _ := w.used(id, admin)
		require.Nil(t, at)
	}
}

// A standby tells the leader of those that were shown to it alone, and of where they
// came from; nobody else can.
func TestTokenUses_ReachTheLeader(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPairWith(t, &server.Access{Reads: server.ReadsTeam})
	_, admin := leader.tokenOf(&record.Token{Role: "admin", Team: "*"})
	read, reader := leader.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	wrote, writer := leader.tokenOf(&record.Token{Role: "deployer", Team: "web"})
	standby.eventually("the standby knows the tokens", func() bool { return standby.engine.View().Index >= leader.engine.View().Index })
	require.Equal(t, http.StatusOK, standby.do("GET", "/v1/jobs", "", reader).status)
	require.Equal(t, http.StatusCreated, standby.do("PUT", "/v1/jobs/web/prod/hello", service, writer).status)

	var heard http.Header
	leader.overhear(func(h http.Header) { heard = h.Clone() })
	standby.server.SaveTokenUses(ctx)
	leader.overhear(func(http.Header) {})
	require.NotEmpty(t, heard.Get("X-Perigee-Peer"))
	at, _ := leader.used(read, admin)
	require.Nil(t, at, "the leader saves it with what it knows itself")
	index := leader.engine.View().Index
	leader.server.SaveTokenUses(ctx)
	require.Equal(t, index+1, leader.engine.View().Index)
	for _, id := range []string{read, wrote} {
		at, from := leader.used(id, admin)
		require.NotNil(t, at)
		require.Equal(t, "127.0.0.1", from)
	}

	other, _ := leader.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	body := fmt.Sprintf(`[{"ID": %q, "From": "10.6.6.6", "At": %d}]`, other, time.Now().UnixMilli())
	for _, w := range []*world{leader, standby} { // which passes it on, and proves that it does
		for _, header := range []string{"X-None: x", admin, "X-Perigee-Peer: " + heard.Get("X-Perigee-Peer")} {
			a := w.do("POST", "/v1/scheduler/token-uses", body, header)
			require.Contains(t, a.problem(http.StatusNotFound).Detail, "there is nothing at")
			require.Equal(t, a.status, w.do("POST", "/v1/scheduler/none", body, header).status)
		}
	}
	leader.server.SaveTokenUses(ctx)
	at, _ = leader.used(other, admin)
	require.Nil(t, at)
	require.NotContains(t, leader.do("GET", "/openapi.json", "").body, "token-uses")
}

// Who overhears what a standby tells can repeat it, and say nothing else with it.
func TestTokenUses_AreWhatWasProven(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPairWith(t, &server.Access{Reads: server.ReadsTeam})
	_, reader := leader.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	standby.eventually("the standby knows the token", func() bool { return standby.engine.View().Index >= leader.engine.View().Index })
	require.Equal(t, http.StatusOK, standby.do("GET", "/v1/jobs", "", reader).status)
	var proof, uri string
	leader.listen(func(r *http.Request) { proof, uri = r.Header.Get("X-Perigee-Peer"), r.URL.RequestURI() })
	standby.server.SaveTokenUses(ctx)
	leader.listen(nil)
	require.Contains(t, uri, "sha256=")
	leader.do("POST", uri, `[]`, "X-Perigee-Peer: "+proof).problem(http.StatusBadRequest)
	leader.do("POST", strings.Replace(uri, "sha256=", "sha256=0", 1), `[]`, "X-Perigee-Peer: "+proof).problem(http.StatusNotFound)
}

// What the leader has noted is not lost when it hands over, nor what a standby has
// while nobody leads.
func TestTokenUses_OutliveAHandOver(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPairWith(t, &server.Access{Reads: server.ReadsTeam})
	_, admin := leader.tokenOf(&record.Token{Role: "admin", Team: "*"})
	here, atLeader := leader.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	there, atStandby := leader.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	standby.eventually("the standby knows the tokens", func() bool { return standby.engine.View().Index >= leader.engine.View().Index })
	require.Equal(t, http.StatusOK, leader.do("GET", "/v1/jobs", "", atLeader).status)
	require.Equal(t, http.StatusOK, standby.do("GET", "/v1/jobs", "", atStandby).status)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	standby.server.SaveTokenUses(cancelled) // it could not

	require.Equal(t, http.StatusOK, leader.do("POST", "/v1/scheduler/step-down", "", admin).status)
	standby.eventually("the other leads", func() bool { return standby.engine.View().Leads })
	at, _ := standby.used(here, admin)
	require.NotNil(t, at, "it was saved before the hand-over")
	require.NoError(t, standby.server.KeepTokenUses(cancelled), "it ends, and saves once more")
	at, _ = standby.used(there, admin)
	require.NotNil(t, at)
}
