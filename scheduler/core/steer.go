package core

import "fmt"

// steer acts on a deploy in progress, as somebody asked.
func (c *Core) steer(j *job, op SteerDeploy, actor string) (Result, *Error) {
	r := j.inProgress()
	if op.Number != 0 && (r == nil || r.deploy.rec.Number != op.Number) {
		d := j.deploy(op.Number)
		if d == nil {
			return Result{}, &Error{Kind: NotFound, Detail: fmt.Sprintf("%s has no deploy %d, or it is no longer kept", j.rec.Key, op.Number)}
		}
		return Result{}, conflict("deploy %d of %s is over: it is %s", op.Number, j.rec.Key, StateName(d.rec.State))
	}
	if r == nil {
		return Result{}, conflict("%s has no deploy in progress", j.rec.Key)
	}
	by := "by " + actor
	if op.Reason != "" {
		by += ": " + op.Reason
	}
	result := Result{Job: j.rec.Key, Revision: j.rec.Revision, Deploy: r.deploy.rec.Number}
	changed, err := c.steerRollout(r, op, by)
	result.Changed = changed
	return result, err
}

func (c *Core) steerRollout(r *rollout, op SteerDeploy, by string) (changed bool, err *Error) {
	number := r.deploy.rec.Number
	if r.rec.Phase == phaseReturning {
		return false, conflict("deploy %d of %s is over already: its instances return to deploy %d", number, r.job.rec.Key, r.rec.Back)
	}
	switch op.Action {
	case SteerPause:
		if r.rec.Paused {
			return false, nil
		}
		c.pauseDeploy(r, by)
	case SteerResume:
		if !r.rec.Paused {
			return false, nil
		}
		c.resumeDeploy(r, by)
	case SteerPromote:
		return c.promote(r, op.Full, by)
	case SteerPulse:
		return c.pulse(r), nil
	case SteerCancel:
		c.cancelDeploy(r, "cancelled "+by)
	}
	return true, nil
}

// pulse lets a deploy go on for another while.
func (c *Core) pulse(r *rollout) (changed bool) {
	if !r.rec.PulseMissed && c.now-r.rec.PulseAt < 1000 {
		return false // the last one is as good
	}
	rec := c.editRollout(r)
	rec.PulseAt = c.now
	if rec.PulseMissed {
		rec.PulseMissed = false
		c.countAgain(r)
		c.countDeploying(r.job)
		c.tellDeploy(r.job, r.deploy, "deploy.goes_on", "its pulse is back")
	}
	c.touch(r.job)
	return true
}

func (c *Core) pauseDeploy(r *rollout, reason string) {
	rec := c.editRollout(r)
	rec.Paused, rec.PauseReason, rec.PausedAt = true, reason, c.now
	c.countDeploying(r.job)
	c.tellDeploy(r.job, r.deploy, "deploy.paused", reason)
	c.touch(r.job)
}

// resumeDeploy has a deploy go on; what failed before is forgiven.
func (c *Core) resumeDeploy(r *rollout, by string) {
	rec := c.editRollout(r)
	rec.Paused, rec.PauseReason, rec.PausedAt = false, "", 0
	rec.Failures, rec.StepFailures = nil, 0
	c.countAgain(r)
	c.countDeploying(r.job)
	c.tellDeploy(r.job, r.deploy, "deploy.resumed", by)
	c.touch(r.job)
}

// countAgain has the deadlines of a deploy that stood still count from now on.
func (c *Core) countAgain(r *rollout) {
	rec := c.editRollout(r)
	rec.ProgressAt = c.now
	if rec.SettledFirst != 0 {
		rec.SettledFirst = c.now
	}
	if rec.GateAt != 0 {
		rec.GateAt = c.now
	}
}

// promote lets a deploy pass what its step still waits for, or to its end.
func (c *Core) promote(r *rollout, full bool, by string) (changed bool, err *Error) {
	switch {
	case r.rec.Paused:
		return false, conflict("deploy %d of %s is paused (%s): resume it first", r.deploy.rec.Number, r.job.rec.Key, r.rec.PauseReason)
	case r.rec.PromotedFully:
		return false, nil
	case full:
		c.editRollout(r).PromotedFully = true
	case r.rec.SettledAt == 0:
		return false, conflict("deploy %d of %s moves instances, and waits for nobody: promote it when %s is complete, or fully",
			r.deploy.rec.Number, r.job.rec.Key, r.stepName())
	default:
		c.editRollout(r).Promoted = true
	}
	c.tellDeploy(r.job, r.deploy, "deploy.promoted", by)
	c.touch(r.job)
	return true, nil
}

// cancelDeploy ends a deploy; its instances return where they can.
func (c *Core) cancelDeploy(r *rollout, why string) {
	if r.back() != nil {
		c.beginReturn(r, deployCancelled, why)
		return
	}
	c.endDeploy(r.job, r.deploy, deployCancelled, why+"; there is no earlier deploy to return to, so its instances go on as they are")
}
