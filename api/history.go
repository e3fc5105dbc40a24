package api

import "time"

// HistoryFilter chooses what is told of history. What is empty does not matter;
// what is given must all be so.
type HistoryFilter struct {
	// Job is a pattern of team/stage/name: web/prod/*. Team and Stage are names.
	Job, Team, Stage string
	// Agent is an agent's id or host. States are any of: failed, lost.
	Agent  string
	States []string
	// From and To are when something took place: it ended at or after From, and
	// began before To.
	From, To time.Time
	// Text has words that are all in why a task or run failed, or in a deploy's
	// message or reason.
	Text string
	// Parameters of a run, by name.
	Parameters map[string]string
	// Actor asked for a run or caused an event, or is a deploy's author.
	Actor string
	// Run whose tasks are wanted, of the one job that Job names; Group that runs
	// belong to.
	Run, Group string
	// Types of events are patterns: deploy.*. Task and Object are what an event is
	// about.
	Types        []string
	Task, Object string
	// Token and Operation are those of a write in the audit trail.
	Token, Operation string
	// Limit bounds a page; Cursor is where it begins, "" at the newest.
	Limit  int
	Cursor string
	// Sees, when not nil, leaves out jobs, and Audits events of the audit trail, which
	// are about a job or of a team: of a server, and of no request.
	Sees   func(job string) bool
	Audits func(job, team string) bool
}

// HistoryExtent says how far a scheduler's history is, and what it lacks.
type HistoryExtent struct {
	// Incarnation of the journal, and the index of its entry up to which
	// everything is kept.
	Incarnation string `json:"incarnation,omitempty"`
	Through     uint64 `json:"through"`
	// Waiting finished records and events are not kept yet, the oldest of them for
	// as long as Behind says.
	Waiting int      `json:"waiting"`
	Behind  Duration `json:"behind"`
	// Problem says why the history cannot be written, absent when it can.
	Problem string `json:"problem,omitempty"`
	// Gaps are events that are missing, the newest first; at the most 20.
	Gaps []HistoryGap `json:"gaps,omitempty"`
}

// HistoryState says what a scheduler's history is.
type HistoryState struct {
	HistoryExtent
	// Kind is sqlite or postgresql. A shared one is all schedulers' own.
	Kind   string `json:"kind"`
	Shared bool   `json:"shared"`
	// Rows by kind, events in blocks of several, and about how many bytes they
	// take.
	Rows  map[string]int64 `json:"rows,omitempty"`
	Bytes int64            `json:"bytes,omitempty"`
}

// HistoryPage is a page of history, the newest first. It may have fewer items than
// were asked for, even none, and still a next one.
type HistoryPage[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
	// History is that of the scheduler that answered. Its gaps are those at the
	// time that was asked about.
	History HistoryExtent `json:"history"`
}

// HistoryGap is a gap in history: the events after one and up to another are
// missing, and so may be tasks, runs and deploys that ended meanwhile.
type HistoryGap struct {
	// After and Through are ids of events.
	After   string `json:"after"`
	Through string `json:"through"`
	// From is when the last event before the gap was, absent when there is none,
	// and To when the gap was noted.
	From *time.Time `json:"from,omitempty"`
	To   time.Time  `json:"to"`
}
