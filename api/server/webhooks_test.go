package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func hook(url string) api.WebhookRequest {
	return api.WebhookRequest{Job: "web/prod/*", Types: []string{"dev.perigee.task.*"}, URL: url}
}

func TestWebhook_IsMadeShownChangedAndRemoved(t *testing.T) {
	t.Parallel()
	w := begin(t)
	made, err := w.CreateWebhook(ctx, hook("https://consumer.example.com/in"), client.WriteOptions{IdempotencyKey: "once"})
	require.NoError(t, err)
	require.True(t, made.Created)
	require.Equal(t, "web", made.Team, "the team of its jobs")
	require.Equal(t, []string{"task.*"}, made.Types)
	require.Equal(t, "tester", made.CreatedBy)
	require.Equal(t, api.WebhookActive, made.State)
	key, err := api.WebhookKey(made.Secret)
	require.NoError(t, err)
	require.Len(t, key, 32)
	again, err := w.CreateWebhook(ctx, hook("https://consumer.example.com/in"), client.WriteOptions{IdempotencyKey: "once"})
	require.NoError(t, err)
	require.Equal(t, made.ID, again.ID)
	require.Equal(t, made.Secret, again.Secret, "whose answer was lost asks again, and is told")

	got, err := w.Webhook(ctx, made.ID)
	require.NoError(t, err)
	require.Equal(t, made.Webhook, *got)
	require.NotContains(t, w.do("GET", "/v1/webhooks/"+made.ID, "").body, "whsec_")
	require.NotContains(t, w.do("GET", "/v1/webhooks", "").body, "whsec_")

	change := hook("https://other.example.com/in")
	changed, err := w.UpdateWebhook(ctx, made.ID, change, client.WriteOptions{IfMatch: &made.Revision})
	require.NoError(t, err)
	require.True(t, changed.Changed)
	require.Empty(t, changed.Secret)
	require.Equal(t, "https://other.example.com/in", changed.URL)
	_, err = w.UpdateWebhook(ctx, made.ID, change, client.WriteOptions{IfMatch: &made.Revision})
	require.ErrorContains(t, err, "was changed meanwhile")

	// A repeated answer of what has changed since has no secret.
	again, err = w.CreateWebhook(ctx, hook("https://consumer.example.com/in"), client.WriteOptions{IdempotencyKey: "once"})
	require.NoError(t, err)
	require.Empty(t, again.Secret)

	removed, err := w.RemoveWebhook(ctx, made.ID, client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, made.ID, removed.ID)
	w.do("GET", "/v1/webhooks/"+made.ID, "").problem(http.StatusNotFound)
	w.do("DELETE", "/v1/webhooks/"+made.ID, "").problem(http.StatusNotFound)
	w.do("PUT", "/v1/webhooks/"+made.ID, `{"url": "http://x/"}`).problem(http.StatusNotFound)
	w.do("GET", "/v1/webhooks/"+made.ID+"/dead-letters", "").problem(http.StatusNotFound)
}

func TestWebhook_SecretIsRotated(t *testing.T) {
	t.Parallel()
	w := begin(t)
	made, err := w.CreateWebhook(ctx, hook("http://consumer/in"), client.WriteOptions{})
	require.NoError(t, err)
	rotated, err := w.RotateSecret(ctx, made.ID, api.RotateSecretRequest{}, client.WriteOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, rotated.Secret)
	require.NotEqual(t, made.Secret, rotated.Secret)
	require.Len(t, rotated.Secrets, 2)
	require.Nil(t, rotated.Secrets[0].ExpiresAt)
	require.NotNil(t, rotated.Secrets[1].ExpiresAt)
	own := api.WebhookSecretOf([]byte(strings.Repeat("k", 24)))
	none := api.Duration(0)
	rotated, err = w.RotateSecret(ctx, made.ID, api.RotateSecretRequest{Secret: own, Keep: &none}, client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, own, rotated.Secret)
	p := w.do("POST", "/v1/webhooks/"+made.ID+"/rotate-secret", `{"keep": "31d"}`).problem(http.StatusUnprocessableEntity)
	require.Contains(t, p.Errors[0].Message, "d")
	p = w.do("POST", "/v1/webhooks/"+made.ID+"/rotate-secret", `{"keep": "999h"}`).problem(http.StatusUnprocessableEntity)
	require.Contains(t, p.Errors[0].Message, "it must be from 0s to 720h")
	p = w.do("POST", "/v1/webhooks/"+made.ID+"/rotate-secret", `{"secret": "hunter2"}`).problem(http.StatusUnprocessableEntity)
	require.Contains(t, p.Errors[0].Message, "is not a secret")
	require.NotContains(t, w.do("POST", "/v1/webhooks/"+made.ID+"/rotate-secret", `{"secret": "hunter2"}`).body, "hunter2")
}

