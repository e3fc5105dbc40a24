package plan

import (
	"fmt"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
)

func (p *planning) warning(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

// warn says what somebody should think about before doing it.
func (p *planning) warn() {
	if p.Action == api.PlanNone {
		return
	}
	if p.Stops > 0 {
		p.warning("instances goes from %d to %d: %s at once", p.before(), p.wanted(), stopping(p.wanted(), p.before()-1))
	}
	if p.Action == api.PlanScale {
		p.warnOfCluster()
		return
	}
	if p.old != nil && p.old.Health != nil && p.spec.Health == nil {
		p.warning("the health check is removed: %s", p.readyWithout())
	}
	p.warnOfDeadline()
	p.warnOfCluster()
	if p.mixed {
		p.warning("some instances run another spec than deploy %d's: all are replaced", p.From)
	}
	if p.paused() {
		p.warning("the job is paused: nothing starts until it is resumed")
	}
}

func stopping(first, last int) string {
	if first == last {
		return fmt.Sprintf("instance %d stops", first)
	}
	return fmt.Sprintf("instances %d to %d stop", first, last)
}

// readyWithout says what readiness comes to without a health check.
func (p *planning) readyWithout() string {
	if p.spec.Ready == nil {
		return "nothing notices a task that hangs"
	}
	return fmt.Sprintf("an instance counts as ready once it ran for %s, whatever it answers", *p.spec.Ready.After)
}

func (p *planning) warnOfDeadline() {
	u, ready := p.spec.Update, p.spec.Ready
	switch {
	case u == nil:
	case u.Deadline <= *ready.After:
		p.warning("update.deadline is %s: no instance can be ready before ready.after, %s, so every deploy fails", u.Deadline, *ready.After)
	case p.spec.Health != nil && u.Deadline < p.spec.Health.Startup:
		p.warning("update.deadline is %s, shorter than health.startup, %s: an instance that takes as long to start as it may fails the deploy",
			u.Deadline, p.spec.Health.Startup)
	}
}

// warnOfCluster tells of what no agent has, whatever is free.
func (p *planning) warnOfCluster() {
	f, err := core.NewFit(p.observed, &p.spec)
	if err != nil || len(p.observed.Agents) == 0 {
		return // told by Fit
	}
	unmet := f.Unmet()
	for _, text := range unmet {
		p.warning("none of the %d agents now known meets %q", len(p.observed.Agents), text)
	}
	if len(unmet) == 0 {
		p.Warnings = append(p.Warnings, f.Warnings()...)
	}
	p.warnOfOthers()
}

// warnOfOthers tells of the tasks of other jobs that wait for a place. Which
// comes first is placement's to decide, task after task, so that a plan does not
// count them in.
func (p *planning) warnOfOthers() {
	waiting, jobs := 0, 0
	for job, reasons := range p.observed.Pending {
		if job == p.Job {
			continue
		}
		jobs++
		for _, r := range reasons {
			waiting += r.Tasks
		}
	}
	switch {
	case !p.Fit.Fits || p.Fit.Needs == 0 || waiting == 0:
	case waiting == 1:
		p.warning("a task of another job waits for a place too, and may take one that is counted on here")
	case jobs == 1:
		p.warning("%d tasks of another job wait for a place too, and may take some that are counted on here", waiting)
	default:
		p.warning("%d tasks of %d other jobs wait for a place too, and may take some that are counted on here", waiting, jobs)
	}
}
