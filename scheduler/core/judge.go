package core

import (
	"fmt"

	"github.com/perigee-sched/perigee/api"
)

// judgeStep looks whether a deploy's step is complete, and has the next begin;
// or whether it takes too long.
func (c *Core) judgeStep(r *rollout, n int, last bool) {
	step := r.current()
	switch {
	case r.rec.SettledAt == 0:
		interrupted := r.rec.Phase == phaseBaking
		c.setPhase(r, phaseMoving)
		if interrupted && step.Checks != nil && step.Checks.Healthy {
			_, target, _ := r.step(n)
			c.failDeploy(r, fmt.Sprintf("%s: an instance stopped being ready during the bake: %s", r.stepName(), c.whyNotReady(r, target)))
			return
		}
		c.judgeProgress(r, n, step)
	case n == 0: // nothing runs that could be waited for
		c.stepDone(r, n, last)
	case c.baked(r, step) && c.passedGate(r, n, step) && c.promoted(r, step):
		c.stepDone(r, n, last)
	}
}

// judgeProgress fails a deploy in which no further instance became ready for
// too long, or which does not stay so.
func (c *Core) judgeProgress(r *rollout, n int, step api.Step) {
	deadline := r.update.Deadline.Millis()
	if !c.mesos.subscribed {
		return // subscribed looks again
	}
	_, target, _ := r.step(n)
	if r.rec.SettledFirst != 0 {
		if due := c.since(r.rec.SettledFirst) + step.Bake.Millis() + deadline; due > c.now {
			c.wakeRollout(r, due)
		} else {
			c.failDeploy(r, fmt.Sprintf("%s: its instances did not stay ready for %s within %s more: %s",
				r.stepName(), step.Bake, r.update.Deadline, c.whyNotReady(r, target)))
		}
		return
	}
	if due := c.since(r.rec.ProgressAt, r.rec.StepAt) + deadline; due > c.now {
		c.wakeRollout(r, due)
		return
	}
	c.failDeploy(r, fmt.Sprintf("no instance became ready for %s: %s", r.update.Deadline, c.whyNotReady(r, target)))
}

// hearAgain is how long after a subscription, in ms, what happened before it
// has surely been told.
const hearAgain = 5_000

// baked says whether the step's instances served for long enough.
func (c *Core) baked(r *rollout, step api.Step) bool {
	if step.Bake == 0 || r.rec.Promoted || r.rec.PromotedFully {
		return true
	}
	due := max(r.rec.SettledAt+step.Bake.Millis(), c.mesos.since+hearAgain)
	if c.mesos.subscribed && due <= c.now {
		return true
	}
	c.setPhase(r, phaseBaking)
	if c.mesos.subscribed {
		c.wakeRollout(r, due)
	}
	return false
}

// gateRetry is how long after the interval a question that was lost is asked
// again, in ms.
const gateRetry = 30_000

// passedGate asks the step's gate, if it has one, until it says go.
func (c *Core) passedGate(r *rollout, n int, step api.Step) bool {
	if step.Checks == nil || step.Checks.Gate == nil || r.rec.GatePassed || r.rec.Promoted || r.rec.PromotedFully {
		return true
	}
	c.setPhase(r, phaseGate)
	gate := step.Checks.Gate
	if r.rec.GateAt == 0 {
		c.editRollout(r).GateAt = c.now
	}
	deadline := c.since(r.rec.GateAt) + gate.Deadline.Millis()
	if deadline <= c.now {
		said := r.rec.GateSaid
		if said == "" {
			said = "it did not answer"
		}
		c.failDeploy(r, fmt.Sprintf("%s: the gate %s did not say go within %s: %s", r.stepName(), gate.URL, gate.Deadline, said))
		return false
	}
	c.wakeRollout(r, deadline)
	next := r.askedAt + gate.Interval.Millis()
	if r.asked {
		next += gateRetry
	}
	if r.askedAt != 0 && next > c.now {
		c.wakeRollout(r, next)
		return false
	}
	r.askedAt, r.asked = c.now, true
	c.wakeRollout(r, c.now+gate.Interval.Millis()+gateRetry)
	_, target, _ := r.step(n)
	c.ready.Asks = append(c.ready.Asks, AskGate{URL: gate.URL, Step: r.rec.Step, Question: api.GateQuestion{
		Job: r.job.rec.Key, Deploy: r.deploy.rec.Number, From: r.deploy.rec.From, Step: r.stepName(),
		Instances: target, Digest: r.deploy.rec.Digest}})
	return false
}