func TestWebhook_WrongInputIsToldWhole(t *testing.T) {
	t.Parallel()
	w := begin(t)
	p := w.do("POST", "/v1/webhooks", `{"team": "Web", "job": "web", "types": ["task.*", 7], "url": "consumer", "secrets": 1}`).problem(http.StatusUnprocessableEntity)
	places := map[string]string{}
	for _, e := range p.Errors {
		places[e.Location] = e.Message
	}
	require.Contains(t, places["body.secrets"], `did you mean "secret"?`)
	require.Contains(t, places["body.types[1]"], "wants a string")
	p = w.do("POST", "/v1/webhooks", `{"team": "Web", "job": "web", "types": ["task.["], "url": "consumer"}`).problem(http.StatusUnprocessableEntity)
	places = map[string]string{}
	for _, e := range p.Errors {
		places[e.Location] = e.Message
	}
	for at, text := range map[string]string{"body.team": "is not a team", "body.job": "is no pattern of jobs",
		"body.types[0]": "is not a pattern", "body.url": "is not a URL"} {
		require.Contains(t, places[at], text)
	}
	w.do("POST", "/v1/webhooks", "").problem(http.StatusBadRequest)
	w.do("POST", "/v1/webhooks", "{").problem(http.StatusBadRequest)
	w.do("GET", "/v1/webhooks?state=lost", "").problem(http.StatusUnprocessableEntity)

	made, err := w.CreateWebhook(ctx, hook("http://consumer/in"), client.WriteOptions{})
	require.NoError(t, err)
	p = w.do("PUT", "/v1/webhooks/"+made.ID, `{"team": "ops", "url": "http://consumer/", "secret": "whsec_x"}`).problem(http.StatusUnprocessableEntity)
	require.Len(t, p.Errors, 2)
	require.Contains(t, p.Errors[0].Message, "cannot be changed: this webhook is of team web")
	for body, text := range map[string]string{`{"events": []}`: "name 1 to 1000", `{"events": ["x"]}`: "is not the id of an event"} {
		p = w.do("POST", "/v1/webhooks/"+made.ID+"/dead-letters/redeliver", body).problem(http.StatusUnprocessableEntity)
		require.Contains(t, p.Errors[0].Message, text)
	}
	p = w.do("DELETE", "/v1/webhooks/"+made.ID+"/dead-letters", `{"events": ["i1-4-0"]}`).problem(http.StatusNotFound)
	require.Contains(t, p.Detail, "has no dead letter i1-4-0")
}

func TestWebhook_IsListed(t *testing.T) {
	t.Parallel()
	w := begin(t)
	var ids []string
	for _, r := range []api.WebhookRequest{hook("http://a/in"), {Team: "ops", URL: "http://b/in"}, {Team: api.AllTeams, URL: "http://b/all"}} {
		made, err := w.CreateWebhook(ctx, r, client.WriteOptions{})
		require.NoError(t, err)
		ids = append(ids, made.ID)
	}
	disabled, err := w.DisableWebhook(ctx, ids[1], "moved", client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, api.WebhookDisabled, disabled.State)
	require.Equal(t, "moved", disabled.Reason)
	for _, c := range []struct {
		filter client.WebhookFilter
		want   []string
	}{
		{client.WebhookFilter{}, ids}, {client.WebhookFilter{Team: "web"}, ids[:1]}, {client.WebhookFilter{Team: api.AllTeams}, ids[2:]},
		{client.WebhookFilter{URL: "//b/"}, ids[1:]}, {client.WebhookFilter{State: api.WebhookDisabled}, ids[1:2]}, {client.WebhookFilter{Limit: 2}, ids[:2]},
	} {
		page, err := w.Webhooks(ctx, c.filter)
		require.NoError(t, err)
		var got []string
		for _, h := range page.Items {
			got = append(got, h.ID)
		}
		require.Equal(t, c.want, got, "%+v", c.filter)
		if c.filter.Limit != 0 {
			page, err = w.Webhooks(ctx, client.WebhookFilter{Cursor: page.Next})
			require.NoError(t, err)
			require.Len(t, page.Items, 1)
		}
	}
	enabled, err := w.EnableWebhook(ctx, ids[1], false, client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, api.WebhookActive, enabled.State)
	require.Empty(t, enabled.Reason)
	dead, err := w.DeadLetters(ctx, ids[1], 0, "")
	require.NoError(t, err)
	require.Empty(t, dead.Items)
	none, err := w.Redeliver(ctx, ids[1], nil, client.WriteOptions{})
	require.NoError(t, err)
	require.False(t, none.Changed)
}
