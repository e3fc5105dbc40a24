package core

import (
	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Event is an input of Step.
type Event interface{ isEvent() }

// Elected begins a leadership. Everything in the journal was loaded before.
type Elected struct {
	Scheduler string // host name and process id
	Address   string // of its API
	Version   string
	// Incarnation is a fresh random name, taken when the journal is new.
	Incarnation string
	// Secret is random, taken when the journal has none.
	Secret []byte
}

// Connecting asks for a SUBSCRIBE: the driver found a master. It is answered
// with a Subscribe call, after a fenced write.
type Connecting struct{}

// Subscribed says that Mesos has this scheduler subscribed.
type Subscribed struct {
	FrameworkID string
	Master      string // host:port
}

// Disconnected says that the subscription ended: outstanding offers are void.
type Disconnected struct{ Reason string }

// Offers are new.
type Offers struct{ Offers []Offer }

// Rescinded takes back one offer that was not used.
type Rescinded struct{ Offer string }

// Update is a status update of a task.
type Update struct {
	Task      string
	Agent     string // "" when the update names none
	State     MesosState
	Reason    string // without REASON_
	Message   string
	UUID      []byte // nil: not to be acknowledged
	Source    UpdateSource
	Healthy   *bool
	Report    *api.Report // of our executor, nil when there is none
	Timestamp int64       // Unix ms, by the sender's clock; 0 when absent
}

// UpdateSource says who made an update.
type UpdateSource uint8

// The sources of updates.
const (
	SourceMaster UpdateSource = iota + 1
	SourceAgent
	SourceExecutor
)

// Accepted reports how an Accept call was answered: Err is "" for 202. With an
// Err the call may still have reached Mesos; only a reconciliation tells.
type Accepted struct {
	Tasks []string
	Err   string
}

// ListingAgents says that the master is being asked for its agents. What comes
// from now on until Agents may be newer than that list.
type ListingAgents struct{}

// Agents is the list of all agents that the master has, as of some time since
// ListingAgents.
type Agents struct {
	Agents []Agent
	// Recovered are the ids of those that the master's registry has, and that did
	// not come back since the master failed over. It gives them time: they are not
	// lost.
	Recovered []string
}

// AgentRemoved says that the master gave an agent up.
type AgentRemoved struct{ Agent string }

// GateAnswered is what came of an AskGate.
type GateAnswered struct {
	Job      string
	Deploy   uint32
	Step     uint32
	Decision api.GateDecision // wait when there was no answer that can be read
	Reason   string           // what the gate said, or why there was no answer
}

// Request is a write of a user.
type Request struct {
	// ID is given back in the Reply.
	ID uint64
	// Actor is who asks, for events and audit.
	Actor string
	// IdempotencyKey, when not empty, makes the same request (by Digest, the
	// SHA-256 of method, path and body) be executed once.
	IdempotencyKey string
	Digest         string
	// KeyOf is whose key it is: the same key of somebody else is another. "" is
	// everybody.
	KeyOf string
	// By is told by the audit trail. A request without an operation is the
	// scheduler's own, and not told.
	By By
	Op Op
}

// By says how a write came.
type By struct {
	Operation string // as the API calls it
	Token     string // id of the token, or of whom an OIDC issuer vouched for
	From      string // address of the client
}

// Op is what a Request asks for.
type Op interface{ isOp() }

// PutJob creates a job or deploys a new spec of it. The spec is valid.
type PutJob struct {
	Spec      *api.Spec
	Canonical []byte // of Spec
	IfMatch   *uint64
	// Create: refuse when the job exists (If-None-Match: *).
	Create bool
	Notes
	// Supersede an unfinished deploy instead of being refused because of it.
	Supersede bool
	// Resume a paused job; should the deploy fail, it is paused again.
	Resume bool
}

// Notes are what is kept with a deploy for people.
type Notes struct {
	Author, Message string // the actor when there is no Author
	Links           map[string]string
}

// RollBack deploys the spec of an earlier deploy; with To 0 it undoes the one
// in progress, or whose old set is kept, or else returns to the last that
// succeeded before the current one.
type RollBack struct {
	Job     string
	To      uint32
	IfMatch *uint64
	Notes
	Supersede bool
}

// Bounce replaces every task of a service, start first: all at once, or one
// instance after the other.
type Bounce struct {
	Job         string
	Incremental bool
	IfMatch     *uint64
	Notes
}

// RestartInstance replaces the task of one instance, start first.
type RestartInstance struct {
	Job      string
	Instance uint32
	Reason   string
}

// SteerDeploy acts on a deploy in progress.
type SteerDeploy struct {
	Job    string
	Number uint32 // 0: the one in progress
	Action Steer
	Reason string
	Full   bool // of SteerPromote: past all steps that follow
}

// Steer is what may be done to a deploy in progress.
type Steer uint8

// What may be done to a deploy in progress.
const (
	SteerPause   Steer = iota + 1
	SteerResume        // after a pause, by hand or for a failure
	SteerPromote       // past a manual step, or the rest of a bake
	SteerCancel        // its instances return
	SteerPulse         // it may go on
)

// PutGroup deploys several jobs, one after the other; all return if one fails.
type PutGroup struct {
	Specs     []*api.Spec
	Canonical [][]byte
	Notes
	Supersede bool
}

// StepDown has it told that the leader is asked to hand over, which it does once
// that is durable.
type StepDown struct{}

// CancelGroup undoes a group that is in progress.
type CancelGroup struct{ ID, Reason string }

// SkipHealth has a service's health checks count for nothing until Until (Unix
// ms); 0 ends that.
type SkipHealth struct {
	Job     string
	Until   int64
	IfMatch *uint64
}

// RemoveJob stops a job's tasks and forgets it.
type RemoveJob struct {
	Job     string
	IfMatch *uint64
}

// PauseJob stops a job's tasks and keeps its definition.
type PauseJob struct {
	Job, Reason string
	Until       int64 // when it is taken back, Unix ms; 0: never
	IfMatch     *uint64
}

// ResumeJob ends a pause.
type ResumeJob struct {
	Job     string
	IfMatch *uint64
}

// ScaleJob sets how many instances of a service run.
type ScaleJob struct {
	Job       string
	Instances int
	Until     int64 // when it is taken back, Unix ms; 0: never
	IfMatch   *uint64
}

// StartRuns starts one or many runs of a batch or cron job.
type StartRuns struct {
	Job  string
	Runs []NewRun
}

// NewRun is one run to start.
type NewRun struct {
	// Parameters as given; core checks them against the spec and fills defaults in.
	Parameters map[string]string
	Group      string // build, for fair sharing; "" is the job itself
	Priority   *int   // the spec's when nil
	Retries    *int   // the spec's when nil; 0 when nil for a cron that is run by hand
}

// CancelRun ends a run.
type CancelRun struct{ Job, Run string }

// KillTask ends a task. An instance of a service starts again, without
// backoff; a run is retried by its policy as if it had failed.
type KillTask struct {
	Task   string
	Reason string
}

func (Elected) isEvent()       {}
func (Connecting) isEvent()    {}
func (Subscribed) isEvent()    {}
func (Disconnected) isEvent()  {}
func (Offers) isEvent()        {}
func (Rescinded) isEvent()     {}
func (Update) isEvent()        {}
func (Accepted) isEvent()      {}
func (Agents) isEvent()        {}
func (ListingAgents) isEvent() {}
func (AgentRemoved) isEvent()  {}
func (GateAnswered) isEvent()  {}
func (Request) isEvent()       {}

func (PutJob) isOp()    {}
func (RemoveJob) isOp() {}
func (PauseJob) isOp()  {}
func (ResumeJob) isOp() {}
func (ScaleJob) isOp()  {}
func (StartRuns) isOp() {}
func (CancelRun) isOp() {}
func (KillTask) isOp()  {}

func (RollBack) isOp()        {}
func (Bounce) isOp()          {}
func (RestartInstance) isOp() {}
func (SteerDeploy) isOp()     {}
func (PutGroup) isOp()        {}
func (CancelGroup) isOp()     {}
func (SkipHealth) isOp()      {}
func (StepDown) isOp()        {}

// MesosState is a task's state as Mesos names it.
type MesosState uint8

// The states of Mesos.
const (
	MesosStaging MesosState = iota + 1
	MesosStarting
	MesosRunning
	MesosKilling
	MesosFinished
	MesosFailed
	MesosKilled
	MesosError
	MesosLost
	MesosDropped
	MesosUnreachable
	MesosGone
	MesosGoneByOperator
	MesosUnknown
)

var mesosStateNames = [...]string{"", "STAGING", "STARTING", "RUNNING", "KILLING", "FINISHED", "FAILED",
	"KILLED", "ERROR", "LOST", "DROPPED", "UNREACHABLE", "GONE", "GONE_BY_OPERATOR", "UNKNOWN"}

// String is Mesos's name without TASK_.
func (s MesosState) String() string { return mesosStateNames[s] }

// Offer is what an agent has to give, as Mesos allocated it to our role.
type Offer struct {
	ID         string
	Agent      string
	Host       string
	URL        string // http://host:port of the agent's API
	Attributes Attributes
	Free       Amounts
	Ports      []PortRange
}

// Agent is a machine as the master knows it.
type Agent struct {
	ID, Host, URL string
	Attributes    Attributes
	Total         Amounts
	Active        bool
}

// Attributes of an agent, sorted by name, their values as text.
type Attributes []Attribute

// Attribute of an agent: rack=r1.
type Attribute struct{ Name, Value string }

// Attribute returns the value of an attribute.
func (a Attributes) Attribute(name string) (value string, ok bool) {
	for i := range a {
		if a[i].Name == name {
			return a[i].Value, true
		}
	}
	return "", false
}

// Amounts of resources, in thousandths of a CPU and of a MiB: the precision
// that Mesos counts with.
type Amounts struct{ CPUs, Memory, Disk int64 }

// PortRange is inclusive.
type PortRange struct{ First, Last uint32 }

// Result of a Request. What does not apply is empty.
type Result struct {
	Job      string   `json:"job,omitempty"`
	Revision uint64   `json:"revision,omitempty"`
	Deploy   uint32   `json:"deploy,omitempty"`
	Created  bool     `json:"created,omitempty"`
	Changed  bool     `json:"changed,omitempty"`
	Began    bool     `json:"began,omitempty"` // Deploy is a new one
	Runs     []string `json:"runs,omitempty"`
	Task     string   `json:"task,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Group    string   `json:"group,omitempty"`
	Webhook  string   `json:"webhook,omitempty"`
	Count    int      `json:"count,omitempty"`   // of what was changed
	Token    string   `json:"token,omitempty"`   // its id
	Skipped  []string `json:"skipped,omitempty"` // webhooks that were changed meanwhile
	// Repeated: the answer of an earlier request with the same key.
	Repeated bool `json:"-"`
}

// ErrorKind says how a Request failed.
type ErrorKind uint8

// The kinds of errors.
const (
	NotFound ErrorKind = iota + 1
	Conflict           // with the state of the thing
	Invalid            // the input is wrong
	Stale              // If-Match did not match
	Mismatch           // the idempotency key was used for another request
)

// Error answers a Request that changed nothing.
type Error struct {
	Kind   ErrorKind
	Detail string
	Fields []api.ProblemField
	// Deploy that is in the way, 0 when none is.
	Deploy uint32
}

func (e *Error) Error() string { return e.Detail }

// Reply answers a Request.
type Reply struct {
	To     uint64
	Result Result
	Err    *Error
}

// Write is one record put, or deleted when Record is nil.
type Write struct {
	Key    string
	Record Record
}

// Record is a message of package record.
type Record = record.Message
