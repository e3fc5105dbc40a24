package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// as is a client that shows a token.
func (w *world) as(header string) *client.Client {
	w.Helper()
	c, err := client.New(w.url, client.WithToken(strings.TrimPrefix(header, "Authorization: Bearer ")))
	require.NoError(w, err)
	return c
}

func (w *world) revoke(id string) {
	w.Helper()
	_, _, err := w.engine.Do(ctx, core.Request{Op: core.RevokeToken{ID: id}})
	require.NoError(w, err)
}

// streams are what lasts: each calls began once it is under way, and returns what
// ended it.
var streams = []struct {
	name string
	read func(c *client.Client, task string, began func()) error
}{
	{"events", func(c *client.Client, _ string, began func()) error {
		events, err := c.Events(ctx, client.EventFilter{Type: "job.removed"})
		if err != nil {
			return err
		}
		defer events.Close()
		began()
		_, err = events.Next(ctx)
		return err
	}},
	{"a deploy", func(c *client.Client, _ string, began func()) error {
		for _, err := range c.FollowDeploy(ctx, "web/prod/stuck", 1) {
			if err != nil {
				return err
			}
			began()
		}
		return nil
	}},
	{"endpoints", func(c *client.Client, _ string, began func()) error {
		for _, err := range c.FollowEndpoints(ctx, "web/prod/hello") {
			if err != nil {
				return err
			}
			began()
		}
		return nil
	}},
	{"a file", followed},
}

// followed reads a file as it grows, as `logs -f` does, until what came is no more,
// and then asks again.
func followed(c *client.Client, task string, began func()) error {
	for n := int64(0); ; {
		body, err := c.FollowFile(ctx, task, "logs/stdout", n)
		if err != nil {
			return err
		}
		one := make([]byte, 100)
		for {
			read, err := body.Read(one)
			n += int64(read)
			if err != nil {
				body.Close()
				if errors.Is(err, io.EOF) {
					return errors.New("it ended as if all was read")
				}
				break
			}
			began()
		}
	}
}

// Whatever lasts ends when the token that was shown for it does, and its reader is
// told why, once.
func TestStreams_EndWithTheirToken(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	admin := w.token("admin", "*")
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/hello", service, admin).status)
	var task string
	w.eventually("a task runs", func() bool {
		w.engine.View().JobTasks("web/prod/hello", "", func(r *record.Task) bool { task = r.Id; return false })
		return task != ""
	})
	w.mesos.write(task, "logs/stdout", "hello\n")
	w.mesos.stick(true)
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/stuck", service, admin).status)
	for _, s := range streams {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, how := range []string{"revoked", "expired"} {
				t.Run(how, func(t *testing.T) {
					t.Parallel()
					rec := &record.Token{Role: "viewer", Team: "web"}
					if how == "expired" {
						rec.ExpiresAt = time.Now().Add(2 * time.Second).UnixMilli()
					}
					id, header := w.tokenOf(rec)
					began, ended := make(chan struct{}, 100), make(chan error, 1)
					go func() { ended <- s.read(w.as(header), task, func() { began <- struct{}{} }) }()
					select {
					case <-began:
					case err := <-ended:
						ended <- err // it expired before
					}
					if how == "revoked" {
						w.revoke(id)
					}
					var p *api.Problem
					require.ErrorAs(t, <-ended, &p)
					require.Equal(t, http.StatusUnauthorized, p.Status)
					require.Equal(t, "urn:perigee:token-"+how, p.Type)
					require.Contains(t, p.Detail, how)
				})
			}
		})
	}
}

// Who reads the stream itself sees why it ends, and others' go on.
func TestStreams_SayWhyTheyEnd(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	id, header := w.tokenOf(&record.Token{Role: "viewer", Team: "*"})
	_, other := w.tokenOf(&record.Token{Role: "viewer", Team: "*"})
	open := func(header string) *http.Response {
		r, err := http.NewRequest("GET", w.url+"/v1/events", nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", strings.TrimPrefix(header, "Authorization: "))
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		require.Equal(t, http.StatusOK, resp.StatusCode)
		return resp
	}
	one, two := open(header), open(other)
	w.revoke(id)
	text, err := io.ReadAll(one.Body)
	require.NoError(t, err, "it is a clean end")
	require.Contains(t, string(text), "\n: token "+id+" was revoked at ")
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/hello", service, w.token("deployer", "web")).status)
	for read := ""; !strings.Contains(read, "job.created"); {
		b := make([]byte, 1000)
		n, err := two.Body.Read(b)
		require.NoError(t, err)
		read += string(b[:n])
	}
}

// So does a read that waits.
func TestWaits_EndWithTheirToken(t *testing.T) {
	t.Parallel()
	w := begin(t, closed(server.ReadsTeam))
	admin := w.token("admin", "*")
	w.mesos.stick(true)
	require.Equal(t, http.StatusCreated, w.do("PUT", "/v1/jobs/web/prod/stuck", service, admin).status)
	group := `{"specs": [` + strings.Replace(service, "{", `{"job": "web/prod/other",`, 1) + `]}`
	var made api.WrittenGroup
	require.NoError(t, json.Unmarshal([]byte(w.do("POST", "/v1/deploy-groups", group, admin).body), &made))
	id, header := w.tokenOf(&record.Token{Role: "viewer", Team: "web"})
	ended := make(chan error, 2)
	go func() { _, err := w.as(header).AwaitDeploy(ctx, "web/prod/stuck", 1, time.Minute); ended <- err }()
	go func() { _, err := w.as(header).AwaitGroup(ctx, made.ID, time.Minute); ended <- err }()
	w.eventually("both wait", func() bool {
		return strings.Contains(w.do("GET", "/metrics", "", admin).body, `perigee_http_streams{kind="waits"} 2`)
	})
	w.revoke(id)
	for range 2 {
		var p *api.Problem
		require.ErrorAs(t, <-ended, &p)
		require.Equal(t, "urn:perigee:token-revoked", p.Type)
	}
}

// A standby ends what it tells once it has read that a token was revoked, and a
// client that knows no better does not ask for ever.
func TestStreams_EndAtAStandby(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPairWith(t, &server.Access{Reads: server.ReadsTeam})
	id, header := leader.tokenOf(&record.Token{Role: "viewer", Team: "*"})
	standby.eventually("the standby knows the token", func() bool { return standby.engine.View().Token(id) != nil })
	var asked atomic.Int32
	standby.listen(func(r *http.Request) {
		if r.URL.Path == "/v1/events" {
			asked.Add(1)
		}
	})
	events, err := standby.as(header).Events(ctx, client.EventFilter{})
	require.NoError(t, err)
	defer events.Close()
	leader.revoke(id)
	var p *api.Problem
	for _, err = range events.All(ctx) {
	}
	require.ErrorAs(t, err, &p)
	require.Equal(t, "urn:perigee:token-revoked", p.Type)
	require.EqualValues(t, 2, asked.Load(), "it asks once more, and is told")
	_, err = events.Next(context.Background())
	require.ErrorAs(t, err, &p)
}
