package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/server"
)

// consumer is told events over HTTP, and notes them while it takes any.
type consumer struct {
	*httptest.Server
	mu    sync.Mutex
	down  bool
	tried int
	came  []string // ids, each once
	runs  []string
	seen  map[string]bool
}

func consume(t *testing.T) *consumer {
	c := &consumer{seen: map[string]bool{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e api.Event
	err := json.NewDecoder(r.Body).Decode(&e)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried++
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case c.down:
		w.WriteHeader(http.StatusInternalServerError)
	case !c.seen[e.ID]:
		c.seen[e.ID] = true
		c.came, c.runs = append(c.came, e.ID), append(c.runs, e.Data.Run)
	}
}

func (c *consumer) goDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// has says how many events came, and attempts how often one was sent.
func (c *consumer) has() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.came)
}

func (c *consumer) attempts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tried
}

// hook has a consumer told of runs that succeed.
func (p *process) hook(c *consumer) string {
	p.Helper()
	w, err := p.CreateWebhook(context.Background(), api.WebhookRequest{Team: "etl", Types: []string{"run.succeeded"}, URL: c.URL}, client.WriteOptions{})
	require.NoError(p, err)
	return w.Webhook.ID
}

func (p *process) batch() {
	p.Helper()
	_, err := p.PutJob(context.Background(), specOf(p.T, "etl/prod/load", `{"kind":"batch","command":"./work","resources":{"cpus":0.1,"memory":"64MiB"}}`), client.PutOptions{})
	require.NoError(p, err)
}

// A consumer that was down while the schedulers' logs of events went on, and while
// another began to lead, is told of all from that one's own history, in order.
func TestWebhooks_CatchUpFromHistory(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 0)
	few := func(o *server.Options) { o.Config.Events.Keep = 60 }
	s.start(few)
	s.start(few)
	leader, standbys := s.leader(s.all...)
	ctx := context.Background()
	leader.batch()
	c := consume(t)
	c.goDown(true)
	id := leader.hook(c)
	first := leader.run(1)
	s.eventually("it was tried", func() bool { return c.attempts() > 0 })
	runs := first
	for range 4 {
		more := leader.run(30)
		leader.succeed(more)
		runs = append(runs, more...)
	}
	d, err := leader.Deliveries(ctx, id)
	require.NoError(t, err)
	incarnation, _, _ := strings.Cut(d.Newest, "-")
	_, err = leader.Events(ctx, client.EventFilter{After: incarnation + "-1-0"})
	var gone *api.Problem
	require.ErrorAs(t, err, &gone, "the log has dropped the first ones")
	require.Equal(t, http.StatusGone, gone.Status)
	_, err = leader.StepDown(ctx)
	require.NoError(t, err)
	now, _ := s.leader(s.all...)
	require.Equal(t, standbys[0], now)
	s.eventually("the new leader tries", func() bool { return c.attempts() > 1 })
	c.goDown(false)
	s.eventually("all came", func() bool { return c.has() >= len(runs) })
	c.mu.Lock()
	require.ElementsMatch(t, runs, c.runs)
	c.requireInOrder(t)
	c.mu.Unlock()
	s.eventually("it is known", func() bool {
		d, err = now.Deliveries(ctx, id)
		return err == nil && d.Reading == "" && d.Waiting == 0
	})
	require.Zero(t, d.Untold)
	require.Empty(t, d.Gaps)
}

func (c *consumer) requireInOrder(t *testing.T) {
	t.Helper()
	for i := 1; i < len(c.came); i++ {
		before, err := engine.ParseEventID(c.came[i-1])
		require.NoError(t, err)
		id, err := engine.ParseEventID(c.came[i])
		require.NoError(t, err)
		require.Positive(t, id.Compare(before), "%s came after %s", id, before)
	}
}

// After a restore webhooks are as they were when the state was saved, and are told
// of all that happens from then on, once.
func TestWebhooks_AfterARestore(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 1)
	leader, _ := s.leader(s.all...)
	leader.batch()
	kept, lost := consume(t), consume(t)
	id := leader.hook(kept)
	before := leader.run(3)
	s.eventually("they came", func() bool { return kept.has() == 3 })
	state, h := leader.backUp(0)
	leader.hook(lost)
	leader.run(2)
	s.eventually("they came", func() bool { return lost.has() == 2 && kept.has() == 5 })
	require.NoError(t, leader.end())
	o := restoreOptions(s, state, h)
	o.Replace = true
	plan, err := server.RestoreState(context.Background(), o)
	require.NoError(t, err)

	again := s.start()
	s.leader(again)
	after := again.run(3)
	s.eventually("they came", func() bool { return kept.has() >= 8 })
	again.succeed(after)
	d, err := again.Deliveries(context.Background(), id)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(d.Newest, plan.Incarnation+"-"), d.Newest)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	require.Len(t, kept.came, 8)
	require.ElementsMatch(t, before, kept.runs[:3])
	require.ElementsMatch(t, after, kept.runs[5:])
	for _, event := range kept.came[5:] {
		require.True(t, strings.HasPrefix(event, plan.Incarnation+"-"), event)
	}
	lost.mu.Lock()
	defer lost.mu.Unlock()
	require.Len(t, lost.came, 2, "the restored state does not know it")
}
