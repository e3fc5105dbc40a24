package server_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// trail is what the audit trail answers whoever shows a header.
func (w *world) trail(query, header string) []api.AuditEntry {
	w.Helper()
	return w.trailPage(query, header).Items
}

func (w *world) trailPage(query, header string) (page api.HistoryPage[api.AuditEntry]) {
	w.Helper()
	a := w.do("GET", "/v1/audit"+query, "", header)
	require.Equal(w, http.StatusOK, a.status, a.body)
	require.NoError(w, json.Unmarshal([]byte(a.body), &page))
	return page
}

// trailPages are the ids of all entries, read in pages of some size.
func (w *world) trailPages(size int, header string, between func()) (ids []string) {
	w.Helper()
	for query := fmt.Sprintf("?limit=%d", size); ; {
		page := w.trailPage(query, header)
		require.LessOrEqual(w, len(page.Items), size)
		for _, e := range page.Items {
			ids = append(ids, e.ID)
		}
		if page.Next == "" {
			return ids
		}
		query = fmt.Sprintf("?limit=%d&cursor=%s", size, page.Next)
		between()
	}
}

func TestAudit_SaysWhoChangedWhat(t *testing.T) {
	t.Parallel()
	w := begin(t, keeping, closed(server.ReadsTeam))
	id, deployer := w.tokenOf(&record.Token{Role: "deployer", Team: "web", Description: "CI"})
	admin, operator, shop := w.token("admin", "*"), w.token("operator", "web"), w.token("operator", "shop")
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/hello", service, deployer, "Idempotency-Key: build-7", api.HeaderActor+": ann").status)
	require.Equal(t, http.StatusOK, w.do("PUT", "/v1/jobs/web/prod/hello", service, deployer).status, "it changes nothing")
	require.Equal(t, http.StatusOK, w.do("PUT", "/v1/jobs/web/prod/hello/instances", `{"instances": 3}`, deployer).status)
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/shop/prod/hello", service, admin).status)
	require.Equal(t, http.StatusCreated, w.do("POST", "/v1/tokens", `{"team": "web", "role": "viewer"}`, admin).status)
	require.Equal(t, http.StatusCreated, w.do("POST", "/v1/tokens", `{"team": "*", "role": "viewer"}`, admin).status)
	w.do("PUT", "/v1/jobs/web/prod/hello/instances", `{"instances": 4}`, shop).problem(http.StatusForbidden)
	w.kept()

	web := w.trail("", operator)
	require.Len(t, web, 3, "two of the job, and the token of the team")
	require.Equal(t, []string{"create-token", "scale-job", "put-job"}, []string{web[0].Operation, web[1].Operation, web[2].Operation}, "the newest first")
	require.Equal(t, "CI ("+id+") for ann", web[2].Actor)
	require.Equal(t, id, web[2].Token)
	require.Equal(t, "build-7", web[2].Key)
	require.Equal(t, "127.0.0.1", web[2].From)
	require.JSONEq(t, `{"instances": 2}`, string(web[1].Before))
	require.JSONEq(t, `{"instances": 3}`, string(web[1].After))
	require.Len(t, w.trail("", admin), 5)
	require.Len(t, w.trail("?job=web/prod/*&operation=scale-job", admin), 1)
	require.Len(t, w.trail("?team=web", admin), 3)
	require.Len(t, w.trail("?stage=prod", admin), 3)
	require.Len(t, w.trail("?token="+id, admin), 2)
	require.Len(t, w.trail("?object="+web[0].Object, admin), 1)
	require.Len(t, w.trail("?actor=CI+("+id+")", admin), 1)
	require.Empty(t, w.trail("?to=2020-01-01T00:00:00Z", admin))
	require.Len(t, w.trail("?from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&limit=2", admin), 2)
	w.do("GET", "/v1/audit?from=soon", "", admin).problem(http.StatusUnprocessableEntity)
	w.do("GET", "/v1/audit?job=%5Bweb", "", admin).problem(http.StatusUnprocessableEntity)
	for _, cursor := range []string{"!", "bm9uZQ", cursorOf("i1-2-3 x y"), cursorOf("i1 2 y"), cursorOf("i1-2-3 4 y")} {
		w.do("GET", "/v1/audit?cursor="+cursor, "", admin).problem(http.StatusUnprocessableEntity)
	}
	require.Empty(t, w.trail("?actor=nobody", admin))
	require.Len(t, w.trail("", shop), 1)
	w.do("GET", "/v1/audit", "", deployer).problem(http.StatusForbidden)
	w.do("GET", "/v1/audit", "").problem(http.StatusUnauthorized)

	// Nor is it told to others as events.
	viewer := w.token("viewer", "*")
	w.kept()
	for _, path := range []string{"/v1/history/events?type=audit.*", "/v1/history/events", "/v1/history/events?type=*"} {
		require.NotContains(t, w.do("GET", path, "", viewer).body, "audit.write")
	}
	w.do("GET", "/v1/history/events/"+web[0].ID, "", viewer).problem(http.StatusNotFound)
	require.Contains(t, w.do("GET", "/v1/history/events/"+web[0].ID, "", operator).body, "audit.write")
	require.NotContains(t, w.do("GET", "/v1/history/events?type=*", "", operator).body, "audit.write")
	require.Contains(t, w.do("GET", "/v1/history/events?type=audit.*", "", operator).body, "audit.write")
	require.NotContains(t, w.do("GET", "/v1/history/events", "", operator).body, "audit.write", "unless they ask for it")
}

