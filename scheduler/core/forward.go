package core

import (
	"fmt"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
)

// A new task that fits nowhere for so long, in ms, makes an instance stop its
// old one first, where the deploy's bounds allow that.
const capacityWait = 5_000

// moveOn moves the instances of a deploy in progress, of which n are wanted, as
// far as its step allows, and judges the step.
func (c *Core) moveOn(r *rollout, n int) {
	before, target, last := r.step(n)
	hold := c.held(r)
	m := c.newMoves(r, n, before, target)
	settled := 0
	for i := range n {
		if gen, calm := r.job.calmOn(uint32(i)); calm && !r.blueGreen() && (gen == m.gen || i >= target) {
			if i < target {
				settled++
			}
			continue
		}
		s := r.job.slot(uint32(i))
		// One that is to leave its old task now needs no other of its kind.
		if i >= target || s.on(m.gen) != nil || hold != "" && !r.blueGreen() {
			c.replaceAsked(s, uint32(i))
		}
		switch {
		case i >= target:
			c.notYet(r, s, uint32(i))
		case hold != "":
			c.standStill(r, s, uint32(i))
		case r.blueGreen():
			c.startBeside(r, s, uint32(i))
		default:
			c.moveInstance(m, s, uint32(i))
		}
		if i < target && c.settled(r, s, uint32(i)) {
			settled++
		}
	}
	if c.tooManyFailed(r, n) {
		return
	}
	c.noteSettled(r, settled, target)
	if hold == "" {
		c.judgeStep(r, n, last)
	}
}

// moves is what one look at a deploy may still do.
type moves struct {
	*rollout
	gen         uint32
	surge       int // more tasks that may start beside old ones
	unavailable int // more instances that may stop serving
	bounded     bool
}

// newMoves counts what a step that moves the instances from before up to target
// may still do. Instances whose step has not come and that do not serve count as
// unavailable too. When that lasts, one at a time goes all the same, or a deploy
// that would mend them could never begin.
func (c *Core) newMoves(r *rollout, n, before, target int) *moves {
	size := target - before
	m := &moves{rollout: r, gen: r.deploy.class.gen, surge: r.update.SurgeOf(n, size),
		unavailable: r.update.UnavailableOf(n, size), bounded: !r.first()}
	allowed, away := m.unavailable, 0
	for i := range n {
		if _, calm := r.job.calmOn(uint32(i)); calm {
			continue
		}
		s := r.job.slot(uint32(i))
		if s.staying() > 1 {
			m.surge--
		}
		if s.serving() == nil {
			m.unavailable--
			if i < target {
				away++
			}
		}
	}
	if away == 0 && m.unavailable <= 0 && allowed > 0 {
		if due := c.since(r.rec.ProgressAt) + r.update.Deadline.Millis()/2; due > c.now {
			c.wakeRollout(r, due)
		} else {
			m.unavailable = 1
		}
	}
	return m
}

// notYet keeps an instance whose step has not come on what it runs.
func (c *Core) notYet(r *rollout, s *slot, instance uint32) {
	if len(s.live) > 0 {
		c.stopReplaced(s)
		return
	}
	var old *class
	if from := r.job.deploy(r.deploy.rec.From); from != nil {
		old = from.class
	}
	switch {
	case s.last == nil && r.rec.InstancesChanged:
		return // the deploy adds it, when its step comes
	case old == nil:
		old = r.deploy.class
	}
	c.startInstance(r.job.ownClass(s, r.deploy.class.gen, old), s, instance)
}

// standStill keeps an instance of a deploy that is held: what began ends, and
// nothing begins.
func (c *Core) standStill(r *rollout, s *slot, instance uint32) {
	gen := r.deploy.class.gen
	switch {
	case len(s.live) > 0 && !r.blueGreen():
		c.stopReplaced(s)
	case len(s.live) > 0:
	case s.last != nil && s.last.class != nil && s.last.class.gen == gen:
		c.startInstance(r.deploy.class, s, instance)
	default:
		c.notYet(r, s, instance)
	}
}

