package sim

import (
	"fmt"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Short names of the record's enumerations.
const (
	taskPending     = record.TaskState_TASK_STATE_PENDING
	taskLaunching   = record.TaskState_TASK_STATE_LAUNCHING
	taskStaging     = record.TaskState_TASK_STATE_STAGING
	taskStarting    = record.TaskState_TASK_STATE_STARTING
	taskRunning     = record.TaskState_TASK_STATE_RUNNING
	taskUnreachable = record.TaskState_TASK_STATE_UNREACHABLE
	taskFailed      = record.TaskState_TASK_STATE_FAILED
	taskLost        = record.TaskState_TASK_STATE_LOST

	runWaiting = record.RunState_RUN_STATE_WAITING
	runActive  = record.RunState_RUN_STATE_ACTIVE

	deployInProgress = record.DeployState_DEPLOY_STATE_IN_PROGRESS
	deployFailed     = record.DeployState_DEPLOY_STATE_FAILED
	deploySucceeded  = record.DeployState_DEPLOY_STATE_SUCCEEDED
)

// taskChecks see that a task is what the journal says before anybody hears of
// it, that ids are used once, and that one task of a thing lives.
type taskChecks struct {
	started map[string]bool            // tasks that an executor was given
	taken   map[string]bool            // ids of tasks in ACCEPTs that Mesos took
	updates map[string]core.MesosState // that came, by uuid
	killed  map[string]int             // KILLs by task
	asked   map[string]bool            // tasks that a user wanted to be replaced

	lastUpdate map[string]string // uuid of the last that an executor or agent sent, by task

	// Executors by what they run, in the order of their starts, those that
	// ended perhaps still among them.
	executors map[string]*executorProcess // by task
	ofSlot    map[slot][]*executorProcess
	ofRun     map[runName][]*executorProcess

	launched []*record.Task // by this entry
	changed  []*record.Task // by this entry
	replaced []*record.Task // serving tasks that this entry stops
	ready    []*record.Task // that begin to serve by this entry
}

func newTaskChecks() taskChecks {
	return taskChecks{started: map[string]bool{}, asked: map[string]bool{}, taken: map[string]bool{}, updates: map[string]core.MesosState{}, killed: map[string]int{}, lastUpdate: map[string]string{},
		executors: map[string]*executorProcess{}, ofSlot: map[slot][]*executorProcess{}, ofRun: map[runName][]*executorProcess{}}
}

// next forgets what an entry did.
func (tc *taskChecks) next() {
	tc.launched, tc.changed, tc.replaced, tc.ready = tc.launched[:0], tc.changed[:0], tc.replaced[:0], tc.ready[:0]
}

func (c *checks) taskWritten(before, after *record.Task) {
	c.sawTask(before, after)
	tc := &c.tasks
	tc.changed = append(tc.changed, after)
	if after.Replace {
		tc.asked[after.Id] = true
	}
	if before == nil {
		c.attempts(after)
		return
	}
	if before.State.Terminal() && before.State != after.State {
		c.fail("a task that is over stays so: task %s was %v and becomes %v", after.Id, before.State, after.State)
	}
	if before.LaunchedAt == 0 && after.LaunchedAt != 0 && !after.State.Terminal() {
		tc.launched = append(tc.launched, after)
	}
	if after.Ready && !before.Ready {
		tc.ready = append(tc.ready, after)
	}
	if before.Run == "" && before.Ready && before.StopAt == 0 && after.StopAt != 0 {
		tc.replaced = append(tc.replaced, after)
	}
}

// attempts: those of an instance are counted up.
func (c *checks) attempts(t *record.Task) {
	if t.Run != "" || c.w.scale > 1 {
		return
	}
	for _, o := range c.w.journal.tasks_ {
		if o.Job == t.Job && o.Run == "" && o.Instance == t.Instance && o.Id < t.Id && o.Attempt >= t.Attempt {
			c.fail("what counts up never goes back: %s is attempt %d at instance %d of %s, and %s was attempt %d",
				t.Id, t.Attempt, t.Instance, t.Job, o.Id, o.Attempt)
		}
	}
}

// proved: an instance is ready once its health check has succeeded.
func (c *checks) proved(t *record.Task) {
	d := c.w.journal.deploy(t.Job, t.Deploy)
	if d == nil || c.specOf(d).Health == nil || c.w.journal.job(t.Job).GetSkipHealth() || c.steered[t.Job] {
		return
	}
	x := c.tasks.executors[t.Id]
	if x != nil && x.def.Spec.Health == nil {
		return // started while health counted for nothing
	}
	if x == nil || !x.proved {
		c.fail("ready is what proved its health: %s is ready, and its executor never said that it is healthy", t.Id)
	}
}

// beforeCall: durable before visible.
func (c *checks) beforeCall(s *schedulerProcess, call core.Call) {
	switch call := call.(type) {
	case core.Accept:
		for _, l := range call.Launches {
			// One stopped while its launch was under way is launched too: KILL follows.
			if t := c.w.journal.task(l.Task); t == nil || t.State != taskLaunching {
				c.fail("durable before visible: task %s is launched, and the journal has it as %s", l.Task, describe(t))
			}
		}
	case core.Acknowledge:
		// A live task must have the update; any other is over, or not ours.
		t := c.w.journal.task(call.Task)
		if t != nil && t.State == taskPending {
			c.fail("durable before visible: an update of %s is acknowledged, and the journal has it as pending", call.Task)
		}
		c.acknowledged(t, call)
	case core.Kill:
		t := c.w.journal.task(call.Task)
		switch {
		case t == nil || t.State.Terminal():
		case t.StopAt == 0:
			c.fail("durable before visible: task %s is killed, and the journal has it as %s and wanted", call.Task, describe(t))
		case t.KillAt > s.coreAt:
			c.fail("a KILL waits for the drain: task %s is killed %d ms too early", call.Task, t.KillAt-s.coreAt)
		}
	}
}

// describe is a task for messages.
func describe(t *record.Task) string {
	if t == nil {
		return "unknown"
	}
	return fmt.Sprintf("%v (%s)", t.State, t.Message)
}

// acknowledged: what is acknowledged will not come again, so the journal must
// know what it told.
func (c *checks) acknowledged(t *record.Task, call core.Acknowledge) {
	if t == nil || t.State.Terminal() {
		return
	}
	told := c.tasks.updates[string(call.UUID)]
	missed := false
	switch told {
	case core.MesosFinished, core.MesosFailed, core.MesosKilled, core.MesosError, core.MesosLost, core.MesosDropped,
		core.MesosGone, core.MesosGoneByOperator:
		missed = true
	case core.MesosStarting, core.MesosRunning:
		missed = t.State == taskLaunching || t.State == taskStaging || told == core.MesosRunning && t.State == taskStarting
	}
	if missed {
		c.fail("durable before visible: that %s is %v is acknowledged, and the journal has it as %v", call.Task, told, t.State)
	}
}

// taken checks a call that Mesos took.
func (c *checks) taken(s *schedulerProcess, call core.Call) {
	tc := &c.tasks
	switch call := call.(type) {
	case core.Accept:
		for _, l := range call.Launches {
			if tc.taken[l.Task] {
				c.fail("an id is used once: task %s was launched before", l.Task)
			}
			tc.taken[l.Task] = true
			if t := c.w.journal.task(l.Task); t.Agent != call.Agent {
				c.fail("durable before visible: task %s is launched on agent %s, and the journal has it on %s", l.Task, call.Agent, t.Agent)
			}
		}
	case core.Kill:
		c.sawKill(s, call)
	}
}

// started: a task id is never reused, and of an instance and of a run one task
// runs.
func (c *checks) started(x *executorProcess) {
	tc, id := &c.tasks, x.task.TaskID.Value
	if tc.started[id] {
		c.fail("an id is used once: task %s was launched twice", id)
	}
	tc.started[id] = true
	tc.executors[id] = x
	var others []*executorProcess
	what := "run " + x.def.Run
	if x.def.Run == "" {
		what = fmt.Sprint("instance ", x.def.Instance)
		key := slot{x.def.Job, x.def.Instance}
		others = tc.ofSlot[key]
		tc.ofSlot[key] = append(running(others), x)
	} else {
		key := runName{x.def.Job, x.def.Run}
		others = tc.ofRun[key]
		tc.ofRun[key] = append(running(others), x)
	}
	if c.w.journal.task(id) == nil {
		return // removed meanwhile: it is killed as a stray
	}
	for _, o := range running(others) {
		if o.def.Run != "" || o.def.Deploy == x.def.Deploy {
			c.doubled(o, x, what)
		}
	}
}

// running are the executors among some that have a task which is not over.
func running(list []*executorProcess) []*executorProcess {
	var out []*executorProcess
	for _, x := range list {
		if !x.dead && !x.over {
			out = append(out, x)
		}
	}
	return out
}

// doubled: two tasks of one thing run. That is allowed only when the older was
// given up as unreachable, or lost with its agent's state, or a user asked for
// another in its place.
func (c *checks) doubled(older, newer *executorProcess, what string) {
	t := c.w.journal.task(older.task.TaskID.Value)
	switch {
	case t == nil:
		c.besideStray(older, newer, what)
	case t.State == taskLost, c.tasks.asked[t.Id]:
	case !t.State.Terminal():
		c.fail("at most one live task: %s of %s runs as %s and as %s", what, newer.def.Job, older.task.TaskID.Value, newer.task.TaskID.Value)
	case older.ending:
		// Its end was reported by the agent already.
	default:
		c.fail("at most one live task: %s of %s still runs as %s, which the journal has as %v, when %s starts",
			what, newer.def.Job, older.task.TaskID.Value, t.State, newer.task.TaskID.Value)
	}
}

// liveTasks: at most one live task per run; and per instance, unless a deploy
// starts the new one before it stops the old one.
func (c *checks) liveTasks() {
	live := c.w.journal.live
	for _, t := range c.tasks.changed {
		if t.Run != "" {
			if list := live.runs[runName{t.Job, t.Run}]; len(list) > 1 {
				c.fail("at most one live task: run %s of %s has %s and %s", t.Run, t.Job, list[0].Id, list[1].Id)
			}
			continue
		}
		if list := live.slots[slotOf(t)]; len(list) > 1 {
			c.replacing(list)
		}
	}
}

// limits: a launch exceeds no limit per host, whatever deploys the tasks are of.
func (c *checks) limits(launched *record.Task) {
	d := c.w.journal.deploy(launched.Job, launched.Deploy)
	if d == nil {
		c.fail("task %s is launched of deploy %d of %s, which is not kept", launched.Id, launched.Deploy, launched.Job)
	}
	most, limited := c.specOf(d).Limits["host"]
	if !limited {
		return
	}
	n := 0
	for _, t := range c.w.journal.live.hosts[jobHost{launched.Job, launched.Host}] {
		if t.Deploy == launched.Deploy || t.LaunchedAt < launched.LaunchedAt { // others of this step may have had no limit
			n++
		}
	}
	if n > most {
		c.fail("at most so many tasks per host: %s is launched on %s, which has %d of %s with it, and %d are allowed",
			launched.Id, launched.Host, n, launched.Job, most)
	}
}
