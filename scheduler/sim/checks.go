package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/cron"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// checks are design's invariants, as code.
type checks struct {
	w     *world
	lines []string
	seen  int // how often run was called
	specs map[string]*specRead

	crons   cronChecks
	tasks   taskChecks
	leaders leaderChecks
	offers  offerChecks
	deploys deployChecks
	runs    map[string][]string // by request: runs it started
	removed map[string]bool     // keys of runs that went with their jobs in the step that began them
	steered map[string]bool     // jobs that users changed in this entry
	events  eventChecks
}

func newChecks(w *world) *checks {
	return &checks{w: w, specs: map[string]*specRead{}, runs: map[string][]string{}, removed: map[string]bool{}, steered: map[string]bool{},
		crons: newCronChecks(), tasks: newTaskChecks(), leaders: newLeaderChecks(), offers: newOfferChecks(), deploys: newDeployChecks(), events: newEventChecks()}
}

const recentLines = 60

func (c *checks) note(line string) {
	if c.lines = append(c.lines, line); len(c.lines) > 2*recentLines {
		c.lines = slices.Clone(c.lines[recentLines:])
	}
}

func (c *checks) recent() []string { return c.lines[max(0, len(c.lines)-recentLines):] }

func (c *checks) fail(format string, args ...any) { panic(failed(fmt.Sprintf(format, args...))) }

// specRead is a spec as it was sent, with its defaults, and what the simulation
// knows of it.
type specRead struct {
	*api.Spec
	does     behaviour
	schedule *cron.Schedule // of a cron
}

func (c *checks) specOf(d *record.Deploy) *specRead {
	if s := c.specs[string(d.Spec)]; s != nil {
		return s
	}
	spec, err := api.ParseSpec(d.Spec)
	if err != nil {
		c.fail("the spec of deploy %d of %s cannot be read: %v", d.Number, d.Job, err)
	}
	full := spec.WithDefaults()
	s := &specRead{Spec: &full}
	if err := json.Unmarshal([]byte(full.Command), &s.does); err != nil {
		c.fail("the command of deploy %d of %s cannot be read: %v", d.Number, d.Job, err)
	}
	if full.Schedule != nil {
		if s.schedule, err = cron.Parse(full.Schedule.Cron, full.Schedule.Zone); err != nil {
			c.fail("%v", err)
		}
	}
	c.specs[string(d.Spec)] = s
	return s
}

// spec is the wanted one of a job.
func (c *checks) spec(j *record.Job) *specRead {
	d := c.w.journal.deploy(j.Key, j.Deploy)
	if d == nil {
		c.fail("%s wants deploy %d, which is not kept", j.Key, j.Deploy)
	}
	return c.specOf(d)
}

// written checks one record as it becomes durable.
func (c *checks) written(key string, before, after core.Record) {
	c.finishedWritten(key, before, after)
	if before == nil && after == nil {
		c.removed[key] = true
	}
	switch after := after.(type) {
	case nil:
		switch old := before.(type) {
		case *record.Task:
			delete(c.events.tasks, old.Id)
		case *record.Job:
			c.w.sees("job removed")
			c.jobGone(old)
		case *record.Rollout:
			c.rolloutWritten(old, nil)
		}
	case *record.Group:
		old, _ := before.(*record.Group)
		c.groupWritten(old, after)
	case *record.Rollout:
		old, _ := before.(*record.Rollout)
		c.rolloutWritten(old, after)
	case *record.Task:
		old, _ := before.(*record.Task)
		c.events.written = append(c.events.written, after)
		c.taskWritten(old, after)
	case *record.Deploy:
		old, _ := before.(*record.Deploy)
		c.deployWritten(old, after)
	case *record.Job:
		old, _ := before.(*record.Job)
		if old != nil && old.CreatedAt != after.CreatedAt {
			c.jobGone(old) // and another made, in one entry
			old = nil
		}
		c.jobWritten(old, after)
	case *record.Run:
		old, _ := before.(*record.Run)
		c.runWritten(old, after)
	}
}

func (c *checks) jobWritten(before, after *record.Job) {
	c.deploys.jobs[after.Key] = true
	if before == nil {
		c.steered[after.Key] = true
		c.sawJobMade(after)
		return
	}
	if after.Revision < before.Revision || after.LastDeploy < before.LastDeploy {
		c.fail("what counts up never goes back: %s was at revision %d and deploy %d, and is at %d and %d",
			after.Key, before.Revision, before.LastDeploy, after.Revision, after.LastDeploy)
	}
	if after.Revision > before.Revision {
		c.steered[after.Key] = true
	}
	c.sawJobChanged(before, after)
	c.decided(before, after)
}

// jobGone forgets what is known of a job: another may have its name, and clocks
// differ.
func (c *checks) jobGone(j *record.Job) {
	c.crons.forget(j.Key)
	c.deploys.forget(j.Key)
}

// entryWritten checks an entry that is durable, and all of it in its place.
func (c *checks) entryWritten() {
	c.cronsDecided()
	c.deploysAfter()
	for _, t := range c.tasks.launched {
		c.limits(t)
	}
	for _, t := range c.tasks.ready {
		c.proved(t)
	}
	c.liveTasks()
	c.timelinesTold()
	c.tasks.next()
	clear(c.steered)
}

// refused: bad input changes nothing.
func (c *checks) refused(r core.Ready) {
	for _, reply := range r.Replies {
		if reply.Err != nil && len(r.Writes)+len(r.Events) > 0 {
			c.fail("bad input changes nothing: a request is answered %q and writes %s", reply.Err.Detail, r.Writes[0].Key)
		}
	}
}

// replied: an answer is durable, and a request is executed once.
func (c *checks) replied(r *request, result core.Result) {
	op, ok := r.Op.(core.StartRuns)
	if !ok {
		return
	}
	if len(result.Runs) != len(op.Runs) {
		c.fail("%s asked for %d runs and was answered with %d", r.name, len(op.Runs), len(result.Runs))
	}
	for _, id := range result.Runs {
		if !slices.Contains(c.runs[r.name], id) && !c.removed[record.RunKey(op.Job, id)] {
			c.fail("durable before visible: %s was answered with run %s, which is not durable", r.name, id)
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

// reasonsEvery so many steps the reasons of pending tasks are looked at, which
// costs what all agents are asked.
const reasonsEvery = 48

// run checks what must hold after every step.
func (c *checks) run() {
	c.hoarded()
	if c.seen++; c.seen%(reasonsEvery*c.w.scale) == 0 {
		c.reasons()
	}
}

// reasons: a pending task always has one, and no job kept the core busy.
func (c *checks) reasons() {
	s := c.w.leader()
	if s == nil {
		return
	}
	observed := s.core.Observe()
	if observed.LoopsCut > 0 {
		c.fail("a step ends: a job had itself looked at without end, and was cut off")
	}
	for job, reasons := range observed.Pending {
		for _, r := range reasons {
			if r.Summary == "" || r.Tasks == 0 {
				c.fail("a pending task always has a reason: %s has %+v", job, r)
			}
			c.sawPending(r)
		}
	}
}

func (c *checks) sawPending(r api.PendingReason) {
	for _, refusal := range r.Refused {
		switch refusal.Filter {
		case "cpus", "memory":
			c.w.sees("no room")
		case "ports":
			c.w.sees("ports run out")
		case "limit":
			c.w.sees("limit per host met")
		case "constraint":
			if refusal.Agents == r.Agents {
				c.w.sees("instance fits nowhere")
			}
		}
	}
}

// millis is a time of a record.
func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
