package sim

import (
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// steer has a user act on a service's deploys, whatever they are at.
func (u *users) steer(job string) {
	rng := u.w.rng
	if r := u.w.journal.rollout(job); r.GetPhase() == record.RolloutPhase_ROLLOUT_PHASE_KEEPING && u.w.chance(4) {
		u.ask(core.RollBack{Job: job})
		return
	}
	switch rng.IntN(10) {
	case 0:
		u.ask(core.RollBack{Job: job, To: uint32(max(0, rng.IntN(5)-2)), Supersede: u.w.chance(2), IfMatch: u.revision(job)})
	case 1:
		u.ask(core.Bounce{Job: job, Incremental: u.w.chance(2)})
	case 2:
		u.ask(core.RestartInstance{Job: job, Instance: uint32(rng.IntN(4)), Reason: "sim"})
	case 3:
		u.ask(core.SkipHealth{Job: job, Until: u.until()})
	case 4:
		u.group()
	case 5:
		u.inPlace(job)
	default:
		action := core.Steer(1 + rng.IntN(int(core.SteerPulse)))
		u.ask(core.SteerDeploy{Job: job, Action: action, Reason: "sim", Full: u.w.chance(2)})
	}
}

// group deploys some services one after the other, or cancels that.
func (u *users) group() {
	if g := u.anyGroup(); g != "" && u.w.chance(2) {
		u.ask(core.CancelGroup{ID: g, Reason: "sim"})
		return
	}
	first := u.w.rng.IntN(services)
	op := core.PutGroup{Supersede: u.w.chance(2)}
	for i := range 1 + u.w.rng.IntN(3) {
		spec := u.service(serviceName((first + i) % services))
		op.Specs, op.Canonical = append(op.Specs, spec), append(op.Canonical, canonical(spec))
	}
	u.ask(op)
}

// anyGroup is one that goes on, if there is one.
func (u *users) anyGroup() string {
	id := ""
	for _, g := range u.w.journal.groups() {
		if !g.State.Terminal() {
			id = max(id, g.Id)
		}
	}
	return id
}

// inPlace deploys what a service has, with owners that no task notices.
func (u *users) inPlace(job string) {
	j := u.w.journal.job(job)
	if j == nil {
		u.ask(u.put(u.service(job)))
		return
	}
	spec, err := api.ParseSpec(u.w.journal.deploy(job, j.Deploy).Spec)
	if err != nil {
		panic(err)
	}
	spec.Owners = []string{[]string{"ann", "bob", "eve"}[u.w.rng.IntN(3)]}
	u.ask(u.put(spec))
}

// tendEvery is how often somebody looks after the deploys that wait for
// somebody, once all is calm.
const tendEvery = 20 * time.Second

// tend has every deploy that waits for somebody go on: what is paused is resumed
// once, and cancelled if it pauses again.
func (u *users) tend() {
	if u.w.now.Before(u.tendAt) || u.w.leader() == nil {
		return
	}
	u.tendAt = u.w.now.Add(tendEvery)
	for _, j := range u.w.journal.jobs() {
		r := u.w.journal.rollout(j.Key)
		if r == nil || j.Paused || r.Phase == record.RolloutPhase_ROLLOUT_PHASE_KEEPING {
			continue
		}
		op := core.SteerDeploy{Job: j.Key, Number: r.Deploy, Reason: "all is calm"}
		switch pulse := u.w.checks.specOf(u.w.journal.deploy(j.Key, r.Deploy)).Update.Pulse; {
		case r.Paused && u.resumed[slot{j.Key, r.Deploy}]:
			op.Action = core.SteerCancel
		case r.Paused:
			op.Action = core.SteerResume
			u.resumed[slot{j.Key, r.Deploy}] = true
		case r.Phase == record.RolloutPhase_ROLLOUT_PHASE_PROMOTION && !r.PulseMissed:
			op.Action = core.SteerPromote
		case pulse > 0 && r.Phase != record.RolloutPhase_ROLLOUT_PHASE_RETURNING:
			op.Action = core.SteerPulse
		default:
			continue
		}
		u.ask(op)
	}
}
