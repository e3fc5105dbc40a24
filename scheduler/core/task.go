package core

import (
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// task is one attempt at an instance or a run. What is in rec is durable, the
// rest is worked out anew by each leader.
type task struct {
	rec    *record.Task
	job    *job
	class  *class
	run    *run // of a cron or batch job
	group  *group
	edited uint64 // step in which rec became a copy
	kept

	queued   bool   // in the queue
	answered bool   // the ACCEPT that launches it was answered 202, or is an earlier subscription's
	heardOf  uint64 // subscription in which an update of it came
	askWait  int64  // how long until its launch is asked for again, ms
	killWait int64  // how long until KILL is sent again, ms
	killNext int64  // when it may be, Unix ms
}

func (t *task) live() bool     { return !t.rec.State.Terminal() }
func (t *task) stopping() bool { return t.rec.StopAt != 0 }
func (t *task) launched() bool { return t.rec.State != taskPending }

func (c *Core) editTask(t *task) *record.Task {
	t.job.disturb(t)
	if t.edited != c.step {
		t.rec = t.rec.Copy()
		t.edited = c.step
		c.write(record.TaskKey(t.rec.Id), func() Record {
			if t.gone {
				return nil
			}
			return t.rec
		})
	}
	return t.rec
}

// newTask creates a pending task; rec says of what, and which attempt.
func (c *Core) newTask(cl *class, r *run, rec *record.Task) *task {
	rec.Id = c.cluster.Incarnation + "-" + c.nextID()
	rec.Job = cl.job.rec.Key
	rec.Deploy = cl.deploy.rec.Number
	rec.CreatedAt = c.now
	rec.State = taskPending
	t := &task{rec: rec, job: cl.job, class: cl, run: r}
	c.tasks[rec.Id] = t
	c.editTask(t)
	c.adopt(t)
	message := ""
	if wait := rec.NotBefore - c.now; wait > 0 {
		message = "waits " + formatMillis(wait) + ": attempts before it ended soon after their start"
	}
	c.move(t, taskPending, message, "")
	c.enqueue(t)
	return t
}

// adopt enters a live task into its job, group and agent.
func (c *Core) adopt(t *task) {
	t.class.tasks++
	t.job.live++
	t.group = c.groupOf(t)
	if t.run == nil {
		t.job.slot(t.rec.Instance).add(t)
		t.job.disturb(t)
	}
	if t.launched() {
		c.occupy(t)
	}
}

// move puts a task into a state, with an entry in its timeline and an event.
func (c *Core) move(t *task, to record.TaskState, message, reason string) {
	rec := c.editTask(t)
	message = validText(message) // a refusal of Mesos's comes here too
	rec.State, rec.StateAt = to, c.now
	rec.Message, rec.Reason = message, reason
	moment, err := proto.Marshal(&record.Timeline{Moments: []*record.Moment{
		{At: c.now, State: to, Message: message, Reason: reason}}})
	if err != nil {
		panic(err) // only strings that are not UTF-8, which update makes sure of
	}
	rec.Timeline = shortened(append(rec.Timeline, moment...))
	c.emitTask(t, "task."+StateName(to), message, reason)
}

func (c *Core) emitTask(t *task, typ, message, reason string) {
	rec := t.rec
	c.emit(&record.Event{Type: typ, Job: rec.Job, Task: rec.Id, Run: rec.Run, Deploy: rec.Deploy,
		Instance: rec.Instance, Attempt: rec.Attempt, Agent: rec.Agent, Host: rec.Host, Ports: rec.Ports,
		State: StateName(rec.State), Reason: reason, Message: message, ExitCode: rec.ExitCode})
}

// stop ends a task. A pending one is gone at once; one that serves is
// withdrawn, and killed after its drain delay.
func (c *Core) stop(t *task, reason string) {
	if !t.live() || t.stopping() {
		return
	}
	rec := c.editTask(t)
	rec.StopAt, rec.StopReason, rec.Replace = c.now, reason, false
	if !t.launched() {
		c.end(t, taskKilled, reason, "")
		return
	}
	rec.KillAt = c.now
	if rec.Ready {
		rec.KillAt += t.class.spec.Stop.Drain.Millis()
	}
	rec.Withdrawn, rec.Ready = true, false
	c.emitTask(t, "task.stopping", reason, "")
	c.kill(t)
	c.touch(t.job)
}

// The wait before a KILL that was not confirmed is sent again doubles from the
// first to the second, in ms.
const (
	killWaitMin = 10_000
	killWaitMax = 120_000
)

// kill sends KILL when it is due, and again until the task is terminal.
func (c *Core) kill(t *task) {
	switch {
	case !t.live() || !t.stopping() || !t.launched():
		return
	case t.rec.KillAt > c.now:
		c.timers.add(timer{at: t.rec.KillAt, kind: timerKill, task: t})
		return
	case !c.mesos.subscribed:
		return // subscribed sends it
	case c.now < t.killNext:
		return // the timer was of a KILL before the last one
	}
	c.call(Kill{Task: t.rec.Id, Agent: t.rec.Agent})
	t.killWait = min(max(2*t.killWait, killWaitMin), killWaitMax)
	t.killNext = c.now + t.killWait
	c.timers.add(timer{at: t.killNext, kind: timerKill, task: t})
}

// end makes a task terminal and lets its job decide what follows.
func (c *Core) end(t *task, state record.TaskState, message, reason string) {
	rec := c.editTask(t)
	if t.launched() {
		c.vacate(t)
	} else {
		c.dequeue(t)
	}
	switch {
	case message == "" && t.stopping():
		message = rec.StopReason
	case message == "" && state == taskKilled:
		message = "killed, though nobody asked Perigee to"
	}
	rec.EndedAt, rec.Ready, rec.Withdrawn, rec.UpdateUuid = c.now, false, true, nil
	c.move(t, state, message, reason)
	t.job.live--
	t.class.tasks--
	if t.run != nil {
		c.runTaskEnded(t)
	} else {
		t.job.slot(rec.Instance).remove(t)
		c.countFailure(t)
	}
	c.leaveGroup(t)
	c.taskEnded(t)
	t.job.unblock()
	c.pool.freed = true
	c.touch(t.job)
}

// backoff returns when the attempt after t may start, and how many there were
// in a row that ended soon after their start.
func (c *Core) backoff(t *task) (notBefore int64, quick uint32) {
	rec := t.rec
	switch {
	case rec.StopAt != 0:
		return 0, 0 // a user's restart, or a deploy
	case rec.State == taskLost && !rec.Infrastructure:
		return 0, rec.QuickFailures // says nothing about the task
	}
	restart := t.class.restart
	if rec.RunningAt > 0 && rec.EndedAt-rec.RunningAt >= restart.Reset.Millis() {
		return 0, 0
	}
	wait := restart.Min.Millis()
	for range rec.QuickFailures {
		if wait *= 2; wait >= restart.Max.Millis() {
			break
		}
	}
	return c.now + min(wait, restart.Max.Millis()), rec.QuickFailures + 1
}
