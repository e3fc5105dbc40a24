package core

import (
	"slices"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Short names of the timed actions.
const (
	timedScale      = record.TimedAction_TIMED_ACTION_SCALE
	timedPause      = record.TimedAction_TIMED_ACTION_PAUSE
	timedSkipHealth = record.TimedAction_TIMED_ACTION_SKIP_HEALTH
)

func (j *job) isTimed(action record.TimedAction) bool {
	return slices.ContainsFunc(j.rec.Timed, func(t *record.Timed) bool { return t.Action == action })
}

// setTimed notes when a change is to be taken back. One of the same action that
// is already noted says to what.
func (c *Core) setTimed(j *job, t *record.Timed) {
	rec := c.editJob(j)
	for _, old := range rec.Timed {
		if old.Action == t.Action {
			t.Instances = old.Instances
		}
	}
	c.dropTimed(j, t.Action)
	rec.Timed = append(rec.Timed, t)
	c.awaitRevert(j)
}

// dropTimed forgets to take a change back: another was made for good.
func (c *Core) dropTimed(j *job, action record.TimedAction) {
	if j.isTimed(action) {
		rec := c.editJob(j)
		rec.Timed = slices.DeleteFunc(rec.Timed, func(t *record.Timed) bool { return t.Action == action })
	}
}

func (c *Core) awaitRevert(j *job) {
	for _, t := range j.rec.Timed {
		c.timers.add(timer{at: t.Until, kind: timerTimed, job: j})
	}
}

// revertDue takes back the changes of a job whose time is over.
func (c *Core) revertDue(j *job) {
	if j.gone || j.rec.Removing {
		return
	}
	for _, t := range slices.Clone(j.rec.Timed) {
		if t.Until > c.now {
			continue
		}
		const perigee = "perigee"
		c.changed(j)
		c.dropTimed(j, t.Action)
		c.emit(&record.Event{Type: "job.reverted", Job: j.rec.Key, Actor: perigee, Reason: "what " + t.By + " asked for is over",
			Message: StateNameOf(t)})
		switch t.Action {
		case timedScale:
			c.setInstances(j, t.Instances, perigee)
		case timedPause:
			c.setResumed(j, perigee)
		case timedSkipHealth:
			c.endSkipHealth(j)
		}
	}
}

// StateNameOf is a timed action as users see it: scale, pause, skip-health.
func StateNameOf(t *record.Timed) string {
	switch t.Action {
	case timedScale:
		return string(api.TimedScale)
	case timedPause:
		return string(api.TimedPause)
	case timedSkipHealth:
		return string(api.TimedSkipHealth)
	}
	return "unknown"
}

// skipHealth has health checks count for nothing, for a while: instances are
// ready by running, and what is started has none.
func (c *Core) skipHealth(j *job, op SkipHealth, actor string) (Result, *Error) {
	if j.kind() != api.KindService {
		return Result{}, conflict("%s is a %s job: only the health of services decides anything", j.rec.Key, j.kind())
	}
	if op.Until == 0 {
		if !j.rec.SkipHealth {
			return unchanged(j), nil
		}
		result := c.changed(j)
		c.dropTimed(j, timedSkipHealth)
		c.endSkipHealth(j)
		c.emit(&record.Event{Type: "job.health_checked", Job: j.rec.Key, Actor: actor})
		return result, nil
	}
	result := c.changed(j)
	c.editJob(j).SkipHealth = true
	c.setTimed(j, &record.Timed{Action: timedSkipHealth, Until: op.Until, By: actor})
	c.emit(&record.Event{Type: "job.health_skipped", Job: j.rec.Key, Actor: actor})
	for _, s := range j.slots {
		for _, t := range s.live {
			c.judgeReady(t)
		}
	}
	return result, nil
}

// endSkipHealth has health count again: what is unhealthy no longer serves.
func (c *Core) endSkipHealth(j *job) {
	c.editJob(j).SkipHealth = false
	for _, s := range j.slots {
		for _, t := range s.live {
			if t.class.spec.Health != nil && t.rec.HasHealth && !t.rec.Healthy {
				c.unready(t)
			}
		}
	}
	c.touch(j)
}
