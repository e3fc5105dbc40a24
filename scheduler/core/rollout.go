package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Short names of the phases.
const (
	phaseMoving    = record.RolloutPhase_ROLLOUT_PHASE_MOVING
	phaseBaking    = record.RolloutPhase_ROLLOUT_PHASE_BAKING
	phaseGate      = record.RolloutPhase_ROLLOUT_PHASE_GATE
	phasePromotion = record.RolloutPhase_ROLLOUT_PHASE_PROMOTION
	phaseKeeping   = record.RolloutPhase_ROLLOUT_PHASE_KEEPING
	phaseReturning = record.RolloutPhase_ROLLOUT_PHASE_RETURNING
)

// rollout is how far the deploy of a service is. A job has one while a deploy
// goes on, and while a blue-green deploy that succeeded keeps its old set.
type rollout struct {
	rec    *record.Rollout
	edited uint64
	gone   bool
	job    *job
	deploy *deploy
	update *api.Update

	targets   []int // of its steps, for targetsOf instances
	targetsOf int

	wakeAt int64 // when a timerDeploy is due, 0 when none is
	// The gate was asked last at askedAt; asked: it has not answered.
	askedAt int64
	asked   bool
}

func (c *Core) editRollout(r *rollout) *record.Rollout {
	if r.edited != c.step {
		r.rec = proto.CloneOf(r.rec)
		r.edited = c.step
		c.write(record.RolloutKey(r.job.rec.Key), func() Record {
			if r.gone {
				if now := r.job.rollout; now != nil && !r.job.gone {
					return now.rec // another took its key in the same step
				}
				return nil
			}
			return r.rec
		})
	}
	return r.rec
}

// newRollout reads how a deploy moves its instances.
func newRollout(j *job, d *deploy, rec *record.Rollout) *rollout {
	return &rollout{rec: rec, job: j, deploy: d, update: UpdateOf(d.class.spec, rec)}
}

// beginRollout has a deploy's instances moved.
func (c *Core) beginRollout(j *job, d *deploy, rec *record.Rollout) {
	rec.Job, rec.Deploy, rec.Phase = j.rec.Key, d.rec.Number, phaseMoving
	rec.StepAt, rec.ProgressAt, rec.PulseAt = c.now, c.now, c.now
	r := newRollout(j, d, rec)
	j.rollout = r
	c.editRollout(r)
	c.editJob(j).Withheld = 0
	j.rec.ServingOnly = 0
	if r.blueGreen() {
		j.rec.Withheld = d.rec.Number
	}
	c.countDeploying(j)
	c.touch(j)
}

// endRollout forgets how far a deploy was: nothing more follows of it.
func (c *Core) endRollout(r *rollout) {
	j := r.job
	c.editRollout(r)
	r.gone = true
	j.rollout = nil
	c.retention.freed = true
	if rec := c.editJob(j); rec.Withheld != 0 || rec.ServingOnly != 0 {
		rec.Withheld, rec.ServingOnly = 0, 0
	}
	c.countDeploying(j)
}

// blueGreen says whether a whole set is started beside an old one.
func (r *rollout) blueGreen() bool {
	return r.update.Strategy == api.StrategyBlueGreen && r.rec.Back != 0
}

// back is the deploy that instances return to, nil when there is none.
func (r *rollout) back() *deploy {
	if r.rec.Back == 0 {
		return nil
	}
	return r.job.deploy(r.rec.Back)
}

// first says whether nothing ran before, so that all instances start at once.
func (r *rollout) first() bool { return r.deploy.rec.From == 0 }

// step returns how many of n instances had moved before the step, and have when
// it is complete; last when none follows.
func (r *rollout) step(n int) (before, target int, last bool) {
	if r.targets == nil || r.targetsOf != n {
		r.targets, r.targetsOf = TargetsOf(r.deploy.rec, r.update, n), n
	}
	targets, i := r.targets, int(r.rec.Step)
	if i >= len(targets)-1 { // also when fewer are wanted now
		i, last = len(targets)-1, true
	}
	if i > 0 {
		before = targets[i-1]
	}
	return before, targets[i], last
}

// current returns the named step that the deploy is at, the zero Step for one of
// batches. Where nothing ran before there is nothing to compare with, and so no
// canary.
func (r *rollout) current() api.Step {
	if r.first() {
		return api.Step{}
	}
	return r.update.Step(int(r.rec.Step))
}

// stepName is how people call the step.
func (r *rollout) stepName() string {
	if name := r.current().Name; name != "" {
		return name
	}
	return fmt.Sprintf("batch %d", r.rec.Step+1)
}

// setPhase notes what the deploy does.
func (c *Core) setPhase(r *rollout, phase record.RolloutPhase) {
	if r.rec.Phase != phase {
		c.editRollout(r).Phase = phase
		c.countDeploying(r.job)
	}
}

