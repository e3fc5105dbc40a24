package server

import (
	"fmt"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// deploy tells a deploy of job r without its spec, and how far it is without
// each instance's progress.
func (s *Server) deploy(v *engine.View, d *record.Deploy, r *record.Job, tasks census) api.Deploy {
	out := deployOf(d)
	p := s.specs.of(d)
	if p == nil || p.spec.Kind != api.KindService {
		return out
	}
	out.Updated, out.Instances = tasks.ready[d.TasksOf()], int(r.Instances)
	if rec := v.Rollout(r.Key); rec != nil && rec.Deploy == d.Number && p.spec.Update != nil {
		out.Rollout = newGoing(v, d, r, rec, &p.spec).tell()
		out.Rollout.Progress = nil
	}
	return out
}

// deployOf tells of a deploy what its record has.
func deployOf(d *record.Deploy) api.Deploy {
	return api.Deploy{
		Job: d.Job, Number: d.Number, Kind: api.DeployKind(name(deployKinds, int32(d.Kind))),
		State: api.DeployState(name(deployStates, int32(d.State))), Reason: d.Reason, From: d.From, Of: d.Of,
		Digest: d.Digest, Author: d.Author, Message: d.Message, Links: d.Links, Group: d.Group,
		CreatedAt: millis(d.CreatedAt), EndedAt: moment(d.EndedAt),
	}
}

// wholeDeploy tells each instance's progress, too.
func (s *Server) wholeDeploy(v *engine.View, d *record.Deploy, r *record.Job) api.Deploy {
	out := s.deploy(v, d, r, take(v, r))
	if out.Rollout != nil {
		out.Rollout = newGoing(v, d, r, v.Rollout(r.Key), &s.specs.of(d).spec).tell()
	}
	return out
}

// going is a deploy that goes on, as a view has it.
type going struct {
	v       *engine.View
	deploy  *record.Deploy
	job     *record.Job
	rec     *record.Rollout
	update  *api.Update
	targets []int
	step    int
	gen     uint32
	back    uint32 // the generation that instances return to, 0 when there is none
	slots   []slot
}

// slot is an instance: its live tasks, and the last of the deploy's that ended.
type slot struct {
	newest, old, ended *record.Task
	gen                uint32 // newest's
	ready              bool   // a task of the deploy's may serve
	back               bool   // a task of the one before may
}

func newGoing(v *engine.View, d *record.Deploy, r *record.Job, rec *record.Rollout, spec *api.Spec) *going {
	g := &going{v: v, deploy: d, job: r, rec: rec, update: core.UpdateOf(spec, rec), gen: d.TasksOf()}
	g.targets = core.TargetsOf(d, g.update, int(r.Instances))
	g.step = min(int(rec.Step), len(g.targets)-1)
	gens := newGenerations(v, r.Key)
	if rec.Back != 0 {
		g.back = gens.of(rec.Back)
	}
	g.slots = make([]slot, r.Instances)
	v.JobTasks(r.Key, "", func(t *record.Task) bool {
		if t.Run == "" && int(t.Instance) < len(g.slots) {
			g.slots[t.Instance].add(t, gens.of(t.Deploy), g)
		}
		return true
	})
	return g
}

// add takes in a task of the instance.
func (s *slot) add(t *record.Task, gen uint32, g *going) {
	if t.State.Terminal() {
		if gen == g.gen && t.StopAt == 0 && (s.ended == nil || s.ended.EndedAt <= t.EndedAt) {
			s.ended = t
		}
		return
	}
	s.ready = s.ready || gen == g.gen && proven(t)
	s.back = s.back || g.back != 0 && gen == g.back && proven(t)
	if s.newest != nil && !newer(t, s.newest) {
		s.old = t
		return
	}
	s.old = s.newest
	s.newest, s.gen = t, gen
}

// newer says which of two tasks of an instance is meant to stay, or came later.
func newer(a, b *record.Task) bool {
	if (a.StopAt == 0) != (b.StopAt == 0) {
		return a.StopAt == 0
	}
	return a.Attempt > b.Attempt
}

func (g *going) target() int { return g.targets[g.step] }

func (g *going) returning() bool {
	return g.rec.Phase == record.RolloutPhase_ROLLOUT_PHASE_RETURNING
}

// settled says whether an instance needs no more to be done for its step.
func (g *going) settled(i int) bool {
	if g.returning() {
		return g.slots[i].back
	}
	return g.slots[i].ready || int(g.rec.Failures[uint32(i)]) > *g.update.Retries
}

func (g *going) tell() *api.Rollout {
	rec, step := g.rec, g.update.Step(g.step)
	out := &api.Rollout{
		Phase: api.RolloutPhase(name(phases, int32(rec.Phase))), Strategy: g.update.Strategy,
		Step: g.step + 1, Steps: len(g.targets), StepName: step.Name, Target: g.target(),
		Paused: rec.Paused, Pause: rec.PauseReason, Failed: core.PausedByFailure(rec), Back: rec.Back, Cause: rec.Cause,
		Deadline: moment(g.deadline(step)), Until: moment(g.until(step)),
	}
	if g.update.Pulse > 0 && !g.returning() {
		out.PulseUntil = moment(g.since(rec.PulseAt) + g.update.Pulse.Millis())
	}
	out.Waits = g.waits(step)
	out.Progress = make([]api.InstanceProgress, len(g.slots))
	for i := range g.slots {
		out.Progress[i] = g.progress(i)
	}
	return out
}

// held says why nothing begins, "" when it does.
func (g *going) held() string {
	pulse := g.update.Pulse
	switch {
	case g.returning() || g.rec.Phase == record.RolloutPhase_ROLLOUT_PHASE_KEEPING:
	case g.rec.Paused:
		return "paused " + g.rec.PauseReason
	case pulse > 0 && g.rec.PulseMissed:
		return fmt.Sprintf("no pulse for %s", pulse)
	}
	return ""
}

// deadline is when the deploy fails, Unix ms, if nothing comes; 0 when it does
// not.
func (g *going) deadline(step api.Step) int64 {
	rec, patience := g.rec, g.update.Deadline.Millis()
	switch {
	case g.held() != "":
	case rec.Phase == record.RolloutPhase_ROLLOUT_PHASE_GATE && step.Checks != nil && step.Checks.Gate != nil:
		return g.since(rec.GateAt) + step.Checks.Gate.Deadline.Millis()
	case g.v.Leads && !g.v.Observed.Subscribed: // nothing is seen to progress
	case g.returning():
		return g.since(rec.ProgressAt) + patience
	case rec.Phase != record.RolloutPhase_ROLLOUT_PHASE_MOVING:
	case rec.SettledFirst != 0:
		return g.since(rec.SettledFirst) + step.Bake.Millis() + patience
	default:
		return g.since(max(rec.ProgressAt, rec.StepAt)) + patience
	}
	return 0
}

// since is when time began to count for the deploy: nothing could be seen before
// the leader was subscribed. A standby knows of that only when it was elected.
func (g *going) since(at int64) int64 {
	if g.v.Leads {
		return max(at, g.v.Observed.SubscribedAt)
	}
	return max(at, g.v.Leader().GetElectedAt())
}

// until is when a bake, or the time in which the old set is kept, ends.
func (g *going) until(step api.Step) int64 {
	switch {
	case g.rec.Phase == record.RolloutPhase_ROLLOUT_PHASE_KEEPING:
		return g.rec.KeepUntil
	case g.rec.Phase == record.RolloutPhase_ROLLOUT_PHASE_BAKING && g.rec.SettledAt != 0:
		return g.rec.SettledAt + step.Bake.Millis()
	}
	return 0
}

// waits says in a line what the deploy waits for.
func (g *going) waits(step api.Step) string {
	if held := g.held(); held != "" {
		return held
	}
	switch g.rec.Phase {
	case record.RolloutPhase_ROLLOUT_PHASE_MOVING:
		return g.slowest(g.target())
	case record.RolloutPhase_ROLLOUT_PHASE_RETURNING:
		return g.slowest(len(g.slots))
	case record.RolloutPhase_ROLLOUT_PHASE_BAKING:
		return fmt.Sprintf("the instances have to stay ready for %s", step.Bake)
	case record.RolloutPhase_ROLLOUT_PHASE_GATE:
		if g.rec.GateSaid == "" {
			return "the gate has not answered yet"
		}
		return "the gate: " + g.rec.GateSaid
	case record.RolloutPhase_ROLLOUT_PHASE_PROMOTION:
		return "to be promoted"
	case record.RolloutPhase_ROLLOUT_PHASE_KEEPING:
		return fmt.Sprintf("keeps the instances of deploy %d for a way back", g.rec.Back)
	}
	return ""
}

// slowest says how many of the first instances are not settled, and what the
// first of them waits for.
func (g *going) slowest(most int) string {
	n, first := 0, -1
	for i := range min(most, len(g.slots)) {
		if !g.settled(i) {
			if n++; first < 0 {
				first = i
			}
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return g.slotWaits(first)
	}
	return fmt.Sprintf("%d instances; %s", n, g.slotWaits(first))
}

func (g *going) slotWaits(i int) string {
	s, wanted := &g.slots[i], g.gen
	if g.returning() {
		wanted = g.back
	}
	t := s.newest
	if t == nil || s.gen != wanted {
		return fmt.Sprintf("instance %d waits for its turn", i)
	}
	why := t.Message
	if t.State == record.TaskState_TASK_STATE_PENDING {
		if p := pendingOf(g.v, t); p != nil {
			why = p.Summary
		}
		if t.QuickFailures > 0 && s.ended != nil {
			why = "keeps ending soon after its start: " + s.ended.Message
		}
	}
	state := name(taskStates, int32(t.State))
	if t.State == record.TaskState_TASK_STATE_RUNNING {
		state += " and not ready yet"
	}
	return strings.TrimSuffix(fmt.Sprintf("instance %d is %s: %s", i, state, why), ": ")
}

func (g *going) progress(i int) api.InstanceProgress {
	s := &g.slots[i]
	out := api.InstanceProgress{Instance: i, Failures: int(g.rec.Failures[uint32(i)])}
	out.Moved = s.newest != nil && s.gen == g.gen || !g.returning() && i < g.target()
	if t := s.newest; t != nil {
		out.Deploy, out.Task, out.State, out.Host = t.Deploy, t.Id, name(taskStates, int32(t.State)), t.Host
		if out.Ready = proven(t); !out.Ready {
			out.Message = t.Message
		}
	}
	if s.old != nil {
		out.Old = s.old.Id
	}
	if out.Failures > 0 && !out.Ready && s.ended != nil {
		out.Message = s.ended.Message
	}
	return out
}
