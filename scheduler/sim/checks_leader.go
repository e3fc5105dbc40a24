package sim

import (
	"fmt"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// commanded checks a call that Mesos took: only what is durable is seen, and only
// a leader commands.
func (c *checks) commanded(s *schedulerProcess, call queuedCall) {
	c.beforeCall(call.Call)
	if call.bare && s.epoch != c.w.journal.epoch && !s.suspended {
		c.fail("only a leader commands: %T of epoch %d reached Mesos, and epoch %d leads", call.Call, s.epoch, c.w.journal.epoch)
	}
	switch call := call.Call.(type) {
	case core.Accept:
		for _, l := range call.Launches {
			if c.taken[l.Task] {
				c.fail("an id is used once: task %s was launched before", l.Task)
			}
			c.taken[l.Task] = true
			if t := c.w.journal.task(l.Task); t.Agent != call.Agent {
				c.fail("durable before visible: task %s is launched on agent %s, and the journal has it on %s", l.Task, call.Agent, t.Agent)
			}
		}
	case core.Kill:
		if t := c.w.journal.live[record.TaskKey(call.Task)]; t != nil && t.StopAt == 0 {
			c.fail("durable before visible: task %s is killed, and the journal has it as %v and wanted", call.Task, t.State)
		}
	}
}

// oneWriter: once a leader has written, none before it does.
func (c *checks) oneWriter(e *entry) {
	if e.epoch < c.lastEpoch {
		c.fail("one writer: an entry of epoch %d follows one of epoch %d", e.epoch, c.lastEpoch)
	}
	c.lastEpoch = e.epoch
}

// acknowledged: what is acknowledged will not come again, so the journal must
// know what it told.
func (c *checks) acknowledged(t *record.Task, call core.Acknowledge) {
	if t == nil || t.State.Terminal() {
		return
	}
	told := c.updates[string(call.UUID)]
	missed := false
	switch told {
	case core.MesosFinished, core.MesosFailed, core.MesosKilled, core.MesosError, core.MesosLost, core.MesosDropped,
		core.MesosGone, core.MesosGoneByOperator:
		missed = true
	case core.MesosStarting, core.MesosRunning:
		missed = t.State == record.TaskState_TASK_STATE_LAUNCHING || t.State == record.TaskState_TASK_STATE_STAGING ||
			told == core.MesosRunning && t.State == record.TaskState_TASK_STATE_STARTING
	}
	if missed {
		c.fail("durable before visible: that %s is %v is acknowledged, and the journal has it as %v", call.Task, told, t.State)
	}
}

// subscribes: each SUBSCRIBE has an append of its own before it, since that
// proves that nobody else leads.
func (c *checks) subscribes(s *schedulerProcess) {
	c.subscribed[s.epoch]++
	if n, durable := c.subscribed[s.epoch], c.w.journal.subscriptions[s.epoch]; n > durable {
		c.fail("every SUBSCRIBE follows a fenced append: this is number %d of epoch %d, and %d were appended", n, s.epoch, durable)
	}
	if s.epoch != c.w.journal.epoch && !s.suspended {
		c.fail("nobody steals the subscription: epoch %d subscribes, and epoch %d leads", s.epoch, c.w.journal.epoch)
	}
}

// replaced is a serving task that an entry stops.
type replaced struct{ before, after *record.Task }

// served: a start-first deploy takes no instance away that serves before what
// replaces it does.
func (c *checks) served() {
	for _, r := range c.replaced {
		j, ok := c.w.journal.decoded[record.JobKey(r.after.Job)].(*record.Job)
		switch {
		case !ok, j.Paused, j.Removing, r.after.Instance >= j.Instances:
		case strings.HasPrefix(r.after.StopReason, "killed by"), strings.HasPrefix(r.after.StopReason, "scaled down"),
			strings.HasPrefix(r.after.StopReason, "the job is"):
		case r.after.State != record.TaskState_TASK_STATE_RUNNING, r.after.HasHealth && !r.after.Healthy:
			// It did not serve any more when it was stopped.
		case c.stopsFirst(r.after):
		case !c.serves(r.after):
			c.fail("a deploy takes away nothing that serves: instance %d of %s served as %s, which stops (%s), and nothing serves instead",
				r.after.Instance, j.Key, r.after.Id, r.after.StopReason)
		}
	}
	c.replaced = c.replaced[:0]
	c.changed = c.changed[:0]
}

// stopsFirst says whether the deploy that a task makes room for stops before it
// starts.
func (c *checks) stopsFirst(t *record.Task) bool {
	var number uint32
	if _, err := fmt.Sscanf(t.StopReason, "makes room for deploy %d", &number); err != nil {
		return false
	}
	d, ok := c.w.journal.decoded[record.DeployKey(t.Job, number)].(*record.Deploy)
	if !ok {
		return true // not kept any more
	}
	spec, err := api.ParseSpec(d.Spec)
	if err != nil {
		c.fail("%v", err)
	}
	return spec.WithDefaults().Update.StopFirst
}

// serves says whether another task serves as the instance of t, or did so
// within the entry.
func (c *checks) serves(t *record.Task) bool {
	other := func(o *record.Task) bool {
		return o.Job == t.Job && o.Run == "" && o.Instance == t.Instance && o.Id != t.Id
	}
	for _, o := range c.w.journal.live {
		if other(o) && o.Ready && o.StopAt == 0 {
			return true
		}
	}
	for _, o := range c.changed {
		if other(o) && o.ReadyAt != 0 {
			return true
		}
	}
	return false
}

// taskWritten notes what served looks at.
func (c *checks) taskWritten(before, after *record.Task) {
	c.changed = append(c.changed, after)
	if before != nil && before.Run == "" && before.Ready && before.StopAt == 0 && after.StopAt != 0 {
		c.replaced = append(c.replaced, replaced{before, after})
	}
}

// deployWritten: a deploy ends once, and one that did not succeed says why.
func (c *checks) deployWritten(before, after *record.Deploy) {
	const inProgress = record.DeployState_DEPLOY_STATE_IN_PROGRESS
	if before != nil && before.CreatedAt != after.CreatedAt {
		return // of a job that was removed and created again within one entry
	}
	if before != nil && before.State != inProgress && after.State == inProgress {
		c.fail("a deploy ends once: deploy %d of %s was %v", after.Number, after.Job, before.State)
	}
	switch after.State {
	case inProgress, record.DeployState_DEPLOY_STATE_SUCCEEDED:
	default:
		if after.Reason == "" {
			c.fail("a deploy that did not succeed has a reason: deploy %d of %s is %v", after.Number, after.Job, after.State)
		}
	}
}

// deploys: every deploy comes to an end.
func (c *checks) deploys() {
	for _, m := range c.w.journal.decoded {
		d, ok := m.(*record.Deploy)
		if !ok || d.State != record.DeployState_DEPLOY_STATE_IN_PROGRESS {
			continue
		}
		j, ok := c.w.journal.decoded[record.JobKey(d.Job)].(*record.Job)
		if !ok || j.Paused {
			continue
		}
		limit := c.spec(j).WithDefaults().Update.Deadline.Millis() + (skewMost.Milliseconds() + 60_000)
		if c.w.now.UnixMilli() > max(d.ProgressAt, d.CreatedAt)+limit {
			c.fail("every deploy ends: deploy %d of %s is still in progress", d.Number, d.Job)
		}
	}
}

// rule names the invariant of a failure, without what differs each time.
func rule(what string) string {
	line, _, _ := strings.Cut(what, "\n")
	if before, _, ok := strings.Cut(line, ": "); ok && before != "panic" {
		return before
	}
	words := strings.Fields(line)
	for i, word := range words {
		if strings.ContainsAny(word, "0123456789/") {
			words[i] = "#"
		}
	}
	return fmt.Sprint(strings.Join(words, " "))
}