// gateAnswered takes in what a gate said.
func (c *Core) gateAnswered(e GateAnswered) {
	j := c.jobs[e.Job]
	if j == nil || j.rollout == nil {
		return
	}
	r := j.rollout
	if r.deploy.rec.Number != e.Deploy || r.rec.Step != e.Step || r.rec.Phase != phaseGate {
		return // of a step that is over
	}
	r.asked = false
	said := validText(e.Reason)
	switch e.Decision {
	case api.GateGo:
		rec := c.editRollout(r)
		rec.GatePassed, rec.GateSaid = true, said
		c.tellDeploy(j, r.deploy, "deploy.gate_passed", said)
	case api.GateStop:
		if said == "" {
			said = "it gave no reason"
		}
		c.failDeploy(r, fmt.Sprintf("%s: the gate said stop: %s", r.stepName(), said))
	default:
		if r.rec.GateSaid != said {
			c.editRollout(r).GateSaid = said
			c.tellDeploy(j, r.deploy, "deploy.gate_waits", said)
		}
	}
	c.touch(j)
}

// promoted says whether somebody let the step end, if it needs that.
func (c *Core) promoted(r *rollout, step api.Step) bool {
	if !step.Manual || r.rec.Promoted || r.rec.PromotedFully {
		return true
	}
	if r.rec.Phase != phasePromotion {
		c.setPhase(r, phasePromotion)
		c.tellDeploy(r.job, r.deploy, "deploy.awaits_promotion", r.stepName())
	}
	return false
}

// stepDone has the next step begin, or ends the deploy.
func (c *Core) stepDone(r *rollout, n int, last bool) {
	if last {
		c.succeed(r, n)
		return
	}
	rec := c.editRollout(r)
	rec.Step++
	rec.StepAt, rec.ProgressAt = c.now, c.now
	rec.SettledMost, rec.SettledAt, rec.SettledFirst = 0, 0, 0
	rec.GateAt, rec.GatePassed, rec.GateSaid, rec.Promoted, rec.StepFailures = 0, false, "", false, 0
	before, target, _ := r.step(n)
	rec.SettledMost = uint32(before)
	r.askedAt, r.asked = 0, false
	c.setPhase(r, phaseMoving)
	c.tellDeploy(r.job, r.deploy, "deploy.step", fmt.Sprintf("%s: %d of %d instances", r.stepName(), target, n))
	c.touch(r.job) // the next step's instances begin to move at once
}

// succeed ends a deploy whose last step is complete. A blue-green one switches
// the endpoints over in this entry, and keeps its old set for a while.
func (c *Core) succeed(r *rollout, n int) {
	j, d := r.job, r.deploy
	reason := ""
	for i := range n {
		if r.givenUp(uint32(i)) && j.slot(uint32(i)).ready(d.class.gen) == nil {
			reason = fmt.Sprintf("instance %d does not stay up, which is tolerated: %s", i, lastWords(r, uint32(i)))
		}
	}
	c.editJob(j).Stable = d.rec.Number
	if !r.blueGreen() || *r.update.Keep == 0 {
		c.endDeploy(j, d, deploySucceeded, reason)
		return
	}
	rec := c.editRollout(r)
	rec.KeepUntil = c.now + r.update.Keep.Millis()
	c.editJob(j).Withheld = 0
	j.rec.ServingOnly = d.rec.Number
	c.setPhase(r, phaseKeeping)
	c.tellDeploy(j, d, "deploy.switched", fmt.Sprintf("the endpoints are deploy %d's; deploy %d is kept for %s", d.rec.Number, r.rec.Back, *r.update.Keep))
	c.setDeployState(j, d, deploySucceeded, reason)
	c.touch(j)
}

// keepBoth keeps a blue-green deploy's old set until its time is over.
func (c *Core) keepBoth(r *rollout, n int) {
	gen := r.deploy.class.gen
	over := c.now >= r.rec.KeepUntil
	for i := range n {
		s := r.job.slot(uint32(i))
		if !s.lives(gen) && len(s.live) < 2 {
			c.startInstance(r.deploy.class, s, uint32(i))
		}
		if over {
			for t := s.other(gen); t != nil; t = s.other(gen) {
				c.stop(t, fmt.Sprintf("deploy %d has taken over", r.deploy.rec.Number))
			}
		}
	}
	if !over {
		c.wakeRollout(r, r.rec.KeepUntil)
		return
	}
	c.tellDeploy(r.job, r.deploy, "deploy.old_set_stopped", "")
	c.endRollout(r)
	c.pruneDeploys(r.job)
	c.touch(r.job)
}
