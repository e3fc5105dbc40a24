package api

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/perigee-sched/perigee/api/strict"
)

// Strategy is how a deploy moves a service's instances to its spec.
type Strategy string

// The strategies. All are one mechanism: steps, each of which moves instances
// from 0 up to a target, and what has to be met before the next step begins.
const (
	// StrategyRolling moves batch after batch (the default).
	StrategyRolling Strategy = "rolling"
	// StrategyCanary takes named steps that bake, are checked and promoted,
	// then the rest in batches.
	StrategyCanary Strategy = "canary"
	// StrategyBlueGreen starts a whole new set beside the old one, and switches
	// the endpoints over at once when all of it is ready.
	StrategyBlueGreen Strategy = "blue-green"
)

// OnFailure is what becomes of a deploy that failed.
type OnFailure string

// The answers to a failure.
const (
	FailureRollsBack OnFailure = "rollback" // instances return, in reverse order (the default)
	FailurePauses    OnFailure = "pause"    // the deploy stands still until somebody decides
	FailureStops     OnFailure = "stop"     // it ends; instances stay on what they run
)

// Update is how a deploy moves a service's instances. Instances are moved from
// 0 up. Portions are of the instances that are wanted.
type Update struct {
	// Strategy is rolling (the default), canary or blue-green.
	Strategy Strategy `json:"strategy,omitempty"`
	// Batch is how many instances move at a time: one portion, or a list of
	// which the last repeats. [1, 25%] by default: one, then quarters.
	Batch Portions `json:"batch,omitempty"`
	// StopFirst stops the old task of an instance before its new one starts,
	// instead of starting the new one first.
	StopFirst bool `json:"stop_first,omitempty"`
	// Surge is how many more tasks than instances there may be while new ones
	// start first; a whole batch by default.
	Surge Portion `json:"surge,omitempty"`
	// MaxUnavailable is how many instances may not serve because of the deploy:
	// a batch by default with stop_first, else 0. More than 0 without
	// stop_first lets an instance whose new task fits nowhere stop its old one
	// first.
	MaxUnavailable Portion `json:"max_unavailable,omitempty"`
	// Steps of a canary.
	Steps []Step `json:"steps,omitempty"`
	// Keep is how long a blue-green deploy keeps the old set for an instant way
	// back; 5m by default.
	Keep *Duration `json:"keep,omitempty"`
	// Deadline for progress: a step in which no further instance became ready
	// for this long has failed; 10m by default.
	Deadline Duration `json:"deadline,omitempty"`
	// Retries is how many failures of one instance are tolerated; 2 by default.
	// What the cluster did to a task does not count.
	Retries *int `json:"retries,omitempty"`
	// Failures is how many instances may fail more often than that without
	// failing the deploy; 0 by default.
	Failures Portion `json:"failures,omitempty"`
	// OnFailure is rollback (the default), pause or stop.
	OnFailure OnFailure `json:"on_failure,omitempty"`
	// Pulse: the deploy goes on only while somebody says at least this often
	// that it may.
	Pulse Duration `json:"pulse,omitempty"`
}

// Step of a canary: so many instances run the new spec, for so long, before it
// goes on.
type Step struct {
	// Name is for people; "step 1", "step 2" … by default.
	Name string `json:"name,omitempty"`
	// Instances that have moved when the step is complete.
	Instances Portion `json:"instances"`
	// Bake is how long they must serve without interruption.
	Bake Duration `json:"bake,omitempty"`
	// Checks must pass after Bake; those of failures and health hold during it.
	Checks *Checks `json:"checks,omitempty"`
	// Manual: somebody has to promote the deploy.
	Manual bool `json:"manual,omitempty"`
}

// Checks of a canary's step.
type Checks struct {
	// Failures: the deploy fails when more tasks on the new spec than this
	// portion of the step's instances failed during the step.
	Failures Portion `json:"failures,omitempty"`
	// Healthy: the deploy fails when a task on the new spec that was ready
	// stops being so during the bake.
	Healthy bool `json:"healthy,omitempty"`
	// Gate asks an outside system.
	Gate *Gate `json:"gate,omitempty"`
}

