package api

import "time"

// DeployState is where a deploy is.
type DeployState string

// The states of a deploy. Those from DeploySucceeded on are final, but for a
// blue-green deploy, which may be rolled back while its old set is kept.
const (
	DeployInProgress  DeployState = "in_progress"  // moves instances to its spec, or waits to; see Rollout
	DeployRollingBack DeployState = "rolling_back" // returns them
	DeploySucceeded   DeployState = "succeeded"
	DeployFailed      DeployState = "failed"      // instances stay on what they run
	DeployRolledBack  DeployState = "rolled_back" // failed, and the instances are back
	DeployCancelled   DeployState = "cancelled"   // as somebody asked, and the instances are back
	DeploySuperseded  DeployState = "superseded"  // by a later deploy
)

// Over says whether nothing more follows.
func (s DeployState) Over() bool { return s != DeployInProgress && s != DeployRollingBack }

// DeployKind says what a deploy is for.
type DeployKind string

// The kinds of deploys.
const (
	DeployOfSpec     DeployKind = "deploy"   // a new spec
	DeployInPlace    DeployKind = "in_place" // a new spec that differs in nothing that a task would notice
	DeployOfRollback DeployKind = "rollback" // the spec of an earlier deploy
	DeployOfBounce   DeployKind = "bounce"   // the same spec, every task replaced
)

// Deploy is one attempt to move a job to a new spec.
type Deploy struct {
	Job    string      `json:"job"`
	Number uint32      `json:"number"`
	Kind   DeployKind  `json:"kind"`
	State  DeployState `json:"state"`
	// Reason of the state, in words.
	Reason string `json:"reason,omitempty"`
	// From is the deploy that was wanted before; Of the one whose spec a
	// rollback or a bounce has.
	From    uint32 `json:"from,omitempty"`
	Of      uint32 `json:"of,omitempty"`
	Digest  string `json:"digest"` // SHA-256 of the canonical spec
	Author  string `json:"author,omitempty"`
	Message string `json:"message,omitempty"`
	// Links by name: commit, build, diff.
	Links map[string]string `json:"links,omitempty"`
	// Group is the id of the deploy group that it belongs to.
	Group     string     `json:"group,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	// Updated of Instances run the deploy's spec and are ready.
	Updated   int   `json:"updated"`
	Instances int   `json:"instances"`
	Spec      *Spec `json:"spec,omitempty"`
	// Rollout says how far it is, while it goes on.
	Rollout *Rollout `json:"rollout,omitempty"`
	// Archived: it left the live state, and is told from history.
	Archived bool `json:"archived,omitempty"`
}

// RolloutPhase says what a deploy in progress does.
type RolloutPhase string

// The phases of a step.
const (
	PhaseMoving    RolloutPhase = "moving"    // instances, until all of the step are ready
	PhaseBaking    RolloutPhase = "baking"    // they have to stay so
	PhaseGate      RolloutPhase = "gate"      // asks an outside system
	PhasePromotion RolloutPhase = "promotion" // waits for somebody
	PhaseKeeping   RolloutPhase = "keeping"   // blue-green: has succeeded, and the old set is still there
	PhaseReturning RolloutPhase = "returning" // instances go back
)

// Rollout is how far a deploy is.
type Rollout struct {
	Phase    RolloutPhase `json:"phase"`
	Strategy Strategy     `json:"strategy"`
	// Step, from 1, of Steps; StepName of a canary's.
	Step     int    `json:"step"`
	Steps    int    `json:"steps"`
	StepName string `json:"step_name,omitempty"`
	// Target instances have moved when the step is complete.
	Target int `json:"target"`
	// Waits says, in a line, what it waits for.
	Waits string `json:"waits,omitempty"`
	// Paused by whom and why, "" when it is not.
	Paused bool   `json:"paused,omitempty"`
	Pause  string `json:"pause,omitempty"`
	// Failed says why it failed, where it is paused because of that: it goes on,
	// or returns, when somebody says so.
	Failed string `json:"failed,omitempty"`
	// Back is the deploy that instances return to, or would; 0 when there is
	// none. Cause is why they do.
	Back  uint32 `json:"back,omitempty"`
	Cause string `json:"cause,omitempty"`
	// Deadline is when it fails unless an instance becomes ready before; absent
	// while nothing has to. Until is when the bake or keeping ends.
	Deadline *time.Time `json:"deadline,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	// PulseUntil is how long the last pulse lets it go on.
	PulseUntil *time.Time `json:"pulse_until,omitempty"`
	// Progress of each instance.
	Progress []InstanceProgress `json:"progress,omitempty"`
}

