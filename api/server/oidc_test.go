package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/oidc"
	"github.com/perigee-sched/perigee/scheduler/oidc/oidctest"
)

// For whom an issuer vouches is known like whoever has a token, and an issuer
// that is down keeps nobody out who has one.
func TestOIDC_CallersAreKnownByTheirIssuer(t *testing.T) {
	t.Parallel()
	issuer := oidctest.New(t)
	key := issuer.Rotate("k1", oidctest.RSA(t))
	rules, err := access.ParseRules("{team}-devs=deployer:{team}:devel; ops=admin:*")
	require.NoError(t, err)
	verifier := oidc.New(oidc.Options{Issuer: issuer.URL, Audience: "perigee", UserClaim: "preferred_username", Claim: "groups", Rules: rules, Now: issuer.Clock})
	issuer.Pass(time.Until(issuer.Clock())) // streams go by the real clock
	w := begin(t, closed(server.ReadsTeam), func(w *world) { w.options.Access.OIDC = verifier })
	show := func(change map[string]any) string {
		return "Authorization: Bearer " + issuer.Sign(jose.RS256, key, issuer.Claims(change))
	}
	token := w.token("viewer", "*")

	issuer.Down.Store(true)
	p := w.do("GET", "/v1/jobs", "", show(nil)).problem(http.StatusServiceUnavailable)
	require.Contains(t, p.Detail, "does not tell its keys")
	require.Equal(t, http.StatusOK, w.do("GET", "/v1/jobs", "", token).status)
	issuer.Down.Store(false)
	issuer.Pass(6 * time.Second)

	devs := show(map[string]any{"groups": []string{"web-devs"}})
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/devel/hello", service, devs, api.HeaderActor+": root").status)
	require.Equal(t, "ann for root", w.engine.View().Deploy("web/devel/hello", 1).Author)
	w.do("PUT", "/v1/jobs/web/prod/hello", service, devs).problem(http.StatusForbidden)
	w.do("GET", "/v1/jobs/web/devel/hello", "", show(map[string]any{"groups": []string{"strangers"}})).problem(http.StatusForbidden)
	require.Equal(t, "urn:perigee:token-expired", w.do("GET", "/v1/jobs", "", show(map[string]any{"exp": 1})).problem(http.StatusUnauthorized).Type)
	wrong := w.do("GET", "/v1/jobs", "", show(map[string]any{"aud": "other"}))
	require.Equal(t, "urn:perigee:unauthorized", wrong.problem(http.StatusUnauthorized).Type)
	require.Equal(t, wrong.body, w.do("GET", "/v1/jobs", "", "Authorization: Bearer x").body)
	require.Equal(t, http.StatusCreated, w.do("POST", "/v1/tokens", `{"team": "web", "role": "viewer"}`, show(map[string]any{"groups": "ops"})).status)
}
