package core

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/cron"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// putJob creates a job, or deploys a new spec of it.
func (c *Core) putJob(op PutJob, actor string) (Result, *Error) {
	if err := c.mayPut(op); err != nil {
		return Result{}, err
	}
	j := c.jobs[op.Spec.Job]
	if j == nil {
		return c.createJob(op, actor)
	}
	if same, err := c.putSame(j, op, actor); same != nil || err != nil {
		if err != nil {
			return Result{}, err
		}
		return *same, nil
	}
	c.makeWay(j, fmt.Sprintf("superseded by deploy %d", j.nextDeploy()))
	c.decideCron(j) // what is due is due by the old schedule
	d, err := c.addDeploy(j, op.Canonical, op.Notes, actor)
	if err != nil {
		return Result{}, err
	}
	if inPlace(j.target(), op) {
		d.rec.Kind, d.rec.Generation = record.DeployKind_DEPLOY_KIND_IN_PLACE, j.target().rec.TasksOf()
		d.class.gen = d.rec.Generation
	}
	before := j.rec.Instances
	if n := op.Spec.Instances; n != nil {
		c.setInstances(j, uint32(*n), actor)
		c.dropTimed(j, timedScale)
	}
	c.startDeploy(j, d, &record.Rollout{InstancesBefore: before, InstancesChanged: before != j.rec.Instances, Resumed: op.Resume && j.rec.Paused})
	result := c.changed(j)
	result.Began = true
	result.Warnings = c.warnings(j)
	return result, nil
}

// mayPut says what forbids a spec, before anything is changed.
func (c *Core) mayPut(op PutJob) *Error {
	if n := op.Spec.Instances; n != nil {
		if err := c.tooMany(op.Spec.Job, *n); err != nil {
			return err
		}
	}
	j := c.jobs[op.Spec.Job]
	if j == nil {
		if op.IfMatch != nil {
			return &Error{Kind: Stale, Detail: fmt.Sprintf("there is no job %s to match", op.Spec.Job)}
		}
		return nil
	}
	switch err := stale(j, op.IfMatch); {
	case op.Create:
		return &Error{Kind: Stale, Detail: fmt.Sprintf("%s exists", j.rec.Key)}
	case err != nil:
		return err
	case j.rec.Removing:
		return conflict("%s is being removed: wait until it is gone", j.rec.Key)
	case j.kind() != op.Spec.Kind:
		return conflict("%s is a %s job and cannot become a %s job: remove it first", j.rec.Key, j.kind(), op.Spec.Kind)
	case j.inProgress() != nil && !op.Supersede && !sameButInstances(j.target().rec.Spec, op):
		return c.busy(j)
	}
	return nil
}

// busy refuses a second deploy while one is in progress.
func (c *Core) busy(j *job) *Error {
	r := j.inProgress()
	return &Error{Kind: Conflict, Deploy: r.deploy.rec.Number,
		Detail: fmt.Sprintf("deploy %d of %s is in progress (%s): wait for it, or supersede it", r.deploy.rec.Number, j.rec.Key, c.progress(r))}
}

// putSame answers a spec that needs no deploy: nil when it does need one.
func (c *Core) putSame(j *job, op PutJob, actor string) (*Result, *Error) {
	if !sameButInstances(j.target().rec.Spec, op) || j.isMixed() {
		return nil, nil
	}
	result := unchanged(j)
	if n := op.Spec.Instances; n != nil && uint32(*n) != j.rec.Instances {
		scaled, err := c.scaleJob(j, ScaleJob{Instances: *n}, actor)
		if err != nil {
			return nil, err
		}
		result = scaled
	}
	if op.Resume && j.rec.Paused {
		if !result.Changed {
			result = c.changed(j)
		}
		c.setResumed(j, actor)
	}
	return &result, nil
}

func (c *Core) createJob(op PutJob, actor string) (Result, *Error) {
	j := newJob(&record.Job{Key: op.Spec.Job, CreatedAt: c.now, Instances: 1})
	d, err := c.addDeploy(j, op.Canonical, op.Notes, actor)
	if err != nil {
		return Result{}, err
	}
	if n := op.Spec.Instances; n != nil {
		c.editJob(j).Instances = uint32(*n)
	}
	c.jobs[j.rec.Key] = j
	c.emit(&record.Event{Type: "job.created", Job: j.rec.Key, Actor: actor})
	c.startDeploy(j, d, &record.Rollout{})
	result := c.changed(j)
	result.Created, result.Began = true, true
	result.Warnings = c.warnings(j)
	return result, nil
}

// sameButInstances compares a stored spec with one that was sent.
func sameButInstances(stored []byte, op PutJob) bool {
	return bytes.Equal(stored, op.Canonical) || sameBut(stored, op.Spec, func(s *api.Spec) { s.Instances = nil })
}

// inPlace says whether a spec differs from a deploy's in nothing that a task
// would notice.
func inPlace(d *deploy, op PutJob) bool {
	return op.Spec.Kind == api.KindService && d.rec.State == deploySucceeded && sameBut(d.rec.Spec, op.Spec, func(s *api.Spec) {
		s.Instances, s.Update, s.Owners = nil, nil, nil
	})
}

