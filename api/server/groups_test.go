package server_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func release(specs ...*api.Spec) *api.DeployGroupRequest {
	r := &api.DeployGroupRequest{DeployNotes: api.DeployNotes{Message: "release", Links: map[string]string{"ticket": "https://t/1"}}}
	for _, s := range specs {
		r.Specs = append(r.Specs, *s)
	}
	return r
}

func TestGroup_IsDeployedInOrderAllOrNone(t *testing.T) {
	t.Parallel()
	w := begin(t)
	g, err := w.StartGroup(ctx, release(specOf("web/prod/a", site("")), specOf("web/prod/b", site(""))), client.WriteOptions{})
	require.NoError(t, err)
	require.True(t, g.Changed)
	done, err := w.AwaitGroup(ctx, g.ID, time.Minute)
	require.NoError(t, err)
	require.Equal(t, api.DeploySucceeded, done.State, done.Reason)
	require.Equal(t, []api.DeployGroupEntry{{Job: "web/prod/a", Deploy: 1, State: api.DeploySucceeded}, {Job: "web/prod/b", Deploy: 1, State: api.DeploySucceeded}}, done.Members)
	require.Equal(t, "tester", done.Author)
	require.Equal(t, map[string]string{"ticket": "https://t/1"}, done.Links)
	d, err := w.Deploy(ctx, "web/prod/b", 1)
	require.NoError(t, err)
	require.Equal(t, g.ID, d.Group)
	require.Equal(t, "release", d.Message)

	broken := `"command": "./broken", "restart": {"min": "100ms"}, "update": {"retries": 0}`
	bad, err := w.StartGroup(ctx, release(specOf("web/prod/a", site(`"command": "./new"`)), specOf("web/prod/b", site(broken))), client.WriteOptions{})
	require.NoError(t, err)
	done, err = w.AwaitGroup(ctx, bad.ID, time.Minute)
	require.NoError(t, err)
	require.Equal(t, api.DeployRolledBack, done.State)
	require.NotZero(t, done.Members[0].Rollback)
	require.Equal(t, api.DeployRolledBack, done.Members[1].State)
	require.Contains(t, done.Reason+done.Members[1].Reason, "exited with status 3")

	page, err := w.Groups(ctx, 1, "")
	require.NoError(t, err)
	require.Equal(t, bad.ID, page.Items[0].ID, "newest first")
	page, err = w.Groups(ctx, 1, page.Next)
	require.NoError(t, err)
	require.Equal(t, g.ID, page.Items[0].ID)
	require.Empty(t, page.Next)
	_, err = w.CancelGroup(ctx, bad.ID, "", client.WriteOptions{})
	require.ErrorContains(t, err, "is over")
}

func TestGroup_IsCancelled(t *testing.T) {
	t.Parallel()
	w := begin(t)
	g, err := w.StartGroup(ctx, release(specOf("web/prod/a", site(`"command": "./slow"`)), specOf("web/prod/b", site(""))), client.WriteOptions{})
	require.NoError(t, err)
	waits, err := w.AwaitGroup(ctx, g.ID, time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, api.DeployInProgress, waits.State)
	require.Zero(t, waits.Members[1].Deploy)
	_, err = w.CancelGroup(ctx, g.ID, "not today", client.WriteOptions{})
	require.NoError(t, err)
	done, err := w.AwaitGroup(ctx, g.ID, time.Minute)
	require.NoError(t, err)
	require.True(t, done.State.Over())
	require.Contains(t, done.Reason, "not today")
	require.Zero(t, done.Members[1].Deploy, "it never began")
	require.Nil(t, w.engine.View().Job("web/prod/b"))
}

func TestGroup_SameKeyIsAnsweredWithTheSameGroup(t *testing.T) {
	t.Parallel()
	w := begin(t)
	body, err := json.Marshal(release(specOf("web/prod/a", site(""))))
	require.NoError(t, err)
	first := w.do("POST", "/v1/deploy-groups", string(body), "Idempotency-Key: r1")
	require.Equal(t, http.StatusCreated, first.status, first.body)
	again := w.do("POST", "/v1/deploy-groups", string(body), "Idempotency-Key: r1")
	require.Equal(t, http.StatusCreated, again.status)
	require.Equal(t, "true", again.header.Get(api.HeaderReplayed))
	var a, b api.WrittenGroup
	require.NoError(t, json.Unmarshal([]byte(first.body), &a))
	require.NoError(t, json.Unmarshal([]byte(again.body), &b))
	require.Equal(t, a.ID, b.ID)
}
