package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// slot is an instance of a service: its live tasks, oldest first, and the one
// that ended last.
type slot struct {
	live  []*task
	last  *task
	ended []*task // those that are kept
}

func (j *job) slot(instance uint32) *slot {
	for int(instance) >= len(j.slots) {
		j.slots = append(j.slots, &slot{})
	}
	return j.slots[instance]
}

func (s *slot) add(t *task) { s.live = append(s.live, t) }

func (s *slot) remove(t *task) {
	s.live = slices.DeleteFunc(s.live, func(l *task) bool { return l == t })
	if s.last == nil || s.last.rec.EndedAt <= t.rec.EndedAt {
		s.last = t
	}
}

// newest returns the live task that is meant to stay, nil when there is none.
func (s *slot) newest() *task {
	for i := len(s.live) - 1; i >= 0; i-- {
		if !s.live[i].stopping() {
			return s.live[i]
		}
	}
	return nil
}

// on says whether the slot's newest task, live or not, is of a deploy.
func (s *slot) on(d *deploy) bool {
	if n := len(s.live); n > 0 {
		return s.live[n-1].class == d.class
	}
	return s.last != nil && s.last.class == d.class
}

// servesOn says whether the slot has moved to a deploy and serves there.
func (s *slot) servesOn(d *deploy) bool {
	t := s.newest()
	return t != nil && t.class == d.class && t.rec.Ready
}

func (c *Core) reconcileDirty() {
	for len(c.dirty) > 0 {
		j := c.dirty[0]
		c.dirty = c.dirty[1:]
		j.dirty = false
		if j.gone {
			continue
		}
		if j.kind() == api.KindService {
			c.reconcileService(j)
		} else {
			c.startWaiting(j)
		}
		c.removeIfDone(j)
	}
}

// reconcileService compares what a service wants with what it has, and closes
// the gap as far as may be done now. It is called after every change, so it
// needs no memory of its own.
//
// Instances that run another spec than the wanted one are moved one at a time,
// from 0 up: the first that does not serve on the wanted deploy has its turn.
// Instances behind it go on as they are, and are started again on what they
// ran, should they end.
func (c *Core) reconcileService(j *job) {
	wanted := int(j.rec.Instances)
	if j.rec.Paused || j.rec.Removing {
		wanted = 0
	}
	for i := len(j.slots) - 1; i >= wanted; i-- { // the highest first
		for _, t := range slices.Clone(j.slots[i].live) {
			c.stop(t, j.surplus())
		}
	}
	target, turn := j.target(), -1
	for i := range wanted {
		s := j.slot(uint32(i))
		if turn < 0 && !s.servesOn(target) {
			turn = i
		}
		c.reconcileSlot(j, s, uint32(i), turn == i)
	}
	if turn < 0 {
		c.deployDone(j)
	}
}

func (j *job) surplus() string {
	switch {
	case j.rec.Removing:
		return "the job is removed"
	case j.rec.Paused:
		return "the job is paused"
	}
	return fmt.Sprintf("scaled down to %d", j.rec.Instances)
}

// reconcileSlot sees to one instance; turn says whether it may move to the
// wanted deploy now.
func (c *Core) reconcileSlot(j *job, s *slot, instance uint32, turn bool) {
	target, t := j.target(), s.newest()
	if t == nil {
		if len(s.live) == 0 {
			c.startInstance(j, s, instance, turn)
		}
		return
	}
	if t.class == target.class {
		if t.rec.Ready && len(s.live) > 1 {
			for _, old := range slices.Clone(s.live) {
				if old != t {
					c.stop(old, fmt.Sprintf("replaced by %s of deploy %d", t.rec.Id, target.rec.Number))
				}
			}
		}
		return
	}
	switch {
	case !turn:
	case !t.launched(), !t.rec.Ready, target.class.spec.Update.StopFirst:
		// Nothing is lost by stopping first one that does not serve.
		c.stop(t, fmt.Sprintf("makes room for deploy %d", target.rec.Number))
		if len(s.live) == 0 {
			c.startInstance(j, s, instance, turn)
		}
	case len(s.live) == 1: // never more than the old and the new one
		c.startInstance(j, s, instance, turn)
	}
}