// What history does not have yet, or not at all, is told from memory: once, whatever
// reaches history between two pages.
func TestAudit_IsWholeBeforeHistoryHasIt(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam), keeping)
	admin := w.token("admin", "*")
	var all []string
	scale := func(n int) {
		require.Equal(t, http.StatusOK, w.do("PUT", "/v1/jobs/web/prod/hello/instances", fmt.Sprintf(`{"instances": %d}`, n), admin).status)
		all = append(all, w.trail("?limit=1", admin)[0].ID)
	}
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/hello", service, admin).status)
	all = append(all, w.trail("", admin)[0].ID)
	for n := range 5 {
		scale(n + 3)
	}
	w.kept()
	lag := w.shelf.stop()
	for n := range 5 {
		scale(n + 10)
	}
	slices.Reverse(all)
	for _, size := range []int{1, 2, 3, 5, 100} {
		require.Equal(t, all, w.trailPages(size, admin, func() {}), "pages of %d", size)
	}
	catchUp := sync.OnceFunc(func() { lag(); w.kept() })
	require.Equal(t, all, w.trailPages(2, admin, catchUp), "history gets it while it is read")
	require.Equal(t, all, w.trailPages(3, admin, func() {}))
}

func TestAudit_IsOfMemoryWithoutHistory(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	admin := w.token("admin", "*")
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/hello", service, admin).status)
	require.Equal(t, http.StatusOK, w.do("PUT", "/v1/jobs/web/prod/hello/instances", `{"instances": 3}`, admin).status)
	page := w.trailPage("", admin)
	require.Len(t, page.Items, 2)
	require.Contains(t, page.History.Problem, "keeps no history", "it says that it is not all")
	require.Len(t, w.trailPages(1, admin, func() {}), 2)
	require.Len(t, w.trail("?operation=put-job", admin), 1)
	require.Empty(t, w.trail("?job=shop/*/*", admin))
}

// What a standby passes on is told of whom it came from, and can be read at both.
func TestAudit_TellsWhoWroteAtAStandby(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	leader, standby, _ := beginPairWith(t, &server.Access{Reads: server.ReadsTeam, Proxies: proxies})
	id, deployer := leader.tokenOf(&record.Token{Role: "deployer", Team: "web", Description: "CI"})
	admin := leader.token("admin", "*")
	standby.eventually("the standby knows the tokens", func() bool { return standby.engine.View().Index >= leader.engine.View().Index })
	a := standby.do("PUT", "/v1/jobs/web/prod/hello", service, deployer, "Idempotency-Key: build-7", "X-Forwarded-For: 10.6.6.6, 10.9.8.7")
	require.Equal(t, http.StatusCreated, a.status, a.body)
	for _, w := range []*world{leader, standby} {
		all := w.trail("", admin)
		require.Len(t, all, 1)
		require.Equal(t, "CI ("+id+")", all[0].Actor)
		require.Equal(t, id, all[0].Token)
		require.Equal(t, "10.9.8.7", all[0].From, "what is before the last proxy's word may be anybody's")
		require.Equal(t, "build-7", all[0].Key)
	}
}

