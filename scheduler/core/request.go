package core

import (
	"encoding/json"
	"fmt"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// request executes a write of a user and answers it. A request that fails
// changes nothing.
func (c *Core) request(r *Request) {
	reply := Reply{To: r.ID}
	defer func() { c.ready.Replies = append(c.ready.Replies, reply) }()
	if kept := c.idempotency.replies[r.key()]; r.IdempotencyKey != "" && kept != nil {
		if kept.Digest != r.Digest {
			reply.Err = &Error{Kind: Mismatch, Detail: fmt.Sprintf("the idempotency key %q was used for another request", r.IdempotencyKey)}
			return
		}
		if err := json.Unmarshal(kept.Body, &reply.Result); err != nil {
			reply.Err = &Error{Kind: Conflict, Detail: "the kept answer cannot be read: " + err.Error()}
		}
		reply.Result.Repeated = true
		return
	}
	c.acting = r.Actor
	reply.Result, reply.Err = c.audited(r)
	c.acting = ""
	if reply.Err == nil && r.IdempotencyKey != "" {
		c.keepReply(r, reply.Result)
	}
}

// key is what a request's idempotency key is kept under.
func (r *Request) key() string { return record.ScopedKey(r.KeyOf, r.IdempotencyKey) }

func (c *Core) execute(r *Request) (Result, *Error) {
	switch op := r.Op.(type) {
	case PutJob:
		return c.putJob(op, r.Actor)
	case RemoveJob:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.removeJob(j, r.Actor) })
	case PauseJob:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.pauseJob(j, op, r.Actor) })
	case ResumeJob:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.resumeJob(j, r.Actor) })
	case ScaleJob:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.scaleJob(j, op, r.Actor) })
	case StartRuns:
		return c.onJob(op.Job, nil, func(j *job) (Result, *Error) { return c.startRuns(j, op, r.Actor) })
	case CancelRun:
		return c.onJob(op.Job, nil, func(j *job) (Result, *Error) { return c.cancelByHand(j, op.Run, r.Actor) })
	case KillTask:
		return c.killByHand(op, r.Actor)
	case RollBack:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.rollBack(j, op, r.Actor) })
	case Bounce:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.bounce(j, op, r.Actor) })
	case RestartInstance:
		return c.onJob(op.Job, nil, func(j *job) (Result, *Error) { return c.restartInstance(j, op, r.Actor) })
	case SteerDeploy:
		return c.onJob(op.Job, nil, func(j *job) (Result, *Error) { return c.steer(j, op, r.Actor) })
	case PutGroup:
		return c.putGroup(op, r.Actor)
	case CancelGroup:
		return c.cancelGroup(op, r.Actor)
	case StepDown:
		c.emit(&record.Event{Type: "scheduler.stepping_down", Object: c.leader.Scheduler})
		return Result{Changed: true}, nil
	case SkipHealth:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.skipHealth(j, op, r.Actor) })
	case CreateWebhook:
		return c.createWebhook(op, r.Actor)
	case UpdateWebhook:
		return c.onWebhook(op.ID, op.IfMatch, func(w *webhook) (Result, *Error) { return c.updateWebhook(w, op, r.Actor) })
	case RotateSecret:
		return c.onWebhook(op.ID, op.IfMatch, func(w *webhook) (Result, *Error) { return c.rotateSecret(w, op, r.Actor) })
	case EnableWebhook:
		return c.onWebhook(op.ID, op.IfMatch, func(w *webhook) (Result, *Error) { return c.enableWebhook(w, op, r.Actor) })
	case DisableWebhook:
		return c.onWebhook(op.ID, op.IfMatch, func(w *webhook) (Result, *Error) { return c.disableWebhook(w, op.Reason, r.Actor), nil })
	case RemoveWebhook:
		return c.onWebhook(op.ID, op.IfMatch, func(w *webhook) (Result, *Error) { return c.removeWebhook(w, r.Actor) })
	case Redeliver:
		return c.onWebhook(op.ID, nil, func(w *webhook) (Result, *Error) { return c.redeliver(w, op, r.Actor) })
	case DropDeadLetters:
		return c.onWebhook(op.ID, nil, func(w *webhook) (Result, *Error) { return c.dropDeadLetters(w, op, r.Actor) })
	case SaveDeliveries:
		return c.saveDeliveries(op)
	case CreateToken:
		return c.createToken(op.Token, r.Actor)
	case InitToken:
		return c.initToken(op.Token, r.Actor)
	case RevokeToken:
		return c.revokeToken(op.ID, r.Actor)
	case UseTokens:
		return c.useTokens(op.Uses)
	}
	panic(fmt.Sprintf("core: no such operation: %T", r.Op))
}