// startInstance creates the next task of an instance: on the wanted deploy,
// unless that is still to prove itself and it is not this instance's turn.
func (c *Core) startInstance(j *job, s *slot, instance uint32, turn bool) {
	cl := j.target().class
	if !turn && j.target().rec.State == deployInProgress && s.last != nil && !s.on(j.target()) {
		if old := j.deploy(s.last.rec.Deploy); old != nil && !old.gone {
			cl = old.class
		}
	}
	rec := &record.Task{Instance: instance, Attempt: 1}
	if last := s.last; last != nil {
		rec.Attempt = last.rec.Attempt + 1
		if last.class == cl {
			rec.NotBefore, rec.QuickFailures = c.backoff(last)
			if last.rec.Infrastructure {
				rec.Avoid = last.rec.Agent
			}
		}
	}
	for _, t := range s.live {
		rec.Attempt = max(rec.Attempt, t.rec.Attempt+1)
	}
	rec.Priority = int32(cl.spec.Priority)
	c.newTask(cl, nil, rec)
}

// progressed notes that an instance became ready on the wanted deploy.
func (c *Core) progressed(t *task) {
	d := t.class.deploy
	if t.run == nil && d.rec.State == deployInProgress {
		c.editDeploy(t.job, d).ProgressAt = c.now
		c.emitDeploy(t.job, d, "deploy.progressed")
	}
}

// deployDone ends a deploy whose instances all serve.
func (c *Core) deployDone(j *job) {
	d := j.target()
	if j.rec.Paused || j.rec.Removing {
		return
	}
	if d.rec.State == deployInProgress {
		c.endDeploy(j, d, deploySucceeded, "")
	}
	if j.rec.Stable != d.rec.Number {
		c.editJob(j).Stable = d.rec.Number
	}
}

func (c *Core) endDeploy(j *job, d *deploy, state record.DeployState, reason string) {
	rec := c.editDeploy(j, d)
	if rec.State == deployInProgress && !j.rec.Paused {
		c.queue.deploying--
	}
	rec.State, rec.Reason, rec.EndedAt = state, reason, c.now
	c.emitDeploy(j, d, "deploy."+StateName(state))
	c.pruneDeploys(j)
}

func (c *Core) emitDeploy(j *job, d *deploy, typ string) {
	c.emit(&record.Event{Type: typ, Job: j.rec.Key, Deploy: d.rec.Number, State: StateName(d.rec.State),
		Reason: d.rec.Reason, Message: d.rec.Message, Actor: d.rec.Author})
}

// judgeProgress fails a deploy in which no instance became ready for too long.
// Its instances return to the deploy before, when there is one.
func (c *Core) judgeProgress(j *job) {
	d := j.target()
	if j.gone || d.rec.State != deployInProgress || j.rec.Paused || j.rec.Removing {
		return
	}
	deadline := d.class.spec.Update.Deadline
	since := max(d.rec.ProgressAt, d.rec.CreatedAt, c.mesos.since) // nothing could be seen to progress before
	if !c.mesos.subscribed {
		since = c.now
	}
	if due := since + deadline.Millis(); due > c.now {
		c.timers.add(timer{at: due, kind: timerDeploy, job: j})
		return
	}
	reason := fmt.Sprintf("no instance became ready for %s: %s", deadline, c.whyNotReady(j, d))
	if back := j.deploy(j.rec.Stable); back != nil && back != d {
		reason += fmt.Sprintf("; the instances return to deploy %d", back.rec.Number)
		c.editJob(j).Deploy = back.rec.Number
	}
	c.endDeploy(j, d, deployFailed, reason)
	c.touch(j)
}

// whyNotReady says what the first instance that does not serve waits for.
func (c *Core) whyNotReady(j *job, d *deploy) string {
	for i, s := range j.slots {
		if s.servesOn(d) {
			continue
		}
		t := s.newest()
		if t == nil || t.class != d.class {
			if t = s.last; t == nil || t.class != d.class {
				return fmt.Sprintf("instance %d waits for its turn", i)
			}
		}
		switch {
		case t.rec.State == taskPending && t.rec.QuickFailures > 0 && s.last != nil:
			return fmt.Sprintf("instance %d keeps ending soon after its start: %s", i, s.last.rec.Message)
		case t.rec.State == taskPending:
			return fmt.Sprintf("instance %d is pending: %s", i, c.explain(t.class).Summary)
		default:
			return strings.TrimSuffix(fmt.Sprintf("instance %d is %s: %s", i, StateName(t.rec.State), t.rec.Message), ": ")
		}
	}
	return "no instance is wanted"
}

func formatMillis(ms int64) string {
	return api.Duration(time.Duration(ms) * time.Millisecond).String()
}
