package core

import (
	"bytes"
	"strings"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// states says what an update of Mesos means for a task. GONE_BY_OPERATOR is the
// operator's word that the agent will not be back, so it is as good as lost;
// should the task return all the same, it is killed like every task that is
// over.
var states = map[MesosState]record.TaskState{
	MesosStaging:        taskStaging,
	MesosStarting:       taskStarting,
	MesosRunning:        taskRunning,
	MesosKilling:        taskKilling,
	MesosFinished:       taskFinished,
	MesosFailed:         taskFailed,
	MesosKilled:         taskKilled,
	MesosError:          taskFailed,
	MesosLost:           taskLost,
	MesosDropped:        taskLost,
	MesosGone:           taskLost,
	MesosGoneByOperator: taskLost,
	MesosUnreachable:    taskUnreachable,
	MesosUnknown:        taskUnreachable,
}

// update takes in a status update. It is acknowledged in the same Ready, so
// once what it changes is durable.
func (c *Core) update(u *Update) {
	if len(u.UUID) > 0 {
		c.call(Acknowledge{Task: u.Task, Agent: u.Agent, UUID: u.UUID})
	}
	if c.restored() && u.Task == c.lastTask() {
		c.allTold()
		return
	}
	u.Message, u.Reason = validText(u.Message), validText(u.Reason)
	t := c.tasks[u.Task]
	if t == nil || !t.live() || !t.launched() {
		c.stray(u)
		return
	}
	if u.Agent != "" && u.Agent != t.rec.Agent {
		return // not of this task's launch: nonsense
	}
	t.heardOf = c.mesos.round
	if len(u.UUID) > 0 && bytes.Equal(t.rec.UpdateUuid, u.UUID) {
		return // repeated
	}
	to := states[u.State]
	if u.State == MesosUnknown && t.rec.State == taskLaunching {
		to = taskLost // it never arrived
	}
	changes := mayGo(t.rec.State, to)
	if !changes && to != t.rec.State {
		return // stale
	}
	c.learn(t, u)
	switch {
	case !changes:
		c.giveUp(t) // it still is
	case to.Terminal():
		c.endByUpdate(t, to, u)
	default:
		c.moveByUpdate(t, to, u)
	}
	c.judgeReady(t)
}

// learn takes from an update what it says beside the state. What says nothing
// new, as most answers to a reconciliation do, costs no write.
func (c *Core) learn(t *task, u *Update) {
	if len(u.UUID) > 0 {
		c.editTask(t).UpdateUuid = u.UUID
	}
	if u.Source == SourceExecutor && !t.rec.Started {
		c.editTask(t).Started = true
	}
	if r := u.Report; r != nil {
		rec := c.editTask(t)
		if u.Healthy != nil { // others, and repeated earlier ones, say nothing of health
			rec.Successes = uint32(max(r.Successes, 0))
		}
		if r.Exited {
			rec.ExitCode = int32(r.ExitCode)
		}
		if r.Sandbox != "" {
			c.sandbox(t, validText(r.Sandbox))
		}
	}
	// What a master remembers of health may be older than what we know.
	if u.Healthy == nil || t.rec.HasHealth && t.rec.Healthy == *u.Healthy {
		return
	}
	if u.Source == SourceExecutor || c.rememberedHealth(t) {
		if u.Source != SourceExecutor && *u.Healthy && t.run == nil { // which the executor said only then
			c.editTask(t).Successes = uint32(t.class.spec.Ready.Successes)
		}
		c.healthChanged(t, *u.Healthy, u.Message)
	}
}

// sandbox notes a task's directory. What it has in common with others on its
// agent is kept once: paths are long.
func (c *Core) sandbox(t *task, dir string) {
	root, own := t.rec.SplitSandbox(dir)
	if a := c.pool.agents[t.rec.Agent]; a.sandboxes != root {
		a.sandboxes = strings.Clone(root)
	}
	rec := c.editTask(t)
	rec.SandboxRoot, rec.Sandbox = c.pool.agents[rec.Agent].sandboxes, strings.Clone(own)
}

func (c *Core) healthChanged(t *task, healthy bool, message string) {
	rec := c.editTask(t)
	rec.HasHealth, rec.Healthy = true, healthy
	if healthy {
		c.emitTask(t, "task.healthy", message, "")
		return
	}
	rec.Message = message
	c.emitTask(t, "task.unhealthy", message, "")
	if !t.job.rec.SkipHealth {
		c.unready(t)
	}
}

func (c *Core) moveByUpdate(t *task, to record.TaskState, u *Update) {
	rec := c.editTask(t)
	if to == taskRunning && rec.RunningAt == 0 {
		rec.RunningAt = c.now
		if t.run != nil {
			c.runStarted(t.run)
		}
	}
	if to != taskRunning {
		c.unready(t)
	}
	c.move(t, to, u.Message, u.Reason)
	if to == taskUnreachable {
		c.giveUp(t)
	}
	c.touch(t.job)
}

// endByUpdate decides whose fault an end is. A task that ended before our
// executor reported anything was failed by the cluster, not by itself.
func (c *Core) endByUpdate(t *task, to record.TaskState, u *Update) {
	rec := c.editTask(t)
	why := u.Message
	if why == "" {
		why = u.Reason
	}
	message := u.Message
	switch {
	case u.State == MesosError: // the task itself is wrong, and would be again
		message = "refused by Mesos: " + why
	case to == taskFailed && !rec.Started && u.Source != SourceExecutor:
		to, rec.Infrastructure = taskLost, true
		message = "could not start on " + rec.Host + ": " + why
	case to == taskLost:
		message = strings.TrimSuffix("lost ("+u.State.String()+"): "+u.Message, ": ")
	case to == taskFailed && t.stopping():
		to = taskKilled // it went down as asked, if not gracefully
	}
	c.end(t, to, message, u.Reason)
}

// giveUp replaces a task that was unreachable for as long as its job allows, and
// still is by what Mesos says now: it may have returned while nobody was
// subscribed. Should it return later, it is killed.
func (c *Core) giveUp(t *task) {
	wait := t.class.replaceAfter
	if t.rec.State != taskUnreachable || wait < 0 {
		return
	}
	if due := t.rec.StateAt + wait; due > c.now {
		c.timers.add(timer{at: due, kind: timerUnreachable, task: t})
		return
	}
	if !c.mesos.subscribed || t.heardOf < c.mesos.round {
		return // it is being asked for, and update comes here again
	}
	c.end(t, taskLost, "unreachable for "+formatMillis(c.now-t.rec.StateAt)+"; killed should it return", t.rec.Reason)
}

// strayWait is how long after a KILL of a task that should not be another may
// follow, in ms.
const strayWait = 10_000

// stray answers an update for a task that is not live in our state: with KILL
// when Mesos has it running. KILL of an unknown task makes the master send
// another update, so nothing else is answered, and not at once again.
func (c *Core) stray(u *Update) {
	switch u.State {
	case MesosStaging, MesosStarting, MesosRunning, MesosKilling:
		c.strayLives(u.Task)
	default:
		delete(c.mesos.strays, u.Task)
		c.strayEnded(u.Task)
		return
	}
	if c.now < c.mesos.strays[u.Task] {
		return
	}
	if len(c.mesos.strays) >= 10_000 {
		clear(c.mesos.strays) // bounded; to forget is to repeat a KILL
	}
	c.mesos.strays[u.Task] = c.now + strayWait
	c.call(Kill{Task: u.Task, Agent: u.Agent})
}

// judgeReady decides whether a task serves: it runs, for long enough, and has
// proved its health.
func (c *Core) judgeReady(t *task) {
	rec, spec := t.rec, t.class.spec
	if rec.State != taskRunning || rec.Ready || t.stopping() || t.run != nil {
		return
	}
	if spec.Health != nil && !t.job.rec.SkipHealth && !rec.Unchecked && !(rec.HasHealth && rec.Healthy && int(rec.Successes) >= spec.Ready.Successes) {
		return
	}
	if due := rec.RunningAt + spec.Ready.After.Millis(); due > c.now {
		c.timers.add(timer{at: due, kind: timerReady, task: t})
		return
	}
	rec = c.editTask(t)
	rec.Ready = true
	if rec.ReadyAt == 0 {
		rec.ReadyAt = c.now
	}
	c.emitTask(t, "task.ready", "", "")
	c.touch(t.job)
}

// unready takes a task out of those that serve.
func (c *Core) unready(t *task) {
	if t.rec.Ready {
		c.editTask(t).Ready = false
		c.emitTask(t, "task.unready", "", "")
		c.touch(t.job)
	}
}
