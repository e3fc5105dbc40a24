package core

import (
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/constraint"
	"github.com/perigee-sched/perigee/api/cron"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// job is one job with all that belongs to it.
type job struct {
	rec    *record.Job
	edited uint64
	gone   bool
	dirty  bool   // in Core.dirty
	looked uint64 // step in which it was looked at last
	looks  int    // and how often in that step
	live   int    // tasks that are not terminal

	team    string
	deploys []*deploy // by number, those that are kept
	slots   []*slot   // of a service, by instance
	calm    []uint32  // likewise: generation + 1 of what calmOn found, 0 where it has to look
	rollout *rollout  // of a service, while a deploy goes on
	// deploying is whether queue.deploying counts it.
	deploying bool
	runs      runList // waiting and active, oldest first
	cron      *cron.Schedule
	awaits    int64  // the instant that a timer is set for, Unix ms; 0 when none is
	ended     []*run // of a cron, those that are kept

	// placed counts the live launched tasks by attribute and value, of the
	// attributes that a spec limits or spreads over, and by host.
	placed map[string]map[string]int
}

// deploy is one deploy of a job and its spec, read.
type deploy struct {
	rec    *record.Deploy
	edited uint64
	gone   bool
	class  *class
}

// class is what placement needs to know of a deploy's tasks, which are all
// alike to it.
type class struct {
	job          *job
	deploy       *deploy
	gen          uint32    // tasks of classes of a job with the same are alike
	spec         *api.Spec // defaults filled in
	specJSON     json.RawMessage
	tasks        int // live
	replaceAfter int64
	restart      api.Restart       // of a run's retries: the defaults
	need         Amounts           // the executor's included
	defaults     map[string]string // parameters of runs that were given none
	constraints  []constraint.Constraint
	limits       []limit
	attributes   []string // that limits and spread are about, "host" excepted
	verdicts     []int8   // of the constraints, by attribute set: 0 unknown, 1 met, -1 not
	queued       int      // tasks in the queue
	blocked      bool     // has queued tasks, which fit on none of the held offers
}

// bind returns the parameters of a run that was given these. Those that were
// given none share one map, which nobody changes.
func (cl *class) bind(given map[string]string) (map[string]string, []api.ProblemField) {
	if len(given) > 0 {
		return cl.spec.BindParameters(given)
	}
	if cl.defaults == nil {
		values, problems := cl.spec.BindParameters(nil)
		if len(problems) > 0 {
			return nil, problems
		}
		cl.defaults = values
	}
	return cl.defaults, nil
}

type limit struct {
	attribute string
	most      int
}

const hostAttribute = "host"

// newClass reads a spec, which was valid when it was deployed.
func (c *Core) newClass(j *job, d *deploy) (*class, error) {
	spec, err := api.ParseSpec(d.rec.Spec)
	if err != nil {
		return nil, fmt.Errorf("read the spec of %s, deploy %d: %w", j.rec.Key, d.rec.Number, err)
	}
	full := spec.WithDefaults()
	if full.User == "" {
		full.User = c.cfg.DefaultUser
	}
	cl := &class{job: j, deploy: d, gen: d.rec.TasksOf(), spec: &full, replaceAfter: c.cfg.ReplaceAfter,
		restart: api.Restart{Min: api.DefaultRestartMin, Max: api.DefaultRestartMax, Reset: api.DefaultRestartReset}}
	if full.Restart != nil {
		cl.restart = *full.Restart
	}
	if u := full.Unreachable; u != nil && u.Never {
		cl.replaceAfter = -1
	} else if u != nil && u.ReplaceAfter > 0 {
		cl.replaceAfter = u.ReplaceAfter.Millis()
	}
	cl.need = needs(&full)
	cl.need.CPUs += c.cfg.Overhead.CPUs
	cl.need.Memory += c.cfg.Overhead.Memory
	cl.need.Disk += c.cfg.Overhead.Disk
	if cl.specJSON, err = json.Marshal(full); err != nil {
		return nil, err
	}
	for _, text := range full.Constraints {
		con, err := constraint.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("read constraint %q of %s: %w", text, j.rec.Key, err)
		}
		cl.constraints = append(cl.constraints, con)
	}
	for attribute, most := range full.Limits {
		if attribute == "hostname" {
			attribute = hostAttribute
		}
		cl.limits = append(cl.limits, limit{attribute, most})
	}
	slices.SortFunc(cl.limits, func(a, b limit) int { return cmpString(a.attribute, b.attribute) })
	for _, l := range cl.limits {
		cl.watch(l.attribute)
	}
	cl.watch(full.Spread)
	return cl, nil
}

// specOf is what a task of the class is started with, as JSON: without its
// health check while that counts for nothing.
func (cl *class) specOf(j *job) json.RawMessage {
	if !j.rec.SkipHealth || cl.spec.Health == nil {
		return cl.specJSON
	}
	spec := *cl.spec
	spec.Health = nil
	b, err := json.Marshal(spec)
	if err != nil {
		panic(err) // was marshalled with it
	}
	return b
}

