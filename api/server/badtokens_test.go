package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/oidc"
	"github.com/perigee-sched/perigee/scheduler/oidc/oidctest"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// shown is what may be wrong with what somebody shows, and what is said of it.
type shown struct{ name, header, kind string }

// badTokens are tokens of a cluster that are worth nothing, and what is none.
func (w *world) badTokens() []shown {
	w.Helper()
	_, good := w.tokenOf(&record.Token{Role: "admin", Team: "*"})
	_, unknown := access.NewToken()
	_, expired := w.tokenOf(&record.Token{Role: "admin", Team: "*", ExpiresAt: time.Now().UnixMilli() - 1})
	id, revoked := w.tokenOf(&record.Token{Role: "admin", Team: "*"})
	w.revoke(id)
	secret := func(header string) string { return header[:len(header)-64] + strings.Repeat("0", 64) }
	const wrong = "urn:perigee:unauthorized"
	return []shown{
		{"nothing", "X-None: x", "urn:perigee:unauthorized"},
		{"nothing in it", "Authorization: ", wrong},
		{"another scheme", "Authorization: Basic YWRtaW46YWRtaW4=", wrong},
		{"no scheme", "Authorization: " + strings.TrimPrefix(good, "Authorization: Bearer "), wrong},
		{"no token", "Authorization: Bearer", wrong},
		{"two words", good + " x", wrong},
		{"not ours", "Authorization: Bearer x", wrong},
		{"not whole", good[:len(good)-1], wrong},
		{"too much", good + "0", wrong},
		{"capitals", strings.ToUpper(good), wrong},
		{"a JWT", "Authorization: Bearer e30.e30.e30", wrong},
		{"very long", "Authorization: Bearer " + strings.Repeat("x", 20_000), wrong},
		{"of nobody", "Authorization: Bearer " + unknown, wrong},
		{"forged", secret(good), wrong},
		{"forged, expired", secret(expired), wrong},
		{"forged, revoked", secret(revoked), wrong},
		{"expired", expired, "urn:perigee:token-expired"},
		{"revoked", revoked, "urn:perigee:token-revoked"},
	}
}

// What is worth nothing is answered 401 by every operation that takes anything, the
// same whatever there is and whatever is wrong with it; nobody but who has the text of
// a token is told what became of it. Nothing is changed.
func TestAccess_OfBadTokensIsNone(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	admin := w.token("admin", "*")
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/hello", service, admin).status)
	victim, _ := w.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	task, hook := w.someTask("web/prod/hello"), w.webhook("web", "web/prod/*")
	there := strings.NewReplacer("{team}", "web", "{stage}", "prod", "{name}", "hello", "{task}", task, "{token}", victim, "{webhook}", hook, "{number}", "1")
	absent := strings.NewReplacer("{team}", "none", "{stage}", "none", "{name}", "none", "{task}", "none", "{token}", "none", "{webhook}", "none", "{number}", "9")
	public := map[string]bool{"front": true, "alive": true, "ready": true, "describe": true, "get-executor": true, "init-token": true}
	bad, writes := w.badTokens(), w.writes()
	asked := 0
	for _, op := range w.operations() {
		if public[op.id] {
			continue
		}
		same := map[string]string{}
		for _, s := range bad {
			for _, path := range []string{there.Replace(op.path), absent.Replace(op.path)} {
				a := w.do(strings.ToUpper(op.method), path, bodies[op.id], s.header)
				require.Equal(t, s.kind, a.problem(http.StatusUnauthorized).Type, "%s with %s", op.id, s.name)
				require.Contains(t, a.header.Get("WWW-Authenticate"), `Bearer realm="perigee"`)
				for _, name := range []string{api.HeaderIndex, api.HeaderLeader, api.HeaderRole} {
					require.Empty(t, a.header.Get(name), "%s with %s", op.id, s.name)
				}
				group := s.kind
				if s.name == "nothing" {
					group = s.name
				}
				if same[group] == "" {
					same[group] = a.body
				}
				require.Equal(t, same[group], a.body, "%s with %s", op.id, s.name)
				asked++
			}
		}
	}
	require.Greater(t, asked, 1000)
	require.Equal(t, writes, w.writes(), "nothing was written")
}

// writes is how many writes the audit trail has.
func (w *world) writes() (n int) {
	for _, e := range w.engine.Recent(0) {
		if e.Event.Type == "audit.write" {
			n++
		}
	}
	return n
}

// someTask is a task of a job, once one runs.
func (w *world) someTask(job string) (task string) {
	w.Helper()
	w.eventually("a task runs", func() bool {
		w.engine.View().JobTasks(job, "", func(r *record.Task) bool { task = r.Id; return false })
		return task != ""
	})
	return task
}

// Who is known and may not is 403, never 401, and is told what it takes; of another
// team and another stage alike, and whether it exists or not.
func TestAccess_OfOthersIsForbidden(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/hello", service, w.token("admin", "*")).status)
	for _, c := range []struct{ name, header string }{
		{"another team", w.token("admin", "shop")}, {"another stage", w.token("admin", "web", "devel")}, {"a lesser role", w.token("viewer", "web")},
	} {
		for _, op := range []struct{ method, path, body string }{
			{"PUT", "/v1/jobs/web/prod/%s", service}, {"DELETE", "/v1/jobs/web/prod/%s", ""}, {"PUT", "/v1/jobs/web/prod/%s/instances", `{"instances": 9}`},
			{"POST", "/v1/jobs/web/prod/%s/runs", `{"runs": [{}]}`}, {"POST", "/v1/jobs/web/prod/%s/deploys/1/cancel", ""},
		} {
			hello := w.do(op.method, strings.Replace(op.path, "%s", "hello", 1), op.body, c.header)
			none := w.do(op.method, strings.Replace(op.path, "%s", "none", 1), op.body, c.header)
			p := hello.problem(http.StatusForbidden)
			require.Equal(t, "urn:perigee:forbidden", p.Type)
			require.Contains(t, p.Detail, "this takes deployer of web in prod")
			require.Equal(t, hello.body, none.body, "%s: %s %s", c.name, op.method, op.path)
			require.Contains(t, hello.header.Get("WWW-Authenticate"), "insufficient_scope")
		}
	}
	require.EqualValues(t, 2, w.engine.View().Job("web/prod/hello").Instances)
}

