package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// promise is what the update policy of a spec promises of a deploy to it.
// Whatever strategy moves the instances, the checks ask nothing else.
type promise struct {
	surge       int   // wanted tasks beyond the wanted instances
	unavailable int   // instances that served and that the deploy keeps from serving
	failing     int   // instances that may fail without failing the deploy
	patience    int64 // ms after which one that does not come back is passed over
}

// promised reads the policy of a spec, which has its defaults: what its largest
// step may do. A bounce does it in steps of its own.
func promised(u *api.Update, instances int, r *record.Rollout) promise {
	own := *u
	if r.GetAllAtOnce() || r.GetOneByOne() {
		own.Strategy, own.Steps, own.Surge = api.StrategyRolling, nil, ""
		own.Batch = api.Portions{"100%"}
		if r.OneByOne {
			own.Batch = api.Portions{"1"}
		}
	}
	size, moved := 0, 0
	for _, target := range own.Targets(instances) {
		size, moved = max(size, target-moved), target
	}
	for _, b := range own.Batch { // by which instances return
		size = max(size, b.Of(instances))
	}
	return promise{surge: own.SurgeOf(instances, size), unavailable: own.UnavailableOf(instances, size),
		failing: own.Failures.AtMost(instances), patience: own.Deadline.Millis() / 2}
}

// atMost is what either of two policies allows: an entry may end one deploy and
// begin another.
func (p promise) atMost(o promise) promise {
	return promise{surge: max(p.surge, o.surge), unavailable: max(p.unavailable, o.unavailable),
		failing: max(p.failing, o.failing), patience: min(p.patience, o.patience)}
}

// deployChecks see that a deploy keeps what its policy promises, and ends.
type deployChecks struct {
	jobs  map[string]bool // that this entry touched
	ended []*record.Deploy
	going map[string]*record.Rollout // by job: that of before or during this entry
	away  map[slot]away
	surge map[string]int // by job: tasks beyond the instances that a deploy runs, after the entry before
}

// away is an instance that served, and that a deploy keeps from serving.
type away struct {
	at  int64 // by the clock of the leader that stopped it
	why string
}

func newDeployChecks() deployChecks {
	return deployChecks{jobs: map[string]bool{}, going: map[string]*record.Rollout{}, away: map[slot]away{}, surge: map[string]int{}}
}

func (dc *deployChecks) forget(job string) {
	maps.DeleteFunc(dc.away, func(s slot, _ away) bool { return s.job == job })
	delete(dc.surge, job)
}

// deployWritten: a deploy is of one spec, begins after the one before, and ends
// once; one that did not succeed says why.
func (c *checks) deployWritten(before, after *record.Deploy) {
	if before != nil && before.CreatedAt != after.CreatedAt {
		before = nil // of a job that was removed and created again within one entry
	}
	c.sawDeploy(before, after)
	c.deploys.jobs[after.Job] = true
	name := fmt.Sprintf("deploy %d of %s", after.Number, after.Job)
	if before != nil {
		switch {
		case !bytes.Equal(before.Spec, after.Spec), before.From != after.From:
			c.fail("a deploy is of one spec: that of %s was changed", name)
		case before.State == after.State:
			return
		case before.State == deploySucceeded && c.specOf(after).Update.Strategy == api.StrategyBlueGreen:
			// While its old set is kept it may be undone.
		case before.State.Terminal():
			c.fail("a deploy ends once: %s was %v and becomes %v", name, before.State, after.State)
		}
	}
	if after.State.Terminal() {
		if after.State != deploySucceeded && after.Reason == "" {
			c.fail("a deploy that did not succeed has a reason: %s is %v", name, after.State)
		}
		c.deploys.ended = append(c.deploys.ended, after)
	}
}

func (c *checks) rolloutWritten(before, after *record.Rollout) {
	if after != nil {
		c.sawRollout(before, after)
	}
	for _, r := range []*record.Rollout{before, after} {
		if r != nil {
			c.deploys.going[r.Job] = r
			c.deploys.jobs[r.Job] = true
		}
	}
}

