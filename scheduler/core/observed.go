package core

import "github.com/perigee-sched/perigee/api"

// Observed is what is known of the cluster now, and not durable.
type Observed struct {
	// Subscribed to a master, since when (Unix ms).
	Subscribed   bool
	SubscribedAt int64
	Master       string
	// Agents by host name, then id.
	Agents []AgentStatus
	// Pending reasons by job.
	Pending map[string][]api.PendingReason
	// Gauges for metrics.
	PendingTasks, LiveTasks, OffersHeld int
}

// AgentStatus is one agent as core sees it.
type AgentStatus struct {
	ID, Host, URL string
	Attributes    Attributes
	Total         Amounts // zero when the master did not tell
	Offered       Amounts
	Tasks         int
	Active        bool
}
