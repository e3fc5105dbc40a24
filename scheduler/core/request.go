package core

import (
	"bytes"
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
	if kept := c.idempotency.replies[r.IdempotencyKey]; r.IdempotencyKey != "" && kept != nil {
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
	reply.Result, reply.Err = c.execute(r)
	if reply.Err == nil && r.IdempotencyKey != "" {
		c.keepReply(r, reply.Result)
	}
}

func (c *Core) execute(r *Request) (Result, *Error) {
	switch op := r.Op.(type) {
	case PutJob:
		return c.putJob(op, r.Actor)
	case RemoveJob:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.removeJob(j, r.Actor) })
	case PauseJob:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.pauseJob(j, op.Reason, r.Actor) })
	case ResumeJob:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.resumeJob(j, r.Actor) })
	case ScaleJob:
		return c.onJob(op.Job, op.IfMatch, func(j *job) (Result, *Error) { return c.scaleJob(j, op.Instances, r.Actor) })
	case StartRuns:
		return c.onJob(op.Job, nil, func(j *job) (Result, *Error) { return c.startRuns(j, op, r.Actor) })
	case CancelRun:
		return c.onJob(op.Job, nil, func(j *job) (Result, *Error) { return c.cancelByHand(j, op.Run, r.Actor) })
	case KillTask:
		return c.killByHand(op, r.Actor)
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

func (c *Core) putJob(op PutJob, actor string) (Result, *Error) {
	if n := op.Spec.Instances; n != nil {
		if err := c.tooMany(op.Spec.Job, *n); err != nil {
			return Result{}, err
		}
	}
	j := c.jobs[op.Spec.Job]
	if j == nil {
		if op.IfMatch != nil {
			return Result{}, &Error{Kind: Stale, Detail: fmt.Sprintf("there is no job %s to match", op.Spec.Job)}
		}
		return c.createJob(op, actor)
	}
	switch err := stale(j, op.IfMatch); {
	case op.Create:
		return Result{}, &Error{Kind: Stale, Detail: fmt.Sprintf("%s exists", j.rec.Key)}
	case err != nil:
		return Result{}, err
	case j.rec.Removing:
		return Result{}, conflict("%s is being removed: wait until it is gone", j.rec.Key)
	case j.kind() != op.Spec.Kind:
		return Result{}, conflict("%s is a %s job and cannot become a %s job: remove it first", j.rec.Key, j.kind(), op.Spec.Kind)
	}
	target := j.target()
	if sameButInstances(target.class.deploy.rec.Spec, op) {
		if n := op.Spec.Instances; n != nil && uint32(*n) != j.rec.Instances {
			return c.scaleJob(j, *n, actor)
		}
		return unchanged(j), nil
	}
	if target.rec.State == deployInProgress {
		if !op.Supersede {
			return Result{}, conflict("deploy %d of %s is in progress (%s): wait for it, or supersede it", target.rec.Number, j.rec.Key, c.progress(j, target))
		}
		c.endDeploy(j, target, deploySuperseded, fmt.Sprintf("superseded by deploy %d", j.rec.LastDeploy+1))
	}
	c.decideCron(j) // what is due is due by the old schedule
	if err := c.deploy(j, op, actor); err != nil {
		return Result{}, err
	}
	result := c.changed(j)
	result.Warnings = c.warnings(j)
	return result, nil
}

func (c *Core) createJob(op PutJob, actor string) (Result, *Error) {
	j := newJob(&record.Job{Key: op.Spec.Job, CreatedAt: c.now, Instances: 1})
	if err := c.deploy(j, op, actor); err != nil {
		return Result{}, err
	}
	c.jobs[j.rec.Key] = j
	c.emit(&record.Event{Type: "job.created", Job: j.rec.Key, Actor: actor})
	result := c.changed(j)
	result.Created = true
	result.Warnings = c.warnings(j)
	return result, nil
}