// deploysAfter checks the jobs that an entry touched.
func (c *checks) deploysAfter() {
	dc := &c.deploys
	c.takenAway()
	for _, t := range c.tasks.changed {
		dc.jobs[t.Job] = true
	}
	for _, d := range dc.ended {
		if j := c.w.journal.job(d.Job); j != nil && !c.steered[j.Key] && c.specOf(d).Kind == api.KindService {
			c.ended(j, d)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(dc.jobs)) {
		if j := c.w.journal.job(key); j != nil && c.spec(j).Kind == api.KindService {
			c.kept(j)
		}
	}
	dc.ended = dc.ended[:0]
	clear(dc.jobs)
	clear(dc.going)
}

// promiseOf is what may be done to a job's instances now: by the deploy that
// goes on, also when it returns them, or the last one.
func (c *checks) promiseOf(j *record.Job) promise {
	n := int(j.Instances)
	p := promised(c.spec(j).Update, n, nil)
	for _, r := range []*record.Rollout{c.w.journal.rollout(j.Key), c.deploys.going[j.Key]} {
		if d := c.w.journal.deploy(j.Key, r.GetDeploy()); d != nil {
			p = p.atMost(promised(c.specOf(d).Update, n, r))
		}
	}
	for _, d := range c.deploys.ended {
		if d.Job == j.Key {
			p = p.atMost(promised(c.specOf(d).Update, n, nil))
		}
	}
	return p
}

// ended: a deploy succeeds when all instances serve on it, but for those that may
// fail; when one failed, what it said would be is.
func (c *checks) ended(j *record.Job, d *record.Deploy) {
	if d.State == deploySucceeded && j.Deploy == d.Number {
		var missing []uint32
		for i := range j.Instances {
			if !c.servesOn(slot{j.Key, i}, d) {
				missing = append(missing, i)
			}
		}
		if len(missing) > c.promiseOf(j).failing && !j.Paused {
			c.fail("a deploy succeeds when all instances serve on it: deploy %d of %s did, and instances %v do not", d.Number, j.Key, missing)
		}
	}
	returned := d.State == record.DeployState_DEPLOY_STATE_ROLLED_BACK
	if returned && j.Deploy == d.Number {
		c.fail("a deploy that was rolled back is not wanted: %s still wants deploy %d", j.Key, d.Number)
	}
	for i := range j.Instances {
		if s := (slot{j.Key, i}); returned && !j.Paused && j.Deploy == d.From && c.servesOn(s, d) && !c.servesOn(s, c.w.journal.deploy(j.Key, j.Deploy)) {
			c.fail("a deploy that was rolled back serves no more: instance %d of %s still serves on deploy %d", i, j.Key, d.Number)
		}
	}
}

// takenAway notes the serving instances that this entry stops for a deploy, and
// those that serve again. A deploy has no more of them away at a time than its
// policy promises; what one before it took, and does not serve yet, counts.
func (c *checks) takenAway() {
	dc := &c.deploys
	took := map[string]int64{}
	for _, t := range c.tasks.replaced {
		serves := t.State == taskRunning && (!t.HasHealth || t.Healthy) // when it was stopped
		if serves && c.forDeploy(t) && !c.back(slotOf(t)) {
			dc.away[slotOf(t)] = away{t.StopAt, fmt.Sprintf("%s was stopped: %s", t.Id, t.StopReason)}
			took[t.Job] = t.StopAt
		}
	}
	maps.DeleteFunc(dc.away, func(s slot, _ away) bool { return c.back(s) })
	for _, key := range slices.Sorted(maps.Keys(took)) {
		p := c.promiseOf(c.w.journal.job(key))
		if list := dc.awayOf(key, took[key]-p.patience); len(list) > p.unavailable {
			c.fail("a deploy takes away nothing that serves: up to %d instances of %s may be away, and these are: %s",
				p.unavailable, key, strings.Join(list, ", "))
		}
	}
}

// back says whether an instance serves, or is not wanted any more.
func (c *checks) back(s slot) bool {
	j := c.w.journal.job(s.job)
	return j == nil || j.Paused || j.Removing || s.instance >= j.Instances || c.serves(s)
}

// forDeploy says whether a task that served was stopped for a deploy, and not
// because a user wanted just that, or its endpoint was another's already.
func (c *checks) forDeploy(t *record.Task) bool {
	for _, why := range []string{"killed by ", "scaled down", "the job is ", "restarted", "superseded by "} {
		if strings.HasPrefix(t.StopReason, why) {
			return false
		}
	}
	j := c.w.journal.job(t.Job)
	return j != nil && (j.ServingOnly == 0 || j.ServingOnly == t.Deploy) && j.Withheld != t.Deploy && !strings.HasSuffix(t.StopReason, " has taken over")
}

// awayOf are the instances of a job that went after a time.
func (dc *deployChecks) awayOf(job string, after int64) []string {
	var list []string
	for s, a := range dc.away {
		if s.job == job && a.at > after {
			list = append(list, fmt.Sprintf("instance %d (%s)", s.instance, a.why))
		}
	}
	slices.Sort(list)
	return list
}

// kept: a deploy starts no more tasks than its policy promises. What an earlier
// one, or more instances, began may stay until its turn comes to go.
func (c *checks) kept(j *record.Job) {
	p := c.promiseOf(j)
	target := c.w.journal.tasksOf(j.Key, j.Deploy)
	surge := 0
	for i := range j.Instances {
		if c.moves(c.w.journal.live.slots[slot{j.Key, i}], target) {
			surge++
		}
	}
	before := c.deploys.surge[j.Key]
	if surge > p.surge && surge > before {
		c.fail("a deploy keeps to its surge: %s has %d instances and up to %d tasks more while deploy %d moves them, and has %d",
			j.Key, j.Instances, p.surge, j.Deploy, surge)
	}
	c.deploys.surge[j.Key] = surge
}

// moves says whether among the tasks of an instance one of the wanted deploy is
// to replace another that is not stopped yet.
func (c *checks) moves(list []*record.Task, target uint32) bool {
	wanted, moved := 0, false
	for _, t := range list {
		if t.StopAt == 0 {
			wanted++
			moved = moved || c.w.journal.tasksOf(t.Job, t.Deploy) == target
		}
	}
	return wanted > 1 && moved
}

// replacing: two tasks of one instance live only while one replaces the other:
// they are of different deploys, or a user asked for that.
func (c *checks) replacing(list []*record.Task) {
	a, b := list[0], list[1]
	asked := c.tasks.asked
	switch {
	case len(list) > 2:
		c.fail("at most one live task: instance %d of %s has %s, %s and %s", a.Instance, a.Job, a.Id, b.Id, list[2].Id)
	case a.Deploy == b.Deploy && !asked[a.Id] && !asked[b.Id]:
		c.fail("at most one live task: instance %d of %s has %s and %s, both of deploy %d", a.Instance, a.Job, a.Id, b.Id, a.Deploy)
	}
}

// serves says whether an instance serves, or did so within the entry.
func (c *checks) serves(s slot) bool { return c.servesOn(s, nil) }

// servesOn says so for a deploy; nil is any.
func (c *checks) servesOn(s slot, d *record.Deploy) bool {
	on := func(t *record.Task) bool {
		return d == nil || c.w.journal.tasksOf(t.Job, t.Deploy) == d.TasksOf()
	}
	for _, t := range c.w.journal.live.slots[s] {
		if t.Ready && t.StopAt == 0 && on(t) {
			return true
		}
	}
	for _, t := range c.tasks.changed {
		// It was ready within the entry: it became so, or what ended in it was.
		kept := t.StopAt == 0 || strings.HasPrefix(t.StopReason, "killed by")
		if slotOf(t) == s && t.Run == "" && t.ReadyAt != 0 && kept && on(t) {
			return true
		}
	}
	return false
}

// deploysAtRest: every deploy comes to an end, unless its job is paused; groups
// of them too.
func (c *checks) deploysAtRest() {
	for _, j := range c.w.journal.jobs() {
		for n := j.LastDeploy; n > 0; n-- {
			if d := c.w.journal.deploy(j.Key, n); d != nil && !d.State.Terminal() && !j.Paused {
				c.fail("every deploy ends: deploy %d of %s is still %v", n, j.Key, d.State)
			}
		}
		for _, t := range j.Timed {
			if t.Until <= c.w.now.UnixMilli()-60_000 && !j.Removing {
				c.fail("a timed change is taken back: that of %s, %v, was until %v", j.Key, t.Action, millis(t.Until))
			}
		}
		if r := c.w.journal.rollout(j.Key); r != nil && r.Phase != record.RolloutPhase_ROLLOUT_PHASE_KEEPING && !j.Paused {
			c.fail("every deploy ends: the rollout of deploy %d of %s is still %v", r.Deploy, j.Key, r.Phase)
		}
	}
	for _, g := range c.w.journal.groups() {
		if !g.State.Terminal() && !c.pausedMember(g) {
			c.fail("every deploy ends: group %s is still %v: %v", g.Id, g.State, g.Members)
		}
	}
}

func (c *checks) pausedMember(g *record.Group) bool {
	for _, m := range g.Members {
		if c.w.journal.job(m.Job).GetPaused() {
			return true
		}
	}
	return false
}
