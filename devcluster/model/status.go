package model

import (
	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// terminal says whether a task in this state will never change again.
// Unreachable, unknown and gone-by-operator tasks may come back, but Mesos
// counts the last as terminal.
func terminal(s mesos.TaskState) bool {
	switch s {
	case mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED, mesos.TASK_LOST, mesos.TASK_ERROR,
		mesos.TASK_DROPPED, mesos.TASK_GONE, mesos.TASK_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// orLost is a state for a framework that is PARTITION_AWARE; others get
// TASK_LOST instead.
func orLost(aware bool, s mesos.TaskState) mesos.TaskState {
	if aware {
		return s
	}
	return mesos.TASK_LOST
}

// statusOf is what master and agent fill in of a status they make up.
type statusOf struct {
	task     string
	agent    string // "" leaves it out
	state    mesos.TaskState
	source   mesos.TaskStatus_Source
	reason   mesos.TaskStatus_Reason
	message  string
	executor *mesos.ExecutorID
}

func (m *Model) status(of statusOf) mesos.TaskStatus {
	at := seconds(m.now)
	s := mesos.TaskStatus{
		TaskID:     mesos.TaskID{Value: of.task},
		State:      of.state.Enum(),
		Source:     of.source.Enum(),
		Reason:     of.reason.Enum(),
		Message:    &of.message,
		ExecutorID: of.executor,
		Timestamp:  &at,
	}
	if of.agent != "" {
		s.AgentID = &mesos.AgentID{Value: of.agent}
	}
	return s
}

// addStatus remembers a status: the latest of each run of equal states.
func addStatus(t *mesos.Task, s mesos.TaskStatus) (newState bool) {
	if n := len(t.Statuses); n > 0 && t.Statuses[n-1].GetState() == s.GetState() {
		t.Statuses = t.Statuses[: n-1 : n-1]
	} else {
		newState = true
	}
	t.Statuses = append(t.Statuses, s)
	return newState
}

// copyTask is a task that can change without t changing. What is in its
// statuses never changes.
func copyTask(t *mesos.Task) *mesos.Task {
	c := *t
	c.Statuses = append([]mesos.TaskStatus(nil), t.Statuses...)
	return &c
}

// newTask is the Task that Mesos makes of a TaskInfo.
func newTask(info *mesos.TaskInfo, state mesos.TaskState, framework string) *mesos.Task {
	t := &mesos.Task{
		Name:        info.Name,
		TaskID:      info.TaskID,
		FrameworkID: mesos.FrameworkID{Value: framework},
		AgentID:     info.AgentID,
		State:       state.Enum(),
		Resources:   info.Resources,
		Labels:      info.Labels,
		Discovery:   info.Discovery,
		Container:   info.Container,
		HealthCheck: info.HealthCheck,
		KillPolicy:  info.KillPolicy,
	}
	if info.Executor != nil {
		id := info.Executor.ExecutorID
		t.ExecutorID = &id
	}
	if info.Command.GetUser() != "" {
		t.User = info.Command.User
	} else if info.Executor.GetCommand().GetUser() != "" {
		t.User = info.Executor.Command.User
	}
	return t
}
