package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/cron"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// checks are design's invariants, as code.
type checks struct {
	w        *world
	lines    []string
	seen     int                  // how often run was called
	started_ map[string]bool      // tasks that an executor was given
	moved    []moved              // crons whose decided_through this entry moves
	told     map[string]int       // by cron: instants that this entry records
	instant  map[string]bool      // job and instant: a run was recorded
	runs     map[string][]string  // by request: runs it started
	held     map[string]time.Time // by id: when an offer came that was not answered yet
	calmFrom time.Time            // since when there are no more faults
	launched []*record.Task       // by this entry
	removed  map[string]bool      // keys of runs that went with their jobs in the step that began them

	taken      map[string]bool            // ids of tasks in ACCEPTs that Mesos took
	lastEpoch  uint64                     // that wrote an entry
	subscribed map[uint64]uint64          // SUBSCRIBEs by epoch
	updates    map[string]core.MesosState // that came, by uuid
	changed    []*record.Task             // by this entry
	replaced   []replaced                 // by this entry
}

func newChecks(w *world) *checks {
	return &checks{w: w, started_: map[string]bool{}, told: map[string]int{}, instant: map[string]bool{}, runs: map[string][]string{}, held: map[string]time.Time{}, removed: map[string]bool{},
		taken: map[string]bool{}, subscribed: map[uint64]uint64{}, updates: map[string]core.MesosState{}}
}

const recentLines = 60

func (c *checks) note(line string) {
	if c.lines = append(c.lines, line); len(c.lines) > 2*recentLines {
		c.lines = slices.Clone(c.lines[recentLines:])
	}
}

func (c *checks) recent() []string { return c.lines[max(0, len(c.lines)-recentLines):] }

func (c *checks) fail(format string, args ...any) { panic(failed(fmt.Sprintf(format, args...))) }

// beforeCall: durable before visible.
func (c *checks) beforeCall(call core.Call) {
	switch call := call.(type) {
	case core.Accept:
		for _, l := range call.Launches {
			t := c.w.journal.task(l.Task)
			if t == nil || t.State != record.TaskState_TASK_STATE_LAUNCHING {
				c.fail("durable before visible: task %s is launched, and the journal has it as %v", l.Task, t)
			}
			if t.StopAt != 0 {
				continue // stopped while its launch was under way: KILL follows
			}
		}
	case core.Acknowledge:
		// A live task must have the update; any other is over, or not ours.
		t := c.w.journal.task(call.Task)
		if t != nil && t.State == record.TaskState_TASK_STATE_PENDING {
			c.fail("durable before visible: an update of %s is acknowledged, and the journal has it as pending", call.Task)
		}
		c.acknowledged(t, call)
	}
}

