// Package plan says what deploying a spec would do: which fields change, which
// instances would be replaced, in which order, whether the cluster has room for
// it now, and what a user should think about before. It changes nothing.
//
// It owns how that is worked out and told. What a spec does is core's to decide,
// and where tasks are placed core.Fit's to try; how a deploy is divided into
// steps is api.Update's. The HTTP route is the API server's.
//
// It is pure, as core is: what it knows is what it is given.
package plan

import (
	"fmt"
	"slices"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// State is the durable state that a plan reads: *engine.View.
type State interface {
	Job(key string) *record.Job
	Deploy(job string, number uint32) *record.Deploy
	Rollout(job string) *record.Rollout
	JobTasks(job, from string, yield func(*record.Task) bool)
}

// Of says what putting a valid spec would do, as of a state and what was
// observed of the cluster.
func Of(s State, o *core.Observed, spec *api.Spec) api.Plan {
	p := &planning{Plan: api.Plan{Job: spec.Job}, state: s, observed: o, job: s.Job(spec.Job), spec: spec.WithDefaults()}
	p.compare(spec)
	if p.otherKind() {
		return p.Plan // what else differs follows from that
	}
	p.count()
	p.order()
	p.tryOut()
	p.warn()
	return p.Plan
}

// planning is a plan and what it is worked out from.
type planning struct {
	api.Plan
	state    State
	observed *core.Observed

	job   *record.Job // nil: the plan creates it
	spec  api.Spec    // defaults filled in, instances as they would be
	old   *api.Spec   // that of the wanted deploy, likewise; nil when there is none
	slots []slot      // of a service, by instance
	mixed bool        // some instances run another spec than the wanted one
}

// slot is an instance and what it runs: live tasks that have a place.
type slot struct{ tasks []*record.Task }

// compare finds what differs, what a difference of that kind does, and whether
// core would refuse it.
func (p *planning) compare(sent *api.Spec) {
	if p.job == nil {
		p.Action = api.PlanCreate
		return
	}
	p.readTasks()
	p.From = p.job.Deploy
	target := p.state.Deploy(p.Job, p.job.Deploy)
	if target != nil {
		if old, err := api.ParseSpec(target.Spec); err == nil {
			full := old.WithDefaults()
			p.old = &full
		}
	}
	if p.spec.Kind == api.KindService {
		wanted := int(p.job.Instances)
		if sent.Instances == nil {
			p.spec.Instances = &wanted
		}
		if p.old != nil {
			p.old.Instances = &wanted // scaling is no deploy
		}
	}
	switch {
	case p.otherKind():
		p.Changes = []api.SpecChange{{Field: "kind", Old: string(p.old.Kind), New: string(p.spec.Kind)}}
		p.Fit.Summary = "not looked at"
	case p.old != nil:
		p.Changes = api.Diff(*p.old, p.spec)
	}
	p.Action = p.action(target)
	p.Blocked = p.blocked()
}

// action says what the changes come to, as core would.
func (p *planning) action(target *record.Deploy) api.PlanAction {
	only := func(fields ...string) bool {
		return !slices.ContainsFunc(p.Changes, func(c api.SpecChange) bool { return !slices.Contains(fields, c.Field) })
	}
	service := p.spec.Kind == api.KindService
	restarts := slices.ContainsFunc(p.Changes, func(c api.SpecChange) bool { return c.Restart })
	switch {
	case p.old == nil || p.mixed:
		return api.PlanDeploy
	case len(p.Changes) == 0:
		return api.PlanNone
	case service && only("instances"):
		return api.PlanScale
	case service && !restarts && target.State == record.DeployState_DEPLOY_STATE_SUCCEEDED:
		return api.PlanInPlace
	}
	return api.PlanDeploy
}

// blocked says why core would refuse the spec now.
func (p *planning) blocked() string {
	switch r := p.inProgress(); {
	case p.job.Removing:
		return fmt.Sprintf("%s is being removed: wait until it is gone", p.Job)
	case p.otherKind():
		return fmt.Sprintf("%s is a %s job and cannot become a %s job: remove it first", p.Job, p.old.Kind, p.spec.Kind)
	case r != nil && p.Action != api.PlanNone && p.Action != api.PlanScale:
		return fmt.Sprintf("deploy %d of %s is in progress: wait for it, or supersede it", r.Deploy, p.Job)
	}
	return ""
}

// otherKind says whether the spec would make another kind of job of it.
func (p *planning) otherKind() bool { return p.old != nil && p.old.Kind != p.spec.Kind }

// inProgress returns the rollout of a deploy that is not over.
func (p *planning) inProgress() *record.Rollout {
	r := p.state.Rollout(p.Job)
	if r == nil {
		return nil
	}
	if d := p.state.Deploy(p.Job, r.Deploy); d == nil || d.State.Terminal() {
		return nil // it succeeded, and its old set is kept
	}
	return r
}

// readTasks finds what each instance runs.
func (p *planning) readTasks() {
	target := p.generation(p.job.Deploy)
	p.state.JobTasks(p.Job, "", func(t *record.Task) bool {
		if t.State.Terminal() || t.Run != "" {
			return true
		}
		for int(t.Instance) >= len(p.slots) {
			p.slots = append(p.slots, slot{})
		}
		if t.Agent != "" {
			p.slots[t.Instance].tasks = append(p.slots[t.Instance].tasks, t)
		}
		p.mixed = p.mixed || t.StopAt == 0 && p.generation(t.Deploy) != target
		return true
	})
	p.mixed = p.mixed && p.state.Rollout(p.Job) == nil
}

// generation is what deploys whose tasks are alike have in common.
func (p *planning) generation(number uint32) uint32 {
	if d := p.state.Deploy(p.Job, number); d != nil {
		return d.TasksOf()
	}
	return number
}

// wanted is how many instances there would be, before how many are wanted now.
func (p *planning) wanted() int {
	if p.spec.Instances == nil {
		return 0
	}
	return *p.spec.Instances
}

func (p *planning) before() int {
	if p.job == nil || p.spec.Kind != api.KindService {
		return 0
	}
	return int(p.job.Instances)
}

// paused says whether nothing would be started because the job is paused.
func (p *planning) paused() bool { return p.job != nil && p.job.Paused }

func (p *planning) count() {
	if p.Action != api.PlanNone {
		p.Starts, p.Stops = max(p.wanted()-p.before(), 0), max(p.before()-p.wanted(), 0)
	}
}

// order lists which instances would be replaced, step by step. Named steps of a
// canary are listed also where they move none that runs now.
func (p *planning) order() {
	if p.Action != api.PlanDeploy || p.spec.Kind != api.KindService || p.paused() {
		return
	}
	moved := 0
	for i, target := range p.spec.Update.Targets(p.wanted()) {
		step := p.spec.Update.Step(i)
		b := api.PlanBatch{Step: step.Name, Instances: []int{}, Manual: step.Manual}
		if step.Bake != 0 {
			b.Bake = step.Bake.String()
		}
		for ; moved < min(target, p.before()); moved++ {
			b.Instances = append(b.Instances, moved)
		}
		if len(b.Instances) > 0 || b.Step != "" {
			p.Restarts = append(p.Restarts, b)
		}
	}
}
