package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// Behaviour 40.
func TestTimed_ActionsAreToldAndRevert(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(`"health": {"http": {"path": "/", "port": "http"}}`))
	_, err := w.ScaleJobFor(ctx, shop, 3, time.Hour, client.WriteOptions{})
	require.NoError(t, err)
	_, err = w.SkipHealth(ctx, shop, 2*time.Hour, client.WriteOptions{})
	require.NoError(t, err)
	w.over(shop, 1, api.DeploySucceeded) // no health report came
	_, err = w.PauseJobFor(ctx, shop, "lunch", 3*time.Hour, client.WriteOptions{})
	require.NoError(t, err)
	job, err := w.Job(ctx, shop)
	require.NoError(t, err)
	require.Equal(t, 3, job.Instances)
	require.True(t, job.Paused)
	require.True(t, job.SkipHealth)
	require.Len(t, job.Timed, 3)
	for i, want := range []api.TimedAction{
		{Action: api.TimedScale, Revert: "scale to 2", By: "tester"},
		{Action: api.TimedSkipHealth, Revert: "heed health checks again", By: "tester"},
		{Action: api.TimedPause, Revert: "resume", By: "tester"},
	} {
		got := job.Timed[i]
		require.WithinRange(t, got.Until, job.CreatedAt.Add(time.Duration(i+1)*time.Hour), time.Now().Add(time.Duration(i+1)*time.Hour+time.Second))
		got.Until = time.Time{}
		require.Equal(t, want, got)
	}
	_, err = w.HeedHealth(ctx, shop, client.WriteOptions{})
	require.NoError(t, err)
	_, err = w.ResumeJob(ctx, shop, client.WriteOptions{})
	require.NoError(t, err)
	_, err = w.ScaleJobFor(ctx, shop, 1, time.Second, client.WriteOptions{})
	require.NoError(t, err)
	w.eventually("the scale is taken back, to before the first one", func() bool {
		job, err := w.Job(ctx, shop)
		require.NoError(t, err)
		return job.Instances == 2 && len(job.Timed) == 0 && !job.SkipHealth
	})
}

func TestTimed_BadInput(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	w.put("etl/prod/load", batch)
	index := w.engine.View().Index
	for request, status := range map[string]int{
		"POST /scale?for=50%25":                  422,
		"POST /scale?for=50%":                    400,
		"POST /scale?for=-1h":                    422,
		"POST /scale?for=0s":                     422,
		"POST /scale?for=721h":                   422,
		"POST /pause?for=soon":                   422,
		"POST /pause?for=1ms":                    422,
		"POST /skip-health":                      422,
		"POST /skip-health?for=1h&x=1":           422,
		"POST /skip-health?for=" + "9999999999h": 422,
	} {
		method, path := request[:4], request[5:]
		w.do(method, "/v1/jobs/"+shop+path, `{"instances": 3}`).problem(status)
	}
	w.do("POST", "/v1/jobs/"+shop+"/scale?for=1h", `{"instances": "50%"}`).problem(http.StatusUnprocessableEntity)
	w.do("POST", "/v1/jobs/etl/prod/load/skip-health?for=1h", ``).problem(http.StatusConflict)
	w.do("POST", "/v1/jobs/"+shop+"/skip-health?for=1h", ``, `If-Match: "9"`).problem(http.StatusPreconditionFailed)
	require.Empty(t, w.events(index))
}
