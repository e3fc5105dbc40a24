package server

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	apiserver "github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/history"
)

// historyPatience is how long a scheduler that starts waits for its history; one
// that does not answer is tried again while the scheduler runs.
const historyPatience = 10 * time.Second

// openHistory opens the history that the configuration names. One that must not
// be used is refused; one that cannot be reached is not.
func (p *process) openHistory(ctx context.Context) error {
	where := p.Config.HistoryURL()
	if where == config.NoHistory {
		return nil
	}
	c := p.Config.History
	h, err := history.New(history.Options{
		URL: where, Cluster: p.Config.Cluster, Leads: p.leads, Held: func() engine.Durable { return p.engine.Held() },
		Keep: c.Keep.Std(), EventsKeep: c.EventsKeep.Std(), Size: int64(c.Size),
		Log: p.Log.With("part", "history"), Now: p.Now,
	})
	if err != nil {
		return fmt.Errorf("history.url: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, historyPatience)
	defer cancel()
	if err := h.Open(ctx); err != nil {
		return fmt.Errorf("history.url: %w", err)
	}
	p.history = h
	return nil
}

// recorder is the history as the engine has it, nil when there is none.
func (p *process) recorder() engine.History {
	if p.history == nil {
		return nil
	}
	return p.history
}

// past is the same as the API has it.
func (p *process) past() apiserver.History {
	if p.history == nil {
		return nil
	}
	return p.history
}

var (
	historyUp       = prometheus.NewDesc("perigee_history_up", "1 while the history can be written.", nil, nil)
	historyLag      = prometheus.NewDesc("perigee_history_lag_entries", "Entries of the journal that are not in the history yet.", nil, nil)
	historyBehind   = prometheus.NewDesc("perigee_history_lag_seconds", "How long the oldest of what waits for the history has waited.", nil, nil)
	historyWaiting  = prometheus.NewDesc("perigee_history_waiting", "Finished records and events that wait for the history.", nil, nil)
	historyMemory   = prometheus.NewDesc("perigee_history_waiting_bytes", "About the memory that these take.", nil, nil)
	historyBatches  = prometheus.NewDesc("perigee_history_batches_total", "Transactions that were written to the history.", nil, nil)
	historyRecords  = prometheus.NewDesc("perigee_history_records_total", "Finished tasks, runs and deploys that were written to the history.", nil, nil)
	historyEvents   = prometheus.NewDesc("perigee_history_events_total", "Events that were written to the history.", nil, nil)
	historyErrors   = prometheus.NewDesc("perigee_history_errors_total", "Attempts to write to the history that failed.", nil, nil)
	historySeconds  = prometheus.NewDesc("perigee_history_write_seconds_total", "Time that writing to the history took.", nil, nil)
	historyDeleted  = prometheus.NewDesc("perigee_history_deleted_total", "Rows that were deleted from the history for being old, or too much.", nil, nil)
	historyOverflow = prometheus.NewDesc("perigee_history_overflows_total", "Times that more waited for the history than fits into memory, so that it is told anew.", nil, nil)
	historyLost     = prometheus.NewDesc("perigee_history_lost_events", "Events that the history will not have because of that.", nil, nil)
	historyRows     = prometheus.NewDesc("perigee_history_rows", "Rows in the history, by kind; events are in blocks of several.", []string{"kind"}, nil)
	historyBytes    = prometheus.NewDesc("perigee_history_bytes", "Bytes that the history has in use.", nil, nil)
)

// historyCollector tells a history's figures.
type historyCollector struct{ of *history.History }

func (c historyCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{historyUp, historyLag, historyBehind, historyWaiting, historyMemory, historyBatches, historyRecords,
		historyEvents, historyErrors, historySeconds, historyDeleted, historyOverflow, historyLost, historyRows, historyBytes} {
		out <- d
	}
}

func (c historyCollector) Collect(out chan<- prometheus.Metric) {
	s := c.of.Stats()
	tell := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	const now, ever = prometheus.GaugeValue, prometheus.CounterValue
	tell(historyUp, now, truth(s.Up))
	tell(historyLag, now, float64(s.Lag))
	tell(historyBehind, now, s.Behind.Seconds())
	tell(historyWaiting, now, float64(s.Waiting))
	tell(historyMemory, now, float64(s.WaitingBytes))
	tell(historyBatches, ever, float64(s.Batches))
	tell(historyRecords, ever, float64(s.Records))
	tell(historyEvents, ever, float64(s.Events))
	tell(historyErrors, ever, float64(s.Errors))
	tell(historySeconds, ever, s.Writing.Seconds())
	tell(historyDeleted, ever, float64(s.Deleted))
	tell(historyOverflow, ever, float64(s.Drops))
	tell(historyLost, now, float64(s.LostEvents))
	for kind, n := range s.Rows {
		tell(historyRows, now, float64(n), kind)
	}
	tell(historyBytes, now, float64(s.Bytes))
}