// written checks one record as it becomes durable.
func (c *checks) written(key string, before, after core.Record) {
	if old, ok := before.(*record.Job); ok && after == nil {
		c.jobGone(old)
	}
	if before == nil && after == nil {
		c.removed[key] = true
	}
	switch after := after.(type) {
	case *record.Task:
		old, ok := before.(*record.Task)
		if ok && old.State.Terminal() && old.State != after.State {
			c.fail("task %s was %v and becomes %v", after.Id, old.State, after.State)
		}
		if ok && old.LaunchedAt == 0 && after.LaunchedAt != 0 && !after.State.Terminal() {
			c.launched = append(c.launched, after)
		}
		c.taskWritten(old, after)
	case *record.Deploy:
		old, _ := before.(*record.Deploy)
		c.deployWritten(old, after)
	case *record.Job:
		old, ok := before.(*record.Job)
		if ok && old.CreatedAt != after.CreatedAt {
			c.jobGone(old) // and another made, in one entry
			ok = false
		}
		if !ok {
			return
		}
		if after.DecidedThrough < old.DecidedThrough {
			c.fail("decided_through of %s goes back from %d to %d", after.Key, old.DecidedThrough, after.DecidedThrough)
		}
		if after.DecidedThrough > old.DecidedThrough && after.Deploy == old.Deploy && !old.Paused {
			c.moved = append(c.moved, moved{after, old.DecidedThrough})
		}
	case *record.Run:
		if before != nil {
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
		if c.instant[name] {
			c.fail("a cron instant is decided once: %s was decided again", name)
		}
		c.instant[name] = true
		c.told[after.Job] += max(1, int(after.Missed))
	}
}

// jobGone forgets the instants of a cron: another may have its name, and clocks
// differ.
func (c *checks) jobGone(j *record.Job) {
	for name := range c.instant {
		if strings.HasPrefix(name, j.Key+" at ") {
			delete(c.instant, name)
		}
	}
}

// moved is a cron whose instants after from, up to its decided_through, an
// entry decides.
type moved struct {
	job  *record.Job
	from int64
}

// entryWritten: the entry that moves decided_through records every instant that
// it passes.
func (c *checks) entryWritten() {
	for _, m := range c.moved {
		s := c.spec(m.job).WithDefaults().Schedule
		schedule, err := cron.Parse(s.Cron, s.Zone)
		if err != nil {
			c.fail("%v", err)
		}
		due, more := schedule.Between(time.Unix(m.from, 0), time.Unix(m.job.DecidedThrough, 0), 10_000)
		if n := len(due) + more; n != c.told[m.job.Key] {
			c.fail("a cron instant is decided once: %s passes %d instants from %d to %d and records %d",
				m.job.Key, n, m.from, m.job.DecidedThrough, c.told[m.job.Key])
		}
	}
	c.served()
	c.moved = c.moved[:0]
	clear(c.told)
	for _, t := range c.launched {
		c.limits(t)
	}
	c.launched = c.launched[:0]
}

// refused: bad input changes nothing.
func (c *checks) refused(r core.Ready) {
	for _, reply := range r.Replies {
		if reply.Err != nil && len(r.Writes)+len(r.Events) > 0 {
			c.fail("bad input changes nothing: a request is answered %q and writes %s", reply.Err.Detail, r.Writes[0].Key)
		}
	}
}

// started: a task id is never reused, and a run has one live task.
func (c *checks) started(x *executorProcess) {
	id := x.task.TaskID.Value
	if c.started_[id] {
		c.fail("task %s was launched twice", id)
	}
	c.started_[id] = true
	t := c.w.journal.task(id)
	if t == nil {
		return // removed meanwhile: it is killed as a stray
	}
	for _, a := range c.w.agents {
		for _, cid := range a.ids() {
			o := a.executors[cid]
			if o == x || o.task == nil || o.over || o.def.Job != x.def.Job || o.dead {
				continue
			}
			if x.def.Run != "" && o.def.Run == x.def.Run {
				c.doubled(o, x, "run "+x.def.Run)
			}
			if x.def.Run == "" && o.def.Run == "" && o.def.Instance == x.def.Instance && o.def.Deploy == x.def.Deploy {
				c.doubled(o, x, fmt.Sprintf("instance %d", x.def.Instance))
			}
		}
	}
}

// doubled: two tasks of one thing run. That is allowed only when the older was
// given up as unreachable, or lost with its agent's state.
func (c *checks) doubled(older, newer *executorProcess, what string) {
	t := c.w.journal.task(older.task.TaskID.Value)
	if t != nil && !t.State.Terminal() {
		c.fail("at most one live task: %s of %s runs as %s and as %s", what, newer.def.Job, older.task.TaskID.Value, newer.task.TaskID.Value)
	}
	if t != nil && t.State == record.TaskState_TASK_STATE_LOST {
		return
	}
	if older.ending {
		return // its end was reported by the agent already
	}
	if t != nil {
		c.fail("at most one live task: %s of %s still runs as %s, which the journal has as %v, when %s starts",
			what, newer.def.Job, older.task.TaskID.Value, t.State, newer.task.TaskID.Value)
	}
}

// replied: an answer is durable, and a request is executed once.
func (c *checks) replied(r *request, result core.Result) {
	if op, ok := r.Op.(core.StartRuns); ok && len(result.Runs) != len(op.Runs) {
		c.fail("%s asked for %d runs and was told of %d", r.name, len(op.Runs), len(result.Runs))
	}
	for _, id := range result.Runs {
		op, ok := r.Op.(core.StartRuns)
		if ok && !slices.Contains(c.runs[r.name], id) && !c.removed[record.RunKey(op.Job, id)] {
			c.fail("%s was answered with run %s, which is not durable", r.name, id)
		}
	}
}

// run checks what must hold after every step.
func (c *checks) run() {
	c.hoarded()
	c.seen++
	if often := c.w.calm && c.w.scale == 1; !often && c.seen%(16*c.w.scale) != 0 {
		return // the rest looks at everything
	}
	c.liveTasks()
	if s := c.w.leader(); s != nil {
		for job, reasons := range s.core.Observe().Pending {
			for _, r := range reasons {
				if r.Summary == "" || r.Tasks == 0 {
					c.fail("a pending task always has a reason: %s has %+v", job, r)
				}
			}
		}
	}
}

// asked is how many runs a request asked for, -1 when it is about something
// else.
func (c *checks) asked(name string) int {
	if r := c.w.users.byName[name]; r != nil {
		if op, ok := r.Op.(core.StartRuns); ok {
			return len(op.Runs)
		}
	}
	return -1
}

// liveTasks: at most one live task per instance and deploy, two in all while a
// deploy replaces it; one per run.
func (c *checks) liveTasks() {
	type slot struct {
		job      string
		instance uint32
	}
	wanted, all, runs := map[slot]int{}, map[slot]int{}, map[string]int{}
	for _, t := range c.w.journal.liveTasks() {
		switch {
		case t.State.Terminal():
		case t.Run != "":
			if runs[t.Job+t.Run]++; runs[t.Job+t.Run] > 1 {
				c.fail("at most one live task: run %s of %s has two", t.Run, t.Job)
			}
		default:
			s := slot{t.Job, t.Instance}
			all[s]++
			if t.StopAt == 0 {
				wanted[s]++
			}
			if wanted[s] > 2 || all[s] > 2 {
				c.fail("at most one live task: instance %d of %s has %d, %d of them wanted", t.Instance, t.Job, all[s], wanted[s])
			}
		}
	}
}

// atRest says whether nothing is left to do.
func (c *checks) atRest() bool {
	for _, m := range c.w.journal.decoded {
		switch m := m.(type) {
		case *record.Task:
			// A cron's task may run: there may always be one.
			if m.Run != "" && !m.State.Terminal() && m.State != record.TaskState_TASK_STATE_RUNNING || m.StopAt != 0 && !m.State.Terminal() {
				return false
			}
		case *record.Deploy:
			if m.State == record.DeployState_DEPLOY_STATE_IN_PROGRESS {
				return false
			}
		}
	}
	return c.gap() == ""
}

// quiet: once all is calm, desired equals actual.
func (c *checks) quiet() {
	if gap := c.gap(); gap != "" {
		c.fail("%v after the last fault, what runs is not what is wanted: %s", settleMost, gap)
	}
	c.crons()
	c.deploys()
	c.answersKept()
	c.w.journal.unchanged()
}

// gap says what differs between what is wanted, believed and running.
func (c *checks) gap() string {
	running := map[string]bool{}
	for _, a := range c.w.agents {
		for _, id := range a.ids() {
			x := a.executors[id]
			if x.task == nil || x.over {
				continue
			}
			running[x.task.TaskID.Value] = true
			t := c.w.journal.task(x.task.TaskID.Value)
			if t == nil || t.State.Terminal() {
				return fmt.Sprintf("no orphan: %s runs on %s, and the journal has it as %v", x.task.TaskID.Value, a.name, t)
			}
		}
	}
	counts := map[string]int{}
	ports := map[string]string{} // task by agent and port
	for _, t := range c.w.journal.liveTasks() {
		if t.State.Terminal() || t.State == record.TaskState_TASK_STATE_PENDING {
			continue
		}
		for _, port := range t.Ports {
			at := fmt.Sprintf("port %d of %s", port, t.Agent)
			if other := ports[at]; other != "" {
				return fmt.Sprintf("%s is given to %s and to %s", at, other, t.Id)
			}
			ports[at] = t.Id
		}
		if t.State != record.TaskState_TASK_STATE_LAUNCHING && !running[t.Id] {
			return fmt.Sprintf("no ghost: %s is %v in the journal and runs nowhere", t.Id, t.State)
		}
		if t.State == record.TaskState_TASK_STATE_RUNNING && t.StopAt == 0 {
			counts[t.Job]++
		}
	}
	for _, m := range c.w.journal.decoded {
		j, ok := m.(*record.Job)
		if !ok || c.kind(j) != api.KindService || c.failing(j) {
			continue
		}
		want := int(j.Instances)
		if j.Paused || j.Removing {
			want = 0
		}
		if counts[j.Key] != want && !c.full(j) {
			return fmt.Sprintf("%s wants %d instances and %d run", j.Key, want, counts[j.Key])
		}
	}
	return ""
}

func (c *checks) spec(j *record.Job) *api.Spec {
	d := c.w.journal.decoded[record.DeployKey(j.Key, j.Deploy)].(*record.Deploy)
	spec, err := api.ParseSpec(d.Spec)
	if err != nil {
		c.fail("%v", err)
	}
	return spec
}

func (c *checks) kind(j *record.Job) api.Kind { return c.spec(j).Kind }

// failing says whether a job's instances end by themselves, so that at any
// moment some may be in their backoff.
func (c *checks) failing(j *record.Job) bool {
	for _, m := range c.w.journal.decoded {
		if d, ok := m.(*record.Deploy); ok && d.Job == j.Key {
			if spec, err := api.ParseSpec(d.Spec); err == nil && (strings.Contains(spec.Command, `"sick":true`) || !strings.Contains(spec.Command, `"for":0`)) {
				return true
			}
		}
	}
	return false
}

// full says whether a job's instances are pending for lack of room.
func (c *checks) full(j *record.Job) bool {
	s := c.w.leader()
	return s != nil && len(s.core.Observe().Pending[j.Key]) > 0
}

// crons: every instant up to decided_through is in the record, once. Instants
// of a pause, or of a schedule before the present one, are not wanted.
func (c *checks) crons() {
	for _, m := range c.w.journal.decoded {
		j, ok := m.(*record.Job)
		if !ok || c.kind(j) != api.KindCron {
			continue
		}
		s := c.spec(j).WithDefaults().Schedule
		schedule, err := cron.Parse(s.Cron, s.Zone)
		if err != nil {
			c.fail("%v", err)
		}
		next := schedule.Next(time.Unix(j.DecidedThrough, 0))
		if late := c.w.now.Sub(next); !next.IsZero() && late > time.Minute && !j.Paused && !j.Removing {
			c.fail("no cron instant is missed: %s has decided up to %v, and %v is past", j.Key, time.Unix(j.DecidedThrough, 0).UTC(), next)
		}
	}
}
