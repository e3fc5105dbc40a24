package model

import (
	"fmt"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// accept is ACCEPT. The call itself is always answered 202; what is wrong with
// its offers or tasks comes as updates without uuid.
func (ma *master) accept(f *framework, c *scheduler.Call_Accept) {
	if err := ma.validateOffers(f, c.OfferIDs); err != nil {
		for _, id := range c.OfferIDs {
			if o := ma.offers[id.Value]; o != nil && o.framework == f {
				ma.discardOffer(o, noFilter)
			}
		}
		for i := range c.Operations {
			ma.refuseTasks(f, c.Operations[i].GetLaunch().GetTaskInfos(), orLost(f.aware, mesos.TASK_DROPPED),
				mesos.REASON_INVALID_OFFERS, "Task launched with invalid offers: "+err.Error())
		}
		return
	}
	first := ma.offers[c.OfferIDs[0].Value]
	s, role := first.slave, first.role
	var remaining bag
	for _, id := range c.OfferIDs {
		o := ma.offers[id.Value]
		remaining = remaining.add(o.bag)
		ma.removeOffer(o)
	}
	remaining = remaining.arranged(s.total.allocated(role))
	for i := range c.Operations {
		op := &c.Operations[i]
		switch op.Type {
		case mesos.Offer_Operation_LAUNCH:
			remaining = ma.launch(f, s, role, op.GetLaunch().GetTaskInfos(), remaining)
		case mesos.Offer_Operation_LAUNCH_GROUP:
			ma.refuseTasks(f, op.GetLaunchGroup().GetTaskGroup().Tasks, mesos.TASK_ERROR,
				mesos.REASON_TASK_GROUP_INVALID, "Task groups are not part of this cluster")
		}
	}
	ma.giveBack(f, s, role, remaining, refuseFor(c.Filters))
}

func (ma *master) validateOffers(f *framework, ids []mesos.OfferID) error {
	if len(ids) == 0 {
		return fmt.Errorf("No offers specified")
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id.Value] {
			return fmt.Errorf("Duplicate offer %s in offer list", id.Value)
		}
		seen[id.Value] = true
	}
	var first *offer
	for _, id := range ids {
		o := ma.offers[id.Value]
		switch {
		case o == nil:
			return fmt.Errorf("Offer %s is no longer valid", id.Value)
		case o.framework != f:
			return fmt.Errorf("Offer %s has invalid framework %s while framework %s is expected",
				id.Value, o.framework.id, f.id)
		case first == nil:
			first = o
		case o.role != first.role:
			return fmt.Errorf("Aggregated offers must be allocated to the same role. Offer %s uses role '%s "+
				"but another is using role '%s", id.Value, o.role, first.role)
		case o.slave != first.slave:
			return fmt.Errorf("Aggregated offers must belong to one single agent. Offer %s uses agent %s and agent %s",
				id.Value, o.slave.id, first.slave.id)
		}
	}
	return nil
}

// refuseTasks answers tasks that never become any.
func (ma *master) refuseTasks(f *framework, tasks []mesos.TaskInfo, state mesos.TaskState, why mesos.TaskStatus_Reason, text string) {
	for i := range tasks {
		ma.forward(f, ma.m.status(statusOf{task: tasks[i].TaskID.Value, agent: tasks[i].AgentID.Value,
			state: state, source: mesos.SOURCE_MASTER, reason: why, message: text}))
	}
}

// launch starts what may be started of one LAUNCH and returns what then remains.
func (ma *master) launch(f *framework, s *slave, role string, infos []mesos.TaskInfo, remaining bag) bag {
	if text := invalidTaskResource(infos); text != "" {
		ma.refuseTasks(f, infos, mesos.TASK_ERROR, mesos.REASON_TASK_INVALID, text)
		return remaining
	}
	for i := range infos {
		info := allocateTask(&infos[i], f.id, role)
		if err := validateTask(info, f, s, remaining); err != nil {
			ma.refuseTasks(f, infos[i:i+1], mesos.TASK_ERROR, mesos.REASON_TASK_INVALID, err.Error())
			continue
		}
		newExecutor := true
		if info.Executor != nil {
			if newExecutor = !s.executors.has(taskKey{f.id, info.Executor.ExecutorID.Value}); newExecutor {
				e := ma.addExecutor(s, f, info.Executor)
				remaining = remaining.sub(e.bag)
			}
		}
		t := ma.addTask(s, f, newTask(info, mesos.TASK_STAGING, f.id))
		ma.publishTaskAdded(t.Task)
		remaining = remaining.sub(t.bag)
		frameworkInfo := f.info
		ma.toAgent(s, func(a *agent) { a.runTask(frameworkInfo, info, newExecutor) })
	}
	return remaining
}

// allocateTask is the task with the framework's id in its executor and a role
// in all its resources.
func allocateTask(info *mesos.TaskInfo, framework, role string) *mesos.TaskInfo {
	t := *info
	t.Resources = allocateAll(info.Resources, role)
	if info.Executor != nil {
		e := *info.Executor
		if e.FrameworkID == nil {
			e.FrameworkID = &mesos.FrameworkID{Value: framework}
		}
		e.Resources = allocateAll(e.Resources, role)
		t.Executor = &e
	}
	return &t
}

func allocateAll(resources []mesos.Resource, role string) []mesos.Resource {
	if resources == nil {
		return nil
	}
	out := append([]mesos.Resource(nil), resources...)
	for i := range out {
		if out[i].AllocationInfo == nil {
			out[i].AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
		}
	}
	return out
}

// addTask counts a task as the framework's on the agent. Its resources, unless
// it is over already, are taken by the caller.
func (ma *master) addTask(s *slave, f *framework, t *mesos.Task) *task {
	out := &task{Task: t, bag: bagOf(t.Resources, ""), framework: f, slave: s}
	f.tasks.set(t.TaskID.Value, out)
	s.tasks.set(taskKey{f.id, t.TaskID.Value}, out)
	return out
}

func (ma *master) addExecutor(s *slave, f *framework, info *mesos.ExecutorInfo) *slaveExecutor {
	e := &slaveExecutor{info: info, bag: bagOf(info.Resources, ""), framework: f}
	s.executors.set(taskKey{f.id, info.ExecutorID.Value}, e)
	return e
}
