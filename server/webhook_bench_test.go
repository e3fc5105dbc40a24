package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/webhook"
)

// consumers answer webhooks at once, each at an address of its own, and note when
// which event came.
type consumers struct {
	addresses []string

	mu   sync.Mutex
	came []map[string]time.Time // by consumer and event
	last []string               // the newest event that each has had
	n    int
	odd  []string // what came twice, or out of order
}

func serveConsumers(b *testing.B, n int) *consumers {
	c := &consumers{came: make([]map[string]time.Time, n), last: make([]string, n)}
	for i := range n {
		c.came[i] = map[string]time.Time{}
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { c.take(i, rw, r) }))
		b.Cleanup(s.Close)
		c.addresses = append(c.addresses, s.URL)
	}
	return c
}

func (c *consumers) take(i int, rw http.ResponseWriter, r *http.Request) {
	now := time.Now()
	var e struct {
		ID string `json:"id"`
	}
	err := json.NewDecoder(r.Body).Decode(&e)
	c.mu.Lock()
	defer c.mu.Unlock()
	id, bad := engine.ParseEventID(e.ID)
	before, _ := engine.ParseEventID(c.last[i])
	if err != nil || bad != nil || c.last[i] != "" && id.Compare(before) <= 0 {
		c.odd = append(c.odd, fmt.Sprintf("consumer %d: %s after %s (%v)", i, e.ID, c.last[i], err))
	}
	c.last[i] = e.ID
	c.came[i][e.ID] = now
	c.n++
	rw.WriteHeader(http.StatusNoContent)
}

// dead is an address where nobody listens, nor ever will: one that was listened at
// may be given to a consumer.
const dead = "http://127.0.0.1:1"

// stalled takes what it is sent, and never answers.
func stalled(b *testing.B) string {
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	b.Cleanup(func() {
		close(over)
		s.Close()
	})
	return s.URL
}

// told are the types of events of one run that its webhook is told.
var told = []string{"task.launching", "task.running", "task.finished", "run.succeeded"}

// BenchmarkWebhooks has 500 webhooks told of 1,000 events a second, those of 250
// runs of 500 jobs, and reports how long after an event was durable it was
// delivered. The second case has two webhooks more that are to be told of all of
// them, one of which is dead while the other stalls.
func BenchmarkWebhooks(b *testing.B) {
	b.Run("fast", func(b *testing.B) { measureWebhooks(b) })
	b.Run("fast-and-two-broken", func(b *testing.B) { measureWebhooks(b, dead, stalled(b)) })
}

const webhooksMeasured, runsASecond = 500, 250

func measureWebhooks(b *testing.B, broken ...string) {
	w := begin(b)
	fast := serveConsumers(b, webhooksMeasured)
	for i, address := range fast.addresses {
		w.send("PUT", fmt.Sprintf("/v1/jobs/team%03d/prod/load", i), `{"kind":"batch","command":"./work","resources":{"cpus":0.1,"memory":"64MiB"}}`)
		w.hook(&record.Webhook{Team: fmt.Sprintf("team%03d", i), Url: address})
	}
	for _, address := range broken {
		w.hook(&record.Webhook{Team: api.AllTeams, Url: address})
	}
	runner := webhook.New(webhook.Options{Engine: w.engine, Cluster: "bench", Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = runner.Run(ctx) })
	defer running.Wait()
	defer cancel()

	runs := max(1, b.N/len(told))
	f, err := w.engine.Follow(w.engine.Newest().String())
	require.NoError(b, err)
	durable := make(map[string]time.Time, runs*len(told))
	used := cpuTime(b)
	b.ResetTimer()
	var over, users sync.WaitGroup
	over.Go(func() { w.durable(b.Context(), f, durable, runs) })
	first := time.Now()
	for i := range runs {
		time.Sleep(time.Until(first.Add(time.Duration(i) * time.Second / runsASecond)))
		users.Go(func() {
			w.send("POST", fmt.Sprintf("/v1/jobs/team%03d/prod/load/runs", i%webhooksMeasured), `{"runs":[{}]}`)
		})
	}
	users.Wait()
	over.Wait()
	require.Eventually(b, func() bool {
		fast.mu.Lock()
		defer fast.mu.Unlock()
		return fast.n >= len(durable)
	}, 30*time.Second, time.Millisecond)
	b.StopTimer()
	fast.report(b, durable)
	require.Eventually(b, func() bool { return len(broken) == 0 || runner.Stats.Bytes.Load() > 0 }, 10*time.Second, time.Millisecond,
		"what the broken ones were to be told waits")
	used.report(b)
	b.ReportMetric(float64(runner.Stats.Bytes.Load())/1024, "held-KiB")
	b.ReportMetric(0, "ns/op")
}

func (w *whole) hook(h *record.Webhook) {
	h.Types, h.From = told, w.engine.Newest().Position()
	h.Secrets = []*record.WebhookSecret{{Key: api.WebhookSecretOf([]byte(strings.Repeat("k", 32)))}}
	_, _, err := w.engine.Do(context.Background(), core.Request{Actor: "bench", Op: core.CreateWebhook{Webhook: h}})
	require.NoError(w, err)
}

// durable notes when each event that is told was durable, until so many runs
// succeeded.
func (w *whole) durable(ctx context.Context, f *engine.Follower, at map[string]time.Time, runs int) {
	for runs > 0 {
		events, err := f.Next(ctx)
		if err != nil {
			w.Error(err)
			return
		}
		now := time.Now()
		for _, e := range events {
			if slices.Contains(told, e.Event.Type) {
				at[e.ID.String()] = now
			}
			if e.Event.Type == "run.succeeded" {
				runs--
			}
		}
	}
}

// report fails when an event did not come, or not once and in order.
func (c *consumers) report(b *testing.B, durable map[string]time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(b, c.odd)
	require.Equal(b, len(durable), c.n)
	var took []time.Duration
	for _, came := range c.came {
		for id, at := range came {
			require.Contains(b, durable, id)
			took = append(took, max(0, at.Sub(durable[id])))
		}
	}
	slices.Sort(took)
	ms := func(percent int) float64 { return float64(took[(len(took)-1)*percent/100].Microseconds()) / 1000 }
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(ms(50), "p50-ms")
	b.ReportMetric(ms(99), "p99-ms")
	b.ReportMetric(ms(100), "max-ms")
}