// sameBut compares specs without what blank takes out of them. A default that
// is written out is the same as one that is not.
func sameBut(stored []byte, sent *api.Spec, blank func(*api.Spec)) bool {
	old, err := api.ParseSpec(stored)
	if err != nil {
		return false
	}
	before, now := old.WithDefaults(), sent.WithDefaults()
	blank(&before)
	blank(&now)
	a, err1 := before.Canonical()
	b, err2 := now.Canonical()
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

// makeWay ends what another deploy of the job has under way.
func (c *Core) makeWay(j *job, reason string) {
	r := j.rollout
	switch {
	case r == nil:
	case r.rec.Phase == phaseKeeping:
		c.stopOldSet(r, reason)
	default:
		c.endDeploy(j, r.deploy, deploySuperseded, reason)
	}
}

// stopOldSet ends the time in which a blue-green deploy keeps its old set.
func (c *Core) stopOldSet(r *rollout, reason string) {
	for _, s := range r.job.slots {
		for t := s.other(r.deploy.class.gen); t != nil; t = s.other(r.deploy.class.gen) {
			c.stop(t, reason)
		}
	}
	c.endRollout(r)
}

// isMixed says whether some instances run another spec than the wanted one,
// though no deploy goes on: one failed that could not return.
func (j *job) isMixed() bool {
	if j.rollout != nil {
		return false
	}
	for _, s := range j.slots {
		if s.other(j.target().class.gen) != nil {
			return true
		}
	}
	return false
}

// addDeploy adds a deploy of a spec, not yet wanted.
func (c *Core) addDeploy(j *job, canonical []byte, notes Notes, actor string) (*deploy, *Error) {
	if notes.Author == "" {
		notes.Author = actor
	}
	d := &deploy{rec: &record.Deploy{
		Job: j.rec.Key, Number: j.nextDeploy(), Spec: canonical, Digest: api.Digest(canonical),
		Author: notes.Author, Message: notes.Message, Links: notes.Links, From: j.rec.Deploy,
		CreatedAt: c.now, State: deployInProgress,
	}}
	cl, err := c.newClass(j, d)
	if err != nil {
		return nil, &Error{Kind: Invalid, Detail: err.Error()}
	}
	d.class = cl
	if s := cl.spec.Schedule; s != nil {
		if _, err := cron.Parse(s.Cron, s.Zone); err != nil {
			return nil, &Error{Kind: Invalid, Detail: err.Error()}
		}
	}
	c.editJob(j).LastDeploy = d.rec.Number
	j.deploys = append(j.deploys, d)
	c.editDeploy(j, d)
	return d, nil
}

// startDeploy makes a deploy's spec the wanted one, and has instances moved to
// it as rec says.
func (c *Core) startDeploy(j *job, d *deploy, rec *record.Rollout) {
	rec.Back = j.stableBefore(d)
	c.editJob(j).Deploy = d.rec.Number
	c.emitDeploy(j, d, "deploy.started")
	if rec.Resumed {
		c.setResumed(j, d.rec.Author)
	}
	spec := d.class.spec
	switch {
	case spec.Kind != api.KindService:
		c.succeedAtOnce(j, d, "")
	case d.rec.Kind == record.DeployKind_DEPLOY_KIND_IN_PLACE:
		c.succeedAtOnce(j, d, "changed in place: no task is replaced")
	case j.rec.Paused:
		c.succeedAtOnce(j, d, "the job is paused; its instances start on this deploy when it is resumed")
	default:
		c.beginRollout(j, d, rec)
	}
	if spec.Kind == api.KindCron {
		j.rec.DecidedThrough = max(j.rec.DecidedThrough, c.wall()/1000) // another leader's clock may have been ahead
		if err := c.setSchedule(j); err != nil {
			panic(err) // addDeploy read it
		}
		c.awaitInstant(j)
	}
	c.pruneDeploys(j)
	c.touch(j)
}

func (c *Core) succeedAtOnce(j *job, d *deploy, reason string) {
	c.editJob(j).Stable = d.rec.Number
	c.setDeployState(j, d, deploySucceeded, reason)
}

// stableBefore is the deploy that instances return to should d fail: 0 when
// there is none.
func (j *job) stableBefore(d *deploy) uint32 {
	if back := j.deploy(j.rec.Stable); back != nil && back != d {
		return back.rec.Number
	}
	return 0
}

// rollBack returns to an earlier deploy: by undoing the one in progress, or by
// a new one with the earlier one's spec.
func (c *Core) rollBack(j *job, op RollBack, actor string) (Result, *Error) {
	if r := j.rollout; r != nil && (op.To == 0 || op.To == r.rec.Back) {
		return c.undo(j, r, op, actor)
	}
	to, err := c.rollBackTo(j, op)
	if err != nil {
		return Result{}, err
	}
	if j.inProgress() != nil && !op.Supersede {
		return Result{}, c.busy(j)
	}
	if to.rec.Digest == j.target().rec.Digest && j.rollout == nil {
		return unchanged(j), nil
	}
	if op.Message == "" {
		op.Message = fmt.Sprintf("rollback to deploy %d", to.rec.Number)
	}
	return c.deployAgain(j, to, record.DeployKind_DEPLOY_KIND_ROLLBACK, op.Notes, actor, &record.Rollout{})
}

// deployAgain deploys the spec of an earlier deploy.
func (c *Core) deployAgain(j *job, of *deploy, kind record.DeployKind, notes Notes, actor string, rec *record.Rollout) (Result, *Error) {
	c.makeWay(j, fmt.Sprintf("superseded by deploy %d", j.nextDeploy()))
	c.decideCron(j)
	d, err := c.addDeploy(j, of.rec.Spec, notes, actor)
	if err != nil {
		return Result{}, err
	}
	d.rec.Kind, d.rec.Of = kind, of.rec.Number
	rec.InstancesBefore = j.rec.Instances
	c.startDeploy(j, d, rec)
	result := c.changed(j)
	result.Began = true
	return result, nil
}

// undo returns the instances of a deploy that goes on, or whose old set is kept.
func (c *Core) undo(j *job, r *rollout, op RollBack, actor string) (Result, *Error) {
	if r.rec.Phase == phaseReturning {
		return unchanged(j), nil
	}
	if r.back() == nil {
		return Result{}, conflict("deploy %d of %s has no earlier one that succeeded to return to: cancel it, or supersede it", r.deploy.rec.Number, j.rec.Key)
	}
	why := "rolled back by " + actor
	if op.Message != "" {
		why += ": " + op.Message
	}
	result := c.changed(j)
	result.Deploy = r.deploy.rec.Number
	c.beginReturn(r, deployRolledBack, why)
	return result, nil
}

// rollBackTo finds the deploy to return to.
func (c *Core) rollBackTo(j *job, op RollBack) (*deploy, *Error) {
	if op.To != 0 {
		if d := j.deploy(op.To); d != nil {
			return d, nil
		}
		var kept []uint32
		for _, d := range j.deploys {
			kept = append(kept, d.rec.Number)
		}
		return nil, &Error{Kind: NotFound, Detail: fmt.Sprintf("%s has no deploy %d, or it is no longer kept: there are %v", j.rec.Key, op.To, kept)}
	}
	target := j.target()
	for _, d := range slices.Backward(j.deploys) {
		if d.rec.Number < target.rec.Number && d.rec.State == deploySucceeded && d.rec.Digest != target.rec.Digest {
			return d, nil
		}
	}
	return nil, conflict("%s has no earlier deploy that succeeded with another spec than deploy %d's", j.rec.Key, target.rec.Number)
}

// bounce replaces every task of a service with another of its kind.
func (c *Core) bounce(j *job, op Bounce, actor string) (Result, *Error) {
	switch {
	case j.kind() != api.KindService:
		return Result{}, conflict("%s is a %s job: only services are kept running, and bounced", j.rec.Key, j.kind())
	case j.rec.Paused:
		return Result{}, conflict("%s is paused: resume it", j.rec.Key)
	case j.inProgress() != nil:
		return Result{}, c.busy(j)
	}
	if op.Message == "" {
		op.Message = "bounce"
	}
	return c.deployAgain(j, j.target(), record.DeployKind_DEPLOY_KIND_BOUNCE, op.Notes, actor,
		&record.Rollout{AllAtOnce: !op.Incremental, OneByOne: op.Incremental})
}

// restartInstance replaces the task of one instance, or has one that waits for
// its backoff start at once.
func (c *Core) restartInstance(j *job, op RestartInstance, actor string) (Result, *Error) {
	if j.kind() != api.KindService {
		return Result{}, conflict("%s is a %s job: only services have instances", j.rec.Key, j.kind())
	}
	if op.Instance >= j.rec.Instances {
		return Result{}, &Error{Kind: NotFound, Detail: fmt.Sprintf("%s has no instance %d: it has %d, from 0", j.rec.Key, op.Instance, j.rec.Instances)}
	}
	t := j.slot(op.Instance).newest()
	if t == nil || j.rec.Paused {
		return Result{}, conflict("instance %d of %s has no task that could be restarted now", op.Instance, j.rec.Key)
	}
	result := Result{Job: j.rec.Key, Revision: j.rec.Revision, Deploy: t.rec.Deploy, Task: t.rec.Id, Changed: true}
	message := "asked by " + actor
	if op.Reason != "" {
		message += ": " + op.Reason
	}
	switch {
	case !t.launched() && t.rec.NotBefore <= c.now, t.rec.Replace:
		result.Changed = false // it starts as soon as it may
		return result, nil
	case !t.launched():
		rec := c.editTask(t)
		rec.NotBefore, rec.QuickFailures = 0, 0
		c.enqueue(t)
	default:
		c.editTask(t).Replace = true
		c.touch(j)
	}
	c.emitTask(t, "task.restart_asked", message, "")
	return result, nil
}
