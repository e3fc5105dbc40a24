package model

import (
	"fmt"
	"slices"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
)

// query answers the calls that only look, nil for those it does not know.
func (ma *master) query(typ operator.Call_Type) *operator.Response {
	switch typ {
	case operator.Call_GET_MASTER:
		start := seconds(ma.started)
		info := ma.info
		return &operator.Response{Type: operator.Response_GET_MASTER, GetMaster: &operator.Response_GetMaster{
			MasterInfo: &info, StartTime: &start, ElectedTime: &start}}
	case operator.Call_GET_AGENTS:
		return &operator.Response{Type: operator.Response_GET_AGENTS, GetAgents: ma.getAgents()}
	case operator.Call_GET_FRAMEWORKS:
		return &operator.Response{Type: operator.Response_GET_FRAMEWORKS, GetFrameworks: ma.getFrameworks()}
	case operator.Call_GET_EXECUTORS:
		return &operator.Response{Type: operator.Response_GET_EXECUTORS, GetExecutors: ma.getExecutors()}
	case operator.Call_GET_TASKS:
		return &operator.Response{Type: operator.Response_GET_TASKS, GetTasks: ma.getTasks()}
	case operator.Call_GET_ROLES:
		return &operator.Response{Type: operator.Response_GET_ROLES, GetRoles: ma.getRoles()}
	case operator.Call_GET_STATE:
		return &operator.Response{Type: operator.Response_GET_STATE, GetState: ma.getState()}
	case operator.Call_GET_MAINTENANCE_SCHEDULE:
		return &operator.Response{Type: operator.Response_GET_MAINTENANCE_SCHEDULE,
			GetMaintenanceSchedule: &operator.Response_GetMaintenanceSchedule{Schedule: ma.schedule}}
	case operator.Call_GET_MAINTENANCE_STATUS:
		return &operator.Response{Type: operator.Response_GET_MAINTENANCE_STATUS,
			GetMaintenanceStatus: ma.maintenanceStatus()}
	}
	return nil
}

func (ma *master) getState() *operator.Response_GetState {
	return &operator.Response_GetState{GetTasks: ma.getTasks(), GetExecutors: ma.getExecutors(),
		GetFrameworks: ma.getFrameworks(), GetAgents: ma.getAgents()}
}

func (ma *master) getAgents() *operator.Response_GetAgents {
	out := &operator.Response_GetAgents{}
	for _, s := range ma.slaves.all() {
		out.Agents = append(out.Agents, ma.describeAgent(s))
	}
	for _, info := range ma.recovered.all() {
		out.RecoveredAgents = append(out.RecoveredAgents, *info)
	}
	return out
}

// agentCapabilities are those of an agent of this version.
var agentCapabilities = func() (out []mesos.AgentInfo_Capability) {
	for c := mesos.AgentInfo_Capability_MULTI_ROLE; c <= mesos.AgentInfo_Capability_TASK_RESOURCE_LIMITS; c++ {
		out = append(out, mesos.AgentInfo_Capability{Type: c})
	}
	return out
}()

func (ma *master) describeAgent(s *slave) operator.Response_GetAgents_Agent {
	spec := s.host.spec
	pid := fmt.Sprintf("slave(1)@%s:%d", spec.IP, s.info.GetPort())
	deactivated := ma.deactivated[s.id]
	out := operator.Response_GetAgents_Agent{
		AgentInfo: *s.info, Active: s.active, Deactivated: &deactivated, Version: Version, PID: &pid,
		RegisteredTime: timeInfo(s.registered), TotalResources: withRole(s.total.proto()),
		Capabilities: agentCapabilities, DrainInfo: ma.draining[s.id],
	}
	if !s.reregistered.IsZero() {
		out.ReregisteredTime = timeInfo(s.reregistered)
	}
	if !s.drainStart.IsZero() {
		out.EstimatedDrainStartTime = timeInfo(s.drainStart)
	}
	var used, offered bag
	for _, e := range s.executors.all() {
		used = used.add(e.bag)
	}
	for _, t := range s.tasks.all() {
		if !terminal(t.GetState()) {
			used = used.add(t.bag)
		}
	}
	for _, o := range s.offers.all() {
		offered = offered.add(o.bag)
	}
	out.AllocatedResources, out.OfferedResources = withRole(used.proto()), withRole(offered.proto())
	return out
}

