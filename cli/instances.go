package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
)

// The states of an instance during a deploy, as people read them: what its task
// on the deploy's spec does, or that it has none yet.
const (
	instanceReady    = "ready"
	instanceNotReady = "not ready" // it runs
	instanceFailing  = "failing"   // it failed, and is tried again
	instanceToMove   = "to move"
	instanceBack     = "back"
	instanceToReturn = "to return"
)

// instanceStates are in the order of telling.
var instanceStates = []string{instanceReady, instanceBack, instanceNotReady, "starting", "launching", "staging", "pending",
	"unreachable", "killing", instanceFailing, instanceToMove, instanceToReturn}

// stateOfInstance is what an instance's part in a deploy is.
func stateOfInstance(d *api.Deploy, p api.InstanceProgress) string {
	own := p.Deploy == d.Number
	returning := d.Rollout != nil && d.Rollout.Phase == api.PhaseReturning
	if returning {
		own = p.Deploy == d.Rollout.Back
	}
	switch {
	case own && p.Ready && returning:
		return instanceBack
	case own && p.Ready:
		return instanceReady
	case !own && returning:
		return instanceToReturn
	case !own:
		return instanceToMove
	case p.Failures > 0 && p.State == "pending":
		return instanceFailing
	case p.State == "running":
		return instanceNotReady
	case !slices.Contains(instanceStates, p.State): // it ended, and another is to come
		return instanceFailing
	}
	return p.State
}

// marks of the states, for a picture of many instances.
var marks = map[string]string{instanceReady: "●", instanceBack: "●", instanceNotReady: "◐", "starting": "◐", "staging": "◔", "launching": "◔",
	"pending": "○", instanceFailing: "✗", "unreachable": "?", "killing": "◌", instanceToMove: "·", instanceToReturn: "○"}

const (
	listed    = 12 // instances that are listed one by one, at most
	pictured  = 12 // with more instances than these there is a picture
	pictureIn = 4  // lines
)

// instances lists those that the current step is about, and pictures all when
// there are many, in no more than room lines.
func (v *rolloutView) instances(width, room int) []string {
	r := v.deploy.Rollout
	if r == nil || len(r.Progress) == 0 || room < 2 {
		return nil
	}
	var lines []string
	if len(r.Progress) > pictured {
		lines = v.picture(width, min(pictureIn, room))
	}
	return append(lines, v.list(width, room-len(lines))...)
}

// list has a line for each instance of the step, or of those that are not where
// they should be when they are too many.
func (v *rolloutView) list(width, room int) []string {
	about := v.ofStep()
	room = min(room-1, listed) // the header
	if len(about) > room {
		unsettled := slices.DeleteFunc(slices.Clone(about), func(p api.InstanceProgress) bool {
			s := stateOfInstance(v.deploy, p)
			return s == instanceReady || s == instanceBack
		})
		if len(unsettled) > 0 {
			about = unsettled
		}
	}
	more := 0
	if len(about) > room {
		room--
		more = len(about) - max(room, 0)
		about = about[:max(room, 0)]
	}
	if len(about) == 0 || room < 1 {
		return nil
	}
	rows := [][]string{{"  INSTANCE", "STATE", "HOST", "FAILURES", "FOR", "NOTE"}}
	for _, p := range about {
		rows = append(rows, v.row(p))
	}
	t := v.table()
	t.width = width - 1
	for i, row := range withoutEmpty(rows) {
		for j := range row {
			if i == 0 {
				row[j] = v.paint(dim, row[j])
			}
		}
		t.add(row...)
	}
	var b strings.Builder
	_ = t.print(&b) // to memory
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if more > 0 {
		lines = append(lines, v.paint(dim, fmt.Sprintf("  and %d more", more)))
	}
	return lines
}

// withoutEmpty leaves out the columns that have nothing but a header.
func withoutEmpty(rows [][]string) [][]string {
	kept := make([][]string, len(rows))
	for j := range rows[0] {
		if !slices.ContainsFunc(rows[1:], func(row []string) bool { return row[j] != "" }) {
			continue
		}
		for i, row := range rows {
			kept[i] = append(kept[i], row[j])
		}
	}
	return kept
}

// ofStep are the instances that the current step moves, or that are to return.
func (v *rolloutView) ofStep() []api.InstanceProgress {
	r := v.deploy.Rollout
	var found []api.InstanceProgress
	if r.Phase == api.PhaseReturning {
		for _, p := range slices.Backward(r.Progress) { // they return in reverse order
			if stateOfInstance(v.deploy, p) != instanceBack || p.Old != "" {
				found = append(found, p)
			}
		}
		return found
	}
	before := 0
	if steps := v.stepsOf(); steps != nil && r.Step > 1 && r.Step <= len(steps) {
		before = steps[r.Step-2].target
	}
	for _, p := range r.Progress {
		if p.Moved && (p.Instance >= before || stateOfInstance(v.deploy, p) != instanceReady) {
			found = append(found, p)
		}
	}
	return found
}

func (v *rolloutView) row(p api.InstanceProgress) []string {
	state := stateOfInstance(v.deploy, p)
	failures := ""
	if p.Failures > 0 {
		failures = fmt.Sprint(p.Failures)
		if v.spec != nil && v.spec.Update != nil && v.spec.Update.Retries != nil {
			failures += fmt.Sprintf(", %d tolerated", *v.spec.Update.Retries)
		}
	}
	age := ""
	if s := v.since[p.Instance]; !s.at.IsZero() {
		age = span(v.now().Sub(s.at))
	}
	return []string{fmt.Sprintf("  %d", p.Instance), v.app.state(state), p.Host, failures, age, oneLine(p.Message)}
}

// picture has a mark for each instance, or for some of them together: that of
// the one which is least far.
func (v *rolloutView) picture(width, room int) []string {
	progress := v.deploy.Rollout.Progress
	perLine := min(max((width-4)/10*10, 10), 100)
	each := (len(progress) + perLine*room - 1) / (perLine * room)
	var lines []string
	var line strings.Builder
	cells := 0
	for i := 0; i < len(progress); i += each {
		worst := instanceReady
		for _, p := range progress[i:min(i+each, len(progress))] {
			if s := stateOfInstance(v.deploy, p); slices.Index(instanceStates, s) > slices.Index(instanceStates, worst) {
				worst = s
			}
		}
		line.WriteString(v.paint(paints[worst], marks[worst]))
		if cells++; cells%perLine == 0 {
			lines = append(lines, "  "+line.String())
			line.Reset()
		}
	}
	if line.Len() > 0 {
		lines = append(lines, "  "+line.String())
	}
	return lines
}