// moveInstance brings an instance of the step, or of one before, to the
// deploy's spec.
func (c *Core) moveInstance(m *moves, s *slot, instance uint32) {
	t, old := s.on(m.gen), s.other(m.gen)
	switch {
	case t == nil && old == nil:
		if len(s.live) == 0 {
			c.startInstance(m.deploy.class, s, instance)
		}
	case t == nil:
		c.moveOff(m, s, instance, old)
	case t.rec.Ready:
		c.stopReplaced(s)
	case old != nil && c.crowdedOut(m, t) && m.unavailable > 0:
		m.unavailable--
		c.stop(old, fmt.Sprintf("makes room for deploy %d, whose task fits nowhere beside it", m.deploy.rec.Number))
	}
}

// moveOff has an instance leave its old task, one way or the other.
func (c *Core) moveOff(m *moves, s *slot, instance uint32, old *task) {
	why := fmt.Sprintf("makes room for deploy %d", m.deploy.rec.Number)
	switch {
	case !old.launched(), !old.rec.Ready && old.rec.State != taskUnreachable:
		// Nothing is lost by stopping first one that does not serve.
		c.stop(old, why)
		if len(s.live) == 0 {
			c.startInstance(m.deploy.class, s, instance)
		}
	case m.update.StopFirst:
		if m.unavailable > 0 || !old.rec.Ready {
			m.unavailable--
			c.stop(old, why)
		}
	case len(s.live) == 1 && m.surge > 0: // never more than the old and the new one
		m.surge--
		c.startInstance(m.deploy.class, s, instance)
		if m.unavailable > 0 {
			c.wakeRollout(m.rollout, c.now+capacityWait) // crowdedOut is asked then
		}
	}
}

// crowdedOut says whether a new task fits nowhere for some time.
func (c *Core) crowdedOut(m *moves, t *task) bool {
	if t.rec.State != taskPending || m.update.MaxUnavailable == "" {
		return false
	}
	if due := max(t.rec.CreatedAt, t.rec.NotBefore) + capacityWait; due > c.now {
		c.wakeRollout(m.rollout, due)
		return false
	}
	if !t.class.blocked {
		c.wakeRollout(m.rollout, c.now+capacityWait)
		return false
	}
	return true
}

// startBeside has a blue-green instance run both its old and its new task.
func (c *Core) startBeside(r *rollout, s *slot, instance uint32) {
	gen := r.deploy.class.gen
	if len(s.live) > 1 {
		return
	}
	switch t, old := s.on(gen), s.other(gen); {
	case t == nil:
		if !s.lives(gen) {
			c.startInstance(r.deploy.class, s, instance)
		}
	case old == nil && int(instance) < int(r.rec.InstancesBefore) && len(s.live) == 1:
		if back := r.back(); back != nil {
			c.startInstance(back.class, s, instance)
		}
	}
}

// settled says whether an instance needs no more to be done for its step: it
// serves, or failed and that is tolerated.
func (c *Core) settled(r *rollout, s *slot, instance uint32) bool {
	return s.ready(r.deploy.class.gen) != nil || r.givenUp(instance)
}

func (r *rollout) givenUp(instance uint32) bool {
	return int(r.rec.Failures[instance]) > *r.update.Retries
}

// countFailure counts an end of a task on the new spec that was its own fault.
func (c *Core) countFailure(t *task) {
	r := t.job.rollout
	if r == nil || t.run != nil || t.class.gen != r.deploy.class.gen || t.stopping() || t.rec.Infrastructure ||
		t.rec.State != taskFailed && t.rec.State != taskFinished || r.deploy.rec.State != deployInProgress {
		return
	}
	rec := c.editRollout(r)
	if rec.Failures == nil {
		rec.Failures = map[uint32]uint32{}
	}
	if _, counted := rec.Failures[t.rec.Instance]; counted || len(rec.Failures) < failuresMost {
		rec.Failures[t.rec.Instance]++
	}
	rec.StepFailures++
}