// withRole adds the role that unreserved resources have in some answers.
func withRole(resources []mesos.Resource) []mesos.Resource {
	star := "*"
	for i := range resources {
		resources[i].Role = &star
	}
	return resources
}

func (ma *master) getFrameworks() *operator.Response_GetFrameworks {
	out := &operator.Response_GetFrameworks{}
	for _, f := range ma.frameworks.all() {
		d := describeFramework(f)
		d.AllocatedResources, d.OfferedResources = withRole(f.used().proto()), withRole(f.offered().proto())
		for _, o := range f.offers.all() {
			d.Offers = append(d.Offers, o.proto())
		}
		for _, o := range f.inverse.all() {
			d.InverseOffers = append(d.InverseOffers, o.proto())
		}
		out.Frameworks = append(out.Frameworks, d)
	}
	for _, f := range ma.completed.all() {
		d := describeFramework(f)
		d.UnregisteredTime = timeInfo(f.unregistered)
		out.CompletedFrameworks = append(out.CompletedFrameworks, d)
	}
	return out
}

func describeFramework(f *framework) operator.Response_GetFrameworks_Framework {
	return operator.Response_GetFrameworks_Framework{FrameworkInfo: *f.info, Active: f.active,
		Connected: f.state == connected, Recovered: f.state == recovered,
		RegisteredTime: timeInfo(f.registered), ReregisteredTime: timeInfo(f.reregistered)}
}

func (f *framework) used() bag {
	var out bag
	seen := map[*slave]bool{}
	for _, t := range f.tasks.all() {
		if !terminal(t.GetState()) {
			out = out.add(t.bag)
		}
		if seen[t.slave] {
			continue
		}
		seen[t.slave] = true
		for _, e := range t.slave.executors.all() {
			if e.framework == f {
				out = out.add(e.bag)
			}
		}
	}
	return out
}

func (f *framework) offered() bag {
	var out bag
	for _, o := range f.offers.all() {
		out = out.add(o.bag)
	}
	return out
}

func (ma *master) getExecutors() *operator.Response_GetExecutors {
	out := &operator.Response_GetExecutors{}
	for _, s := range ma.slaves.all() {
		for _, e := range s.executors.all() {
			out.Executors = append(out.Executors, operator.Response_GetExecutors_Executor{
				ExecutorInfo: *e.info, AgentID: mesos.AgentID{Value: s.id}})
		}
	}
	return out
}

func (ma *master) getTasks() *operator.Response_GetTasks {
	out := &operator.Response_GetTasks{}
	frameworks := append(ma.frameworks.values(), ma.completed.values()...)
	for _, f := range frameworks {
		for _, t := range f.tasks.all() {
			out.Tasks = append(out.Tasks, *copyTask(t.Task))
		}
		for _, t := range f.unreachable.all() {
			out.UnreachableTasks = append(out.UnreachableTasks, *copyTask(t.Task))
		}
		for _, t := range f.done[max(0, len(f.done)-maxCompletedTasks):] {
			out.CompletedTasks = append(out.CompletedTasks, *copyTask(t.Task))
		}
	}
	return out
}

func (ma *master) getRoles() *operator.Response_GetRoles {
	byName := map[string]*mesos.Role{}
	used := map[string]bag{}
	var names []string
	for _, f := range ma.frameworks.all() {
		for _, name := range f.roles {
			if byName[name] == nil {
				byName[name] = &mesos.Role{Name: name, Weight: 1}
				names = append(names, name)
			}
			byName[name].Frameworks = append(byName[name].Frameworks, mesos.FrameworkID{Value: f.id})
			for _, r := range append(f.used(), f.offered()...) {
				if r.role == name {
					used[name] = used[name].add(bag{r}.allocated(""))
				}
			}
		}
	}
	slices.Sort(names)
	out := &operator.Response_GetRoles{}
	for _, name := range names {
		byName[name].Resources = used[name].proto()
		out.Roles = append(out.Roles, *byName[name])
	}
	return out
}
