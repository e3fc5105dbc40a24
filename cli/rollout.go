package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// rolloutView is a deploy as it was told last, and what only somebody who
// watches it knows. It only makes text: the same for `deploy` on a terminal and
// for `status`.
type rolloutView struct {
	*app
	deploy *api.Deploy
	spec   *api.Spec // of the deploy; nil when it is not known
	// since is when instances were seen to become what they are.
	since map[int]sighting
	// lost is since when no scheduler answers; zero while one does.
	lost time.Time
	// above says what the deploy is a part of.
	above []string
}

type sighting struct {
	state string
	at    time.Time
}

// update takes what was told newly.
func (v *rolloutView) update(d *api.Deploy) {
	first := v.since == nil
	if first {
		v.since = map[int]sighting{}
	}
	v.deploy, v.lost = d, time.Time{}
	if d.Rollout == nil {
		return
	}
	for _, p := range d.Rollout.Progress {
		state := p.Task + " " + stateOfInstance(d, p)
		if was, ok := v.since[p.Instance]; !ok || was.state != state {
			s := sighting{state: state}
			if !first {
				s.at = v.now()
			}
			v.since[p.Instance] = s
		}
	}
}

// frame is all that a terminal of a size shows.
func (v *rolloutView) frame(width, height int) []string {
	lines := append(slices.Clone(v.above), v.header()...)
	var foot []string
	if v.deploy.Rollout != nil {
		lines = append(lines, v.steps()...)
		foot = v.foot(width)
	}
	if !v.lost.IsZero() {
		foot = append(foot, v.paint(yellow, fmt.Sprintf("no scheduler answers for %s: this is how it was then", span(v.now().Sub(v.lost)))))
	}
	foot = append(foot, v.paint(dim, "Ctrl-C ends the watching, not the deploy."))
	const gaps = 2 // lines
	room := height - 1 - len(lines) - len(foot)
	instances := v.instances(width, room-gaps)
	if len(instances) == 0 {
		return append(lines, foot...)
	}
	return slices.Concat(lines, []string{""}, instances, []string{""}, foot)
}

// header says which deploy it is, and whose.
func (v *rolloutView) header() []string {
	d := v.deploy
	line := fmt.Sprintf("%s  deploy %d%s, %s", v.paint(bold, d.Job), d.Number, ofKind(d), v.state(string(d.State)))
	if r := d.Rollout; r != nil && r.Phase != api.PhaseReturning && d.From != 0 {
		line += ", " + string(r.Strategy)
	}
	line += ", " + span(v.now().Sub(d.CreatedAt))
	lines := []string{line}
	if about := noted(d); about != "" {
		lines = append(lines, v.paint(dim, about))
	}
	return lines
}

// ofKind says what a deploy is for when it is not for a new spec.
func ofKind(d *api.Deploy) string {
	switch d.Kind {
	case api.DeployOfRollback:
		return fmt.Sprintf(" (a rollback to deploy %d)", d.Of)
	case api.DeployOfBounce:
		return " (a bounce)"
	case api.DeployInPlace:
		return " (in place)"
	}
	return ""
}

// noted is what people said of a deploy.
func noted(d *api.Deploy) string {
	text := prefixed("by ", oneLine(d.Author))
	if m := oneLine(d.Message); m != "" {
		text += prefixed(": ", m)
	}
	return strings.TrimPrefix(text, ": ")
}

// step is one of a deploy's.
type step struct {
	name   string
	target int
}

// stepsOf are a deploy's steps, nil when they cannot be told.
func (v *rolloutView) stepsOf() []step {
	d, r := v.deploy, v.deploy.Rollout
	if v.spec == nil || v.spec.Update == nil || d.Kind == api.DeployOfBounce || r.Steps < 2 {
		return nil
	}
	u := v.spec.WithDefaults().Update
	targets := u.Targets(d.Instances)
	if len(targets) != r.Steps {
		return nil
	}
	steps := make([]step, len(targets))
	for i, target := range targets {
		steps[i] = step{u.Step(i).Name, target}
		if steps[i].name == "" {
			steps[i].name = fmt.Sprintf("batch %d", i+1)
		}
	}
	return steps
}

// stepName is what the current step is called.
func stepName(r *api.Rollout) string {
	switch {
	case r.StepName != "":
		return r.StepName
	case r.Steps < 2:
		return "all at once"
	}
	return fmt.Sprintf("batch %d", r.Step)
}

// stepsShown of those that are over and those to come.
const stepsShown = 3

// steps are a line for each step, and one for many that are over or far off.
func (v *rolloutView) steps() []string {
	r := v.deploy.Rollout
	if r.Phase == api.PhaseReturning {
		return []string{v.paint(yellow, "↩ ") + v.returning()}
	}
	steps := v.stepsOf()
	if steps == nil {
		name := stepName(r)
		if r.Steps > 1 {
			name += fmt.Sprintf(" of %d", r.Steps)
		}
		return []string{v.paint(bold, "▸ ") + name + "  " + v.current()}
	}
	current := min(max(r.Step-1, 0), len(steps)-1)
	from, to := max(0, current-stepsShown), min(len(steps), current+1+stepsShown)
	wide := 0
	for _, s := range steps[from:to] {
		wide = max(wide, columns(s.name))
	}
	var lines []string
	if from > 0 {
		lines = append(lines, v.paint(green, "✓ ")+v.paint(dim, fmt.Sprintf("%s before, %d of %d", plural(from, "step"), steps[from-1].target, v.deploy.Instances)))
	}
	for i := from; i < to; i++ {
		name := steps[i].name + strings.Repeat(" ", wide-columns(steps[i].name))
		switch {
		case i < current:
			lines = append(lines, v.paint(green, "✓ ")+v.paint(dim, fmt.Sprintf("%s  %d of %d", name, steps[i].target, v.deploy.Instances)))
		case i == current:
			lines = append(lines, v.paint(bold, "▸ ")+name+"  "+v.current())
		default:
			lines = append(lines, v.paint(dim, fmt.Sprintf("· %s  to %d of %d", name, steps[i].target, v.deploy.Instances)))
		}
	}
	if to < len(steps) {
		lines = append(lines, v.paint(dim, fmt.Sprintf("· %s after that", plural(len(steps)-to, "step"))))
	}
	return lines
}

