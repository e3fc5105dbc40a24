package core

import (
	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Ready is what a Step wants, in this order: Writes and Events made durable
// together; then Calls; then Replies and Asks; then to be stepped again at Wake.
type Ready struct {
	Writes  []Write
	Events  []*record.Event
	Calls   []Call
	Replies []Reply
	Asks    []AskGate
	// Finished are records among Writes that end and are deleted at once, in
	// their last versions, for history.
	Finished []Record
	// Step is this step's number, by which Histories says what histories have.
	Step uint64
	Wake int64 // Unix ms; 0: only with an event
	// Instant is when, by the wall clock, the next cron instant is due, Unix ms;
	// 0 when none is. Wake is no later, but for a clock that catches up.
	Instant int64
}

// Empty says whether there is nothing to make durable or to do.
func (r *Ready) Empty() bool {
	return len(r.Writes)+len(r.Events)+len(r.Calls)+len(r.Replies)+len(r.Asks) == 0
}

// AskGate asks a gate whether a deploy goes on. It is answered with one
// GateAnswered; one that is lost is asked again.
type AskGate struct {
	URL      string
	Step     uint32
	Question api.GateQuestion
}

// Call is an effect on Mesos.
type Call interface{ isCall() }

// Subscribe opens the event stream; FrameworkID is "" the first time.
type Subscribe struct {
	FrameworkID string
	Suppressed  bool
}

// Accept launches tasks on one agent, using all of Offers. What is left is
// refused for no time.
type Accept struct {
	Agent    string
	Offers   []string
	Launches []Launch
}

// Launch is one task to launch.
type Launch struct {
	Task  string
	Name  string // team/stage/name/instance, for people who look at Mesos
	Needs Amounts
	Ports []uint32
	// Definition is the JSON of an api.Definition.
	Definition []byte
	// ShutdownGrace is how long the executor may take to stop, in ms.
	ShutdownGrace int64
}

// Decline gives offers back, not to be offered again for RefuseSeconds.
type Decline struct {
	Offers        []string
	RefuseSeconds float64
}

// Kill asks for a task's end.
type Kill struct{ Task, Agent string }

// Acknowledge an update.
type Acknowledge struct {
	Task, Agent string
	UUID        []byte
}

// Reconcile asks for the state of tasks; of all that Mesos knows when empty.
type Reconcile struct{ Tasks []TaskAgent }

// TaskAgent names a task and where it runs.
type TaskAgent struct{ Task, Agent string }

// Suppress asks for no more offers.
type Suppress struct{}

// Revive asks for offers, and forgets all filters.
type Revive struct{}

func (Subscribe) isCall()   {}
func (Accept) isCall()      {}
func (Decline) isCall()     {}
func (Kill) isCall()        {}
func (Acknowledge) isCall() {}
func (Reconcile) isCall()   {}
func (Suppress) isCall()    {}
func (Revive) isCall()      {}
