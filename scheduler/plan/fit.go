package plan

import (
	"fmt"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// wave is what is placed at once: tasks of instances, whose old ones end before
// or after.
type wave struct {
	first, last int // instances; of a run both are -1
	stopFirst   bool
	// yielding instances may stop their old task first when the new one fits
	// nowhere beside it.
	yielding int
}

func (w wave) size() int { return w.last - w.first + 1 }

// waves are all that a plan has placed, in order.
func (p *planning) waves() []wave {
	switch {
	case p.Action == api.PlanNone || p.paused():
		return nil
	case p.spec.Kind != api.KindService:
		if p.Action == api.PlanInPlace {
			return nil
		}
		return []wave{{first: -1, last: -1}}
	case p.Action != api.PlanDeploy:
		return added(p.before(), p.wanted())
	}
	u, n, moved := p.spec.Update, p.wanted(), 0
	var list []wave
	for _, target := range u.Targets(n) {
		size, replaced := target-moved, min(target, p.before())
		most := u.SurgeOf(n, size)
		if u.StopFirst {
			most = u.UnavailableOf(n, size)
		}
		for moved < replaced {
			w := wave{first: moved, last: min(moved+max(most, 1), replaced) - 1, stopFirst: u.StopFirst}
			if !u.StopFirst {
				w.yielding = u.UnavailableOf(n, size)
			}
			list = append(list, w)
			moved = w.last + 1
		}
		list = append(list, added(moved, target)...)
		moved = max(moved, target)
	}
	return list
}

// added is one wave of instances that have no task yet.
func added(before, wanted int) []wave {
	if wanted <= before {
		return nil
	}
	return []wave{{first: before, last: wanted - 1}}
}

// tryOut places what the plan starts, wave after wave, on what is free now, with
// what is replaced making room for what follows.
func (p *planning) tryOut() {
	waves := p.waves()
	p.Fit = api.PlanFit{Fits: true, Agents: len(p.observed.Agents), Summary: "nothing has to be placed"}
	f, err := core.NewFit(p.observed, &p.spec)
	if err != nil { // a constraint of a newer version
		p.Fit.Fits, p.Fit.Summary = false, err.Error()
		return
	}
	t := &trial{Fit: f, planning: p}
	for i, s := range p.slots {
		for _, task := range s.tasks {
			f.Count(task)
		}
		if i >= p.wanted() {
			t.vacate(i) // stops at once
		}
	}
	for _, w := range waves {
		placed := t.place(w)
		p.Fit.Needs = max(p.Fit.Needs, w.size())
		if placed < w.size() {
			p.missing(f, w, placed)
			return
		}
	}
	switch p.Fit.Room = p.Fit.Needs; {
	case p.Fit.Needs == 0:
	case p.spec.Kind != api.KindService:
		p.Fit.Summary = "fits: a run has a place now"
	default:
		p.Fit.Summary = fmt.Sprintf("fits: at most %s started at once", tasks(p.Fit.Needs))
	}
}

// missing tells of a wave that has no place for all its tasks.
func (p *planning) missing(f *core.Fit, w wave, placed int) {
	why := f.Explain()
	p.Fit.Fits, p.Fit.Needs, p.Fit.Room, p.Fit.Refused = false, w.size(), placed, why.Refused
	p.Fit.Summary = fmt.Sprintf("%d of %d tasks that start together have a place", placed, w.size())
	switch {
	case w.first < 0:
		p.Fit.Summary = "a run has no place now"
	case w.first == w.last:
		p.Fit.Summary = fmt.Sprintf("instance %d has no place", w.first)
	case w.first > 0:
		p.Fit.Summary += fmt.Sprintf(" once it comes to instances %d to %d", w.first, w.last)
	}
	p.Fit.Summary += ": " + why.Summary
	if why.Nearest != "" {
		p.Fit.Summary += "; nearest is " + why.Nearest
	}
}

func tasks(n int) string {
	if n == 1 {
		return "1 task is"
	}
	return fmt.Sprintf("%d tasks are", n)
}

// trial is a plan being tried out.
type trial struct {
	*core.Fit
	*planning
}

// place places a wave, and returns how many tasks found a place.
func (t *trial) place(w wave) (placed int) {
	yielded := 0
	for i := w.first; i <= w.last; i++ {
		if w.stopFirst {
			t.vacate(i)
		}
	}
	var beside []int // old tasks that go on until the wave is over
	for i := w.first; i <= w.last; i++ {
		ok := t.Place()
		if !ok && yielded < w.yielding && t.vacate(i) {
			yielded++
			ok = t.Place()
		}
		if !ok {
			return placed
		}
		placed++
		beside = append(beside, i)
	}
	for _, i := range beside {
		t.vacate(i)
	}
	return placed
}

// vacate has the tasks of an instance end, and says whether there were any.
func (t *trial) vacate(instance int) bool {
	if instance < 0 || instance >= len(t.slots) {
		return false
	}
	s := &t.slots[instance]
	had := len(s.tasks) > 0
	for _, task := range s.tasks {
		t.Vacate(task, t.specOf(task))
	}
	s.tasks = nil
	return had
}

func (p *planning) specOf(t *record.Task) *api.Spec {
	d := p.state.Deploy(p.Job, t.Deploy)
	if d == nil {
		return nil
	}
	spec, err := api.ParseSpec(d.Spec)
	if err != nil {
		return nil
	}
	return spec
}
