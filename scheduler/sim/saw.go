package sim

import (
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// What is seen of the records as they become durable. None of this fails: it is
// counted, so that a workload or a fault that went missing is noticed.

func (c *checks) sawJobMade(j *record.Job) {
	switch c.spec(j).Kind {
	case api.KindService:
		c.w.sees("service made")
	case api.KindCron:
		c.w.sees("cron made")
	case api.KindBatch:
		c.w.sees("batch job made")
	}
	if c.w.made[j.Key] {
		c.w.sees("job made again")
	}
	c.w.made[j.Key] = true
}

func (c *checks) sawJobChanged(before, after *record.Job) {
	w := c.w
	switch {
	case after.Paused && !before.Paused:
		w.sees("paused")
		if w.journal.rollout(after.Key) != nil {
			w.sees("deploy waits during a pause")
		}
	case before.Paused && !after.Paused:
		w.sees("resumed")
		if w.journal.rollout(after.Key).GetResumed() {
			w.sees("deploy ends a pause")
		}
	}
	switch {
	case after.Deploy == before.Deploy && after.Instances > before.Instances:
		w.sees("scaled up")
	case after.Deploy == before.Deploy && after.Instances < before.Instances:
		w.sees("scaled down")
	}
	switch {
	case after.SkipHealth && !before.SkipHealth:
		w.sees("health skipped")
	case !after.SkipHealth && before.SkipHealth:
		w.sees("health counts again")
	}
	if len(after.Timed) < len(before.Timed) && before.Timed[0].Until <= w.lastLedAt {
		w.sees("timed change taken back")
	}
	if after.ServingOnly != before.ServingOnly && after.ServingOnly == after.Deploy && before.Withheld == after.Deploy {
		w.sees("endpoints switched")
	}
	if before.ServingOnly != 0 && after.ServingOnly == 0 && before.Deploy == after.Deploy {
		w.sees("old set stopped")
	}
}

func (c *checks) sawDeploy(before, after *record.Deploy) {
	w := c.w
	s := c.specOf(after)
	if s.Kind != api.KindService {
		return
	}
	if before == nil {
		w.sees("deploy begins")
		c.sawStrategy(after, s.Update)
	}
	if before != nil && before.State == after.State {
		return
	}
	switch after.State {
	case deploySucceeded:
		w.sees("deploy succeeds")
	case deployFailed:
		w.sees("deploy fails")
	case record.DeployState_DEPLOY_STATE_ROLLED_BACK:
		w.sees("deploy rolled back")
	case record.DeployState_DEPLOY_STATE_SUPERSEDED:
		w.sees("deploy superseded")
	case record.DeployState_DEPLOY_STATE_CANCELLED:
		w.sees("deploy cancelled")
	}
	if before != nil && before.State == deploySucceeded {
		w.sees("blue-green deploy undone while its old set is kept")
	}
	if after.State != deploySucceeded && s.does.Mute && strings.Contains(after.Reason, "no instance became ready") {
		w.sees("instance never ready")
	}
	if strings.HasPrefix(after.Reason, "cancelled by ") {
		w.sees("deploy cancelled by hand")
	}
	if strings.Contains(after.Reason, " failed ") && strings.Contains(after.Reason, " tolerated") {
		w.sees("deploy fails for failures of its tasks")
	}
}

func (c *checks) sawStrategy(d *record.Deploy, u *api.Update) {
	w := c.w
	switch d.Kind {
	case record.DeployKind_DEPLOY_KIND_IN_PLACE:
		w.sees("deploy in place")
		return
	case record.DeployKind_DEPLOY_KIND_ROLLBACK:
		w.sees("rollback to an earlier deploy")
	case record.DeployKind_DEPLOY_KIND_BOUNCE:
		if w.journal.rollout(d.Job).GetOneByOne() {
			w.sees("incremental bounce")
		} else {
			w.sees("bounce")
		}
		return
	}
	switch {
	case u.Strategy == api.StrategyCanary:
		w.sees("canary deploy")
	case u.Strategy == api.StrategyBlueGreen:
		w.sees("blue-green deploy")
	case u.StopFirst:
		w.sees("rolling deploy that stops first")
	default:
		w.sees("rolling deploy")
	}
}

func (c *checks) sawRollout(before, after *record.Rollout) {
	w := c.w
	if after.Paused && !before.GetPaused() {
		if strings.HasPrefix(after.PauseReason, "by ") {
			w.sees("deploy paused by hand")
		} else {
			w.sees("deploy paused for a failure")
		}
	}
	if after.Phase == record.RolloutPhase_ROLLOUT_PHASE_PROMOTION && before.GetPhase() != after.Phase {
		w.sees("deploy waits for promotion")
	}
	if (after.Promoted || after.PromotedFully) && !before.GetPromoted() && !before.GetPromotedFully() {
		w.sees("deploy promoted")
	}
	if after.PulseMissed && !before.GetPulseMissed() {
		w.sees("pulse missed")
	}
}

// groupWritten: a group ends once, with a reason unless it succeeded.
func (c *checks) groupWritten(before, after *record.Group) {
	if before != nil && before.State.Terminal() && before.State != after.State {
		c.fail("a deploy ends once: group %s was %v and becomes %v", after.Id, before.State, after.State)
	}
	if before.GetState() == after.State || !after.State.Terminal() {
		return
	}
	switch {
	case after.State == deploySucceeded:
		c.w.sees("group of deploys succeeds")
	case after.Reason == "":
		c.fail("a deploy that did not succeed has a reason: group %s is %v", after.Id, after.State)
	default:
		c.w.sees("group of deploys rolled back")
	}
}

func (c *checks) sawTask(before, after *record.Task) {
	w := c.w
	if before == nil {
		if after.NotBefore != 0 && after.Run == "" {
			w.sees("instance waits after quick failures")
		}
		return
	}
	if before.Replace && after.StopAt != 0 {
		w.sees("instance restarted by hand")
	}
	if after.StopAt != 0 && before.StopAt == 0 {
		if strings.HasPrefix(after.StopReason, "killed by") {
			w.sees("task killed by hand")
		}
		if after.KillAt > after.StopAt {
			w.sees("drain before a KILL")
		}
	}
	if before.HasHealth && before.Healthy && !after.Healthy {
		w.sees("instance turns unhealthy")
	}
	if before.Ready && !after.Ready && after.StopAt == 0 && c.flaps(after) {
		w.sees("instance flaps")
	}
	if before.State == after.State {
		return
	}
	switch {
	case after.State == taskUnreachable:
		w.sees("task unreachable")
	case before.State == taskUnreachable && after.State == taskRunning:
		w.sees("unreachable task returns")
	case before.State == taskUnreachable && after.State == taskLost && strings.HasPrefix(after.Message, "unreachable for"):
		w.sees("unreachable task replaced")
	case after.State == taskLost && after.Reason == "RECONCILIATION":
		w.sees("reconciliation finds a task gone")
	case after.State == taskFailed && after.Run == "" && after.RunningAt != 0 && after.EndedAt-after.RunningAt < 100:
		w.sees("instance fails at once")
	}
}

func (c *checks) flaps(t *record.Task) bool {
	d := c.w.journal.deploy(t.Job, t.Deploy)
	return d != nil && c.specOf(d).does.Flaps
}

func (c *checks) sawRun(before, after *record.Run) {
	cron := strings.Contains(after.Job, "/cron-")
	if before == nil {
		c.sawRunMade(after, cron)
		return
	}
	w := c.w
	if after.Failures > before.Failures && !after.State.Terminal() {
		if cron {
			w.sees("cron run retried")
		} else {
			w.sees("batch run retried")
		}
	}
	if after.Attempts > before.Attempts && after.Failures == before.Failures && before.Attempts > 0 {
		w.sees("run lost with its agent and retried")
	}
	if after.Cancel && !before.Cancel {
		switch {
		case strings.HasPrefix(after.Reason, "replaced by"):
			w.sees("cron run replaced")
		case strings.HasPrefix(after.Reason, "cancelled by"):
			w.sees("run cancelled")
		}
	}
	if after.State == before.State || cron {
		return
	}
	switch after.State {
	case record.RunState_RUN_STATE_SUCCEEDED:
		w.sees("batch run succeeds")
	case record.RunState_RUN_STATE_FAILED:
		if after.Retries > 0 {
			w.sees("batch run failed after its retries")
		}
	}
}

// outage is how late an instant is decided that a scheduler's absence delayed.
const outage = 60

func (c *checks) sawRunMade(r *record.Run, cron bool) {
	w := c.w
	if !cron {
		return
	}
	if r.Instant == 0 {
		w.sees("cron run by hand")
		return
	}
	late := r.CreatedAt/1000-r.Instant > outage
	switch {
	case r.State == record.RunState_RUN_STATE_MISSED:
		w.sees("cron instants missed in an outage")
	case r.State == record.RunState_RUN_STATE_SKIPPED:
		w.sees("cron instant skipped")
	case late:
		w.sees("cron instant caught up after an outage")
	default:
		w.sees("cron instant on time")
	}
	if r.State == runWaiting {
		w.sees("cron instant waits")
	}
	if r.State == runActive && c.busy(r.Job) {
		w.sees("cron runs side by side")
	}
	if j := w.journal.job(r.Job); j != nil && c.spec(j).Schedule.Cron == changedClock {
		w.sees("cron instant of a changed clock")
	}
}

// sawKill notes a KILL that Mesos took.
func (c *checks) sawKill(s *schedulerProcess, call core.Kill) {
	tc := &c.tasks
	t := c.w.journal.task(call.Task)
	if t != nil && t.State == taskLost && strings.HasPrefix(t.Message, "unreachable for") {
		c.w.sees("replaced task returns and is killed")
	}
	if tc.killed[call.Task]++; tc.killed[call.Task] > 1 && t != nil && !t.State.Terminal() {
		c.w.sees("KILL sent again")
	}
}