// Gate is an HTTP service that decides whether a deploy goes on. It is sent a
// POST of a GateQuestion, and answers 200 with a GateAnswer.
type Gate struct {
	URL string `json:"url"`
	// Interval between questions while it answers wait, or not at all; 10s by
	// default.
	Interval Duration `json:"interval,omitempty"`
	// Deadline for go: later the deploy has failed; 10m by default.
	Deadline Duration `json:"deadline,omitempty"`
}

// GateQuestion is what a gate is asked.
type GateQuestion struct {
	Job       string `json:"job"`
	Deploy    uint32 `json:"deploy"`
	From      uint32 `json:"from,omitempty"` // the deploy that ran before
	Step      string `json:"step"`
	Instances int    `json:"instances"` // that have moved
	Digest    string `json:"digest"`    // of the spec
}

// GateAnswer is what a gate says.
type GateAnswer struct {
	Decision GateDecision `json:"decision"`
	Reason   string       `json:"reason,omitempty"`
}

// GateDecision is a gate's.
type GateDecision string

// The decisions of a gate.
const (
	GateGo   GateDecision = "go"
	GateWait GateDecision = "wait" // ask again
	GateStop GateDecision = "stop" // the deploy has failed
)

func (u *Update) filled() *Update {
	u = orNew(u)
	fill(&u.Strategy, StrategyRolling)
	if len(u.Batch) == 0 {
		u.Batch = Portions{"1", "25%"}
		if u.Strategy == StrategyCanary {
			u.Batch = Portions{"100%"}
		}
	}
	if u.Strategy == StrategyBlueGreen {
		u.Batch = Portions{"100%"}
		u.Keep = or(u.Keep, DefaultUpdateKeep)
	}
	fill(&u.Deadline, DefaultUpdateDeadline)
	u.Retries = or(u.Retries, DefaultUpdateRetries)
	fill(&u.Failures, "0")
	fill(&u.OnFailure, FailureRollsBack)
	steps := u.Steps
	u.Steps = nil
	for i, s := range steps {
		fill(&s.Name, fmt.Sprintf("step %d", i+1))
		if s.Checks != nil {
			s.Checks = orNew(s.Checks)
			if s.Checks.Gate != nil {
				s.Checks.Gate = orNew(s.Checks.Gate)
				fill(&s.Checks.Gate.Interval, DefaultGateInterval)
				fill(&s.Checks.Gate.Deadline, DefaultGateDeadline)
			}
		}
		u.Steps = append(u.Steps, s)
	}
	return u
}

// update checks how a service is deployed.
func (p *problems) update(u *Update) {
	if u == nil {
		return
	}
	p.choice("update.strategy", string(u.Strategy), "rolling", "canary", "blue-green")
	p.choice("update.on_failure", string(u.OnFailure), "rollback", "pause", "stop")
	p.duration("update.deadline", u.Deadline, shortest, day)
	p.duration("update.pulse", u.Pulse, shortest, week)
	p.count("update.batch", len(u.Batch), 100)
	for i, b := range u.Batch {
		p.portion(strict.Index("update.batch", i), b, 1)
	}
	p.portion("update.surge", u.Surge, 1)
	p.portion("update.max_unavailable", u.MaxUnavailable, 0)
	p.portion("update.failures", u.Failures, 0)
	if u.Retries != nil {
		p.number("update.retries", *u.Retries, 0, 1000)
	}
	if u.Keep != nil {
		p.duration("update.keep", *u.Keep, shortest, week)
	}
	canary, blueGreen := u.Strategy == StrategyCanary, u.Strategy == StrategyBlueGreen
	p.inapplicable(u.Keep != nil && !blueGreen, "update.keep", "only strategy: blue-green keeps the old set")
	p.inapplicable(u.Steps != nil && !canary, "update.steps", "only strategy: canary takes steps; a rolling deploy takes batches")
	p.inapplicable(u.StopFirst && blueGreen, "update.stop_first", "a blue-green deploy starts its whole set beside the old one")
	p.inapplicable(u.Surge != "" && blueGreen, "update.surge", "a blue-green deploy starts its whole set beside the old one")
	p.inapplicable(len(u.Batch) > 0 && blueGreen, "update.batch", "a blue-green deploy starts its whole set at once")
	p.inapplicable(u.MaxUnavailable != "" && blueGreen, "update.max_unavailable", "a blue-green deploy keeps the old set serving until it switches")
	p.inapplicable(u.Surge != "" && u.StopFirst, "update.surge", "with stop_first there are never more tasks than instances; see max_unavailable")
	if u.StopFirst && u.MaxUnavailable == "0" {
		p.add("update.max_unavailable", "0", "is 0: with stop_first at least one instance at a time does not serve; leave it out, or make it 1 or more")
	}
	if canary && len(u.Steps) == 0 {
		p.add("update.steps", nil, "is missing: a canary needs at least one, for example [{instances: 1, bake: 10m}]")
	}
	p.steps(u.Steps)
}

