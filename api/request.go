package api

import "time"

// Headers of the HTTP API, beside HTTP's own.
const (
	// HeaderIndex of an answer: the journal index that it reflects, at least.
	HeaderIndex = "X-Perigee-Index"
	// HeaderRole of an answer says what the scheduler that gave it is: RoleLeader
	// or RoleStandby. HeaderLeader is the address of the one that leads, absent
	// when none does or that cannot be told.
	HeaderRole   = "X-Perigee-Role"
	HeaderLeader = "X-Perigee-Leader"
	// HeaderForwardedBy of a request that one scheduler passed on to the leader:
	// the address of the one that did. It is not passed on again.
	HeaderForwardedBy = "X-Perigee-Forwarded-By"
	// HeaderActor of a request: who asks, for events and audit.
	HeaderActor = "X-Perigee-Actor"
	// HeaderIdempotencyKey of a write: the same key and request are executed once.
	HeaderIdempotencyKey = "Idempotency-Key"
	// HeaderReplayed of an answer: "true" when it is the kept one of an earlier
	// request with the same idempotency key.
	HeaderReplayed = "Idempotency-Replayed"
	// HeaderOffset and HeaderSize of a sandbox file's content: where it begins
	// in the file, and how long the file was, in bytes.
	HeaderOffset = "X-Perigee-Offset"
	HeaderSize   = "X-Perigee-Size"
)

// MaxRunsPerCall is how many runs one request may start.
const MaxRunsPerCall = 5000

// Page of a list. Next is the cursor of the next page, "" on the last one.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
	// Older is the path of those that left the live state for history, on the last
	// page of what does.
	Older string `json:"older,omitempty"`
}

// Written answers a write. What does not apply is absent.
type Written struct {
	Job string `json:"job,omitempty"`
	// Revision of the job afterwards: what If-Match takes.
	Revision uint64 `json:"revision,omitempty"`
	// Deploy that the write began, or the current one when nothing changed.
	Deploy uint32 `json:"deploy,omitempty"`
	// Created: the job is new. Changed: the write had an effect.
	Created bool `json:"created,omitempty"`
	Changed bool `json:"changed"`
	// Runs that were started: their ids, in the order of the request.
	Runs []string `json:"runs,omitempty"`
	Task string   `json:"task,omitempty"`
	// Warnings say what was accepted although it may not be meant.
	Warnings []string `json:"warnings,omitempty"`
}

// WrittenDeploy answers a write that begins, steers or ends a deploy: the deploy
// afterwards, without its spec, and what the write did.
type WrittenDeploy struct {
	Deploy
	// Changed: the write had an effect. A spec that equals the current one has
	// none; the deploy is the current one then.
	Changed bool `json:"changed"`
	// Created: the job is new.
	Created bool `json:"created,omitempty"`
	// Began: the write began the deploy, as the answer's status says. Where it did
	// not but changed something, that needed no deploy, such as a scale.
	Began bool `json:"-"`
	// Revision of the job afterwards: what If-Match takes.
	Revision uint64 `json:"revision,omitempty"`
	// Warnings say what was accepted although it may not be meant.
	Warnings []string `json:"warnings,omitempty"`
}

// WrittenGroup answers a write of a deploy group: the group afterwards.
type WrittenGroup struct {
	DeployGroup
	Changed  bool     `json:"changed"`
	Warnings []string `json:"warnings,omitempty"`
}

// SteerRequest says why a deploy is paused, resumed or cancelled, or a group
// cancelled.
type SteerRequest struct {
	Reason string `json:"reason,omitempty"`
}

// MaxWait bounds how long a read may be asked to wait for a deploy's end.
const MaxWait = 5 * time.Minute

// MaxTimed bounds how long a timed action may last.
const MaxTimed = 30 * 24 * time.Hour

// StartRuns asks for runs, at most MaxRunsPerCall: all of them start, or none.
type StartRuns struct {
	Runs []NewRun `json:"runs"`
}

// NewRun is one run to start.
type NewRun struct {
	// Parameters by name, their values as text. Defaults are the spec's.
	Parameters map[string]string `json:"parameters,omitempty"`
	// Group is the build or batch that the run belongs to: groups share the
	// cluster fairly.
	Group string `json:"group,omitempty"`
	// Priority and Retries are the spec's when absent.
	Priority *int `json:"priority,omitempty"`
	Retries  *int `json:"retries,omitempty"`
}

// Scale asks for a number of instances.
type Scale struct {
	Instances *int `json:"instances"`
}

// JobPending says why tasks of a job wait.
type JobPending struct {
	Job     string          `json:"job"`
	Reasons []PendingReason `json:"reasons"`
}

// File in a task's sandbox.
type File struct {
	// Path in the sandbox: logs/stdout.
	Path      string    `json:"path"`
	Directory bool      `json:"directory,omitempty"`
	Size      int64     `json:"size"` // in bytes
	Mode      string    `json:"mode"` // as ls shows it: -rw-r--r--
	User      string    `json:"user,omitempty"`
	Group     string    `json:"group,omitempty"`
	Modified  time.Time `json:"modified"`
}

// The roles of a scheduler.
const (
	RoleLeader  = "leader"
	RoleStandby = "standby"
)

// Scheduler tells what part a scheduler has.
type Scheduler struct {
	Address string `json:"address"`
	Version string `json:"version"`
	Cluster string `json:"cluster"`
	Role    string `json:"role"` // RoleLeader or RoleStandby
	// Leader is the address of the one that leads, absent when none does or that
	// cannot be told.
	Leader string `json:"leader,omitempty"`
	// Index of the last journal entry that this scheduler shows, and the epoch of
	// the leadership that wrote it.
	Index uint64 `json:"index"`
	Epoch uint64 `json:"epoch"`
	// Lag is how many entries a standby is behind its leader; absent when the
	// leader cannot be asked.
	Lag *uint64 `json:"lag,omitempty"`
	// NotWritable says why nothing can be written now, absent when it can.
	NotWritable string `json:"not_writable,omitempty"`
	// Unreachable says why this scheduler did not answer the one that was asked
	// for all; what is told then is what it told ZooKeeper some seconds before.
	Unreachable string `json:"unreachable,omitempty"`
	// ClockAhead is how far its clock is ahead of ZooKeeper's, negative when it is
	// behind; absent when that was not measured.
	ClockAhead *Duration `json:"clock_ahead,omitempty"`
	// Features that it knows and not every version does. Older versions do not
	// tell.
	Features []string `json:"features,omitempty"`
	// UsableFeatures, of the leader, are those that all schedulers know: others are
	// not used.
	UsableFeatures []string `json:"usable_features,omitempty"`
	// Schedulers are the addresses of all that stand for election, the leader
	// first; absent when that cannot be told.
	Schedulers []string `json:"schedulers,omitempty"`
}

// Readiness answers /readyz.
type Readiness struct {
	Ready bool `json:"ready"`
	// Role is RoleStandby, and absent for a leader.
	Role string `json:"role,omitempty"`
	// Leader is who leads while this scheduler stands by.
	Leader string `json:"leader,omitempty"`
	// Master of Mesos that the scheduler is subscribed to.
	Master string `json:"master,omitempty"`
}

// ExecutorPath is where schedulers serve perigee-executor.
const ExecutorPath = "/v1/executor/perigee-executor"
