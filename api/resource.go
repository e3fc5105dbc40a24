package api

import "time"

// Job is what the API tells of a job.
type Job struct {
	Job  string `json:"job"`
	Kind Kind   `json:"kind"`
	// State in one word: running, deploying, waiting, paused, removing, idle.
	State string `json:"state"`
	// Revision is the ETag: it grows with every change that a user makes.
	Revision  uint64    `json:"revision"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// Deploy whose spec is wanted, and Spec of it with defaults filled in.
	Deploy uint32 `json:"deploy"`
	Spec   *Spec  `json:"spec,omitempty"`
	// Instances wanted, of a service; scaling changes it without a deploy.
	Instances   int    `json:"instances"`
	Paused      bool   `json:"paused,omitempty"`
	PauseReason string `json:"pause_reason,omitempty"`
	Tasks       Counts `json:"tasks"`
	// NextRun and LastRun of a cron.
	NextRun *time.Time `json:"next_run,omitempty"`
	LastRun *time.Time `json:"last_run,omitempty"`
	// Timed are changes that are taken back, and when.
	Timed []TimedAction `json:"timed,omitempty"`
	// SkipHealth: health checks count for nothing for now.
	SkipHealth bool `json:"skip_health,omitempty"`
	// LatestDeploy is the newest deploy, without its spec.
	LatestDeploy *Deploy `json:"latest_deploy,omitempty"`
	// Pending says why tasks wait, when some do.
	Pending []PendingReason `json:"pending,omitempty"`
}

// Counts of a job's live tasks.
type Counts struct {
	Pending     int `json:"pending"`
	Starting    int `json:"starting"` // launched, and not yet running
	Running     int `json:"running"`
	Ready       int `json:"ready"` // of those running: they are in the endpoints
	Stopping    int `json:"stopping"`
	Unreachable int `json:"unreachable"`
}

// Run is one execution of a cron or batch job.
type Run struct {
	Job         string            `json:"job"`
	ID          string            `json:"id"`
	Deploy      uint32            `json:"deploy"`
	State       string            `json:"state"` // waiting, active, succeeded, failed, cancelled, skipped, missed
	Reason      string            `json:"reason,omitempty"`
	Parameters  map[string]string `json:"parameters,omitempty"`
	Group       string            `json:"group,omitempty"`
	Priority    int               `json:"priority,omitempty"`
	Instant     *time.Time        `json:"instant,omitempty"` // of a scheduled run
	CreatedAt   time.Time         `json:"created_at"`
	StartedAt   *time.Time        `json:"started_at,omitempty"`
	EndedAt     *time.Time        `json:"ended_at,omitempty"`
	Attempts    int               `json:"attempts"`
	Failures    int               `json:"failures"`
	Retries     int               `json:"retries"`
	Task        string            `json:"task,omitempty"` // the current, or last
	RequestedBy string            `json:"requested_by,omitempty"`
	Missed      int               `json:"missed,omitempty"` // instants a missed run stands for
	// Archived: it left the live state, and is told from history.
	Archived bool `json:"archived,omitempty"`
}

// Task is one attempt to execute an instance or a run.
type Task struct {
	ID       string `json:"id"`
	Job      string `json:"job"`
	Deploy   uint32 `json:"deploy"`
	Instance *int   `json:"instance,omitempty"` // of a service
	Run      string `json:"run,omitempty"`
	Attempt  int    `json:"attempt"`
	// State: pending, launching, staging, starting, running, killing,
	// unreachable; finished, failed, killed, lost.
	State   string `json:"state"`
	Ready   bool   `json:"ready"`
	Healthy *bool  `json:"healthy,omitempty"` // by the last check
	// Stopping says why it is being stopped.
	Stopping   string            `json:"stopping,omitempty"`
	Message    string            `json:"message,omitempty"`
	Reason     string            `json:"reason,omitempty"` // Mesos's
	Agent      string            `json:"agent,omitempty"`
	Host       string            `json:"host,omitempty"`
	Ports      map[string]uint32 `json:"ports,omitempty"`
	ExitCode   *int              `json:"exit_code,omitempty"`
	CreatedAt  time.Time         `json:"created_at"`
	NotBefore  *time.Time        `json:"not_before,omitempty"` // end of its backoff
	LaunchedAt *time.Time        `json:"launched_at,omitempty"`
	RunningAt  *time.Time        `json:"running_at,omitempty"`
	ReadyAt    *time.Time        `json:"ready_at,omitempty"`
	EndedAt    *time.Time        `json:"ended_at,omitempty"`
	Sandbox    string            `json:"sandbox,omitempty"`
	// Timeline is every change of state, oldest first.
	Timeline []Moment `json:"timeline,omitempty"`
	// Pending says why a pending task waits.
	Pending *PendingReason `json:"pending,omitempty"`
	// Archived: it left the live state, and is told from history.
	Archived bool `json:"archived,omitempty"`
}

// Moment is one change of a task's state.
type Moment struct {
	At      time.Time `json:"at"`
	State   string    `json:"state"`
	Message string    `json:"message,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// PendingReason says why tasks of one kind (a deploy's) wait.
type PendingReason struct {
	Deploy uint32 `json:"deploy"`
	Tasks  int    `json:"tasks"`
	// Summary is one line for a person.
	Summary string `json:"summary"`
	// Agents looked at, and by filter how many of them it refused.
	Agents  int       `json:"agents"`
	Refused []Refusal `json:"refused,omitempty"`
	// Nearest is the agent that came nearest to fit.
	Nearest string `json:"nearest,omitempty"`
}

// Refusal is one filter's verdict over all agents.
type Refusal struct {
	Filter string `json:"filter"` // cpus, memory, disk, ports, constraint, limit, …
	Detail string `json:"detail"` // e.g. "needs 4, the most free is 2.5"
	Agents int    `json:"agents"`
}

// Agent is a machine, as last heard from Mesos.
type Agent struct {
	ID         string            `json:"id"`
	Host       string            `json:"host"`
	URL        string            `json:"url,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Total      Resources         `json:"total"`
	Offered    Resources         `json:"offered"` // free, and offered to Perigee now
	Tasks      int               `json:"tasks"`   // of Perigee's
	// JoinedAt is when it was seen first, or first since it was lost.
	JoinedAt *time.Time `json:"joined_at,omitempty"`
}

// Problem is an error, as RFC 9457 problem details.
type Problem struct {
	Type   string         `json:"type,omitempty"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Errors []ProblemField `json:"errors,omitempty"`
	// Deploy is the one in progress, where that is why something is refused.
	Deploy *Deploy `json:"deploy,omitempty"`
}

// ProblemField is one thing that is wrong with the input.
type ProblemField struct {
	Location string `json:"location,omitempty"` // body.health.http.port
	Message  string `json:"message"`
	Value    any    `json:"value,omitempty"`
}

func (p *Problem) Error() string {
	s := p.Title
	if p.Detail != "" {
		s = p.Detail
	}
	for _, e := range p.Errors {
		s += "\n  "
		if e.Location != "" {
			s += e.Location + ": "
		}
		s += e.Message
	}
	return s
}
