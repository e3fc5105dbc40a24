package model

import (
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	agentapi "github.com/mesos/mesos-go/api/v1/lib/agent"
)

// AgentID is the id that the master gave to an agent, "" if it has none or its
// process is down.
func (m *Model) AgentID(name string) string {
	if a := m.agentOf(name); a != nil {
		return a.id
	}
	return ""
}

// QueryAgent answers the calls of an agent's operator API that look at its
// frameworks, executors and tasks. It changes nothing.
func (m *Model) QueryAgent(name string, typ agentapi.Call_Type) Answer {
	a := m.agentOf(name)
	if a == nil {
		return refuse(503, "Agent is down")
	}
	r := &agentapi.Response{}
	switch typ {
	case agentapi.Call_GET_AGENT:
		info := *a.info
		r.Type, r.GetAgent = agentapi.Response_GET_AGENT, &agentapi.Response_GetAgent{AgentInfo: &info, DrainConfig: a.drainOf}
		if a.drainOf != nil {
			r.GetAgent.EstimatedDrainStartTime = timeInfo(a.drainStart)
		}
	case agentapi.Call_GET_FRAMEWORKS:
		r.Type, r.GetFrameworks = agentapi.Response_GET_FRAMEWORKS, a.getFrameworks()
	case agentapi.Call_GET_EXECUTORS:
		r.Type, r.GetExecutors = agentapi.Response_GET_EXECUTORS, a.getExecutors()
	case agentapi.Call_GET_TASKS:
		r.Type, r.GetTasks = agentapi.Response_GET_TASKS, a.getTasks()
	case agentapi.Call_GET_STATE:
		r.Type, r.GetState = agentapi.Response_GET_STATE, &agentapi.Response_GetState{
			GetTasks: a.getTasks(), GetExecutors: a.getExecutors(), GetFrameworks: a.getFrameworks()}
	default:
		return refuse(501, "")
	}
	return Answer{Code: 200, Agent: r}
}

func (a *agent) getFrameworks() *agentapi.Response_GetFrameworks {
	out := &agentapi.Response_GetFrameworks{}
	for _, f := range a.frameworks.all() {
		out.Frameworks = append(out.Frameworks, agentapi.Response_GetFrameworks_Framework{FrameworkInfo: *f.info})
	}
	return out
}

func (a *agent) getExecutors() *agentapi.Response_GetExecutors {
	out := &agentapi.Response_GetExecutors{}
	for _, f := range a.frameworks.all() {
		for _, e := range f.executors.all() {
			out.Executors = append(out.Executors, agentapi.Response_GetExecutors_Executor{ExecutorInfo: *e.info})
		}
	}
	return out
}

func (a *agent) getTasks() *agentapi.Response_GetTasks {
	out := &agentapi.Response_GetTasks{}
	for _, f := range a.frameworks.all() {
		for _, e := range f.executors.all() {
			for _, t := range e.queued.all() {
				out.QueuedTasks = append(out.QueuedTasks, *newTask(t, mesos.TASK_STAGING, f.id()))
			}
			for _, t := range e.launched.all() {
				out.LaunchedTasks = append(out.LaunchedTasks, *copyTask(t))
			}
			for _, t := range e.terminated.all() {
				out.TerminatedTasks = append(out.TerminatedTasks, *copyTask(t))
			}
		}
	}
	return out
}

// ExecutorView is an executor as an agent's front tells of it.
type ExecutorView struct {
	Framework string
	Info      *mesos.ExecutorInfo
	Container string
	PID       uint32 // 0 while there is no process
	Command   bool
	Queued    []*mesos.TaskInfo
	Launched  []*mesos.Task
	Completed []*mesos.Task // ended, not acknowledged yet
	Used      []mesos.Resource
}

// Executors are those of an agent whose process runs, oldest first.
func (m *Model) Executors(name string) []ExecutorView {
	a := m.agentOf(name)
	if a == nil {
		return nil
	}
	var out []ExecutorView
	for _, f := range a.frameworks.all() {
		for _, e := range f.executors.all() {
			v := ExecutorView{Framework: f.id(), Info: e.info, Container: e.container, PID: e.pid, Command: e.command,
				Queued: e.queued.values()}
			used := bagOf(e.info.Resources, "")
			for _, t := range e.launched.all() {
				v.Launched = append(v.Launched, copyTask(t))
				used = used.add(bagOf(t.Resources, ""))
			}
			for _, t := range e.terminated.all() {
				v.Completed = append(v.Completed, copyTask(t))
			}
			v.Used = used.proto()
			out = append(out, v)
		}
	}
	return out
}
