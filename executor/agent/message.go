package agent

import (
	"encoding/json"
	"time"
)

// State of a task, as Mesos names it.
type State string

// The states an executor reports.
const (
	Starting State = "TASK_STARTING"
	Running  State = "TASK_RUNNING"
	Killing  State = "TASK_KILLING"
	Finished State = "TASK_FINISHED"
	Failed   State = "TASK_FAILED"
	Killed   State = "TASK_KILLED"
)

// Status is one status update.
type Status struct {
	Task    string
	State   State
	Message string
	Reason  string // a Mesos reason; "" is none
	Healthy *bool
	Data    []byte
}

// Event is one of Launch, Kill and Shutdown.
type Event any

// Launch asks to run a task.
type Launch struct {
	Task string
	Data []byte // of the TaskInfo
}

// Kill asks to end a task. Grace is nil when the call had no kill policy.
type Kill struct {
	Task  string
	Grace *time.Duration
}

// Shutdown asks the executor to end its task, and itself.
type Shutdown struct{}

// identifier is any of Mesos's ids.
type identifier struct {
	Value string `json:"value"`
}

type call struct {
	Type      string     `json:"type"`
	Framework identifier `json:"framework_id"`
	Executor  identifier `json:"executor_id"`
	Subscribe *subscribe `json:"subscribe,omitempty"`
	Update    *update    `json:"update,omitempty"`
}

type subscribe struct {
	Tasks   []json.RawMessage `json:"unacknowledged_tasks"`
	Updates []update          `json:"unacknowledged_updates"`
}

type update struct {
	Status taskStatus `json:"status"`
}

// taskStatus is Mesos's TaskStatus; bytes are base64 in JSON.
type taskStatus struct {
	Task      identifier `json:"task_id"`
	Executor  identifier `json:"executor_id"`
	State     State      `json:"state"`
	Source    string     `json:"source"`
	Reason    string     `json:"reason,omitempty"`
	Message   string     `json:"message,omitempty"`
	Data      []byte     `json:"data,omitempty"`
	Healthy   *bool      `json:"healthy,omitempty"`
	Timestamp float64    `json:"timestamp"`
	UUID      []byte     `json:"uuid"`
}

type event struct {
	Type   string `json:"type"`
	Launch struct {
		Task json.RawMessage `json:"task"`
	} `json:"launch"`
	Kill struct {
		Task   identifier `json:"task_id"`
		Policy struct {
			Grace *struct {
				Nanoseconds int64 `json:"nanoseconds"`
			} `json:"grace_period"`
		} `json:"kill_policy"`
	} `json:"kill"`
	Acknowledged struct {
		Task identifier `json:"task_id"`
		UUID []byte     `json:"uuid"`
	} `json:"acknowledged"`
	Error struct {
		Message string `json:"message"`
	} `json:"error"`
}

// taskInfo is what is read of Mesos's TaskInfo; the whole is kept as it came.
type taskInfo struct {
	Task identifier `json:"task_id"`
	Data []byte     `json:"data"`
}
