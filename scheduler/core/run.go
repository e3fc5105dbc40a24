package core

import (
	"cmp"
	"fmt"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// run is one execution of a cron or batch job.
type run struct {
	rec    *record.Run
	job    *job
	edited uint64
	kept
	task *task // the current one, nil while it waits

	prev, next *run    // in job.runs
	ended      []*task // still kept
}

// runList is a job's unfinished runs, which may be many and end in any order.
type runList struct {
	first, last *run
	n           int
}

func (l *runList) add(r *run) {
	if r.prev = l.last; r.prev == nil {
		l.first = r
	} else {
		r.prev.next = r
	}
	l.last = r
	l.n++
}

func (l *runList) remove(r *run) {
	if r.prev == nil {
		l.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		l.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	l.n--
}

func (l *runList) all() []*run {
	runs := make([]*run, 0, l.n)
	for r := l.first; r != nil; r = r.next {
		runs = append(runs, r)
	}
	return runs
}

func (c *Core) editRun(r *run) *record.Run {
	if r.edited != c.step {
		r.rec = r.rec.Copy()
		r.edited = c.step
		c.write(record.RunKey(r.rec.Job, r.rec.Id), func() Record {
			if r.gone {
				return nil
			}
			return r.rec
		})
	}
	return r.rec
}

// newRun creates a run in its first state.
func (c *Core) newRun(j *job, rec *record.Run, state record.RunState, reason string) *run {
	rec.Job, rec.CreatedAt = j.rec.Key, c.now
	if rec.Deploy == 0 {
		rec.Deploy = j.rec.Deploy
	}
	r := &run{rec: rec, job: j}
	c.editRun(r)
	rec = r.rec
	rec.State, rec.Reason = state, reason
	switch {
	case state.Terminal():
		rec.EndedAt = c.now
		c.runEnded(r)
	default:
		j.runs.add(r)
	}
	c.emitRun(r)
	if state == runActive {
		c.attempt(r, nil)
	}
	return r
}

func (c *Core) emitRun(r *run) { c.tellRun(r, "run."+StateName(r.rec.State)) }

func (c *Core) tellRun(r *run, typ string) {
	rec := r.rec
	c.emit(&record.Event{Type: typ, Job: rec.Job, Run: rec.Id, Deploy: rec.Deploy,
		State: StateName(rec.State), Reason: rec.Reason, Task: rec.Task, Attempt: rec.Attempts, Actor: cmp.Or(c.acting, rec.RequestedBy)})
}

// attempt creates the next task of a run; last is the one before.
func (c *Core) attempt(r *run, last *task) {
	rec := c.editRun(r)
	rec.Attempts++
	next := &record.Task{Run: rec.Id, Attempt: rec.Attempts, Group: rec.Group, Priority: rec.Priority}
	if last != nil {
		next.NotBefore, next.QuickFailures = c.backoff(last)
		if last.rec.Infrastructure {
			next.Avoid = last.rec.Agent
		}
	}
	r.task = c.newTask(r.job.deploy(rec.Deploy).class, r, next)
	rec.Task = r.task.rec.Id
}

func (c *Core) runStarted(r *run) {
	if r.rec.StartedAt == 0 {
		c.editRun(r).StartedAt = c.now
		c.tellRun(r, "run.started")
	}
}

// runTaskEnded decides what follows the end of a run's task. What the cluster
// did to it does not count against it.
func (c *Core) runTaskEnded(t *task) {
	r := t.run
	rec := c.editRun(r)
	r.task = nil
	switch {
	case t.rec.State == taskFinished:
		c.endRun(r, runSucceeded, "")
	case rec.Cancel:
		c.endRun(r, runCancelled, rec.Reason)
	case t.rec.State == taskLost:
		c.attempt(r, t)
	default:
		rec.Failures++
		if rec.Failures > rec.Retries {
			c.endRun(r, runFailed, failureReason(rec, t))
			return
		}
		c.attempt(r, t)
	}
}

func failureReason(rec *record.Run, t *task) string {
	if rec.Failures == 1 {
		return t.rec.Message
	}
	return fmt.Sprintf("failed %d times, the last time: %s", rec.Failures, t.rec.Message)
}

func (c *Core) endRun(r *run, state record.RunState, reason string) {
	rec := c.editRun(r)
	rec.State, rec.Reason, rec.EndedAt = state, reason, c.now
	j := r.job
	j.runs.remove(r)
	c.runEnded(r)
	c.emitRun(r)
	c.touch(j) // the next may start
}

// startWaiting starts the runs that waited longest: one when none is active, and
// with overlap allow as many as may be.
func (c *Core) startWaiting(j *job) {
	if j.rec.Paused || j.rec.Removing {
		return
	}
	s := j.target().class.spec.Schedule
	if s == nil {
		return // only crons have runs that wait
	}
	room := 1
	if s.Overlap == api.OverlapAllow {
		room = s.MaxRuns
	}
	room -= j.count(runActive)
	for r := j.runs.first; r != nil && room > 0; r = r.next {
		if r.rec.State == runWaiting {
			rec := c.editRun(r)
			rec.State, rec.Reason = runActive, ""
			c.emitRun(r)
			c.attempt(r, nil)
			room--
		}
	}
}

// cancelRun ends a run, at once if it has no launched task.
func (c *Core) cancelRun(r *run, reason string) {
	if r.rec.Cancel || r.rec.State.Terminal() {
		return
	}
	rec := c.editRun(r)
	rec.Cancel, rec.Reason = true, reason
	if r.task == nil {
		c.endRun(r, runCancelled, reason)
		return
	}
	if r.task.launched() {
		c.tellRun(r, "run.cancelling") // and cancelled once its task is over
	}
	c.stop(r.task, reason)
}

// count returns how many of a job's runs are in a state.
func (j *job) count(state record.RunState) int {
	n := 0
	for r := j.runs.first; r != nil; r = r.next {
		if r.rec.State == state {
			n++
		}
	}
	return n
}

// instantID names a scheduled run by its instant, in Unix seconds.
func instantID(instant int64) string {
	return time.Unix(instant, 0).UTC().Format("20060102T150405Z")
}

// startRuns starts runs that a user asked for.
func (c *Core) startRuns(j *job, op StartRuns, actor string) (Result, *Error) {
	spec := j.target().class.spec
	if spec.Kind == api.KindService {
		return Result{}, conflict("%s is a service: it runs by itself; only crons and batch jobs have runs", op.Job)
	}
	bound := make([]map[string]string, len(op.Runs))
	for i, n := range op.Runs {
		values, problems := j.target().class.bind(n.Parameters)
		if len(problems) > 0 {
			for k := range problems {
				problems[k].Location = fmt.Sprintf("runs[%d].%s", i, problems[k].Location)
			}
			return Result{}, &Error{Kind: Invalid, Detail: "the parameters are not what " + op.Job + " declares", Fields: problems}
		}
		bound[i] = values
	}
	if n := c.queue.pending + len(op.Runs); n > c.cfg.PendingMost {
		return Result{}, conflict("%d tasks wait to be placed already, and this scheduler allows %d at most (limits.pending in its configuration): start these %d later",
			c.queue.pending, c.cfg.PendingMost, len(op.Runs))
	}
	state, err := c.handRunState(j, len(op.Runs))
	if err != nil {
		return Result{}, err
	}
	result := Result{Job: op.Job, Changed: true, Deploy: j.rec.Deploy, Revision: j.rec.Revision}
	for i, n := range op.Runs {
		rec := &record.Run{
			Id:         time.UnixMilli(c.now).UTC().Format("20060102T150405Z") + "-" + c.nextID(),
			Parameters: bound[i], Group: n.Group, Priority: int32(spec.Priority), RequestedBy: actor,
		}
		if n.Priority != nil {
			rec.Priority = int32(*n.Priority)
		}
		switch {
		case n.Retries != nil:
			rec.Retries = uint32(*n.Retries)
		case spec.Kind == api.KindBatch:
			rec.Retries = uint32(spec.Retries)
		}
		c.newRun(j, rec, state, "")
		result.Runs = append(result.Runs, rec.Id)
	}
	return result, nil
}

// handRunState applies a cron's overlap policy to runs started by hand. The
// schedule goes on as it is.
func (c *Core) handRunState(j *job, n int) (record.RunState, *Error) {
	if j.rec.Paused {
		return 0, conflict("%s is paused: resume it first", j.rec.Key)
	}
	schedule := j.target().class.spec.Schedule
	if schedule == nil || j.runs.n == 0 && n == 1 || schedule.Overlap == api.OverlapAllow {
		return runActive, nil
	}
	if schedule.Overlap == api.OverlapForbid {
		return 0, conflict("%s has a run in progress, or more than one was asked for, and its overlap policy is forbid", j.rec.Key)
	}
	c.touch(j) // the first may start
	return runWaiting, nil
}