// Streams tell the trail to whoever asks for it, and may read it.
func TestAudit_IsStreamed(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	deployer := w.token("deployer", "web")
	after := func() string { // an event before what follows
		require.Contains(t, []int{200, 201}, w.do("PUT", "/v1/jobs/web/prod/first", service, deployer).status)
		return "i1-1-0"
	}()
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/hello", service, deployer).status)
	for _, c := range []struct {
		role, types string
		want        string
	}{
		{"operator", "audit.*,job.created", "audit.write"}, {"deployer", "audit.*,job.created", "job.created"}, {"operator", "", "job.created"}, {"operator", "*", "job.created"},
	} {
		_, header := w.tokenOf(&record.Token{Role: c.role, Team: "web"})
		cl, err := client.New(w.url, client.WithToken(strings.TrimPrefix(header, "Authorization: Bearer ")))
		require.NoError(t, err)
		var types []string
		events, err := cl.Events(ctx, client.EventFilter{After: after, Type: c.types})
		require.NoError(t, err)
		for {
			e, err := events.Next(ctx)
			require.NoError(t, err)
			types = append(types, strings.TrimPrefix(e.Type, "dev.perigee."))
			if e.Data.Job == "web/prod/hello" {
				break
			}
		}
		events.Close()
		require.Contains(t, types, c.want, "%s is told of %q", c.role, c.types)
		if c.want != "audit.write" {
			require.NotContains(t, types, "audit.write", "%s asks for %q", c.role, c.types)
		}
	}
}

func TestAudit_KeepsWhatWasRefused(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	admin := w.token("admin", "*")
	w.do("PUT", "/v1/jobs/web/prod/hello", service, w.token("viewer", "web")).problem(http.StatusForbidden)
	w.do("GET", "/v1/jobs", "", "Authorization: Bearer "+strings.Repeat("x", 50)).problem(http.StatusUnauthorized)
	for range 600 { // of which the latest are kept
		w.do("GET", "/v1/jobs/"+strings.Repeat("a", 600)+"/b/c", "").problem(http.StatusUnauthorized)
	}
	a := w.do("GET", "/v1/audit/refusals", "", admin)
	require.NotContains(t, a.body, strings.Repeat("x", 50), "what was shown is not told")
	var page api.Page[api.RefusedRequest]
	require.NoError(t, json.Unmarshal([]byte(a.body), &page))
	require.Len(t, page.Items, 500)
	require.Equal(t, "get-job", page.Items[0].Operation)
	require.Less(t, len(page.Items[0].Path), 300)
	require.Contains(t, w.do("GET", "/metrics", "", admin).body, `perigee_http_refused_total{status="401"} 601`)
	w.do("GET", "/v1/audit/refusals", "", w.token("operator", "*")).problem(http.StatusForbidden)

	// What a handler refuses is kept, too, and what would steer a terminal is not told.
	w.do("POST", "/v1/tokens", `{"team": "*", "role": "admin"}`, w.token("admin", "web")).problem(http.StatusForbidden)
	w.do("GET", "/v1/jobs/web/prod/%1b%5b2J", "").problem(http.StatusUnauthorized)
	require.NoError(t, json.Unmarshal([]byte(w.do("GET", "/v1/audit/refusals", "", admin).body), &page))
	require.Equal(t, "create-token", page.Items[1].Operation)
	require.NotContains(t, page.Items[0].Path, "\x1b")
}

func cursorOf(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
