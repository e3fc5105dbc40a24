package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

var deploysDesc = prometheus.NewDesc("perigee_deploys", "Deploys that go on, by what they do: moving, waiting, paused, returning; "+
	"keeping those that keep their old set.", []string{"state"}, nil)

// deployCollector counts the deploys that go on.
type deployCollector struct{ engine *engine.Engine }

func (c *deployCollector) Describe(out chan<- *prometheus.Desc) { out <- deploysDesc }

func (c *deployCollector) Collect(out chan<- prometheus.Metric) {
	n := map[string]int{"moving": 0, "waiting": 0, "paused": 0, "returning": 0, "keeping": 0}
	c.engine.View().Rollouts(func(r *record.Rollout) bool {
		n[rolloutState(r)]++
		return true
	})
	for state, n := range n {
		out <- prometheus.MustNewConstMetric(deploysDesc, prometheus.GaugeValue, float64(n), state)
	}
}

func rolloutState(r *record.Rollout) string {
	switch {
	case r.Paused:
		return "paused"
	case r.Phase == record.RolloutPhase_ROLLOUT_PHASE_MOVING:
		return "moving"
	case r.Phase == record.RolloutPhase_ROLLOUT_PHASE_KEEPING:
		return "keeping"
	case r.Phase == record.RolloutPhase_ROLLOUT_PHASE_RETURNING:
		return "returning"
	}
	return "waiting"
}

// gateMetrics are of the questions to gates.
type gateMetrics struct{ *prometheus.HistogramVec }

func newGateMetrics() gateMetrics {
	return gateMetrics{prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "perigee_gate_seconds", Help: "Time that gates took to answer, by what came of it: wait also where there was no answer.",
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"decision"})}
}

func (m gateMetrics) observe(decision api.GateDecision, took time.Duration) {
	m.WithLabelValues(string(decision)).Observe(took.Seconds())
}
