package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// closed has a world ask who somebody is.
func closed(reads string) func(*world) {
	return func(w *world) { w.options.Access = &server.Access{Reads: reads} }
}

// token makes a token, and returns the header that shows it.
func (w *world) token(role, team string, stages ...string) string {
	w.Helper()
	_, header := w.tokenOf(&record.Token{Role: role, Team: team, Stages: stages})
	return header
}

func (w *world) tokenOf(t *record.Token) (id, header string) {
	w.Helper()
	id, text := access.NewToken()
	t.Id, t.Hash = id, access.HashToken(text)
	_, _, err := w.engine.Do(context.Background(), core.Request{Actor: "test", Op: core.CreateToken{Token: t}})
	require.NoError(w, err)
	return id, "Authorization: Bearer " + text
}

// webhook makes a webhook that is told of jobs.
func (w *world) webhook(team, jobs string) string {
	w.Helper()
	result, _, err := w.engine.Do(context.Background(), core.Request{Actor: "test", Op: core.CreateWebhook{Webhook: &record.Webhook{
		Team: team, Job: jobs, Url: "http://127.0.0.1:1/", Secrets: []*record.WebhookSecret{{Key: "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}}}}})
	require.NoError(w, err)
	return result.Webhook
}

// operation is a route as the API describes it.
type operation struct{ id, method, path string }

// operations are all there are.
func (w *world) operations() []operation {
	w.Helper()
	var description struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	require.NoError(w, json.Unmarshal([]byte(w.do("GET", "/openapi.json", "").body), &description))
	all := []operation{{"front", "get", "/"}, {"alive", "get", "/healthz"}, {"ready", "get", "/readyz"}, {"metrics", "get", "/metrics"},
		{"describe", "get", "/openapi.json"}, {"get-executor", "get", "/v1/executor/perigee-executor"}}
	for path, methods := range description.Paths {
		for method, op := range methods {
			all = append(all, operation{op.OperationID, method, path})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return all
}

// bodies that name a job, for operations whose path does not.
var bodies = map[string]string{
	"start-deploy-group": `{"specs": [` + strings.Replace(service, "{", `{"job": "web/prod/hello",`, 1) + `]}`,
	"create-webhook":     `{"team": "web", "job": "web/prod/*", "url": "http://127.0.0.1:1/"}`,
	"update-webhook":     `{"team": "web", "job": "web/prod/*", "url": "http://127.0.0.1:1/"}`,
	"create-token":       `{"team": "web", "role": "viewer", "stages": ["prod"]}`,
}

// Every operation is asked for by everybody, and testdata/permissions.txt says
// who may. What is there and what is not is answered the same to those who may
// see neither.
func TestAccess_EveryOperationByEveryRole(t *testing.T) {
	t.Parallel()
	for _, reads := range []string{server.ReadsTeam, server.ReadsAuthenticated, server.ReadsOpen} {
		t.Run(reads, func(t *testing.T) {
			t.Parallel()
			w := begin(t, closed(reads), keeping)
			admin := w.token("admin", "*")
			a := w.do("PUT", "/v1/jobs/web/prod/hello", service, admin)
			require.Equal(t, http.StatusCreated, a.status, a.body)
			a = w.do("POST", "/v1/deploy-groups", `{"specs": [`+strings.Replace(service, "{", `{"job": "web/prod/other",`, 1)+`]}`, admin)
			require.Equal(t, http.StatusCreated, a.status, a.body)
			var group api.WrittenGroup
			require.NoError(t, json.Unmarshal([]byte(a.body), &group))
			var task string
			w.eventually("a task runs", func() bool {
				w.engine.View().JobTasks("web/prod/hello", "", func(r *record.Task) bool { task = r.Id; return false })
				return task != ""
			})
			w.mesos.write(task, "logs/stdout", "hello\n")
			hook := w.webhook("web", "web/prod/*")
			callers := []struct{ name, header string }{
				{"nobody", "X-None: x"},
				{"viewer", w.token("viewer", "web")}, {"deployer", w.token("deployer", "web")},
				{"operator", w.token("operator", "web")}, {"admin", w.token("admin", "web")},
				{"own stage", w.token("admin", "web", "prod")}, {"other stage", w.token("admin", "web", "devel")},
				{"other team", w.token("admin", "shop")}, {"all: viewer", w.token("viewer", "*")},
				{"all: operator", w.token("operator", "*")}, {"all: admin", admin},
			}
			var out strings.Builder
			fmt.Fprintf(&out, "%-20s", "")
			for _, c := range callers {
				fmt.Fprintf(&out, " %-13s", c.name)
			}
			out.WriteString("\n")
			for _, op := range w.operations() {
				fmt.Fprintf(&out, "%-20s", op.id)
				for _, c := range callers {
					w.eventually("it leads, again after it stepped down", func() bool { return w.engine.View().Leads })
					victim, _ := w.tokenOf(&record.Token{Role: "viewer", Team: "web", Stages: []string{"prod"}})
					ids := strings.NewReplacer("{team}", "web", "{stage}", "prod", "{name}", "hello", "{task}", task, "{group}", group.ID,
						"{token}", victim, "{webhook}", hook, "{number}", "1", "{run}", "none", "{instance}", "0", "{agent}", "host-1")
					fmt.Fprintf(&out, " %-13s", w.outcome(op, ids, c.header))
				}
				out.WriteString("\n")
			}
			golden(t, "testdata/permissions-"+reads+".txt", regexp.MustCompile(" +\n").ReplaceAllString(out.String(), "\n"))
		})
	}
}

// outcome of an operation: 401, 403, hidden, or yes when it was not refused.
func (w *world) outcome(op operation, ids *strings.Replacer, header string) string {
	w.Helper()
	method := strings.ToUpper(op.method)
	if method == "GET" {
		method = "HEAD" // of streams the beginning
	}
	path := ids.Replace(op.path)
	if strings.HasSuffix(path, "/content") || strings.HasSuffix(path, "/download") {
		path += "?path=logs/stdout"
	}
	got := w.do(method, path, bodies[op.id], header, `If-Match: "999"`)
	none := strings.NewReplacer("{task}", "none", "{group}", "none", "{token}", "none", "{webhook}", "none", "{team}", "web", "{stage}", "prod", "{name}", "none",
		"{number}", "1", "{run}", "none", "{instance}", "0", "{agent}", "host-1").Replace(op.path)
	w.eventually("it leads, again after it stepped down", func() bool { return w.engine.View().Leads })
	absent := w.do(method, none, bodies[op.id], header, `If-Match: "999"`)
	byID := slices.ContainsFunc([]string{"{task}", "{group}", "{token}", "{webhook}"}, func(id string) bool { return strings.Contains(op.path, id) })
	switch got.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		if op.id == "init-token" {
			return "by code"
		}
		if !byID || got.status == http.StatusUnauthorized { // else it is one that the caller may see
			require.Equal(w, got.status, absent.status, "%s tells whether it exists", op.id)
			require.Equal(w, got.body, absent.body, "%s tells whether it exists", op.id)
		}
		require.NotEmpty(w, got.header.Get("WWW-Authenticate"), op.id)
		return fmt.Sprint(got.status)
	case http.StatusNotFound:
		if byID {
			require.Equal(w, absent.status, got.status)
			require.Equal(w, len(absent.header), len(got.header), "%s tells whether it exists", op.id)
			return "hidden"
		}
	}
	return "yes"
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run with -update, and look at the difference")
}

// What somebody shows is a token of ours that is valid, or nothing is said of it.
func TestAccess_SaysNothingOfWhatIsShown(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	now := time.Now().UnixMilli()
	good := w.token("viewer", "*")
	_, expired := w.tokenOf(&record.Token{Role: "viewer", Team: "*", ExpiresAt: now - 1})
	id, revoked := w.tokenOf(&record.Token{Role: "viewer", Team: "*", ExpiresAt: now - 1})
	_, _, err := w.engine.Do(ctx, core.Request{Op: core.RevokeToken{ID: id}})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", good).status)

	nothing := w.do("GET", "/v1/jobs", "")
	p := nothing.problem(http.StatusUnauthorized)
	require.Equal(t, `Bearer realm="perigee"`, nothing.header.Get("WWW-Authenticate"))
	require.Contains(t, p.Detail, "Authorization: Bearer")
	require.Empty(t, nothing.header.Get(api.HeaderLeader), "a stranger is not told who leads")
	require.Empty(t, nothing.header.Get(api.HeaderIndex))

	other := strings.Repeat("0", 64)
	_, text := access.NewToken()
	var same string
	for _, wrong := range []string{"Bearer x", "Basic dTpw", "Bearer", "Bearer ", "Bearer a b", "pgt_", text, "Bearer " + text, "Bearer " + text + "0", "Bearer a.b.c",
		"Bearer " + strings.Repeat("x", 20_000), good[len("Authorization: "):len(good)-64] + other,
		expired[len("Authorization: "):len(expired)-64] + other, revoked[len("Authorization: "):len(revoked)-64] + other} {
		a := w.do("GET", "/v1/jobs", "", "Authorization: "+wrong)
		require.Equal(t, "urn:perigee:unauthorized", a.problem(http.StatusUnauthorized).Type, wrong)
		require.Equal(t, `Bearer realm="perigee", error="invalid_token"`, a.header.Get("WWW-Authenticate"))
		if same == "" {
			same = a.body
		}
		require.Equal(t, same, a.body, wrong)
		require.Equal(t, a.body, w.do("GET", "/v1/jobs/web/prod/none", "", "Authorization: "+wrong).body)
	}
	require.Equal(t, "urn:perigee:token-expired", w.do("GET", "/v1/jobs", "", expired).problem(http.StatusUnauthorized).Type)
	require.Equal(t, "urn:perigee:token-revoked", w.do("GET", "/v1/jobs", "", revoked).problem(http.StatusUnauthorized).Type)
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", strings.Replace(good, "Bearer", "bEARER", 1)).status)
}

// Who may see one team is told of that one alone, by all that lists.
func TestAccess_ListsHoldWhatTheCallerMaySee(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	admin, ours := w.token("admin", "*"), w.token("viewer", "web", "prod")
	for _, job := range []string{"web/prod/hello", "web/devel/hello", "shop/prod/hello"} {
		require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/"+job, service, admin).status)
	}
	w.eventually("all run", func() bool {
		n := 0
		w.engine.View().Tasks("", func(*record.Task) bool { n++; return true })
		return n == 6
	})
	for _, path := range []string{"/v1/jobs", "/v1/tasks", "/v1/pending"} {
		require.NotContains(t, w.do("GET", path, "", ours).body, "devel", path)
		require.NotContains(t, w.do("GET", path, "", ours).body, "shop", path)
	}
	require.Contains(t, w.do("GET", "/v1/jobs", "", ours).body, "web/prod/hello")
	require.Contains(t, w.do("GET", "/v1/tasks", "", ours).body, "web/prod/hello")
	require.Contains(t, w.do("GET", "/v1/jobs", "", admin).body, "shop/prod/hello")

	group := `{"specs": [` + strings.Replace(service, "{", `{"job": "web/prod/a",`, 1) + "," + strings.Replace(service, "{", `{"job": "shop/prod/a",`, 1) + `]}`
	require.Contains(t, w.do("POST", "/v1/deploy-groups", group, w.token("deployer", "web")).problem(http.StatusForbidden).Detail, "shop")
	require.Equal(t, http.StatusCreated, w.do("POST", "/v1/deploy-groups", group, admin).status)
	require.NotContains(t, w.do("GET", "/v1/deploy-groups", "", ours).body, "web/prod/a", "it tells of another team, too")
	require.Contains(t, w.do("GET", "/v1/deploy-groups", "", admin).body, "web/prod/a")
}

// Nobody acts in another's name: who is known may only add for whom.
func TestAccess_ActorIsWhoTheTokenIs(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	id, header := w.tokenOf(&record.Token{Role: "deployer", Team: "web", Description: "CI of web"})
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/a", service, header, api.HeaderActor+": root").status)
	require.Equal(t, "CI of web ("+id+") for root", w.engine.View().Deploy("web/prod/a", 1).Author)
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/b", service, header).status)
	require.Equal(t, "CI of web ("+id+")", w.engine.View().Deploy("web/prod/b", 1).Author)
	var who api.Caller
	require.NoError(t, json.Unmarshal([]byte(w.do("GET", "/v1/whoami", "", header).body), &who))
	require.Equal(t, api.Caller{Name: "CI of web (" + id + ")", ID: id, From: "127.0.0.1", Grants: []api.CallerGrant{{Role: "deployer", Team: "web"}}}, who)
}

// An answer that is kept for a key is its sender's.
func TestAccess_KeptAnswersAreTheSenders(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	ann, ben := w.token("deployer", "web"), w.token("deployer", "web")
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/a", service, ann, "Idempotency-Key: build-7").status)
	again := w.do("PUT", "/v1/jobs/web/prod/a", service, ann, "Idempotency-Key: build-7")
	require.Equal(t, "true", again.header.Get(api.HeaderReplayed))
	other := w.do("PUT", "/v1/jobs/web/prod/a", service, ben, "Idempotency-Key: build-7")
	require.Empty(t, other.header.Get(api.HeaderReplayed))
	require.Equal(t, http.StatusOK, other.status, "it was executed, and changed nothing")
}

func TestTokens_AreMadeOnceByCode(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam), func(w *world) { w.options.InitCode = "the right code" })
	w.do("POST", "/v1/tokens/init", `{"code": ""}`).problem(http.StatusForbidden)
	w.do("POST", "/v1/tokens/init", `{"code": "another"}`).problem(http.StatusForbidden)
	a := w.do("POST", "/v1/tokens/init", `{"code": "the right code", "description": "ann"}`)
	require.Equal(t, http.StatusCreated, a.status, a.body)
	var made api.WrittenToken
	require.NoError(t, json.Unmarshal([]byte(a.body), &made))
	require.Equal(t, "admin", made.Role)
	require.Equal(t, "*", made.Team)
	require.Nil(t, made.ExpiresAt)
	w.do("POST", "/v1/tokens/init", `{"code": "the right code"}`).problem(http.StatusConflict)
	w.do("POST", "/v1/tokens/init", `{"code": "another"}`).problem(http.StatusForbidden)
	header := "Authorization: Bearer " + made.Text
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", header).status)
	list := w.do("GET", "/v1/tokens", "", header)
	require.Contains(t, list.body, made.ID)
	require.NotContains(t, list.body, made.Text[len(made.Text)-64:])
	require.NotContains(t, fmt.Sprint(w.engine.View().Token(made.ID)), made.Text[len(made.Text)-64:])
}

func TestTokens_AreMadeListedAndRevokedWithinTheAdminsTeam(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	all, web := w.token("admin", "*"), w.token("admin", "web", "devel", "prod")
	create := func(header, body string, more ...string) (answer, api.WrittenToken) {
		a := w.do("POST", "/v1/tokens", body, append(more, header)...)
		var made api.WrittenToken
		_ = json.Unmarshal([]byte(a.body), &made)
		return a, made
	}
	for _, body := range []string{`{"team": "shop", "role": "viewer", "stages": ["prod"]}`, `{"team": "*", "role": "viewer"}`,
		`{"team": "web", "role": "viewer"}`, `{"team": "web", "role": "viewer", "stages": ["devel", "staging"]}`} {
		a, _ := create(web, body)
		a.problem(http.StatusForbidden)
	}
	a, made := create(web, `{"team": "web", "role": "deployer", "stages": ["devel"], "description": "CI"}`, "Idempotency-Key: k")
	require.Equal(t, http.StatusCreated, a.status, a.body)
	require.NotNil(t, made.ExpiresAt)
	a, again := create(web, `{"team": "web", "role": "deployer", "stages": ["devel"], "description": "CI"}`, "Idempotency-Key: k")
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.Equal(t, made.ID, again.ID)
	require.Empty(t, again.Text, "it is told once")
	_, shop := create(all, `{"team": "shop", "role": "viewer", "never_expires": true}`)
	require.Nil(t, shop.ExpiresAt)
	list := w.do("GET", "/v1/tokens", "", web).body
	require.Contains(t, list, made.ID)
	require.NotContains(t, list, shop.ID)
	require.Contains(t, w.do("GET", "/v1/tokens?team=shop", "", all).body, shop.ID)

	own := "Authorization: Bearer " + made.Text
	w.do("GET", "/v1/tokens", "", own).problem(http.StatusForbidden)
	w.do("DELETE", "/v1/tokens/"+shop.ID, "", web).problem(http.StatusNotFound)
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", own).status)
	require.Equal(t, http.StatusOK, w.do("DELETE", "/v1/tokens/"+made.ID, "", own).status, "whoever has a token may end it")
	require.Equal(t, "urn:perigee:token-revoked", w.do("GET", "/v1/jobs", "", own).problem(http.StatusUnauthorized).Type)

	for body, at := range map[string]string{
		`{"team": "Web", "role": "viewer"}`:                                            "body.team",
		`{"team": "web", "role": "root"}`:                                              "body.role",
		`{"team": "web", "role": "viewer", "stages": ["*"]}`:                           "body.stages",
		`{"team": "web", "role": "viewer", "description": "a\nb"}`:                     "body.description",
		`{"team": "web", "role": "viewer", "expires_in": "1s"}`:                        "body.expires_in",
		`{"team": "web", "role": "viewer", "expires_in": "1h", "never_expires": true}`: "body.expires_in",
	} {
		a, _ := create(all, body)
		require.Equal(t, at, a.problem(http.StatusUnprocessableEntity).Errors[0].Location, body)
	}
}

// Strangers learn how the API is used, and not which version answers.
func TestAccess_StrangersAreNotToldTheVersion(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam), func(w *world) { w.options.Version = "1.4.0-x" })
	told := w.do("GET", "/openapi.json", "", w.token("viewer", "web")).body
	require.Contains(t, told, `"version":"1.4.0-x"`)
	strangers := w.do("GET", "/openapi.json", "").body
	require.NotContains(t, strangers, "1.4.0-x")
	require.Equal(t, strings.Replace(told, "1.4.0-x", "not told", 1), strangers)
}
