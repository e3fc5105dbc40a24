package sim

import (
	"fmt"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// atRest says whether nothing is left to do.
func (c *checks) atRest() bool {
	for _, m := range c.w.journal.decoded {
		switch m := m.(type) {
		case *record.Task:
			// A cron's task may run: there may always be one.
			if m.Run != "" && !m.State.Terminal() && m.State != taskRunning && m.State != taskPending || m.StopAt != 0 && !m.State.Terminal() {
				return false
			}
		case *record.Deploy:
			if !m.State.Terminal() && !c.w.journal.job(m.Job).GetPaused() {
				return false
			}
		case *record.Rollout:
			if !c.w.journal.job(m.Job).GetPaused() {
				return false // also one that keeps its old set
			}
		case *record.Group:
			if !m.State.Terminal() && !c.pausedMember(m) {
				return false
			}
		}
	}
	return c.gap() == ""
}

// quiet: once all is calm, desired equals actual.
func (c *checks) quiet() {
	if gap := c.gap(); gap != "" {
		c.fail("desired equals actual: %v after the last fault it does not: %s", settleMost, gap)
	}
	c.cronsAtRest()
	c.deploysAtRest()
	c.reasons()
	c.answersKept()
	c.finishedAtRest()
	c.w.journal.unchanged()
}

// gap says what differs between what is wanted, believed and running.
func (c *checks) gap() string {
	running, gap := c.orphans()
	if gap == "" {
		gap = c.ghosts(running)
	}
	if gap == "" {
		gap = c.agentsAtRest()
	}
	for _, j := range c.w.journal.jobs() {
		if gap != "" {
			return gap
		}
		if c.spec(j).Kind == api.KindService {
			gap = c.instances(j)
		}
	}
	if gap == "" {
		gap = c.runsAtRest()
	}
	return gap
}

// orphans: every task that runs is live in the journal, and every update is
// acknowledged, so that no executor waits for that. Of several gaps the same one
// is told each time.
func (c *checks) orphans() (running map[string]bool, gap string) {
	running = map[string]bool{}
	for _, a := range c.w.agents {
		for _, x := range a.executors {
			if x.task == nil {
				continue
			}
			id := x.task.TaskID.Value
			if x.over {
				gap = max(gap, fmt.Sprintf("%s on %s is over, and %d of its updates are not acknowledged", id, a.name, len(x.updates)))
				continue
			}
			running[id] = true
			if t := c.w.journal.task(id); t == nil || t.State.Terminal() {
				gap = max(gap, fmt.Sprintf("no orphan: %s runs on %s, and the journal has it as %s", id, a.name, describe(t)))
			}
		}
	}
	return running, gap
}

// ghosts: every task believed to be somewhere runs there, on ports of its own.
func (c *checks) ghosts(running map[string]bool) string {
	ports := map[string]string{} // task by agent and port
	for _, t := range c.w.journal.liveTasks() {
		if t.State == taskPending {
			continue
		}
		for _, port := range t.Ports {
			at := fmt.Sprintf("port %d of %s", port, t.Agent)
			if other := ports[at]; other != "" {
				return fmt.Sprintf("%s is given to %s and to %s", at, other, t.Id)
			}
			ports[at] = t.Id
		}
		if t.State != taskLaunching && !running[t.Id] {
			return fmt.Sprintf("no ghost: %s is %v in the journal and runs nowhere", t.Id, t.State)
		}
	}
	return ""
}

// instances: a service has one task for each wanted instance and none else.
// Each serves, on the wanted deploy, unless it cannot: it ends by itself, or
// has no room.
func (c *checks) instances(j *record.Job) string {
	wanted := j.Instances
	if j.Paused || j.Removing {
		wanted = 0
	}
	stuck := c.failing(j) || c.noRoom(j)
	// When a deploy failed, or returning from it did, each instance goes on with what it runs.
	failed := c.w.journal.deploy(j.Key, j.Deploy).State != deploySucceeded || c.w.journal.deploy(j.Key, j.LastDeploy).State == deployFailed
	for i := range wanted {
		list := c.w.journal.live.slots[slot{j.Key, i}]
		switch {
		case len(list) != 1 && !(stuck && len(list) == 2): // the new one may wait for ever
			return fmt.Sprintf("%s wants %d instances, and instance %d has %d tasks", j.Key, wanted, i, len(list))
		case list[0].State == taskPending && c.fits(list[0]):
			return fmt.Sprintf("instance %d of %s is pending, and there is room", i, j.Key)
		case !stuck && (list[0].State != taskRunning || !list[0].Ready || !failed && c.w.journal.tasksOf(j.Key, list[0].Deploy) != c.w.journal.tasksOf(j.Key, j.Deploy)):
			return fmt.Sprintf("%s wants %d instances on deploy %d, and instance %d is %s on deploy %d, ready: %v",
				j.Key, wanted, j.Deploy, i, describe(list[0]), list[0].Deploy, list[0].Ready)
		}
	}
	if n := c.w.journal.live.wanted[j.Key]; n < int(wanted) || n > int(wanted) && !stuck {
		return fmt.Sprintf("%s wants %d instances and has %d tasks", j.Key, wanted, n)
	}
	return ""
}

// noRoom says whether an instance waits for room: then others wait for it.
func (c *checks) noRoom(j *record.Job) bool {
	for i := range j.Instances {
		for _, t := range c.w.journal.live.slots[slot{j.Key, i}] {
			if t.State == taskPending && !c.fits(t) {
				return true
			}
		}
	}
	return false
}

// failing says whether a job's instances end by themselves or never serve, so
// that at any moment some may be in their backoff; of any of its deploys, since
// an instance may run an earlier one.
func (c *checks) failing(j *record.Job) bool {
	for n := j.LastDeploy; n > 0; n-- {
		if d := c.w.journal.deploy(j.Key, n); d != nil && !c.specOf(d).does.well() {
			return true
		}
	}
	return false
}

// runsAtRest: a run that is active has one task, which waits only when it has
// no room; one that waits, waits for another.
func (c *checks) runsAtRest() string {
	for _, m := range c.w.journal.runs() {
		j := c.w.journal.job(m.Job)
		list := c.w.journal.live.runs[runName{m.Job, m.Id}]
		switch {
		case m.State == runActive && len(list) != 1:
			return fmt.Sprintf("run %s of %s is active and has %d tasks", m.Id, m.Job, len(list))
		case m.State == runActive && list[0].State == taskPending && !j.Paused && c.fits(list[0]):
			return fmt.Sprintf("task %s of run %s of %s is pending, and there is room", list[0].Id, m.Id, m.Job)
		case m.State == runWaiting && !j.Paused && !c.busy(m.Job):
			return fmt.Sprintf("run %s of %s waits for nothing", m.Id, m.Job)
		}
	}
	return ""
}

// busy says whether a job has a task of some run.
func (c *checks) busy(job string) bool {
	for name := range c.w.journal.live.runs {
		if name.job == job {
			return true
		}
	}
	return false
}

// fits says whether there is certainly room for a pending task: on an agent
// that can be used, unless its spec asks for certain ones, or it is in its
// backoff.
func (c *checks) fits(t *record.Task) bool {
	d := c.w.journal.deploy(t.Job, t.Deploy)
	if s := c.w.leader(); d == nil || s == nil || t.NotBefore > s.coreAt {
		return false
	}
	spec := c.specOf(d)
	if len(spec.Constraints)+len(spec.Limits) > 0 || spec.Spread != "" {
		return false
	}
	for _, a := range c.w.agents {
		if a.up && !c.w.inactive[a] && a.hasRoom(spec.Spec) {
			return true
		}
	}
	return false
}
