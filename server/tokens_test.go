package server_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/server"
)

// as is a client of a scheduler that shows a token.
func (p *process) as(token string) *client.Client {
	p.Helper()
	c, err := client.New(p.Base(), client.WithToken(token))
	require.NoError(p, err)
	return c
}

// Three schedulers know the same tokens: what is revoked ends everywhere, when each
// was used is known whichever was asked and whichever ends, and who changed what is
// told by all, the same.
func TestThreeSchedulers_Tokens(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := beginSeveral(t, 0)
	for range 3 {
		s.start(func(o *server.Options) {
			o.Config.Access.Mode, o.Config.Access.InitCode = "token", "a code of more than 20 letters"
		})
	}
	first, err := s.all[2].InitToken(ctx, api.InitRequest{Code: "a code of more than 20 letters", Description: "ann"}, client.WriteOptions{})
	require.NoError(t, err)
	for _, p := range s.all {
		p.Client = p.as(first.Text)
		s.eventually("the token is known", func() bool { _, err := p.Scheduler(ctx); return err == nil })
	}
	leader, standbys := s.leader(s.all...)
	made := func(description string, shown ...*process) *api.WrittenToken {
		made, err := standbys[1].CreateToken(ctx, api.TokenRequest{Team: "web", Role: "viewer", Description: description}, client.WriteOptions{})
		require.NoError(t, err)
		for _, p := range shown {
			s.eventually("the token is known", func() bool { _, err := p.as(made.Text).Caller(ctx); return err == nil })
		}
		return made
	}

	// What is revoked ends, wherever it is read.
	ends := made("ends", s.all...)
	var streams []*client.Events
	for _, p := range s.all {
		events, err := p.as(ends.Text).Events(ctx, client.EventFilter{Type: "job.removed"})
		require.NoError(t, err)
		defer events.Close()
		streams = append(streams, events)
	}
	_, err = standbys[0].RevokeToken(ctx, ends.ID, client.WriteOptions{})
	require.NoError(t, err)
	for _, events := range streams {
		_, err := events.Next(ctx)
		var problem *api.Problem
		require.ErrorAs(t, err, &problem)
		require.Equal(t, http.StatusUnauthorized, problem.Status)
		require.Contains(t, problem.Detail, "token "+ends.ID+" was revoked at")
	}

	// All tell the same of who changed what.
	trail := func(p *process) (told []string) {
		page, err := p.Audit(ctx, api.HistoryFilter{})
		require.NoError(t, err)
		for _, e := range page.Items {
			require.Equal(t, "127.0.0.1", e.From)
			told = append(told, e.ID+" "+e.Operation+" "+e.Object+" "+e.Token)
		}
		return told
	}
	want := trail(leader)
	require.Len(t, want, 3)
	require.Contains(t, want[0], "revoke-token "+ends.ID+" "+first.ID)
	for _, p := range standbys {
		s.eventually("the others tell the same", func() bool { return slices.Equal(want, trail(p)) })
	}

	// A scheduler that ends tells what it noted, and one that hands over saves it.
	used := made("used at a standby", standbys[0])
	require.NoError(t, standbys[0].end())
	_, err = standbys[1].StepDown(ctx)
	require.NoError(t, err)
	now, _ := s.leader(leader, standbys[1])
	require.NotSame(t, leader, now)
	tokens, err := now.Tokens(ctx, client.TokenFilter{})
	require.NoError(t, err)
	for _, one := range tokens.Items {
		require.NotNil(t, one.LastUsedAt, "%s, %s", one.ID, one.Description)
		require.Equal(t, "127.0.0.1", one.LastUsedFrom)
	}
	require.Len(t, tokens.Items, 3)
	require.NotEmpty(t, used.ID)
	require.Len(t, trail(now), 5, "the token and the step-down, and nothing of the uses")
}