// InstanceProgress is one instance during a deploy.
type InstanceProgress struct {
	Instance int `json:"instance"`
	// Moved: the instance runs the deploy's spec, or is to in this step.
	Moved bool `json:"moved"`
	// Deploy, Task, State and Ready are the newest task's.
	Deploy uint32 `json:"deploy,omitempty"`
	Task   string `json:"task,omitempty"`
	State  string `json:"state,omitempty"`
	Ready  bool   `json:"ready"`
	Host   string `json:"host,omitempty"`
	// Old is the task that serves beside it, or is being stopped.
	Old string `json:"old,omitempty"`
	// Failures on this deploy, and what the last said.
	Failures int    `json:"failures,omitempty"`
	Message  string `json:"message,omitempty"`
}

// DeployRequest asks for a deploy of a job.
type DeployRequest struct {
	Spec *Spec `json:"spec"`
	DeployNotes
	// Replace supersedes a deploy in progress, instead of being refused.
	Replace bool `json:"replace,omitempty"`
	// Resume a paused job with this deploy; should it fail, it is paused again.
	Resume bool `json:"resume,omitempty"`
}

// DeployNotes are what is kept with a deploy for people.
type DeployNotes struct {
	Author  string            `json:"author,omitempty"` // who asks, by default
	Message string            `json:"message,omitempty"`
	Links   map[string]string `json:"links,omitempty"` // http(s) URLs by name: commit, build, diff
}

// RollbackRequest asks for a deploy with the spec of an earlier one. While a
// deploy is in progress, or its old set is kept, and To is not given, that
// deploy is undone itself.
type RollbackRequest struct {
	// To is the deploy to return to; the last that succeeded before the current
	// one when 0.
	To uint32 `json:"to,omitempty"`
	DeployNotes
	Replace bool `json:"replace,omitempty"`
	// Unchecked skips the look whether the artifacts are still there.
	Unchecked bool `json:"unchecked,omitempty"`
}

// BounceRequest asks for every task of a service to be replaced.
type BounceRequest struct {
	// Incremental replaces one instance after the other, instead of all at once.
	Incremental bool `json:"incremental,omitempty"`
	DeployNotes
}

// PromoteRequest lets a deploy go on.
type PromoteRequest struct {
	// Full: to the end, past all steps that follow.
	Full bool `json:"full,omitempty"`
}

// DeployGroup is several jobs' deploys, one after the other in order: each
// begins when the one before has succeeded; if one fails, those before are
// rolled back, in reverse order.
type DeployGroup struct {
	ID        string             `json:"id"`
	State     DeployState        `json:"state"`
	Reason    string             `json:"reason,omitempty"`
	Members   []DeployGroupEntry `json:"members"`
	Author    string             `json:"author,omitempty"`
	Message   string             `json:"message,omitempty"`
	Links     map[string]string  `json:"links,omitempty"`
	CreatedAt time.Time          `json:"created_at"`
	EndedAt   *time.Time         `json:"ended_at,omitempty"`
}

// DeployGroupEntry is one job of a group.
type DeployGroupEntry struct {
	Job string `json:"job"`
	// Deploy is its number once it began, and State that deploy's; "" before.
	// Rollback is the number of the deploy that undid it.
	Deploy   uint32      `json:"deploy,omitempty"`
	State    DeployState `json:"state,omitempty"`
	Rollback uint32      `json:"rollback,omitempty"`
	Reason   string      `json:"reason,omitempty"`
}

