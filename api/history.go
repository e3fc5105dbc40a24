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
	// Limit bounds a page; Cursor is where it begins, "" at the newest.
	Limit  int
	Cursor string
}

// HistoryState says how far a scheduler's history is, and what it lacks.
type HistoryState struct {
	// Kind is sqlite or postgresql. A shared one is all schedulers' own.
	Kind   string `json:"kind"`
	Shared bool   `json:"shared"`
	// Incarnation of the journal, and the index of its entry up to which
	// everything is kept. Waiting finished records and events are not yet, the
	// oldest of them for as long as Behind says.
	Incarnation string   `json:"incarnation,omitempty"`
	Through     uint64   `json:"through"`
	Waiting     int      `json:"waiting"`
	Behind      Duration `json:"behind"`
	// Problem says why the history cannot be written, absent when it can.
	Problem string `json:"problem,omitempty"`
	// Rows by kind, events in blocks of several, and about how many bytes they
	// take.
	Rows  map[string]int64 `json:"rows,omitempty"`
	Bytes int64            `json:"bytes,omitempty"`
	// Gaps are events that are missing, the newest first.
	Gaps []HistoryGap `json:"gaps,omitempty"`
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