func conflict(format string, args ...any) *Error {
	return &Error{Kind: Conflict, Detail: fmt.Sprintf(format, args...)}
}

// onJob executes do on a job that exists and was not changed meanwhile.
func (c *Core) onJob(key string, ifMatch *uint64, do func(*job) (Result, *Error)) (Result, *Error) {
	j := c.jobs[key]
	if j == nil {
		return Result{}, &Error{Kind: NotFound, Detail: fmt.Sprintf("there is no job %s", key)}
	}
	if err := stale(j, ifMatch); err != nil {
		return Result{}, err
	}
	if j.rec.Removing {
		return Result{}, conflict("%s is being removed", key)
	}
	return do(j)
}

func stale(j *job, ifMatch *uint64) *Error {
	if ifMatch != nil && *ifMatch != j.rec.Revision {
		return &Error{Kind: Stale, Detail: fmt.Sprintf("%s was changed meanwhile: its revision is %d, not %d", j.rec.Key, j.rec.Revision, *ifMatch)}
	}
	return nil
}

// changed counts a user's change of a job.
func (c *Core) changed(j *job) Result {
	rec := c.editJob(j)
	rec.Revision++
	rec.UpdatedAt = c.now
	c.touch(j)
	return Result{Job: rec.Key, Revision: rec.Revision, Deploy: rec.Deploy, Changed: true}
}

func unchanged(j *job) Result {
	return Result{Job: j.rec.Key, Revision: j.rec.Revision, Deploy: j.rec.Deploy}
}

// tooMany refuses more instances than the scheduler allows.
func (c *Core) tooMany(job string, instances int) *Error {
	if instances >= 0 && instances <= c.cfg.InstancesMost {
		return nil
	}
	return &Error{Kind: Invalid, Detail: fmt.Sprintf("%s wants %d instances", job, instances), Fields: []api.ProblemField{{
		Location: "instances", Value: instances,
		Message: fmt.Sprintf("this scheduler allows 0 to %d (limits.instances in its configuration)", c.cfg.InstancesMost)}}}
}

func (c *Core) removeJob(j *job, actor string) (Result, *Error) {
	result := c.changed(j)
	c.editJob(j).Removing = true
	if r := j.inProgress(); r != nil {
		c.endDeploy(j, r.deploy, deployCancelled, "the job is removed")
	}
	for _, r := range j.runs.all() {
		c.cancelRun(r, "the job is removed")
	}
	c.countDeploying(j)
	c.emit(&record.Event{Type: "job.removing", Job: j.rec.Key, Actor: actor})
	return result, nil
}

func (c *Core) pauseJob(j *job, op PauseJob, actor string) (Result, *Error) {
	if j.rec.Paused && op.Until == 0 && !j.isTimed(timedPause) {
		return unchanged(j), nil
	}
	result := c.changed(j)
	c.setPaused(j, op.Reason, op.Until)
	if op.Until != 0 {
		c.setTimed(j, &record.Timed{Action: timedPause, Until: op.Until, By: actor})
	}
	c.emit(&record.Event{Type: "job.paused", Job: j.rec.Key, Reason: op.Reason, Actor: actor})
	return result, nil
}

