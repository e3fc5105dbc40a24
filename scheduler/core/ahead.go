package core

import "github.com/perigee-sched/perigee/scheduler/record"

// catchUp has what an earlier leader, whose clock was ahead, put into the future
// begin now: else a KILL or the end of a backoff would come late by as much. The
// instants of crons stay decided.
func (c *Core) catchUp(t *task) {
	if rec := t.rec; rec.CreatedAt <= c.now && rec.StateAt <= c.now && rec.StopAt <= c.now && rec.RunningAt <= c.now {
		return
	}
	rec := c.editTask(t)
	if rec.CreatedAt > c.now && rec.NotBefore > c.now {
		rec.NotBefore += c.now - rec.CreatedAt
	}
	if rec.StopAt > c.now {
		rec.KillAt += c.now - rec.StopAt
	}
	for _, at := range []*int64{&rec.CreatedAt, &rec.StateAt, &rec.StopAt, &rec.RunningAt} {
		*at = min(*at, c.now)
	}
}

// catchUpRollout does so for a deploy that goes on.
func (c *Core) catchUpRollout(r *rollout) {
	if r == nil {
		return
	}
	keep := int64(0)
	if r.update.Keep != nil {
		keep = r.update.Keep.Millis()
	}
	ahead := func(rec *record.Rollout) bool {
		return max(rec.StepAt, rec.ProgressAt, rec.SettledAt, rec.SettledFirst, rec.GateAt, rec.PulseAt) > c.now || rec.KeepUntil > c.now+keep
	}
	if !ahead(r.rec) {
		return
	}
	rec := c.editRollout(r)
	for _, at := range []*int64{&rec.StepAt, &rec.ProgressAt, &rec.SettledAt, &rec.SettledFirst, &rec.GateAt, &rec.PulseAt} {
		*at = min(*at, c.now)
	}
	rec.KeepUntil = min(rec.KeepUntil, c.now+keep)
}
