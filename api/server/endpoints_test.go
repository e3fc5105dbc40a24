package server_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/core"
)

// An instance enters when it is ready, and has left when its task is killed.
func TestEndpoints_InstanceLeavesBeforeItsTaskIsKilled(t *testing.T) {
	t.Parallel()
	w := begin(t)
	killed := make(chan int, 1)
	w.mesos.watch(func(c core.Call) {
		if _, kill := c.(core.Kill); kill {
			killed <- w.serving(shop)
		}
	})
	w.mesos.stick(true)
	w.deploy(shop, site(""))
	w.eventually("tasks start", func() bool {
		job, err := w.Job(ctx, shop)
		require.NoError(t, err)
		return job.Tasks.Starting == 2
	})
	require.Zero(t, w.serving(shop))
	w.mesos.stick(false)
	w.over(shop, 1, api.DeploySucceeded)
	require.Equal(t, 2, w.serving(shop))
	_, err := w.ScaleJob(ctx, shop, 1, client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, 1, <-killed)
	list, err := w.Endpoints(ctx, shop)
	require.NoError(t, err)
	require.Equal(t, 0, list.Endpoints[0].Instance)
	require.False(t, list.Endpoints[0].ReadyAt.IsZero())
	require.NotZero(t, list.Index)
}

func (w *world) serving(job string) int {
	list, err := w.Endpoints(ctx, job)
	if err != nil {
		w.Error(err)
		return -1
	}
	return len(list.Endpoints)
}

// A watch begins with the whole list, stays alive, and ends with the scheduler.
func TestEndpoints_WatchHasHeartbeats(t *testing.T) {
	t.Parallel()
	w := begin(t, func(w *world) { w.options.Heartbeat = time.Millisecond })
	w.put("etl/prod/load", batch)
	reading, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	r, err := http.NewRequestWithContext(reading, "GET", w.url+"/v1/jobs/etl/prod/load/endpoints/watch", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	lines := bufio.NewScanner(resp.Body)
	var got []string
	for lines.Scan() && len(got) < 6 {
		got = append(got, lines.Text())
	}
	require.NoError(t, lines.Err())
	require.Equal(t, "event: endpoints", got[0])
	require.True(t, strings.HasPrefix(got[1], `data: {"job":"etl/prod/load","index":`), got[1])
	require.True(t, strings.HasSuffix(got[1], `"endpoints":[]}`), got[1])
	require.Equal(t, []string{"", ": heartbeat", "", ": heartbeat"}, got[2:])
	a := w.do("HEAD", "/v1/jobs/etl/prod/load/endpoints/watch", "")
	require.Equal(t, http.StatusOK, a.status)
}
