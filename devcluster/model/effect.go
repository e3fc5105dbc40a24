package model

import (
	"fmt"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// StreamID names one open subscription: of a scheduler, an executor or an
// operator. 0 is none.
type StreamID uint64

// Effect is something the front is to do. It prints itself, so that a test can
// compare what the model wants.
type Effect interface{ fmt.Stringer }

// SchedulerEvent goes out on a scheduler's stream.
type SchedulerEvent struct {
	Stream StreamID
	Event  *scheduler.Event
}

// ExecutorEvent goes out on the stream of an executor of an agent.
type ExecutorEvent struct {
	Agent     string // name, as in AgentSpec
	Container string
	Stream    StreamID
	Event     *executor.Event
}

// OperatorEvent goes out on an operator's stream.
type OperatorEvent struct {
	Stream StreamID
	Event  *operator.Event
}

// CloseStream ends a stream after what was sent on it. The front need not
// report that it is closed.
type CloseStream struct{ Stream StreamID }

// LaunchContainer asks for a sandbox, the fetching of URIs and the executor's
// process. The front answers with ContainerStarted or ContainerFailed, and
// later with ContainerExited.
type LaunchContainer struct {
	Agent     string
	AgentID   string
	Container string // id, a uuid
	Framework *mesos.FrameworkInfo
	Executor  *mesos.ExecutorInfo
	// Task is the command task that the executor was made up for, nil for a
	// custom executor.
	Task *mesos.TaskInfo
}

// DestroyContainer kills everything in a container. The front answers with
// ContainerExited, also when it was gone already.
type DestroyContainer struct{ Agent, Container string }

// Store makes a record durable: of an agent, or of the master when Agent is
// "". A nil value deletes the record.
type Store struct {
	Agent string
	Key   string
	Value []byte
}

// AgentExits says that the agent's process ends by itself, as it does when it
// was marked gone. The model has stopped it already.
type AgentExits struct{ Agent, Why string }

func (e SchedulerEvent) String() string {
	return fmt.Sprintf("scheduler stream %d: %v", e.Stream, e.Event.Type)
}

func (e ExecutorEvent) String() string {
	return fmt.Sprintf("executor stream %d on %s: %v", e.Stream, e.Agent, e.Event.Type)
}

func (e OperatorEvent) String() string {
	return fmt.Sprintf("operator stream %d: %v", e.Stream, e.Event.Type)
}

func (e CloseStream) String() string { return fmt.Sprintf("close stream %d", e.Stream) }

func (e LaunchContainer) String() string {
	return fmt.Sprintf("launch executor %s on %s", e.Executor.ExecutorID.Value, e.Agent)
}

func (e DestroyContainer) String() string { return fmt.Sprintf("destroy container on %s", e.Agent) }

func (e Store) String() string {
	who := e.Agent
	if who == "" {
		who = "master"
	}
	if e.Value == nil {
		return fmt.Sprintf("forget %s of %s", e.Key, who)
	}
	return fmt.Sprintf("store %s of %s", e.Key, who)
}

func (e AgentExits) String() string { return fmt.Sprintf("agent %s exits: %s", e.Agent, e.Why) }
