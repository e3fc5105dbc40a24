package core

import (
	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// UpdateOf returns how a deploy moves its instances: as its spec, whose defaults
// are filled in, says, unless it is a bounce.
func UpdateOf(spec *api.Spec, rec *record.Rollout) *api.Update {
	u := *spec.Update
	switch {
	case rec.AllAtOnce:
		u.Batch = api.Portions{"100%"}
	case rec.OneByOne:
		u.Batch = api.Portions{"1"}
	default:
		return &u
	}
	u.Strategy, u.Steps, u.Surge = api.StrategyRolling, nil, ""
	u.OnFailure = api.FailureStops // there is nothing to return to
	return &u
}

// TargetsOf returns, step by step, how many of n instances have moved when the
// step is complete. Where nothing ran before, all start at once.
func TargetsOf(d *record.Deploy, u *api.Update, n int) []int {
	if d.From == 0 {
		return []int{n}
	}
	return u.Targets(n)
}