// setPaused stops a job's tasks and keeps its definition.
func (c *Core) setPaused(j *job, reason string, until int64) {
	if !j.rec.Paused {
		c.decideCron(j)
	}
	rec := c.editJob(j)
	rec.Paused, rec.PauseReason = true, reason
	if until == 0 {
		c.dropTimed(j, timedPause)
	}
	c.countDeploying(j)
	c.hold(j)
	c.touch(j)
}

func (c *Core) resumeJob(j *job, actor string) (Result, *Error) {
	if !j.rec.Paused {
		return unchanged(j), nil
	}
	result := c.changed(j)
	c.setResumed(j, actor)
	return result, nil
}

// setResumed ends a pause.
func (c *Core) setResumed(j *job, actor string) {
	rec := c.editJob(j)
	rec.Paused, rec.PauseReason = false, ""
	c.dropTimed(j, timedPause)
	if j.cron != nil {
		// Instants that came during the pause were not wanted.
		rec.DecidedThrough = max(rec.DecidedThrough, c.wall()/1000)
		c.awaitInstant(j)
	}
	if r := j.inProgress(); r != nil {
		c.countAgain(r)
	}
	c.countDeploying(j)
	c.requeue(j)
	c.touch(j)
	c.emit(&record.Event{Type: "job.resumed", Job: rec.Key, Actor: actor})
}

func (c *Core) scaleJob(j *job, op ScaleJob, actor string) (Result, *Error) {
	if j.kind() != api.KindService {
		return Result{}, conflict("%s is a %s job: only services have instances", j.rec.Key, j.kind())
	}
	if err := c.tooMany(j.rec.Key, op.Instances); err != nil {
		return Result{}, err
	}
	if uint32(op.Instances) == j.rec.Instances && op.Until == 0 && !j.isTimed(timedScale) {
		return unchanged(j), nil
	}
	result, before := c.changed(j), j.rec.Instances
	if op.Until != 0 {
		c.setTimed(j, &record.Timed{Action: timedScale, Until: op.Until, Instances: j.rec.Instances, By: actor})
	} else {
		c.dropTimed(j, timedScale)
	}
	c.setInstances(j, uint32(op.Instances), actor)
	if uint32(op.Instances) == before {
		c.emit(&record.Event{Type: "job.scaled", Job: j.rec.Key, Actor: actor, Message: fmt.Sprintf("stays at %d instances", before)})
	}
	result.Warnings = c.warnings(j)
	return result, nil
}

func (c *Core) setInstances(j *job, instances uint32, actor string) {
	before := j.rec.Instances
	c.editJob(j).Instances = instances
	c.touch(j)
	if before != instances {
		c.emit(&record.Event{Type: "job.scaled", Job: j.rec.Key, Actor: actor,
			Message: fmt.Sprintf("from %d to %d instances", before, instances)})
	}
}

func (c *Core) cancelByHand(j *job, id, actor string) (Result, *Error) {
	for r := j.runs.first; r != nil; r = r.next {
		if r.rec.Id == id {
			c.cancelRun(r, "cancelled by "+actor)
			return Result{Job: j.rec.Key, Revision: j.rec.Revision, Runs: []string{id}, Changed: true}, nil
		}
	}
	for _, r := range c.retention.runs.all {
		if r.rec.Id == id && r.job == j && !r.gone {
			return Result{}, conflict("run %s is over: it is %s", id, StateName(r.rec.State))
		}
	}
	return Result{}, &Error{Kind: NotFound, Detail: fmt.Sprintf("%s has no run %s", j.rec.Key, id)}
}

func (c *Core) killByHand(op KillTask, actor string) (Result, *Error) {
	t := c.tasks[op.Task]
	switch {
	case t == nil:
		return Result{}, &Error{Kind: NotFound, Detail: fmt.Sprintf("there is no task %s", op.Task)}
	case !t.live():
		return Result{}, conflict("task %s is over: it is %s", op.Task, StateName(t.rec.State))
	}
	reason := "killed by " + actor
	if op.Reason != "" {
		reason += ": " + op.Reason
	}
	changed := !t.stopping()
	c.stop(t, reason)
	return Result{Job: t.job.rec.Key, Task: op.Task, Changed: changed}, nil
}
