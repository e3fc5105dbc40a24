package sim

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// cronChecks see that an instant is decided once, by the entry that passes it.
type cronChecks struct {
	moved   []moved         // crons whose decided_through this entry moves
	told    map[string]int  // by cron: instants that this entry records
	instant map[string]bool // job and instant: a run was recorded
	seen    map[string]bool // epoch and key of a run that a step has written
}

// moved is a cron whose instants after from, up to its decided_through, an
// entry decides.
type moved struct {
	job  *record.Job
	from int64
}

func newCronChecks() cronChecks {
	return cronChecks{told: map[string]int{}, instant: map[string]bool{}, seen: map[string]bool{}}
}

func (cc *cronChecks) forget(job string) {
	maps.DeleteFunc(cc.instant, func(name string, _ bool) bool { return strings.HasPrefix(name, job+" at ") })
}

// decided notes how far a cron was decided.
func (c *checks) decided(before, after *record.Job) {
	if after.DecidedThrough < before.DecidedThrough {
		c.fail("decided_through of %s goes back from %d to %d", after.Key, before.DecidedThrough, after.DecidedThrough)
	}
	// It may have been paused and resumed within the entry: what came between was not wanted.
	paused := before.Paused || after.Revision > before.Revision+1
	if after.DecidedThrough > before.DecidedThrough && after.Deploy == before.Deploy && !paused {
		c.crons.moved = append(c.crons.moved, moved{after, before.DecidedThrough})
	}
}

func (c *checks) runWritten(before, after *record.Run) {
	c.sawRun(before, after)
	if before != nil {
		c.runChanged(before, after)
		return
	}
	if after.Instant == 0 {
		c.runs[after.RequestedBy] = append(c.runs[after.RequestedBy], after.Id)
		if n := c.asked(after.RequestedBy); n >= 0 && len(c.runs[after.RequestedBy]) > n {
			c.fail("a request is executed once: %s asked for %d runs and started %d", after.RequestedBy, n, len(c.runs[after.RequestedBy]))
		}
		return
	}
	name := fmt.Sprintf("%s at %d", after.Job, after.Instant)
	if c.crons.instant[name] {
		c.fail("a cron instant is decided once: %s was decided again", name)
	}
	c.crons.instant[name] = true
	c.crons.told[after.Job] += max(1, int(after.Missed))
}

// runChanged: what is over stays so, and failures are counted.
func (c *checks) runChanged(before, after *record.Run) {
	switch {
	case before.State.Terminal() && before.State != after.State:
		c.fail("a run that is over stays so: run %s of %s was %v and becomes %v", after.Id, after.Job, before.State, after.State)
	case after.Failures < before.Failures || after.Attempts < before.Attempts:
		c.fail("what counts up never goes back: run %s of %s had %d failures in %d attempts, and has %d in %d",
			after.Id, after.Job, before.Failures, before.Attempts, after.Failures, after.Attempts)
	case after.State == record.RunState_RUN_STATE_FAILED && after.Failures != after.Retries+1:
		c.fail("a run fails after its retries: run %s of %s has %d and failed after %d failures", after.Id, after.Job, after.Retries, after.Failures)
	}
}

// tooEarly: an instant is not decided before the wall clock says that it came.
func (c *checks) tooEarly(s *schedulerProcess, r core.Ready) {
	for _, wr := range r.Writes {
		run, ok := wr.Record.(*record.Run)
		if !ok || run.Instant == 0 {
			continue
		}
		key := fmt.Sprint(s.epoch, wr.Key)
		first := !c.crons.seen[key] && c.w.journal.decoded[wr.Key] == nil // not an edit of one that is not durable yet
		c.crons.seen[key] = true
		if first && run.Instant > s.wall().Unix() {
			c.fail("a cron instant comes when the clock says so: that of %s at %v is decided at %v", run.Job, time.Unix(run.Instant, 0).UTC(), s.wall())
		}
	}
}

// cronsDecided: the entry that moves decided_through records every instant that
// it passes.
func (c *checks) cronsDecided() {
	for _, m := range c.crons.moved {
		due, more := c.spec(m.job).schedule.Between(time.Unix(m.from, 0), time.Unix(m.job.DecidedThrough, 0), 10_000)
		if n := len(due) + more; n != c.crons.told[m.job.Key] {
			c.fail("a cron instant is decided once: %s passes %d instants from %d to %d and records %d",
				m.job.Key, n, m.from, m.job.DecidedThrough, c.crons.told[m.job.Key])
		}
	}
	c.crons.moved = c.crons.moved[:0]
	clear(c.crons.told)
}

// cronsAtRest: every instant up to decided_through is in the record, once; the
// last one is not long ago. Instants of a pause, or of a schedule before the
// present one, are not wanted.
func (c *checks) cronsAtRest() {
	for _, j := range c.w.journal.jobs() {
		s := c.spec(j)
		if s.Kind != api.KindCron {
			continue
		}
		next := s.schedule.Next(time.Unix(j.DecidedThrough, 0))
		if late := c.w.now.Sub(next); !next.IsZero() && late > time.Minute && !j.Paused && !j.Removing {
			c.fail("no cron instant is missed: %s has decided up to %v, and %v is past", j.Key, time.Unix(j.DecidedThrough, 0).UTC(), next)
		}
	}
}
