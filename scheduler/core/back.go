package core

import (
	"fmt"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// failedPause begins the reason of a deploy's pause that a failure is answered
// with. Those of users begin with who they are.
const failedPause = "it failed: "

// PausedByFailure is why a deploy failed that stands still since, until somebody
// decides; "" when it does not.
func PausedByFailure(rec *record.Rollout) string {
	if cause, failed := strings.CutPrefix(rec.PauseReason, failedPause); rec.Paused && failed {
		return cause
	}
	return ""
}

// failDeploy answers a failure as the job's policy says.
func (c *Core) failDeploy(r *rollout, cause string) {
	j, d := r.job, r.deploy
	switch {
	case r.rec.Resumed:
		c.pauseAgain(r, cause)
	case r.update.OnFailure == api.FailurePauses:
		c.pauseDeploy(r, failedPause+cause)
	case r.returns():
		c.beginReturn(r, deployRolledBack, cause)
	case r.update.OnFailure == api.FailureRollsBack && !r.rec.AllAtOnce && !r.rec.OneByOne:
		c.stopUnproven(r)
		c.endDeploy(j, d, deployFailed, cause+"; there is no earlier deploy to return to, so its instances go on as they are")
	default:
		c.stopUnproven(r)
		c.endDeploy(j, d, deployFailed, cause+"; "+j.mixed(int(j.rec.Instances)))
	}
}

// pauseAgain ends a deploy that had ended a pause, and did not come up.
func (c *Core) pauseAgain(r *rollout, cause string) {
	j, d := r.job, r.deploy
	if back := r.back(); back != nil {
		c.editJob(j).Deploy = back.rec.Number
		c.returnInstances(r)
	}
	c.endDeploy(j, d, deployFailed, cause+"; the job is paused again")
	c.setPaused(j, fmt.Sprintf("deploy %d failed", d.rec.Number), 0)
	c.emit(&record.Event{Type: "job.paused", Job: j.rec.Key, Reason: j.rec.PauseReason, Actor: "perigee"})
}

// stopUnproven stops the new tasks beside old ones that serve.
func (c *Core) stopUnproven(r *rollout) {
	gen := r.deploy.class.gen
	for _, s := range r.job.slots {
		t, old := s.on(gen), s.other(gen)
		if t != nil && old != nil && old.rec.Ready && (!t.rec.Ready || r.blueGreen()) {
			c.stop(t, fmt.Sprintf("deploy %d failed", r.deploy.rec.Number))
		}
	}
}

// beginReturn has a deploy's instances go back to the one before; outcome is
// how it ends then.
func (c *Core) beginReturn(r *rollout, outcome record.DeployState, cause string) {
	j, d := r.job, r.deploy
	rec := c.editRollout(r)
	rec.Outcome, rec.Cause = outcome, cause
	rec.Paused, rec.PauseReason = false, ""
	rec.StepAt, rec.ProgressAt, rec.SettledMost, rec.SettledAt = c.now, c.now, 0, 0
	c.editJob(j).Deploy = rec.Back
	j.rec.Stable = rec.Back
	c.returnInstances(r)
	if r.blueGreen() && rec.Phase == phaseKeeping { // the endpoints switch back in this entry
		j.rec.Withheld, j.rec.ServingOnly = 0, rec.Back
		c.tellDeploy(j, d, "deploy.switched", fmt.Sprintf("the endpoints are deploy %d's again", rec.Back))
	}
	c.setPhase(r, phaseReturning)
	c.setDeployState(j, d, deployRollingBack, cause)
	c.touch(j)
}

// returnInstances takes back the number of instances that the deploy brought.
func (c *Core) returnInstances(r *rollout) {
	if r.rec.InstancesChanged {
		c.setInstances(r.job, r.rec.InstancesBefore, "perigee")
	}
}

// bringBack returns instances to the deploy before: the highest first, as many
// at a time as the largest batch has. One that moved and serves goes on until
// its old spec serves again.
func (c *Core) bringBack(r *rollout, n int) {
	back := r.back()
	size := 1
	for _, b := range r.update.Batch {
		size = max(size, b.Of(n))
	}
	if r.blueGreen() {
		size = n
	}
	m := &moves{rollout: r, gen: back.class.gen, surge: r.update.SurgeOf(n, size), unavailable: r.update.UnavailableOf(n, size)}
	for i := range n {
		if _, calm := r.job.calmOn(uint32(i)); calm {
			continue
		}
		s := r.job.slot(uint32(i))
		if s.staying() > 1 && s.other(m.gen) != nil && s.other(m.gen).rec.Ready {
			m.surge--
		}
		if s.serving() == nil {
			m.unavailable--
		}
	}
	settled := 0
	for i := n - 1; i >= 0; i-- {
		if gen, calm := r.job.calmOn(uint32(i)); calm && gen == m.gen {
			settled++
			continue
		}
		s := r.job.slot(uint32(i))
		c.returnInstance(m, s, uint32(i), n-1-i-settled < size)
		if s.ready(m.gen) != nil {
			settled++
		}
	}
	if settled > int(r.rec.SettledMost) {
		rec := c.editRollout(r)
		rec.SettledMost, rec.ProgressAt = uint32(settled), c.now
		if r.rec.StepAt != c.now { // those that never left are not news
			c.tellDeploy(r.job, r.deploy, "deploy.progressed", fmt.Sprintf("%d of %d instances are back on deploy %d", settled, n, r.rec.Back))
		}
	}
	if settled == n {
		c.endDeploy(r.job, r.deploy, r.rec.Outcome, r.rec.Cause+fmt.Sprintf("; the instances are back on deploy %d", r.rec.Back))
		return
	}
	c.judgeReturn(r, n)
}

// returnInstance sees to one instance; turn says whether one that serves on the
// new spec may leave it now.
func (c *Core) returnInstance(m *moves, s *slot, instance uint32, turn bool) {
	back := m.back().class
	old, t := s.on(m.gen), s.other(m.gen)
	why := fmt.Sprintf("returns to deploy %d", m.rec.Back)
	switch {
	case old == nil && t == nil:
		if len(s.live) == 0 {
			c.startInstance(back, s, instance)
		}
	case t == nil:
	case old != nil && (old.rec.Ready || !t.rec.Ready):
		c.stop(t, why)
	case old != nil: // it serves until the old spec does
	case !t.rec.Ready:
		c.stop(t, why)
		if len(s.live) == 0 {
			c.startInstance(back, s, instance)
		}
	case !turn:
	case m.update.StopFirst:
		if m.unavailable > 0 {
			m.unavailable--
			c.stop(t, why)
		}
	case len(s.live) == 1 && m.surge > 0:
		m.surge--
		c.startInstance(back, s, instance)
	}
}

// judgeReturn ends a return that makes no progress.
func (c *Core) judgeReturn(r *rollout, n int) {
	if !c.mesos.subscribed {
		return // subscribed looks again
	}
	if due := c.since(r.rec.ProgressAt) + r.update.Deadline.Millis(); due > c.now {
		c.wakeRollout(r, due)
		return
	}
	c.endDeploy(r.job, r.deploy, deployFailed, fmt.Sprintf("%s; returning to deploy %d made no progress for %s: %s",
		r.rec.Cause, r.rec.Back, r.update.Deadline, r.job.mixed(n)))
}