// countDeploying keeps count of the deploys whose next instances will be
// pending soon, for which offers are held.
func (c *Core) countDeploying(j *job) {
	r := j.rollout
	soon := r != nil && !j.rec.Paused && !j.rec.Removing && !j.gone && !r.rec.Paused && !r.rec.PulseMissed &&
		(r.rec.Phase == phaseMoving || r.rec.Phase == phaseReturning)
	if soon == j.deploying {
		return
	}
	j.deploying = soon
	if soon {
		c.queue.deploying++
	} else {
		c.queue.deploying--
	}
}

// touchRollouts has every deploy that goes on looked at: what it waits for
// counts from now on.
func (c *Core) touchRollouts() {
	for _, key := range slices.Sorted(maps.Keys(c.jobs)) {
		if j := c.jobs[key]; j.rollout != nil {
			c.touch(j)
		}
	}
}

// wakeRollout has a job looked at at a time, Unix ms.
func (c *Core) wakeRollout(r *rollout, at int64) {
	if r.wakeAt > c.now && r.wakeAt <= at {
		return // it is looked at before
	}
	at = max(at, c.now+1)
	r.wakeAt = at
	c.timers.add(timer{at: at, kind: timerDeploy, job: r.job})
}

// rolloutDue is told that a timer of wakeRollout is over.
func (c *Core) rolloutDue(j *job) {
	if !j.gone {
		c.touch(j)
	}
}

// since is when time began to count for a deploy: nothing could be seen to
// progress before this scheduler was subscribed, nor before a restored state had
// settled.
func (c *Core) since(times ...int64) int64 {
	since := max(c.mesos.since, c.settledAt)
	for _, t := range times {
		since = max(since, t)
	}
	return since
}

// held says why a deploy does not go on: it was paused, or its pulse is missing.
func (c *Core) held(r *rollout) string {
	if r.rec.Paused {
		return "paused: " + r.rec.PauseReason
	}
	pulse := r.update.Pulse.Millis()
	if pulse == 0 || r.rec.Phase == phaseReturning || r.rec.Phase == phaseKeeping {
		return ""
	}
	if r.rec.PulseMissed {
		return "its pulse is missing"
	}
	until := c.since(r.rec.PulseAt) + pulse
	if c.now < until {
		c.wakeRollout(r, until)
		return ""
	}
	c.editRollout(r).PulseMissed = true
	c.countDeploying(r.job)
	why := fmt.Sprintf("no pulse for %s", r.update.Pulse)
	c.tellDeploy(r.job, r.deploy, "deploy.held", why)
	return why
}

// setDeployState moves a deploy to a state by the table.
func (c *Core) setDeployState(j *job, d *deploy, state record.DeployState, reason string) {
	rec := c.editDeploy(j, d)
	rec.State, rec.Reason = state, reason
	if state.Terminal() {
		rec.EndedAt = c.now
	} else {
		rec.EndedAt = 0
	}
	c.emitDeploy(j, d, "deploy."+StateName(state))
	c.deployMoved(d)
}

func (c *Core) emitDeploy(j *job, d *deploy, typ string) { c.tellDeploy(j, d, typ, d.rec.Reason) }

func (c *Core) tellDeploy(j *job, d *deploy, typ, reason string) {
	actor := d.rec.Author
	if typ != "deploy.started" {
		actor = cmp.Or(c.acting, actor) // who pauses, cancels or promotes it may be another
	}
	c.emit(&record.Event{Type: typ, Job: j.rec.Key, Deploy: d.rec.Number, State: StateName(d.rec.State),
		Reason: reason, Message: d.rec.Message, Actor: actor})
}

// endDeploy ends a deploy in progress, and what it had under way.
func (c *Core) endDeploy(j *job, d *deploy, state record.DeployState, reason string) {
	if r := j.rollout; r != nil && r.deploy == d {
		c.endRollout(r)
	}
	c.setDeployState(j, d, state, reason)
	c.pruneDeploys(j)
	c.touch(j)
}

// inProgress returns the rollout of a deploy that is not over, nil when there
// is none.
func (j *job) inProgress() *rollout {
	if r := j.rollout; r != nil && !r.deploy.rec.State.Terminal() {
		return r
	}
	return nil
}

// progress says how far a deploy is.
func (c *Core) progress(r *rollout) string {
	if r.rec.Phase == phaseReturning {
		return fmt.Sprintf("its instances return to deploy %d", r.rec.Back)
	}
	n, gen := 0, r.deploy.class.gen
	for i, s := range r.job.slots {
		if on, calm := r.job.calmOn(uint32(i)); calm && on == gen || !calm && s.ready(gen) != nil {
			n++
		}
	}
	text := fmt.Sprintf("%d of %d instances moved", n, r.job.rec.Instances)
	if r.rec.Paused {
		text += "; it is paused: " + r.rec.PauseReason
	}
	return text
}