// sameButInstances compares a stored spec with one that was sent.
func sameButInstances(stored []byte, op PutJob) bool {
	if bytes.Equal(stored, op.Canonical) {
		return true
	}
	old, err := api.ParseSpec(stored)
	if err != nil {
		return false
	}
	sent := *op.Spec
	old.Instances, sent.Instances = nil, nil
	a, err1 := old.Canonical()
	b, err2 := sent.Canonical()
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

// deploy makes op's spec the wanted one.
func (c *Core) deploy(j *job, op PutJob, actor string) *Error {
	author := op.Author
	if author == "" {
		author = actor
	}
	d := &deploy{rec: &record.Deploy{
		Job: j.rec.Key, Number: j.rec.LastDeploy + 1, Spec: op.Canonical, Digest: api.Digest(op.Canonical),
		Author: author, Message: op.Message, From: j.rec.Deploy, CreatedAt: c.now, ProgressAt: c.now,
		State: deployInProgress,
	}}
	cl, err := c.newClass(j, d)
	if err != nil {
		return &Error{Kind: Invalid, Detail: err.Error()}
	}
	d.class = cl
	j.deploys = append(j.deploys, d)
	c.editDeploy(j, d)
	rec := c.editJob(j)
	rec.LastDeploy, rec.Deploy = d.rec.Number, d.rec.Number
	if n := op.Spec.Instances; n != nil {
		rec.Instances = uint32(*n)
	}
	if !rec.Paused {
		c.queue.deploying++
	}
	c.emitDeploy(j, d, "deploy.started")
	switch {
	case cl.spec.Kind != api.KindService:
		c.endDeploy(j, d, deploySucceeded, "")
		c.editJob(j).Stable = d.rec.Number
	case rec.Paused:
		c.endDeploy(j, d, deploySucceeded, "the job is paused; its instances start on this deploy when it is resumed")
	default:
		c.timers.add(timer{at: c.now + cl.spec.Update.Deadline.Millis(), kind: timerDeploy, job: j})
	}
	if cl.spec.Kind == api.KindCron {
		rec.DecidedThrough = max(rec.DecidedThrough, c.wall()/1000) // another leader's clock may have been ahead
		if err := c.setSchedule(j); err != nil {
			return &Error{Kind: Invalid, Detail: err.Error()}
		}
		c.awaitInstant(j)
	}
	c.pruneDeploys(j)
	return nil
}

// progress says how far a deploy is.
func (c *Core) progress(j *job, d *deploy) string {
	n := 0
	for _, s := range j.slots {
		if s.servesOn(d) {
			n++
		}
	}
	return fmt.Sprintf("%d of %d instances moved", n, j.rec.Instances)
}

func (c *Core) removeJob(j *job, actor string) (Result, *Error) {
	result := c.changed(j)
	c.editJob(j).Removing = true
	if d := j.target(); d.rec.State == deployInProgress {
		c.endDeploy(j, d, deployCancelled, "the job is removed")
	}
	for _, r := range j.runs.all() {
		c.cancelRun(r, "the job is removed")
	}
	c.emit(&record.Event{Type: "job.removing", Job: j.rec.Key, Actor: actor})
	return result, nil
}

func (c *Core) pauseJob(j *job, reason, actor string) (Result, *Error) {
	if j.rec.Paused {
		return unchanged(j), nil
	}
	c.decideCron(j)
	result := c.changed(j)
	rec := c.editJob(j)
	if j.target().rec.State == deployInProgress {
		c.queue.deploying-- // its instances will not be pending soon
	}
	rec.Paused, rec.PauseReason = true, reason
	c.hold(j)
	c.emit(&record.Event{Type: "job.paused", Job: rec.Key, Reason: reason, Actor: actor})
	return result, nil
}

func (c *Core) resumeJob(j *job, actor string) (Result, *Error) {
	if !j.rec.Paused {
		return unchanged(j), nil
	}
	result := c.changed(j)
	rec := c.editJob(j)
	rec.Paused, rec.PauseReason = false, ""
	if j.cron != nil {
		// Instants that came during the pause were not wanted.
		rec.DecidedThrough = max(rec.DecidedThrough, c.wall()/1000)
		c.awaitInstant(j)
	}
	if d := j.target(); d.rec.State == deployInProgress {
		c.editDeploy(j, d).ProgressAt = c.now
		c.queue.deploying++
		c.timers.add(timer{at: c.now + d.class.spec.Update.Deadline.Millis(), kind: timerDeploy, job: j})
	}
	c.requeue(j)
	c.emit(&record.Event{Type: "job.resumed", Job: rec.Key, Actor: actor})
	return result, nil
}

func (c *Core) scaleJob(j *job, instances int, actor string) (Result, *Error) {
	if j.kind() != api.KindService {
		return Result{}, conflict("%s is a %s job: only services have instances", j.rec.Key, j.kind())
	}
	if err := c.tooMany(j.rec.Key, instances); err != nil {
		return Result{}, err
	}
	if uint32(instances) == j.rec.Instances {
		return unchanged(j), nil
	}
	result := c.changed(j)
	before := j.rec.Instances
	c.editJob(j).Instances = uint32(instances)
	c.emit(&record.Event{Type: "job.scaled", Job: j.rec.Key, Actor: actor,
		Message: fmt.Sprintf("from %d to %d instances", before, instances)})
	result.Warnings = c.warnings(j)
	return result, nil
}

func (c *Core) cancelByHand(j *job, id, actor string) (Result, *Error) {
	for r := j.runs.first; r != nil; r = r.next {
		if r.rec.Id == id {
			c.cancelRun(r, "cancelled by "+actor)
			return Result{Job: j.rec.Key, Revision: j.rec.Revision, Runs: []string{id}, Changed: true}, nil
		}
	}
	for _, r := range c.retention.runs {
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
