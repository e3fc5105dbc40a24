package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		update api.Update
		n      int
		want   []int
	}{
		{"one, then quarters", api.Update{}, 200, []int{1, 51, 101, 151, 200}},
		{"one instance", api.Update{}, 1, []int{1}},
		{"none", api.Update{}, 0, []int{0}},
		{"the last repeats", api.Update{Batch: api.Portions{"1", "10%", "50%"}}, 10, []int{1, 2, 7, 10}},
		{"a count", api.Update{Batch: api.Portions{"3"}}, 7, []int{3, 6, 7}},
		{"canary, the rest at once", api.Update{Strategy: api.StrategyCanary, Steps: []api.Step{{Instances: "1"}, {Instances: "25%"}}}, 8, []int{1, 2, 8}},
		{"canary, the rest in batches", api.Update{Strategy: api.StrategyCanary, Batch: api.Portions{"50%"}, Steps: []api.Step{{Instances: "1"}}}, 8, []int{1, 5, 8}},
		{"more steps than instances", api.Update{Strategy: api.StrategyCanary, Steps: []api.Step{{Instances: "1"}, {Instances: "5"}}}, 1, []int{1, 1}},
		{"a canary to the end", api.Update{Strategy: api.StrategyCanary, Steps: []api.Step{{Instances: "100%"}}}, 4, []int{4}},
		{"blue-green", api.Update{Strategy: api.StrategyBlueGreen}, 9, []int{9}},
	} {
		spec := api.Spec{Kind: api.KindService, Update: &c.update}.WithDefaults()
		require.Equal(t, c.want, spec.Update.Targets(c.n), c.name)
	}
}