// DeployGroupRequest asks for a group: at most MaxGroup jobs, none twice.
type DeployGroupRequest struct {
	Specs []Spec `json:"specs"`
	DeployNotes
	Replace bool `json:"replace,omitempty"`
}

// MaxGroup is how many jobs one group may have.
const MaxGroup = 50

// TimedAction is a change that is taken back when its time is over.
type TimedAction struct {
	Action TimedKind `json:"action"`
	Until  time.Time `json:"until"`
	// Revert says what is done then: "scale to 3".
	Revert string `json:"revert"`
	By     string `json:"by,omitempty"`
}

// TimedKind is what a timed action does.
type TimedKind string

// The timed actions.
const (
	TimedScale      TimedKind = "scale"
	TimedPause      TimedKind = "pause"
	TimedSkipHealth TimedKind = "skip-health" // health checks count for nothing
)

// Endpoint is an instance that serves.
type Endpoint struct {
	Instance int               `json:"instance"`
	Task     string            `json:"task"`
	Deploy   uint32            `json:"deploy"`
	Host     string            `json:"host"`
	Ports    map[string]uint32 `json:"ports,omitempty"`
	// ReadyAt is since when it serves.
	ReadyAt time.Time `json:"ready_at"`
}

// Endpoints are the instances of a job that serve, by instance and task.
type Endpoints struct {
	Job string `json:"job"`
	// Index of the journal that this is as of.
	Index     uint64     `json:"index"`
	Endpoints []Endpoint `json:"endpoints"`
}

// Plan says what deploying a spec would do; asking for it changes nothing.
type Plan struct {
	Job string `json:"job"`
	// Action: create, deploy, scale, in_place or none.
	Action PlanAction `json:"action"`
	// From is the deploy whose spec it is compared with.
	From    uint32       `json:"from,omitempty"`
	Changes []SpecChange `json:"changes,omitempty"`
	// Restarts are the instances whose tasks would be replaced, batch by batch,
	// in order.
	Restarts []PlanBatch `json:"restarts,omitempty"`
	Starts   int         `json:"starts"` // instances that are added
	Stops    int         `json:"stops"`  // instances that are removed
	// Fit says whether the cluster has room for it now.
	Fit      PlanFit  `json:"fit"`
	Warnings []string `json:"warnings,omitempty"`
	// Blocked says why it would be refused now, "" when it would not: a deploy
	// is in progress.
	Blocked string `json:"blocked,omitempty"`
}

// PlanAction is what a spec would do.
type PlanAction string

// The actions of a plan.
const (
	PlanCreate  PlanAction = "create"
	PlanDeploy  PlanAction = "deploy"
	PlanScale   PlanAction = "scale"
	PlanInPlace PlanAction = "in_place"
	PlanNone    PlanAction = "none"
)

// SpecChange is one field that differs.
type SpecChange struct {
	Field string `json:"field"`         // resources.memory
	Old   any    `json:"old,omitempty"` // absent: was not set
	New   any    `json:"new,omitempty"` // absent: is no longer set
	// Restart: tasks have to be replaced for it.
	Restart bool `json:"restart"`
}

// PlanBatch is what moves together.
type PlanBatch struct {
	Step      string `json:"step,omitempty"` // of a canary
	Instances []int  `json:"instances"`
	Bake      string `json:"bake,omitempty"`
	Manual    bool   `json:"manual,omitempty"`
}

// PlanFit says whether there is room.
type PlanFit struct {
	Fits bool `json:"fits"`
	// Needs tasks at once at the most, of which Room have a place now; where it
	// does not fit, of the instances that come to have no place.
	Needs int `json:"needs"`
	Room  int `json:"room"`
	// Agents looked at, and why those that refused did.
	Agents  int       `json:"agents"`
	Refused []Refusal `json:"refused,omitempty"`
	Summary string    `json:"summary"`
}
