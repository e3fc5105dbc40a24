package sim

import (
	"fmt"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// service is a service that may be well or not, and is deployed in some way.
func (u *users) service(job string) *api.Spec {
	rng := u.w.rng
	n := rng.IntN(6) * u.w.scale
	spec := &api.Spec{Job: job, Kind: api.KindService, Instances: &n, Priority: rng.IntN(3), Ports: []string{"http"},
		Resources: api.Resources{CPUs: 0.5, Memory: 256 * api.MiB}}
	if rng.IntN(2) == 0 {
		spec.Health = &api.Health{TCP: &api.TCPCheck{Port: "http"}}
	}
	u.placement(spec)
	u.ready(spec)
	u.update(spec)
	return commanded(spec, u.doing(spec))
}

// doing is how a service's tasks behave: half of them well.
func (u *users) doing(spec *api.Spec) behaviour {
	rng := u.w.rng
	switch rng.IntN(16) {
	case 0, 1:
		return behaviour{For: 1000 + rng.IntN(60_000), Exit: rng.IntN(2)}
	case 2:
		return behaviour{For: 1, Exit: 1}
	case 3:
		spec.Constraints = []string{"zone = nowhere"}
		return behaviour{Nowhere: true}
	case 4, 5, 6, 7:
		if spec.Health != nil {
			return []behaviour{{Sick: true}, {Mute: true}, {Flaps: true}}[rng.IntN(3)]
		}
	}
	return behaviour{}
}

func (u *users) placement(spec *api.Spec) {
	switch u.w.rng.IntN(7) {
	case 6:
		spec.Resources.CPUs = 3 // few have room for it
	case 5:
		for i := range 11 { // so that they run out on the agents of a rack
			spec.Ports = append(spec.Ports, fmt.Sprint("port-", i))
		}
		spec.Constraints = []string{"rack = r0"}
	case 0:
		spec.Spread = "rack"
	case 1:
		spec.Limits = map[string]int{"host": 2}
	case 2:
		spec.Constraints = []string{"zone = z1"}
	}
}

// ready says when an instance is, and how it is stopped.
func (u *users) ready(spec *api.Spec) {
	rng := u.w.rng
	if rng.IntN(4) == 0 {
		after := api.Duration(time.Duration(rng.IntN(20)) * time.Second)
		spec.Ready = &api.Ready{After: &after}
	}
	if rng.IntN(4) == 0 {
		spec.Stop = &api.Stop{Drain: api.Duration(5 * time.Second)}
	}
	if rng.IntN(4) == 0 {
		spec.Unreachable = &api.Unreachable{Never: rng.IntN(2) == 0}
		if !spec.Unreachable.Never {
			spec.Unreachable.ReplaceAfter = api.Duration(time.Duration(1+rng.IntN(120)) * time.Second)
		}
	}
}

// update says how a spec is deployed: by any strategy.
func (u *users) update(spec *api.Spec) {
	rng := u.w.rng
	up := &api.Update{}
	switch rng.IntN(6) {
	case 0, 1:
		up.Strategy = api.StrategyBlueGreen
		keep := api.Duration(time.Duration(5+rng.IntN(900)) * time.Second)
		up.Keep = &keep
	case 2, 3:
		up.Strategy = api.StrategyCanary
		u.canary(up)
	default:
		u.rolling(up)
	}
	if rng.IntN(2) == 0 {
		up.Deadline = api.Duration(time.Duration(1+rng.IntN(5)) * time.Minute)
	}
	if rng.IntN(2) == 0 {
		retries := rng.IntN(3)
		up.Retries = &retries
	}
	if rng.IntN(4) == 0 {
		up.Failures = "25%"
	}
	if rng.IntN(8) == 0 {
		up.Pulse = api.Duration(time.Duration(1+rng.IntN(3)) * time.Minute)
	}
	up.OnFailure = []api.OnFailure{"", "", api.FailurePauses, api.FailureStops}[rng.IntN(4)]
	spec.Update = up
}

func (u *users) rolling(up *api.Update) {
	rng := u.w.rng
	up.Batch = []api.Portions{nil, {"1"}, {"50%"}, {"100%"}, {"1", "2"}}[rng.IntN(5)]
	up.StopFirst = rng.IntN(3) == 0
	if !up.StopFirst {
		up.Surge = []api.Portion{"", "1", "50%"}[rng.IntN(3)]
	}
	up.MaxUnavailable = []api.Portion{"", "", "1", "50%"}[rng.IntN(4)]
}

func (u *users) canary(up *api.Update) {
	rng := u.w.rng
	up.StopFirst = rng.IntN(4) == 0
	for i := range 1 + rng.IntN(2) {
		step := api.Step{Instances: []api.Portion{"1", "50%"}[i], Manual: rng.IntN(4) == 0}
		if rng.IntN(2) == 0 {
			step.Bake = api.Duration(time.Duration(1+rng.IntN(60)) * time.Second)
		}
		if rng.IntN(4) > 0 {
			step.Checks = &api.Checks{Failures: []api.Portion{"", "0"}[rng.IntN(2)], Healthy: rng.IntN(4) == 0}
			if rng.IntN(4) > 0 {
				step.Checks.Gate = &api.Gate{URL: "http://gate/", Interval: api.Duration(5 * time.Second), Deadline: api.Duration(3 * time.Minute)}
			}
		}
		up.Steps = append(up.Steps, step)
	}
}

// changedClock is a cron that comes at an hour which a change of the clock
// skips or repeats.
const changedClock = "30 2 * * *"

func (u *users) cron(job string) *api.Spec {
	rng := u.w.rng
	return commanded(&api.Spec{Job: job, Kind: api.KindCron, Resources: api.Resources{CPUs: 0.2, Memory: 64 * api.MiB},
		Retries: rng.IntN(3),
		Schedule: &api.Schedule{
			Cron: []string{"* * * * *", "*/5 * * * *", changedClock}[rng.IntN(3)], Zone: "Europe/Berlin",
			Overlap: []api.Overlap{api.OverlapForbid, api.OverlapReplace, api.OverlapAllow, api.OverlapQueue}[rng.IntN(4)],
			Missed:  []api.Missed{api.MissedSkip, api.MissedOnce, api.MissedAll}[rng.IntN(3)],
		}}, behaviour{For: 1 + rng.IntN(150_000), Exit: rng.IntN(2)})
}

func (u *users) batch(job string) *api.Spec {
	rng := u.w.rng
	return commanded(&api.Spec{Job: job, Kind: api.KindBatch, Resources: api.Resources{CPUs: 0.3, Memory: 64 * api.MiB},
		Retries: rng.IntN(3)}, behaviour{For: 1 + rng.IntN(30_000), Exit: rng.IntN(2)})
}
