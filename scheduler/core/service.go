package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func (c *Core) reconcileDirty() {
	for {
		for len(c.dirty) > 0 {
			j := c.dirty[0]
			c.dirty = c.dirty[1:]
			j.dirty = false
			if j.gone || c.lookedTooOften(j) {
				continue
			}
			if j.kind() == api.KindService {
				c.reconcileService(j)
			} else {
				c.startWaiting(j)
			}
			c.removeIfDone(j)
		}
		if !c.advanceGroups() {
			return
		}
	}
}

// looksMost is how often one job is looked at in one step; a handful is usual.
const looksMost = 200

// lookedTooOften cuts off a job that has itself looked at again without end,
// which would be a mistake of ours: that one job must not take the scheduler,
// and each one that takes over, down with it. It is looked at again in a second.
func (c *Core) lookedTooOften(j *job) bool {
	if j.looked != c.step {
		j.looked, j.looks = c.step, 0
	}
	if j.looks++; j.looks <= looksMost {
		return false
	}
	c.cut++
	c.timers.add(timer{at: c.now + 1000, kind: timerDeploy, job: j})
	return true
}

// reconcileService compares what a service wants with what it has, and closes
// the gap as far as may be done now. It is called after every change, so it
// needs no memory of its own: what a deploy has to remember is in its rollout.
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
	switch r := j.rollout; {
	case j.rec.Paused || j.rec.Removing:
	case r == nil:
		for i := range wanted {
			if _, calm := j.calmOn(uint32(i)); !calm {
				c.keepInstance(j, j.slot(uint32(i)), uint32(i))
			}
		}
	case r.rec.Phase == phaseReturning:
		c.bringBack(r, wanted)
	case r.rec.Phase == phaseKeeping:
		c.keepBoth(r, wanted)
	default:
		c.moveOn(r, wanted)
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

// keepInstance sees to an instance that is not being moved: it goes on with
// what it runs, and starts on the wanted spec.
func (c *Core) keepInstance(j *job, s *slot, instance uint32) {
	if len(s.live) == 0 {
		c.startInstance(j.target().class, s, instance)
		return
	}
	c.replaceAsked(s, instance)
	c.stopReplaced(s)
}

// replaceAsked starts a task beside one that somebody asked to be replaced, or
// that one first where the job stops first.
func (c *Core) replaceAsked(s *slot, instance uint32) {
	t := s.newest()
	switch {
	case t == nil || !t.rec.Replace:
	case t.class.spec.Update.StopFirst || !t.rec.Ready:
		c.stop(t, "restarted")
		if len(s.live) == 0 {
			c.startInstance(t.class, s, instance)
		}
	case len(s.live) == 1:
		c.startInstance(t.class, s, instance)
	}
}

// stopReplaced stops the tasks beside the newest once that serves.
func (c *Core) stopReplaced(s *slot) {
	t := s.newest()
	if t == nil || !t.rec.Ready {
		return
	}
	for _, old := range slices.Clone(s.live) {
		if old != t {
			c.stop(old, fmt.Sprintf("replaced by %s of deploy %d", t.rec.Id, t.rec.Deploy))
		}
	}
}

// startInstance creates the next task of an instance.
func (c *Core) startInstance(cl *class, s *slot, instance uint32) {
	rec := &record.Task{Instance: instance, Attempt: s.attempts + 1, Priority: int32(cl.spec.Priority)}
	if last := s.lastOn(cl.gen); last != nil && s.on(cl.gen) == nil {
		rec.NotBefore, rec.QuickFailures = c.backoff(last)
		if last.rec.Infrastructure {
			rec.Avoid = last.rec.Agent
		}
	}
	c.newTask(cl, nil, rec)
}

// ownClass is what an instance runs, or ran last, unless that is of a
// generation or no longer kept; def then.
func (j *job) ownClass(s *slot, not uint32, def *class) *class {
	if s.last == nil || s.last.class == nil || s.last.class.gen == not {
		return def
	}
	if d := j.deploy(s.last.rec.Deploy); d == nil || d.gone {
		return def
	}
	return s.last.class
}

func formatMillis(ms int64) string {
	return api.Duration(time.Duration(ms) * time.Millisecond).String()
}
