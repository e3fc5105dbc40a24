package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/mesos"
)

// registerMetrics adds what the engine, the driver and the journal count. It is
// called before the engine runs, which has the histograms told.
func registerMetrics(r *prometheus.Registry, e *engine.Engine, driver func() *mesos.Driver, j journal.Journal, l lease.Lease) error {
	step := histogram("perigee_loop_step_seconds", "Time of one step of the core.", .00001, 4, 10)
	appended := histogram("perigee_journal_append_seconds", "Time to make a group of entries durable.", .0001, 2, 14)
	batched := histogram("perigee_journal_append_steps", "Steps that one append makes durable.", 1, 2, 12)
	e.Stats.OnStep = func(took time.Duration) { step.Observe(took.Seconds()) }
	e.Stats.OnAppend = func(took time.Duration) { appended.Observe(took.Seconds()) }
	e.Stats.OnBatched = func(steps int) { batched.Observe(float64(steps)) }
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "perigee_events_total", Help: "Events, by type: deploy.failed, task.lost."}, []string{"type"})
	e.Stats.OnEvent = func(typ string) { events.WithLabelValues(typ).Inc() }
	all := []prometheus.Collector{step, appended, batched, events, &mesosCollector{driver}, &deployCollector{e},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
	all = append(all, engineMetrics(e)...)
	all = append(all, journalMetrics(e, j)...)
	if measured, ok := l.(interface {
		Skew() (time.Duration, bool)
	}); ok {
		all = append(all, gauge("perigee_clock_skew_seconds", "How far ZooKeeper's clock is ahead of this machine's.", func() float64 {
			skew, _ := measured.Skew()
			return skew.Seconds()
		}))
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func histogram(name, help string, start, factor float64, count int) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(start, factor, count)})
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func counter(name, help string, value func() uint64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func engineMetrics(e *engine.Engine) []prometheus.Collector {
	s := &e.Stats
	return []prometheus.Collector{
		gauge("perigee_leads", "1 while this scheduler leads, and knows that no other does.", func() float64 { return truth(e.Leads()) }),
		gauge("perigee_epoch", "Leaderships that there were, the one under way included.", func() float64 { return float64(e.View().Epoch) }),
		gauge("perigee_writable", "0 while this scheduler leads and can write nothing.", func() float64 { return truth(e.Status().Stalled == "") }),
		gauge("perigee_knows_leader", "1 while this scheduler knows who leads.", func() float64 { return truth(e.Leader() != "") }),
		gauge("perigee_pending_tasks", "Tasks that wait to be placed.", func() float64 { return float64(e.View().Observed.PendingTasks) }),
		gauge("perigee_live_tasks", "Tasks that are on agents.", func() float64 { return float64(e.View().Observed.LiveTasks) }),
		gauge("perigee_agents", "Agents that Mesos has told of.", func() float64 { return float64(len(e.View().Observed.Agents)) }),
		gauge("perigee_loops_cut", "Jobs that this leader cut off because deciding about them did not end: a mistake of Perigee's, to be reported.", func() float64 { return float64(e.View().Observed.LoopsCut) }),
		gauge("perigee_finished_tasks", "Finished tasks in the live state, as this leader knows.", func() float64 { return float64(e.View().Observed.FinishedTasks) }),
		gauge("perigee_finished_runs", "Finished runs in the live state, as this leader knows.", func() float64 { return float64(e.View().Observed.FinishedRuns) }),
		gauge("perigee_finished_unrecorded", "Finished tasks and runs that this leader dropped, because there were too many, before every history had them.", func() float64 { return float64(e.View().Observed.Unrecorded) }),
		gauge("perigee_agents_with_offers", "Agents whose offers are held.", func() float64 { return float64(e.View().Observed.OffersHeld) }),
		counter("perigee_loop_inputs_total", "Events and requests taken in.", s.Inputs.Load),
		counter("perigee_launches_total", "Tasks launched.", s.Launches.Load),
		counter("perigee_kills_total", "KILL calls.", s.Kills.Load),
		counter("perigee_acknowledgements_total", "Status updates acknowledged.", s.Acks.Load),
		counter("perigee_declines_total", "DECLINE calls.", s.Declines.Load),
		counter("perigee_revives_total", "REVIVE calls.", s.Revives.Load),
		counter("perigee_reconciles_total", "RECONCILE calls.", s.Asked.Load),
		counter("perigee_journal_unknown_outcomes_total", "Appends whose outcome had to be found out.", s.UnknownOutcomes),
	}
}

func journalMetrics(e *engine.Engine, j journal.Journal) []prometheus.Collector {
	return []prometheus.Collector{
		gauge("perigee_journal_index", "Index of the last journal entry that this scheduler shows.", func() float64 { return float64(e.View().Index) }),
		gauge("perigee_journal_log_bytes", "Size of the entries after the newest snapshot.", func() float64 { return float64(j.Stat().LogBytes) }),
		gauge("perigee_journal_snapshot_bytes", "Size of the newest snapshot.", func() float64 { return float64(j.Stat().SnapshotBytes) }),
	}
}

var (
	callsDesc      = prometheus.NewDesc("perigee_mesos_calls_total", "Calls to the Mesos master, by type.", []string{"type"}, nil)
	failuresDesc   = prometheus.NewDesc("perigee_mesos_failed_calls_total", "Calls that Mesos refused or did not answer, by type.", []string{"type"}, nil)
	eventsDesc     = prometheus.NewDesc("perigee_mesos_events_total", "Events from the Mesos master, by type.", []string{"type"}, nil)
	malformedDesc  = prometheus.NewDesc("perigee_mesos_malformed_events_total", "Events that could not be read.", nil, nil)
	subscribedDesc = prometheus.NewDesc("perigee_mesos_subscribed", "1 while subscribed to a Mesos master.", nil, nil)
	subsDesc       = prometheus.NewDesc("perigee_mesos_subscriptions_total", "Subscriptions that Mesos granted.", nil, nil)
	disDesc        = prometheus.NewDesc("perigee_mesos_disconnects_total", "Subscriptions that ended.", nil, nil)
	queuedDesc     = prometheus.NewDesc("perigee_mesos_queued_calls", "Calls that wait to be written.", nil, nil)
	unansweredDesc = prometheus.NewDesc("perigee_mesos_unanswered_calls", "Calls that wait for an answer.", nil, nil)
	offersDesc     = prometheus.NewDesc("perigee_mesos_offers", "Outstanding offers.", nil, nil)
)

// mesosCollector tells the figures of the last leadership's driver.
type mesosCollector struct{ driver func() *mesos.Driver }

func (c *mesosCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{callsDesc, failuresDesc, eventsDesc, malformedDesc, subscribedDesc, subsDesc,
		disDesc, queuedDesc, unansweredDesc, offersDesc} {
		out <- d
	}
}

func (c *mesosCollector) Collect(out chan<- prometheus.Metric) {
	s := c.driver().Stats()
	for _, by := range []struct {
		desc   *prometheus.Desc
		values map[string]uint64
	}{{callsDesc, s.Calls}, {failuresDesc, s.Failures}, {eventsDesc, s.Events}} {
		for name, n := range by.values {
			out <- prometheus.MustNewConstMetric(by.desc, prometheus.CounterValue, float64(n), name)
		}
	}
	for desc, n := range map[*prometheus.Desc]uint64{malformedDesc: s.Malformed, subsDesc: s.Subscriptions, disDesc: s.Disconnects} {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n))
	}
	for desc, n := range map[*prometheus.Desc]float64{subscribedDesc: truth(s.Subscribed), queuedDesc: float64(s.Queued),
		unansweredDesc: float64(s.Unanswered), offersDesc: float64(s.OffersHeld)} {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, n)
	}
}
