package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/history"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/webhook"
)

// openWebhooks makes what tells events to those who subscribed.
func (p *process) openWebhooks(registry *prometheus.Registry) error {
	c := p.Config.Webhooks
	networks, err := c.Networks()
	if err != nil {
		return fmt.Errorf("webhooks.allowed_networks: %w", err)
	}
	attempts := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "perigee_webhook_attempt_seconds", Help: "Time that consumers took, by what came of it: delivered, refused, or unanswered.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
	}, []string{"outcome"})
	delivered := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "perigee_webhook_delivery_seconds", Help: "Time from an event to its delivery, those before and what waited included.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 15, 60, 600, 3600, 6 * 3600, 24 * 3600, 72 * 3600},
	})
	p.webhooks = webhook.New(webhook.Options{
		Engine: p.engine, Backlog: p.backlog(), Cluster: p.Config.Cluster, RetryFor: c.RetryFor.Std(), Proxy: c.ProxyURL(), Agent: "perigee/" + Version,
		Targets:     webhook.Targets{RefusePrivate: c.RefusePrivate(), Allowed: networks},
		OnAttempt:   func(outcome string, took time.Duration) { attempts.WithLabelValues(outcome).Observe(took.Seconds()) },
		OnDelivered: func(after time.Duration) { delivered.Observe(after.Seconds()) },
		Log:         p.Log.With("part", "webhooks"),
	})
	for _, m := range append(webhookGauges(&p.webhooks.Stats), attempts, delivered, &webhookCollector{p.engine}) {
		if err := registry.Register(m); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// backlog reads the events that the engine no longer keeps; nil when no history is
// kept.
func (p *process) backlog() webhook.Backlog {
	if p.history == nil {
		return nil
	}
	return backlog{p.history}
}

// backlog is a history as webhooks read it: both tell of events that are missing in
// their own way.
type backlog struct{ history *history.History }

// Events implements webhook.Backlog.
func (b backlog) Events(ctx context.Context, after engine.EventID, limit int) ([]engine.Published, error) {
	events, err := b.history.Events(ctx, after, limit)
	var gap *history.GapError
	if errors.As(err, &gap) {
		return nil, &engine.GoneError{Oldest: gap.Next.String()}
	}
	return events, err
}

// webhookGauges are of the leader; elsewhere they are 0.
func webhookGauges(s *webhook.Stats) []prometheus.Collector {
	return []prometheus.Collector{
		gauge("perigee_webhook_waiting_events", "Events that were taken up for webhooks and not delivered yet.", func() float64 { return float64(s.Waiting.Load()) }),
		gauge("perigee_webhook_waiting_bytes", "What they take in memory, about.", func() float64 { return float64(s.Bytes.Load()) }),
		gauge("perigee_webhook_deliveries", "Deliveries that are under way.", func() float64 { return float64(s.UnderWay.Load()) }),
		gauge("perigee_webhooks_failing", "Webhooks whose last delivery failed.", func() float64 { return float64(s.Failing.Load()) }),
		gauge("perigee_webhooks_behind", "Webhooks that read from the log or from history what they had no room for.", func() float64 { return float64(s.Behind.Load()) }),
	}
}

var (
	webhooksDesc = prometheus.NewDesc("perigee_webhooks", "Webhooks, by whether they are enabled or disabled.", []string{"state"}, nil)
	deadDesc     = prometheus.NewDesc("perigee_webhook_dead_letters", "Events that could not be delivered, and are kept.", nil, nil)
	droppedDesc  = prometheus.NewDesc("perigee_webhook_dead_letters_dropped", "Those that are no longer kept, since there were too many, of webhooks that there are.", nil, nil)
)

// webhookCollector counts what is in the journal.
type webhookCollector struct{ engine *engine.Engine }

func (c *webhookCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{webhooksDesc, deadDesc, droppedDesc} {
		out <- d
	}
}

func (c *webhookCollector) Collect(out chan<- prometheus.Metric) {
	v := c.engine.View()
	n := map[string]int{"enabled": 0, "disabled": 0}
	var dead int
	var dropped uint64
	v.Webhooks("", func(w *record.Webhook) bool {
		state := "enabled"
		if w.Disabled {
			state = "disabled"
		}
		n[state]++
		dropped += w.DeadLettersDropped
		v.DeadLetters(w.Id, "", func(*record.DeadLetter) bool { dead++; return true })
		return true
	})
	for state, n := range n {
		out <- prometheus.MustNewConstMetric(webhooksDesc, prometheus.GaugeValue, float64(n), state)
	}
	out <- prometheus.MustNewConstMetric(deadDesc, prometheus.GaugeValue, float64(dead))
	out <- prometheus.MustNewConstMetric(droppedDesc, prometheus.GaugeValue, float64(dropped))
}
