package core

import (
	"fmt"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/cron"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// setSchedule reads a cron's schedule from the wanted deploy.
func (c *Core) setSchedule(j *job) error {
	j.cron = nil
	if s := j.target().class.spec.Schedule; s != nil {
		parsed, err := cron.Parse(s.Cron, s.Zone)
		if err != nil {
			return fmt.Errorf("read the schedule of %s: %w", j.rec.Key, err)
		}
		j.cron = parsed
	}
	return nil
}

// awaitInstant sets the timer of a cron's next instant.
func (c *Core) awaitInstant(j *job) {
	if j.cron == nil || j.rec.Paused || j.rec.Removing || j.gone {
		return
	}
	next := j.cron.Next(time.Unix(j.rec.DecidedThrough, 0))
	if at := next.UnixMilli(); !next.IsZero() && at != j.awaits {
		j.awaits = at // what was awaited before finds nothing to do
		c.instants.add(timer{at: at, job: j})
	}
}

// The most instants of an outage that are looked at one by one; the earlier
// ones are missed.
const instantsMax = 1000

// instantDue is told that the timer of an instant is over.
func (c *Core) instantDue(j *job, at int64) {
	if at == j.awaits {
		j.awaits = 0
		c.decideCron(j)
	}
}

// decideCron decides every due instant, those in (decided_through, now], once:
// what is decided and decided_through are written together.
func (c *Core) decideCron(j *job) {
	if j.cron == nil || j.rec.Paused || j.rec.Removing || j.gone {
		return
	}
	through := c.wall() / 1000
	instants, more := j.cron.Between(time.Unix(j.rec.DecidedThrough, 0), time.Unix(through, 0), instantsMax)
	if len(instants) == 0 {
		c.awaitInstant(j)
		return
	}
	if more > 0 {
		// Between gives the oldest; an outage is judged by the latest.
		total := more + len(instants)
		instants = j.cron.Latest(time.Unix(j.rec.DecidedThrough, 0), time.Unix(through, 0), instantsMax)
		more = max(total-len(instants), 0)
	}
	schedule := j.target().class.spec.Schedule
	onTime, least := 0, min(more, 1) // of those before one is kept, to tell of them by
	for onTime < len(instants)-least && through-instants[len(instants)-1-onTime].Unix() <= int64(schedule.Deadline.Std()/time.Second) {
		onTime++
	}
	late, due := instants[:len(instants)-onTime], instants[len(instants)-onTime:]
	c.decideMissed(j, schedule, late, more)
	for _, instant := range due {
		c.decideInstant(j, schedule, instant.Unix())
	}
	rec := c.editJob(j)
	rec.DecidedThrough = max(rec.DecidedThrough, instants[len(instants)-1].Unix())
	c.awaitInstant(j)
}

// decideMissed applies the missed-run policy to instants that came while no
// scheduler decided; before is how many there were before those.
func (c *Core) decideMissed(j *job, s *api.Schedule, late []time.Time, before int) {
	caught, most := 0, len(late)-min(before, 1)
	switch s.Missed {
	case api.MissedOnce:
		caught = min(1, most)
	case api.MissedAll:
		caught = min(s.MaxMissed, most)
	}
	lost := late[:len(late)-caught]
	if n := len(lost) + before; n > 0 {
		last := lost[len(lost)-1].Unix()
		reason := "no scheduler decided it in time"
		if n > 1 {
			reason = fmt.Sprintf("no scheduler decided these %d instants in time; this is the last of them", n)
		}
		c.newRun(j, &record.Run{Id: instantID(last), Instant: last, Missed: uint32(n)}, runMissed, reason)
	}
	for _, instant := range late[len(late)-caught:] {
		state := runWaiting
		if j.runs.n == 0 || s.Overlap == api.OverlapAllow && j.count(runActive) < s.MaxRuns {
			state = runActive
		}
		c.scheduledRun(j, instant.Unix(), state, "")
	}
}

// decideInstant applies the overlap policy to an instant that is due.
func (c *Core) decideInstant(j *job, s *api.Schedule, instant int64) {
	if j.runs.n == 0 {
		c.scheduledRun(j, instant, runActive, "")
		return
	}
	busy := j.runs.first.rec.Id
	switch s.Overlap {
	case api.OverlapReplace:
		for _, r := range j.runs.all() {
			c.cancelRun(r, "replaced by the run of "+instantID(instant))
		}
		state := runWaiting
		if j.runs.n == 0 {
			state = runActive
		}
		c.scheduledRun(j, instant, state, "")
	case api.OverlapAllow:
		if n := j.count(runActive); n >= s.MaxRuns {
			c.scheduledRun(j, instant, runSkipped, fmt.Sprintf("%d runs are in progress, max_runs is %d", n, s.MaxRuns))
			return
		}
		c.scheduledRun(j, instant, runActive, "")
	case api.OverlapQueue:
		if n := j.count(runWaiting); n >= s.MaxRuns {
			c.scheduledRun(j, instant, runSkipped, fmt.Sprintf("%d runs wait, max_runs is %d", n, s.MaxRuns))
			return
		}
		c.scheduledRun(j, instant, runWaiting, "run "+busy+" is in progress")
	default:
		c.scheduledRun(j, instant, runSkipped, "run "+busy+" was in progress")
	}
}

func (c *Core) scheduledRun(j *job, instant int64, state record.RunState, reason string) {
	cl := j.target().class
	spec := cl.spec
	values, _ := cl.bind(nil) // a cron's have defaults: the spec was valid
	if !state.Terminal() {
		c.editJob(j).LastRunAt = instant
	}
	c.newRun(j, &record.Run{Id: instantID(instant), Instant: instant, Parameters: values,
		Priority: int32(spec.Priority), Retries: uint32(spec.Retries)}, state, reason)
}