// current says how far the current step is.
func (v *rolloutView) current() string {
	d, r := v.deploy, v.deploy.Rollout
	moved := fmt.Sprintf("%d of %d: ", r.Target, d.Instances)
	switch r.Phase {
	case api.PhaseBaking:
		return moved + v.paint(yellow, "bakes") + v.left(", ", r.Until, " left")
	case api.PhaseGate:
		return moved + v.paint(yellow, "asks its gate")
	case api.PhasePromotion:
		return moved + v.paint(yellow, "waits to be promoted")
	case api.PhaseKeeping:
		return fmt.Sprintf("%d of %d ", r.Target, d.Instances) + v.paint(green, "serve") + v.left("; the old set is kept for ", r.Until, " more")
	}
	return "to " + strings.TrimSuffix(moved+v.counts(), ": ")
}

// counts says how many instances of the steps so far are in which state.
func (v *rolloutView) counts() string {
	n := map[string]int{}
	for _, p := range v.deploy.Rollout.Progress {
		if p.Moved {
			n[stateOfInstance(v.deploy, p)]++
		}
	}
	return v.countedStates(n)
}

func (v *rolloutView) countedStates(n map[string]int) string {
	var parts []string
	for _, state := range instanceStates {
		if n[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[state], v.paint(paints[state], state)))
		}
	}
	return strings.Join(parts, ", ")
}

func (v *rolloutView) returning() string {
	d, r := v.deploy, v.deploy.Rollout
	if r.Back == 0 {
		return "stops its instances" + prefixed(": ", oneLine(r.Cause))
	}
	back := 0
	for _, p := range r.Progress {
		if p.Deploy == r.Back && p.Ready && p.Old == "" {
			back++
		}
	}
	return fmt.Sprintf("returns to deploy %d, %d of %d are back%s", r.Back, back, max(d.Instances, len(r.Progress)), prefixed(": ", oneLine(r.Cause)))
}

// waits is what the deploy waits for, where that is not to be seen from the
// states of its instances, or of the deploy itself.
func (v *rolloutView) waits() string {
	r := v.deploy.Rollout
	switch r.Phase {
	case api.PhaseMoving, api.PhaseReturning:
		if !strings.Contains(r.Waits, ": ") {
			return ""
		}
	case api.PhaseBaking, api.PhasePromotion, api.PhaseKeeping:
		return ""
	}
	if r.Paused {
		return ""
	}
	return oneLine(r.Waits)
}

// foot says what the deploy waits for, how long, and what can be done about it.
func (v *rolloutView) foot(width int) []string {
	d, r := v.deploy, v.deploy.Rollout
	var lines []string
	if r.Paused {
		lines = append(lines, v.paint(yellow, "paused")+prefixed(": ", oneLine(r.Pause))+
			fmt.Sprintf("; `perigee resume %s --deploy` has it go on%s", d.Job, v.undo()))
	}
	if waits := v.waits(); waits != "" {
		lines = append(lines, "waits: "+waits)
	}
	switch {
	case r.Deadline == nil:
	case r.Phase == api.PhaseGate:
		lines = append(lines, v.left("fails in ", r.Deadline, " unless the gate says go"))
	case r.Phase == api.PhaseReturning:
		lines = append(lines, v.left("gives up in ", r.Deadline, " unless another instance is back"))
	default:
		lines = append(lines, v.left("fails in ", r.Deadline, " unless another instance becomes ready"))
	}
	if r.PulseUntil != nil {
		lines = append(lines, v.left("goes on for ", r.PulseUntil, " without another pulse"))
	}
	switch {
	case r.Paused:
	case r.Phase == api.PhasePromotion:
		lines = append(lines, fmt.Sprintf("`perigee promote %s` has it go on%s", d.Job, v.undo()))
	case r.Phase == api.PhaseKeeping:
		lines = append(lines, fmt.Sprintf("`perigee rollback %s` switches back at once", d.Job))
	}
	var wrapped []string
	for _, line := range lines {
		wrapped = append(wrapped, wrap(line, width, 3)...)
	}
	return wrapped
}

func (v *rolloutView) undo() string {
	if v.deploy.Rollout.Back == 0 {
		return ""
	}
	return fmt.Sprintf(", `perigee cancel %s` returns to deploy %d", v.deploy.Job, v.deploy.Rollout.Back)
}

// left is the time until a moment between two texts, "" when there is none.
func (v *rolloutView) left(before string, until *time.Time, after string) string {
	if until == nil {
		return ""
	}
	return before + span(until.Sub(v.now())+time.Second-1) + after
}

// span is a time in two units, for what is watched: 7s, 9m12s, 1h05m.
func span(d time.Duration) string {
	switch d = max(d, 0).Truncate(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