// A standby says the same as the leader of what is worth nothing, of reads and of what
// it would pass on.
func TestAccess_OfBadTokensIsNoneAtAStandby(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPairWith(t, &server.Access{Reads: server.ReadsTeam})
	bad := leader.badTokens()
	standby.eventually("the standby knows the tokens", func() bool { return standby.engine.View().Index >= leader.engine.View().Index })
	writes := leader.writes()
	for _, s := range bad {
		for _, op := range []struct{ method, path, body string }{
			{"GET", "/v1/jobs", ""}, {"PUT", "/v1/jobs/web/prod/hello", service}, {"GET", "/v1/agents", ""}, {"POST", "/v1/tokens", `{"team": "*", "role": "admin"}`},
		} {
			there, here := leader.do(op.method, op.path, op.body, s.header), standby.do(op.method, op.path, op.body, s.header)
			require.Equal(t, s.kind, here.problem(http.StatusUnauthorized).Type, "%s %s with %s", op.method, op.path, s.name)
			require.Equal(t, there.body, here.body)
			require.Equal(t, there.header.Get("WWW-Authenticate"), here.header.Get("WWW-Authenticate"))
			require.Empty(t, here.header.Get(api.HeaderLeader))
		}
	}
	require.Equal(t, writes, leader.writes(), "nothing was written")
}

// What an issuer vouches for ends like a token, streams with it.
func TestStreams_EndWithWhatAnIssuerSigned(t *testing.T) {
	t.Parallel()
	issuer := oidctest.New(t)
	key := issuer.Rotate("k1", oidctest.RSA(t))
	rules, err := access.ParseRules("ops=viewer:*")
	require.NoError(t, err)
	verifier := oidc.New(oidc.Options{Issuer: issuer.URL, Audience: "perigee", UserClaim: "preferred_username", Claim: "groups", Rules: rules})
	w := begin(t, closed(server.ReadsTeam), func(w *world) { w.options.Access.OIDC = verifier })
	now := time.Now().Unix()
	jwt := issuer.Sign(jose.RS256, key, issuer.Claims(map[string]any{"groups": "ops", "iat": now - 100, "exp": now - 57})) // within the leeway
	events, err := w.as("Authorization: Bearer "+jwt).Events(ctx, client.EventFilter{})
	if err == nil { // else the machine was so busy that it had expired
		defer events.Close()
		for _, err = range events.All(ctx) {
		}
	}
	var p *api.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, "urn:perigee:token-expired", p.Type)
}

// Whatever is in Authorization, it is a token that is valid, or 401 that says nothing
// of it.
func FuzzAuthorization(f *testing.F) {
	w := begin(f, closed(server.ReadsTeam))
	good := strings.TrimPrefix(w.token("viewer", "*"), "Authorization: Bearer ")
	said := map[string]string{"urn:perigee:token-expired": "", "urn:perigee:token-revoked": ""}
	for _, s := range w.badTokens() {
		if value, ok := strings.CutPrefix(s.header, "Authorization: "); ok {
			f.Add(value, "", false)
			if _, told := said[s.kind]; told {
				said[s.kind] = strings.TrimPrefix(value, "Bearer ")
			}
		}
	}
	for _, value := range []string{"Bearer " + good, "bearer  " + good + "  ", "BEARER\t" + good, "Bearer\x00" + good, "Bearer " + good + "\n", "Bearer " + good + "," + good,
		"Bearer \"" + good + "\"", "Bearer pgt_", "Bearer pgt__", "Bearer " + good[:14], "Bearer ..", "Bearer a.b.c", "Bearer \xff\xfe", "Bearer é", "  Bearer " + good,
		"Bearer " + strings.Repeat(" ", 30_000) + good, "Token " + good, "Negotiate " + good, strings.Repeat("Bearer ", 1000)} {
		f.Add(value, "", false)
	}
	f.Add("Bearer "+good, "Bearer "+good, true)
	f.Add("", "Bearer "+good, true)
	f.Fuzz(func(t *testing.T, first, second string, both bool) {
		r := httptest.NewRequest("GET", "/v1/jobs", nil)
		r.Header["Authorization"] = []string{first}
		if both {
			r.Header["Authorization"] = []string{first, second}
		}
		answer := httptest.NewRecorder()
		w.server.Handler().ServeHTTP(answer, r)
		scheme, token, _ := strings.Cut(first, " ")
		token = strings.Trim(token, " ")
		bearer := !both && strings.EqualFold(scheme, "Bearer")
		if bearer && token == good {
			require.Equal(t, http.StatusOK, answer.Code)
			return
		}
		require.Equal(t, http.StatusUnauthorized, answer.Code, answer.Body)
		require.Empty(t, answer.Header().Get(api.HeaderIndex))
		for kind, text := range said {
			if bearer && token == text {
				require.Contains(t, answer.Body.String(), kind)
				return
			}
		}
		require.JSONEq(t, `{"type":"urn:perigee:unauthorized","title":"Unauthorized","status":401,"detail":"the token is not valid"}`, answer.Body.String())
	})
}
