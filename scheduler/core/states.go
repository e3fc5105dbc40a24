package core

import (
	"strings"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// Short names of the record's enumerations.
const (
	taskPending     = record.TaskState_TASK_STATE_PENDING
	taskLaunching   = record.TaskState_TASK_STATE_LAUNCHING
	taskStaging     = record.TaskState_TASK_STATE_STAGING
	taskStarting    = record.TaskState_TASK_STATE_STARTING
	taskRunning     = record.TaskState_TASK_STATE_RUNNING
	taskKilling     = record.TaskState_TASK_STATE_KILLING
	taskUnreachable = record.TaskState_TASK_STATE_UNREACHABLE
	taskFinished    = record.TaskState_TASK_STATE_FINISHED
	taskFailed      = record.TaskState_TASK_STATE_FAILED
	taskKilled      = record.TaskState_TASK_STATE_KILLED
	taskLost        = record.TaskState_TASK_STATE_LOST

	runWaiting   = record.RunState_RUN_STATE_WAITING
	runActive    = record.RunState_RUN_STATE_ACTIVE
	runSucceeded = record.RunState_RUN_STATE_SUCCEEDED
	runFailed    = record.RunState_RUN_STATE_FAILED
	runCancelled = record.RunState_RUN_STATE_CANCELLED
	runSkipped   = record.RunState_RUN_STATE_SKIPPED
	runMissed    = record.RunState_RUN_STATE_MISSED

	deployInProgress  = record.DeployState_DEPLOY_STATE_IN_PROGRESS
	deployRollingBack = record.DeployState_DEPLOY_STATE_ROLLING_BACK
	deployRolledBack  = record.DeployState_DEPLOY_STATE_ROLLED_BACK
	deploySucceeded   = record.DeployState_DEPLOY_STATE_SUCCEEDED
	deployFailed      = record.DeployState_DEPLOY_STATE_FAILED
	deploySuperseded  = record.DeployState_DEPLOY_STATE_SUPERSEDED
	deployCancelled   = record.DeployState_DEPLOY_STATE_CANCELLED
)

// transitions is the life of a task: from a state, the states it may go to.
// Whatever else Mesos reports is stale, repeated or nonsense, and is only
// acknowledged. LOST ends a task for us; should Mesos find it again, it is
// killed.
var transitions = map[record.TaskState][]record.TaskState{
	taskPending:     {taskLaunching, taskKilled},
	taskLaunching:   {taskStaging, taskStarting, taskRunning, taskKilling, taskUnreachable, taskFinished, taskFailed, taskKilled, taskLost},
	taskStaging:     {taskStarting, taskRunning, taskKilling, taskUnreachable, taskFinished, taskFailed, taskKilled, taskLost},
	taskStarting:    {taskRunning, taskKilling, taskUnreachable, taskFinished, taskFailed, taskKilled, taskLost},
	taskRunning:     {taskKilling, taskUnreachable, taskFinished, taskFailed, taskKilled, taskLost},
	taskKilling:     {taskUnreachable, taskFinished, taskFailed, taskKilled, taskLost},
	taskUnreachable: {taskStaging, taskStarting, taskRunning, taskKilling, taskFinished, taskFailed, taskKilled, taskLost},
}

func mayGo(from, to record.TaskState) bool {
	for _, s := range transitions[from] {
		if s == to {
			return true
		}
	}
	return false
}

// taskStateNames are kept: each event of a task tells one.
var taskStateNames = func() (names []string) {
	for n := int32(0); record.TaskState_name[n] != ""; n++ {
		names = append(names, userName(record.TaskState_name[n]))
	}
	return names
}()

// StateName is a state as users see it: running, in_progress.
func StateName[S interface{ String() string }](s S) string {
	if s, ok := any(s).(record.TaskState); ok && s >= 0 && int(s) < len(taskStateNames) {
		return taskStateNames[s]
	}
	return userName(s.String())
}

// userName is the name of a record's enumeration without its prefix, in lower case.
func userName(name string) string {
	if i := strings.Index(name, "_STATE_"); i >= 0 {
		name = name[i+len("_STATE_"):]
	}
	return strings.ToLower(name)
}
