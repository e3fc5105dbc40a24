package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/perigee-sched/perigee/api"
)

// deployLog tells a deploy in lines that stay: one for each change that is of
// interest to somebody who reads them later. It only makes text.
type deployLog struct {
	*app
	spec *api.Spec // of the deploy; nil when it is not known
	last *api.Deploy
	// waits is what the deploy waits for, without its numbers, since when it
	// does, and whether that was told.
	waits      string
	waitsSince time.Time
	waitsTold  bool
}

// news is a line about a deploy, without the time. One that stays is of interest
// also to somebody who sees all the rest in a frame.
type news struct {
	text  string
	stays bool
}

// see returns what is new.
func (l *deployLog) see(d *api.Deploy) []news {
	was := l.last
	l.last = d
	var lines []news
	if was == nil && d.State.Over() {
		return nil // how it ended is told at the end
	}
	if was == nil {
		lines = append(lines, news{text: l.began(d)})
		was = &api.Deploy{Rollout: &api.Rollout{}}
	}
	now, before := d.Rollout, was.Rollout
	if now == nil {
		return lines
	}
	if before == nil {
		before = &api.Rollout{}
	}
	lines = append(lines, l.failures(d, was)...)
	lines = append(lines, l.instances(d, was)...)
	lines = append(lines, l.phase(d, before)...)
	switch {
	case now.Paused && !before.Paused:
		lines = append(lines, news{"paused" + prefixed(": ", oneLine(now.Pause)), true})
	case !now.Paused && before.Paused:
		lines = append(lines, news{"resumed", true})
	}
	return append(lines, l.waiting(now)...)
}

// began says which deploy it is.
func (l *deployLog) began(d *api.Deploy) string {
	line := fmt.Sprintf("deploy %d of %s%s", d.Number, d.Job, ofKind(d))
	if r := d.Rollout; r != nil {
		if d.From != 0 {
			line += fmt.Sprintf(": %s, %s", r.Strategy, plural(d.Instances, "instance"))
		} else {
			line += ": " + plural(d.Instances, "instance")
		}
	}
	return line + prefixed(", ", noted(d))
}

// phase tells another step, or another phase of it.
func (l *deployLog) phase(d *api.Deploy, before *api.Rollout) []news {
	now := d.Rollout
	if now.Step == before.Step && now.Phase == before.Phase {
		return nil
	}
	name := stepName(now)
	if now.Steps > 1 {
		name += fmt.Sprintf(" (%d of %d)", now.Step, now.Steps)
	}
	v := &rolloutView{app: l.app, deploy: d}
	switch now.Phase {
	case api.PhaseMoving:
		return []news{{text: fmt.Sprintf("%s: to %d of %d", name, now.Target, d.Instances)}}
	case api.PhaseBaking:
		return []news{{text: name + ": bakes" + v.left(", ", now.Until, " left")}}
	case api.PhaseGate:
		return []news{{text: name + ": asks its gate"}}
	case api.PhasePromotion:
		return []news{{text: fmt.Sprintf("%s: waits until somebody promotes it: perigee promote %s", name, d.Job)}}
	case api.PhaseKeeping:
		return []news{{text: "all instances serve" + v.left("; the old set is kept for ", now.Until, " more")}}
	}
	to := "the instances are stopped"
	if now.Back != 0 {
		to = fmt.Sprintf("returns to deploy %d", now.Back)
	}
	return []news{{to + prefixed(": ", oneLine(now.Cause)), true}}
}

// failures tells of instances that failed once more.
func (l *deployLog) failures(d, was *api.Deploy) []news {
	before := map[int]int{}
	if was.Rollout != nil {
		for _, p := range was.Rollout.Progress {
			before[p.Instance] = p.Failures
		}
	}
	var lines []news
	for _, p := range d.Rollout.Progress {
		if p.Failures <= before[p.Instance] {
			continue
		}
		line := fmt.Sprintf("instance %d failed", p.Instance)
		if p.Failures > 1 {
			line += fmt.Sprintf(", for the %s time", ordinal(p.Failures))
		}
		if l.spec != nil && l.spec.Update != nil && l.spec.Update.Retries != nil {
			line += fmt.Sprintf(" (%d tolerated)", *l.spec.Update.Retries)
		}
		lines = append(lines, news{line + prefixed(": ", oneLine(p.Message)), true})
	}
	return lines
}

