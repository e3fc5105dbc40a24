package core

import (
	"cmp"
	"slices"

	"github.com/perigee-sched/perigee/api"
)

// Observed is what is known of the cluster now, and not durable.
type Observed struct {
	// Subscribed to a master, since when (Unix ms).
	Subscribed   bool
	SubscribedAt int64
	Master       string
	// Agents by host name, then id.
	Agents []AgentStatus
	// Overhead is what an executor takes beside its task.
	Overhead Amounts
	// Pending reasons by job.
	Pending map[string][]api.PendingReason
	// Features that may be used, since all live schedulers know them.
	Features []string
	// Gauges for metrics.
	PendingTasks, LiveTasks, OffersHeld int
	// LoopsCut counts jobs that were cut off because they had themselves looked
	// at without end: a mistake of Perigee's, which should be reported.
	LoopsCut int
	// FinishedTasks and FinishedRuns are those that are still here; Unrecorded
	// counts finished ones that went before every history had them.
	FinishedTasks, FinishedRuns, Unrecorded int
}

// AgentStatus is one agent as core sees it.
type AgentStatus struct {
	ID, Host, URL string
	Attributes    Attributes
	Total         Amounts // zero when the master did not tell
	Offered       Amounts
	Holds         bool    // some of it is on offer
	Ports         int     // on offer
	Used          Amounts // by our tasks, their executors included
	Tasks         int
	Active        bool
}

// explainMost classes are explained in one Observe; more cost too much.
const explainMost = 200

// Observe says what is known of the cluster now. It costs what the number of
// agents times the number of pending deploys comes to, so a caller does it now
// and then, not at every step.
func (c *Core) Observe() *Observed {
	o := &Observed{
		Subscribed: c.mesos.subscribed, SubscribedAt: c.mesos.since, Master: c.mesos.master, Overhead: c.cfg.Overhead,
		Pending: map[string][]api.PendingReason{}, PendingTasks: c.queue.pending, OffersHeld: len(c.pool.holders), LoopsCut: c.cut,
		Features: c.features, FinishedTasks: len(c.retention.tasks.all), FinishedRuns: len(c.retention.runs.all), Unrecorded: c.retention.lost,
	}
	for _, a := range c.pool.agents {
		o.LiveTasks += a.tasks
		o.Agents = append(o.Agents, AgentStatus{ID: a.id, Host: a.host, URL: a.url, Attributes: a.attributes,
			Total: a.total, Offered: a.free,
			Holds: len(a.offers) > 0, Ports: a.nports, Used: a.used, Tasks: a.tasks, Active: a.active})
	}
	slices.SortFunc(o.Agents, func(a, b AgentStatus) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID))
	})
	explained := map[*class]int{} // index of its reason, in its job's
	for _, l := range c.queue.order {
		if l.n == 0 {
			continue
		}
		key := l.class.job.rec.Key
		if i, ok := explained[l.class]; ok {
			o.Pending[key][i].Tasks += l.n
			continue
		}
		reason := api.PendingReason{Deploy: l.class.deploy.rec.Number, Summary: "waits for its turn"}
		if len(explained) < explainMost {
			reason = c.explain(l.class)
		}
		reason.Tasks = l.n
		explained[l.class] = len(o.Pending[key])
		o.Pending[key] = append(o.Pending[key], reason)
	}
	return o
}