// watch has the job count its tasks by an attribute's values.
func (cl *class) watch(attribute string) {
	if attribute == "" || cl.job.placed[attribute] != nil {
		if attribute != "" && attribute != hostAttribute && !slices.Contains(cl.attributes, attribute) {
			cl.attributes = append(cl.attributes, attribute)
		}
		return
	}
	cl.job.placed[attribute] = map[string]int{}
	cl.attributes = append(cl.attributes, attribute)
}

func needs(spec *api.Spec) Amounts {
	return Amounts{
		CPUs:   int64(spec.Resources.CPUs*1000 + 0.5),
		Memory: int64(spec.Resources.Memory.Mebi()*1000 + 0.5),
		Disk:   int64(spec.Resources.Disk.Mebi()*1000 + 0.5),
	}
}

func newJob(rec *record.Job) *job {
	team, _, _, _ := api.ParseJobKey(rec.Key)
	return &job{rec: rec, team: team, placed: map[string]map[string]int{hostAttribute: {}}}
}

func (j *job) deploy(number uint32) *deploy {
	for i := len(j.deploys) - 1; i >= 0; i-- {
		if j.deploys[i].rec.Number == number {
			return j.deploys[i]
		}
	}
	return nil
}

// target is the deploy whose spec is wanted.
func (j *job) target() *deploy { return j.deploy(j.rec.Deploy) }

// nextDeploy is the number of the next one.
func (j *job) nextDeploy() uint32 { return max(j.rec.LastDeploy, j.rec.DeployFloor) + 1 }

// latest is the newest deploy.
func (j *job) latest() *deploy { return j.deploys[len(j.deploys)-1] }

func (j *job) kind() api.Kind { return j.target().class.spec.Kind }

// unblock has placement look at a job's tasks again: one of them ended, and
// limits may have room.
func (j *job) unblock() {
	for _, d := range j.deploys {
		d.class.blocked = false
	}
}

func (c *Core) editJob(j *job) *record.Job {
	if j.edited != c.step {
		j.rec = proto.CloneOf(j.rec)
		j.edited = c.step
		c.write(record.JobKey(j.rec.Key), func() Record {
			if j.gone {
				return nil
			}
			return j.rec
		})
	}
	return j.rec
}

func (c *Core) editDeploy(j *job, d *deploy) *record.Deploy {
	if d.edited != c.step {
		d.rec = proto.CloneOf(d.rec)
		d.edited = c.step
		c.write(record.DeployKey(j.rec.Key, d.rec.Number), func() Record {
			if d.gone {
				return nil
			}
			return d.rec
		})
	}
	return d.rec
}

// touch has a service looked at before the step ends.
func (c *Core) touch(j *job) {
	if !j.dirty {
		j.dirty = true
		c.dirty = append(c.dirty, j)
	}
}

// removeIfDone forgets a job that is being removed, once nothing of it lives.
func (c *Core) removeIfDone(j *job) {
	if !j.rec.Removing || j.live > 0 || j.runs.n > 0 || j.gone {
		return
	}
	c.editJob(j)
	j.gone = true
	delete(c.jobs, j.rec.Key)
	if r := j.rollout; r != nil { // the old set of a blue-green deploy was kept
		c.endRollout(r)
	}
	for _, d := range j.deploys {
		c.dropDeploy(j, d)
	}
	c.retention.forget(c, j)
	c.emit(&record.Event{Type: "job.removed", Job: j.rec.Key})
}

// specsKept are the specs of a job that stay, the newest deploy of each, so that
// a way back needs no history; deploysKept bounds the deploys in all, and
// deploysMost those that wait for history too.
const (
	specsKept   = 10
	deploysKept = 30
	deploysMost = 60
)

// pruneDeploys drops old deploys that nothing refers to: those of specs that
// are not among the last, and those whose spec a later deploy has too.
func (c *Core) pruneDeploys(j *job) {
	if len(j.deploys) <= specsKept {
		return
	}
	specs := map[string]bool{}
	for i := len(j.deploys) - 1; i >= 0; i-- {
		d := j.deploys[i]
		again := specs[d.rec.Digest]
		specs[d.rec.Digest] = true
		old := len(specs) > specsKept || again && len(j.deploys) > specsKept+2 || len(j.deploys) > deploysKept
		if !old || d.class.tasks > 0 || d == j.latest() || j.refersTo(d.rec.Number) {
			continue
		}
		if c.cfg.History && !c.hasDeploy(d) && len(j.deploys) <= deploysMost {
			continue
		}
		c.dropDeploy(j, d)
		j.deploys = slices.Delete(j.deploys, i, i+1)
	}
}

// hasDeploy says whether every history has a deploy as it is.
func (c *Core) hasDeploy(d *deploy) bool { return max(d.edited, loadStep) <= c.retention.through }

func (c *Core) dropDeploy(j *job, d *deploy) {
	recorded := c.hasDeploy(d)
	c.editDeploy(j, d)
	d.gone = true
	if !recorded {
		c.leaveToHistory(d.rec)
	}
}

func (j *job) refersTo(deploy uint32) bool {
	if deploy == j.rec.Deploy || deploy == j.rec.Stable {
		return true
	}
	if r := j.rollout; r != nil && (deploy == r.rec.Deploy || deploy == r.rec.Back || deploy == r.deploy.rec.From) {
		return true
	}
	for r := j.runs.first; r != nil; r = r.next {
		if r.rec.Deploy == deploy {
			return true
		}
	}
	return false
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