// tooManyFailed fails a deploy whose instances fail more often than it
// tolerates.
func (c *Core) tooManyFailed(r *rollout, n int) bool {
	if r.rec.StepFailures == 0 && len(r.rec.Failures) == 0 || r.rec.Paused {
		return false
	}
	failed, example := 0, uint32(0)
	for i := range n {
		if r.givenUp(uint32(i)) {
			if failed == 0 {
				example = uint32(i)
			}
			failed++
		}
	}
	if allowed := r.update.Failures.AtMost(n); failed > allowed {
		why := fmt.Sprintf("instance %d failed %s (%s)", example, times(int(r.rec.Failures[example])), tolerated(*r.update.Retries))
		if allowed > 0 {
			why = fmt.Sprintf("%d instances failed (%s); %s", failed, tolerated(allowed), why)
		}
		c.failDeploy(r, why+": "+lastWords(r, example))
		return true
	}
	checks := r.current().Checks
	if checks == nil || checks.Failures == "" {
		return false
	}
	_, target, _ := r.step(n)
	if allowed := checks.Failures.AtMost(target); int(r.rec.StepFailures) > allowed {
		c.failDeploy(r, fmt.Sprintf("%s: tasks failed %s in this step (%s)", r.stepName(), times(int(r.rec.StepFailures)), tolerated(allowed)))
		return true
	}
	return false
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func tolerated(n int) string {
	if n == 0 {
		return "none tolerated"
	}
	return fmt.Sprintf("%d tolerated", n)
}

// lastWords is what the last task of an instance on the new spec ended with.
func lastWords(r *rollout, instance uint32) string {
	if t := r.job.slot(instance).lastOn(r.deploy.class.gen); t != nil {
		return t.rec.Message
	}
	return "its tasks are no longer kept"
}

// noteSettled notes progress: more instances than ever in this step, or all.
func (c *Core) noteSettled(r *rollout, settled, target int) {
	if settled > int(r.rec.SettledMost) {
		rec := c.editRollout(r)
		rec.SettledMost, rec.ProgressAt = uint32(settled), c.now
		if !r.rec.Paused {
			c.tellDeploy(r.job, r.deploy, "deploy.progressed", c.progress(r))
		}
	}
	switch all := settled >= target; {
	case all && r.rec.SettledAt == 0:
		rec := c.editRollout(r)
		rec.SettledAt = c.now
		if rec.SettledFirst == 0 {
			rec.SettledFirst = c.now
		}
	case !all && r.rec.SettledAt != 0:
		c.editRollout(r).SettledAt = 0
	}
}

// whyNotReady says what the first instance of the step that does not serve
// waits for.
func (c *Core) whyNotReady(r *rollout, n int) string {
	gen := r.deploy.class.gen
	for i := range n {
		s := r.job.slot(uint32(i))
		if c.settled(r, s, uint32(i)) {
			continue
		}
		t := s.on(gen)
		if t == nil {
			if t = s.lastOn(gen); t == nil || len(s.live) > 0 {
				return fmt.Sprintf("instance %d waits for its turn", i)
			}
		}
		last := s.lastOn(gen)
		switch {
		case t.rec.State == taskPending && t.rec.QuickFailures > 0 && last != nil:
			return fmt.Sprintf("instance %d keeps ending soon after its start: %s", i, last.rec.Message)
		case t.rec.State == taskPending:
			return fmt.Sprintf("instance %d is pending: %s", i, c.explain(t.class).Summary)
		case t.rec.State == taskRunning && t.rec.HasHealth && !t.rec.Healthy:
			return strings.TrimSuffix(fmt.Sprintf("instance %d is unhealthy: %s", i, t.rec.Message), ": ")
		default:
			return strings.TrimSuffix(fmt.Sprintf("instance %d is %s: %s", i, StateName(t.rec.State), t.rec.Message), ": ")
		}
	}
	return "no instance is wanted"
}

// mixed lists which instances run which deploy: "0 to 3 run deploy 4, 4 runs
// nothing".
func (j *job) mixed(n int) string {
	var parts []string
	for i := 0; i < n; {
		runs := j.runsDeploy(i)
		k := i
		for k+1 < n && j.runsDeploy(k+1) == runs {
			k++
		}
		what := "nothing"
		if runs != 0 {
			what = fmt.Sprintf("deploy %d", runs)
		}
		if k == i {
			parts = append(parts, fmt.Sprintf("instance %d runs %s", i, what))
		} else {
			parts = append(parts, fmt.Sprintf("instances %d to %d run %s", i, k, what))
		}
		i = k + 1
	}
	const most = 20
	if len(parts) > most {
		parts = append(slices.Clip(parts[:most]), "…")
	}
	return strings.Join(parts, ", ")
}

func (j *job) runsDeploy(instance int) uint32 {
	s := j.slot(uint32(instance))
	t := s.serving()
	if t == nil {
		t = s.newest()
	}
	if t == nil || !t.launched() {
		return 0
	}
	return t.rec.Deploy
}

// kinds of failure policies, by what they do when there is a deploy to return
// to.
func (r *rollout) returns() bool {
	return r.update.OnFailure == api.FailureRollsBack && r.back() != nil
}