func (p *problems) steps(steps []Step) {
	p.count("update.steps", len(steps), 100)
	names := map[string]bool{}
	for i, s := range steps {
		at := strict.Index("update.steps", i)
		if s.Name != "" {
			p.line(strict.Join(at, "name"), s.Name, 64)
			if names[s.Name] {
				p.add(strict.Join(at, "name"), s.Name, "%q is given to two steps", strict.Shorten(s.Name))
			}
			names[s.Name] = true
		}
		if s.Instances == "" {
			p.add(strict.Join(at, "instances"), nil, "is missing: how many instances have moved after this step, for example 1 or 25%%")
		} else {
			p.portion(strict.Join(at, "instances"), s.Instances, 1)
		}
		if i > 0 && s.Instances.lessThan(steps[i-1].Instances) {
			p.add(strict.Join(at, "instances"), string(s.Instances), "is %s: the step before has %s already; steps are of all that have moved", s.Instances, steps[i-1].Instances)
		}
		p.duration(strict.Join(at, "bake"), s.Bake, shortest, week)
		if s.Checks != nil {
			at = strict.Join(at, "checks")
			p.portion(strict.Join(at, "failures"), s.Checks.Failures, 0)
			p.gate(strict.Join(at, "gate"), s.Checks.Gate)
		}
	}
}

func (p *problems) gate(at string, g *Gate) {
	if g == nil {
		return
	}
	where := strict.Join(at, "url")
	if p.line(where, g.URL, 4096) {
		u, err := url.Parse(g.URL)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			p.add(where, g.URL, "%q is not a URL to ask: write it as https://checks.example.com/gate", strict.Shorten(g.URL))
		case u.User != nil:
			p.add(where, nil, "has a password in it, which everybody who may read the job would see")
		}
	}
	p.duration(strict.Join(at, "interval"), g.Interval, Duration(shortest), hour)
	p.duration(strict.Join(at, "deadline"), g.Deadline, shortest, week)
}

// portion wants a count or a percentage, "" where it is the default.
func (p *problems) portion(at string, v Portion, least int) {
	if v == "" {
		return
	}
	n, percent, ok := v.parse()
	switch {
	case !ok:
		p.add(at, string(v), "%q is not a portion: write a count, 3, or a percentage, 10%%", strict.Shorten(string(v)))
	case percent && (n > 100 || n < 0 || n == 0 && least > 0):
		p.add(at, string(v), "is %s: a percentage must be from %d%% to 100%%", v, least)
	case !percent:
		p.number(at, int(n), least, MaxInstances)
	}
}

// lessThan compares portions where that does not depend on the whole.
func (v Portion) lessThan(w Portion) bool {
	a, aPercent, ok1 := v.parse()
	b, bPercent, ok2 := w.parse()
	return ok1 && ok2 && aPercent == bPercent && a < b
}

// stepName is a step as people call it, also where a plan has none.
func (s Step) String() string { return strings.TrimSpace(s.Name + " " + string(s.Instances)) }
