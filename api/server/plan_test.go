package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func (w *world) plan(job, spec string) api.Plan {
	w.Helper()
	a := w.do("POST", "/v1/jobs/"+job+"/plan", spec)
	require.Equal(w, http.StatusOK, a.status, a.body)
	var p api.Plan
	require.NoError(w, json.Unmarshal([]byte(a.body), &p))
	return p
}

func TestPlan_SaysWhatADeployWouldDoAndChangesNothing(t *testing.T) {
	t.Parallel()
	w, service := begin(t), strings.Replace(service, `"kind"`, `"ready":{"after":"1ms"},"kind"`, 1)
	p := w.plan("web/prod/site", service)
	require.Equal(t, api.PlanCreate, p.Action)
	require.Equal(t, 2, p.Starts)
	require.Nil(t, w.engine.View().Job("web/prod/site"), "a plan created the job")

	w.put("web/prod/site", service)
	w.running("web/prod/site", 2)
	w.eventually("the job's deploy is over", func() bool { return w.engine.View().Rollout("web/prod/site") == nil })
	index := w.engine.View().Index
	require.Equal(t, api.PlanNone, w.plan("web/prod/site", service).Action)
	p = w.plan("web/prod/site", strings.Replace(service, "64MiB", "128MiB", 1))
	require.Equal(t, api.PlanDeploy, p.Action)
	require.Equal(t, []api.SpecChange{{Field: "resources.memory", Old: "64MiB", New: "128MiB", Restart: true}}, p.Changes)
	require.Equal(t, []api.PlanBatch{{Instances: []int{0}}, {Instances: []int{1}}}, p.Restarts)
	require.True(t, p.Fit.Fits, p.Fit.Summary)
	p = w.plan("web/prod/site", strings.Replace(service, `"cpus":0.1`, `"cpus":1024`, 1))
	require.False(t, p.Fit.Fits)
	require.Contains(t, p.Fit.Summary, "needs 1024")
	require.Equal(t, index, w.engine.View().Index, "a plan wrote something")

	spec, err := api.DecodeSpec([]byte(strings.Replace(service, `"kind"`, `"job":"web/prod/site","kind"`, 1)))
	require.NoError(t, err)
	again, err := w.Plan(context.Background(), &api.DeployRequest{Spec: spec})
	require.NoError(t, err)
	require.Equal(t, api.PlanNone, again.Action)
}

func TestPlan_OfWhatIsNoSpecIsRefusedAsADeployOfItIs(t *testing.T) {
	t.Parallel()
	w := begin(t)
	for name, c := range map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"nothing":             {"web/prod/site", "", 400, "body is missing"},
		"no JSON":             {"web/prod/site", "{", 400, "body"},
		"an unknown field":    {"web/prod/site", strings.Replace(service, "command", "comand", 1), 422, "comand"},
		"a batch of 0":        {"web/prod/site", strings.Replace(service, `"instances"`, `"update":{"batch":0},"instances"`, 1), 422, "update.batch"},
		"another job's":       {"web/prod/site", strings.Replace(service, `"kind"`, `"job":"web/prod/shop","kind"`, 1), 422, "web/prod/shop"},
		"a name that is none": {"web/prod/Site", service, 422, "Site"},
		"too long":            {"web/prod/site", strings.Replace(service, "./serve", strings.Repeat("x", 300_000), 1), 413, "longer"},
	} {
		planned, put := w.do("POST", "/v1/jobs/"+c.path+"/plan", c.body), w.do("PUT", "/v1/jobs/"+c.path, c.body)
		planned.problem(c.status)
		require.Contains(t, planned.body, c.says, name)
		require.Equal(t, put.status, planned.status, name)
		require.Equal(t, put.body, planned.body, name)
	}
}

func TestPlan_OfAStandbyIsTheLeaders(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPair(t)
	leader.put("web/prod/site", service)
	standby.eventually("the standby has the job", func() bool { return standby.engine.View().Job("web/prod/site") != nil })
	p := standby.plan("web/prod/site", strings.Replace(service, `"instances":2`, `"instances":3`, 1))
	require.Equal(t, api.PlanScale, p.Action)
	require.Equal(t, leader.plan("web/prod/site", strings.Replace(service, `"instances":2`, `"instances":3`, 1)), p)
}