func ordinal(n int) string {
	suffix := "th"
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		suffix = "st"
	case n%10 == 2:
		suffix = "nd"
	case n%10 == 3:
		suffix = "rd"
	}
	return strconv.Itoa(n) + suffix
}

// instances tells which have become ready, or are back.
func (l *deployLog) instances(d, was *api.Deploy) []news {
	before := map[int]string{}
	if was.Rollout != nil {
		for _, p := range was.Rollout.Progress {
			before[p.Instance] = stateOfInstance(was, p)
		}
	}
	arrived := map[string][]int{}
	total := map[string]int{}
	for _, p := range d.Rollout.Progress {
		s := stateOfInstance(d, p)
		total[s]++
		if s != before[p.Instance] {
			arrived[s] = append(arrived[s], p.Instance)
		}
	}
	var lines []news
	if n := arrived[instanceReady]; len(n) > 0 {
		lines = append(lines, news{text: fmt.Sprintf("%s ready, %d of %d", ofInstances(n), total[instanceReady], d.Instances)})
	}
	// Those that never moved were there all the time.
	if n := arrived[instanceBack]; len(n) > 0 && was.Rollout != nil && was.Rollout.Phase == api.PhaseReturning {
		lines = append(lines, news{text: fmt.Sprintf("%s back on deploy %d, %d of %d", ofInstances(n), d.Rollout.Back, total[instanceBack],
			max(d.Instances, len(d.Rollout.Progress)))})
	}
	return lines
}

// ofInstances names instances: instance 3; instances 0-4, 7.
func ofInstances(n []int) string {
	if len(n) == 1 {
		return fmt.Sprintf("instance %d", n[0])
	}
	return "instances " + ranges(n)
}

// ranges writes numbers as 0-4, 7.
func ranges(n []int) string {
	n = slices.Clone(n)
	slices.Sort(n)
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] <= n[j]+1 {
			j++
		}
		switch part := strconv.Itoa(n[i]); {
		case n[j] == n[i]:
			parts = append(parts, part)
		case n[j] == n[i]+1:
			parts = append(parts, part, strconv.Itoa(n[j]))
		default:
			parts = append(parts, part+"-"+strconv.Itoa(n[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

// patience is for how long a deploy waits for the same before that is told: most
// of what it waits for comes at once.
const patience = 5 * time.Second

// waiting takes note of what the deploy waits for, and tells it at once when
// that is for somebody else to say.
func (l *deployLog) waiting(r *api.Rollout) []news {
	kind := strings.Map(func(c rune) rune {
		if unicode.IsDigit(c) {
			return -1
		}
		return c
	}, r.Waits)
	if kind != l.waits {
		l.waits, l.waitsSince, l.waitsTold = kind, l.now(), false
	}
	if r.Phase == api.PhaseGate {
		return l.told()
	}
	return nil
}

// idle tells what the deploy waits for when it has done so for long. It is to be
// called now and then.
func (l *deployLog) idle() []news {
	if l.last == nil || l.last.Rollout == nil || l.now().Sub(l.waitsSince) < patience {
		return nil
	}
	return l.told()
}

func (l *deployLog) told() []news {
	r := l.last.Rollout
	if l.waitsTold || r.Waits == "" || r.Paused || r.Phase == api.PhaseBaking || r.Phase == api.PhasePromotion || r.Phase == api.PhaseKeeping {
		return nil
	}
	l.waitsTold = true
	return []news{{text: "waits: " + oneLine(r.Waits)}}
}
