package api_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// checked is what is wrong with a request, one line each.
func checked(r api.WebhookRequest) string {
	r.Normalize()
	if err := r.Validate(); err != nil {
		return err.Error()
	}
	return ""
}

func TestWebhookRequest_SaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	good := func() api.WebhookRequest {
		return api.WebhookRequest{Team: "web", Job: "web/*/shop-*", Types: []string{"task.*", "dev.perigee.deploy.failed"}, URL: "https://consumer.example.com:8443/in?key=1"}
	}
	require.Empty(t, checked(good()))
	for _, c := range []struct {
		change func(*api.WebhookRequest)
		wrong  string
	}{
		{func(r *api.WebhookRequest) { *r = api.WebhookRequest{URL: "http://127.0.0.1/"} }, "team: is missing: name the team whose events are told, or * for all"},
		{func(r *api.WebhookRequest) { r.Team = "Web" }, `team: "Web" is not a team`},
		{func(r *api.WebhookRequest) { r.Team = "ops" }, `job: "web/*/shop-*" is not of the team ops: begin it with ops/`},
		{func(r *api.WebhookRequest) { r.Job = "web/*" }, `job: "web/*" is no pattern of jobs: it is written team/stage/name`},
		{func(r *api.WebhookRequest) { r.Job = "web/[/x" }, "job: is not a pattern"},
		{func(r *api.WebhookRequest) { r.Types = []string{"task.*", ""} }, "types[1]: is missing or blank"},
		{func(r *api.WebhookRequest) { r.Types = []string{"task.*", "dev.perigee.task.*"} }, `types[1]: "task.*" is given twice`},
		{func(r *api.WebhookRequest) { r.Types = make([]string, 51) }, "types: has 51 entries: at most 50 are allowed"},
		{func(r *api.WebhookRequest) { r.URL = "" }, "url: is missing or blank"},
		{func(r *api.WebhookRequest) { r.URL = "consumer.example.com/in" }, "url: is not a URL of http or https: write it as https://consumer.example.com/perigee"},
		{func(r *api.WebhookRequest) { r.URL = "ftp://consumer/" }, "url: is not a URL of http or https"},
		{func(r *api.WebhookRequest) { r.URL = "http:///in" }, "url: names no host"},
		{func(r *api.WebhookRequest) { r.URL = "http://a b/" }, "url: is not a URL (invalid character"},
		{func(r *api.WebhookRequest) { r.URL = "http://consumer:99999/" }, "url: has a port that is none"},
		{func(r *api.WebhookRequest) { r.URL = "http://ann:secret@consumer/" }, "url: has a user or password in it"},
		{func(r *api.WebhookRequest) { r.URL = "http://consumer/#x" }, "url: has a fragment (#x)"},
		{func(r *api.WebhookRequest) { r.URL = "http://consumer/" + strings.Repeat("x", 2048) }, "url: is 2064 bytes long"},
		{func(r *api.WebhookRequest) { r.Description = strings.Repeat("x", 1025) }, "description: is 1025 bytes long"},
		{func(r *api.WebhookRequest) { r.Secret = "hunter2" }, "secret: is not a secret: it is whsec_ and the base64 of 24 to 64 random bytes"},
		{func(r *api.WebhookRequest) { r.Secret = "whsec_c2hvcnQ=" }, "secret: is not a secret"},
		{func(r *api.WebhookRequest) { r.Team, r.URL = "Web", "x" }, "url: is not a URL"},
	} {
		r := good()
		c.change(&r)
		require.Contains(t, checked(r), c.wrong)
	}
	require.NotContains(t, checked(api.WebhookRequest{Team: "web", URL: "http://ann:hunter2@consumer/"}), "hunter2")
}

func TestWebhookRequest_IsOfTheTeamThatItsJobsAreOf(t *testing.T) {
	t.Parallel()
	r := api.WebhookRequest{Job: "web/prod/*", URL: "http://consumer/"}
	r.Normalize()
	require.Equal(t, "web", r.Team)
	r = api.WebhookRequest{Job: "*/prod/*", URL: "http://consumer/"}
	r.Normalize()
	require.ErrorContains(t, r.Validate(), "team: is missing")
	require.Empty(t, checked(api.WebhookRequest{Team: "*", Job: "*/prod/*", URL: "http://consumer/"}))
	require.Empty(t, checked(api.WebhookRequest{Team: "web", Job: "*/prod/*", URL: "http://consumer/"}))
}

func TestWebhookKey_IsWhatTheSecretSays(t *testing.T) {
	t.Parallel()
	key := []byte(strings.Repeat("k", 32))
	got, err := api.WebhookKey(api.WebhookSecretOf(key))
	require.NoError(t, err)
	require.Equal(t, key, got)
}
