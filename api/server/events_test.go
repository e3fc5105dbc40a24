package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/eventtest"
)

// until reads events until one has this type, and returns the types.
func until(t *testing.T, events *client.Events, last string) (types []string, all []api.Event) {
	t.Helper()
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for e, err := range events.All(soon) {
		require.NoError(t, err, "after %v", types)
		types, all = append(types, e.Type), append(all, e)
		if e.Type == "dev.perigee."+last {
			break
		}
	}
	return types, all
}

func TestEvents_TellWhatHappensInOrder(t *testing.T) {
	t.Parallel()
	w := begin(t)
	events, err := w.Events(ctx, client.EventFilter{})
	require.NoError(t, err)
	defer events.Close()
	w.put("etl/prod/load", batch)
	out, err := w.StartRuns(ctx, "etl/prod/load", []api.NewRun{{}}, client.WriteOptions{})
	require.NoError(t, err)
	task := w.running("etl/prod/load", 1)[0]
	w.end(task.ID, 0)
	types, all := until(t, events, "run.succeeded")
	require.Subset(t, types, []string{"dev.perigee.job.created", "dev.perigee.deploy.started", "dev.perigee.task.running", "dev.perigee.task.finished"})
	ids := map[string]bool{}
	for _, e := range all {
		require.Equal(t, "1.0", e.SpecVersion)
		require.Equal(t, "/perigee/test", e.Source)
		require.Equal(t, "etl/prod/load", e.Subject)
		require.True(t, strings.HasPrefix(e.ID, "i1-"), e.ID)
		require.False(t, ids[e.ID], "ids are unique")
		ids[e.ID] = true
		if e.Type == "dev.perigee.task.running" {
			require.Equal(t, out.Runs[0], e.Data.Run)
			require.Equal(t, "host-1", e.Data.Host)
			require.Nil(t, e.Data.Instance)
		}
	}
}

func TestEvents_FiltersByTeamJobAndType(t *testing.T) {
	t.Parallel()
	w := begin(t)
	for _, c := range []struct {
		filter client.EventFilter
		want   []string
	}{
		{client.EventFilter{Team: "web"}, []string{"web/test/b", "web/prod/a"}},
		{client.EventFilter{Job: "*/prod/*"}, []string{"etl/prod/c", "web/prod/a"}},
		{client.EventFilter{Job: "etl/prod/c"}, []string{"etl/prod/c"}},
	} {
		c.filter.Type = "job.paused,job.nothing"
		c.filter.After = "i1-0-0"
		events, err := w.Events(ctx, c.filter)
		require.NoError(t, err)
		defer events.Close()
		for _, job := range []string{"etl/test/d", "etl/prod/c", "web/test/b", "web/prod/a"} {
			w.put(job, batch)
			_, err := w.PauseJob(ctx, job, "", client.WriteOptions{})
			require.NoError(t, err)
			_, err = w.ResumeJob(ctx, job, client.WriteOptions{})
			require.NoError(t, err)
		}
		for _, want := range c.want {
			_, all := until(t, events, "job.paused")
			require.Len(t, all, 1)
			require.Equal(t, want, all[0].Subject)
		}
	}
}

// A stream that is cut goes on where it was: nothing is lost, nothing twice.
func TestEvents_ResumeAfterTheConnectionWasLost(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("web/prod/hello", batch)
	events, err := w.Events(ctx, client.EventFilter{Job: "web/prod/hello", Type: "job.*"})
	require.NoError(t, err)
	defer events.Close()
	var seen []string
	for i := range 20 {
		_, err := w.PauseJob(ctx, "web/prod/hello", fmt.Sprint(i), client.WriteOptions{})
		require.NoError(t, err)
		if i%3 == 0 {
			w.api.CloseClientConnections()
		}
		_, all := until(t, events, "job.paused")
		seen = append(seen, all[len(all)-1].Data.Reason)
		_, err = w.ResumeJob(ctx, "web/prod/hello", client.WriteOptions{})
		require.NoError(t, err)
		_, all = until(t, events, "job.resumed")
		require.Len(t, all, 1)
	}
	for i, reason := range seen {
		require.Equal(t, fmt.Sprint(i), reason)
	}
}

// lines opens the raw stream and returns a reader of its lines.
func (w *world) lines(query string, headers ...string) (next func() string) {
	w.Helper()
	req, err := http.NewRequest("GET", w.url+"/v1/events"+query, nil)
	require.NoError(w, err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w, err)
	w.Cleanup(func() { resp.Body.Close() })
	require.Equal(w, http.StatusOK, resp.StatusCode)
	require.Equal(w, "text/event-stream", resp.Header.Get("Content-Type"))
	r := bufio.NewReader(resp.Body)
	return func() string {
		line, err := r.ReadString('\n')
		require.NoError(w, err)
		return strings.TrimSuffix(line, "\n")
	}
}

// Heartbeats move the reader on past events that are not for it, so that it
// resumes there and not where it last got one.
func TestEvents_HeartbeatTellsHowFarTheStreamIs(t *testing.T) {
	t.Parallel()
	w := begin(t, func(w *world) { w.options.Heartbeat = 20 * time.Millisecond })
	next := w.lines("?type=nothing")
	require.Equal(t, ": heartbeat", next())
	first := next()
	require.True(t, strings.HasPrefix(first, "id: i1-"), first)
	w.put("web/prod/hello", batch)
	w.eventually("the id moves on", func() bool {
		line := next()
		return strings.HasPrefix(line, "id: ") && line != first
	})
}

func TestEvents_RawStreamHasIDTypeAndData(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("web/prod/hello", batch)
	next := w.lines("?type=job.created&after=i1-99-0", "Last-Event-ID: i1-0-0")
	for next() != "" { // the first heartbeat
	}
	require.True(t, strings.HasPrefix(next(), "id: i1-"))
	require.Equal(t, "event: dev.perigee.job.created", next())
	require.True(t, strings.HasPrefix(next(), `data: {"specversion":"1.0","id":"i1-`))
	require.Empty(t, next())
}

// What leaves by the stream is as CloudEvents 1.0 and the catalogue say.
func TestEvents_Conform(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("web/prod/hello", service)
	w.running("web/prod/hello", 2)
	w.put("etl/prod/load", batch)
	_, err := w.StartRuns(ctx, "etl/prod/load", []api.NewRun{{}}, client.WriteOptions{})
	require.NoError(t, err)
	w.end(w.running("etl/prod/load", 1)[0].ID, 0)
	for _, do := range []func() error{
		func() error {
			_, err := w.ScaleJob(ctx, "web/prod/hello", 1, client.WriteOptions{})
			return err
		},
		func() error { _, err := w.PauseJob(ctx, "web/prod/hello", "night", client.WriteOptions{}); return err },
		func() error { _, err := w.RemoveJob(ctx, "web/prod/hello", client.WriteOptions{}); return err },
	} {
		require.NoError(t, do())
	}
	next, subjects := w.lines("?after=i1-0-0"), map[string]string{}
	for subjects["dev.perigee.job.removed"] == "" || subjects["dev.perigee.run.succeeded"] == "" {
		data, ok := strings.CutPrefix(next(), "data: ")
		if !ok {
			continue
		}
		require.NoError(t, eventtest.Check([]byte(data)))
		var e api.Event
		require.NoError(t, json.Unmarshal([]byte(data), &e))
		require.NotEmpty(t, e.Subject)
		subjects[e.Type] = e.Subject
	}
	require.Equal(t, "agent-1", subjects["dev.perigee.agent.joined"])
	agents, err := w.Agents(ctx)
	require.NoError(t, err)
	require.NotNil(t, agents[0].JoinedAt)
	require.NotEmpty(t, subjects["dev.perigee.scheduler.elected"])
	require.NotEmpty(t, subjects["dev.perigee.scheduler.subscribed"])
}

// Who asks for the events of a team or of jobs is not told of what is about none;
// of a job that is gone, all is told.
func TestEvents_OfJobsAlone(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("web/prod/hello", batch)
	_, err := w.RemoveJob(ctx, "web/prod/hello", client.WriteOptions{})
	require.NoError(t, err)
	want := []string{"dev.perigee.job.created", "dev.perigee.deploy.started", "dev.perigee.deploy.succeeded", "dev.perigee.job.removing", "dev.perigee.job.removed"}
	for _, f := range []client.EventFilter{{Team: "web"}, {Job: "web/*/*"}, {Job: "web/prod/hello"}} {
		f.After = "i1-0-0"
		events, err := w.Events(ctx, f)
		require.NoError(t, err)
		defer events.Close()
		types, _ := until(t, events, "job.removed")
		require.Equal(t, want, types)
	}
	events, err := w.Events(ctx, client.EventFilter{After: "i1-0-0"})
	require.NoError(t, err)
	defer events.Close()
	types, _ := until(t, events, "job.removed")
	require.Subset(t, types, []string{"dev.perigee.scheduler.elected", "dev.perigee.agent.joined"})
}

func TestEvents_BadInputAndHead(t *testing.T) {
	t.Parallel()
	w := begin(t)
	for _, query := range []string{"?team=Web", "?team=web/prod", "?job=[", "?type=task.[", "?after=x&type=["} {
		w.do("GET", "/v1/events"+query, "").problem(http.StatusUnprocessableEntity)
	}
	for _, id := range []string{"nonsense", "i1-1", "i1--1", "i1-1-x", "i1-1--2", "-1-1", "i1-99999999999999999999-0", "i1-1-99999999999"} {
		require.Equal(t, "urn:perigee:invalid", w.do("GET", "/v1/events?after="+id, "").problem(http.StatusBadRequest).Type, id)
	}
	head := w.do("HEAD", "/v1/events", "")
	require.Equal(t, http.StatusOK, head.status)
	require.Equal(t, "text/event-stream", head.header.Get("Content-Type"))
	require.Empty(t, head.body)
	require.Equal(t, http.StatusGone, w.do("HEAD", "/v1/events?after=other-1-0", "").status)
}

// An id works with every scheduler, and across a failover: all read the same
// events, each once.
func TestEvents_ResumeElsewhere(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPair(t)
	leader.put("web/prod/hello", batch)
	pause := func(w *world, reason string) {
		_, err := w.PauseJob(ctx, "web/prod/hello", reason, client.WriteOptions{})
		require.NoError(t, err)
		_, err = w.ResumeJob(ctx, "web/prod/hello", client.WriteOptions{})
		require.NoError(t, err)
	}
	read := func(w *world, after, last string) (ids []string) {
		events, err := w.Events(ctx, client.EventFilter{After: after})
		require.NoError(t, err)
		defer events.Close()
		soon, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		for e, err := range events.All(soon) {
			require.NoError(t, err)
			if ids = append(ids, e.ID+" "+e.Type); e.Data.Reason == last {
				break
			}
		}
		return ids
	}
	id := func(line string) string { return strings.Fields(line)[0] }
	pause(leader, "first")
	ids := read(leader, "i1-0-0", "first")
	pause(standby, "second") // which passes it on
	ids = append(ids, read(standby, id(ids[len(ids)-1]), "second")...)
	_, err := leader.StepDown(ctx)
	require.NoError(t, err)
	standby.eventually("the other leads", standby.engine.Leads)
	pause(leader, "third")
	ids = append(ids, read(leader, id(ids[len(ids)-1]), "third")...)
	require.Equal(t, ids, read(standby, "i1-0-0", "third"))
	require.Equal(t, ids, read(leader, "i1-0-0", "third"))
	elected := slices.DeleteFunc(slices.Clone(ids), func(line string) bool { return !strings.HasSuffix(line, "scheduler.elected") })
	require.Len(t, elected, 2)
}

func TestEvents_TooOldIsGone(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("etl/prod/load", batch)
	for range 3 {
		runs := make([]api.NewRun, 500)
		_, err := w.StartRuns(ctx, "etl/prod/load", runs, client.WriteOptions{})
		require.NoError(t, err)
	}
	// While the runs go on, what was the oldest may be dropped before it is asked for.
	w.eventually("the first events are dropped, and one is told to resume after", func() bool {
		if _, err := w.engine.Follow("i1-0-0"); err == nil {
			return false
		}
		p := w.do("GET", "/v1/events", "", "Last-Event-ID: i1-0-0").problem(http.StatusGone)
		oldest, _ := p.Errors[0].Value.(string)
		require.Contains(t, p.Detail, oldest)
		require.Equal(t, "urn:perigee:gone", p.Type)
		all, err := w.Events(ctx, client.EventFilter{After: oldest})
		if err != nil {
			return false
		}
		all.Close()
		return true
	})
	w.do("GET", "/v1/events", "", "Last-Event-ID: another-1-0").problem(http.StatusGone)
	w.do("GET", "/v1/events", "", "Last-Event-ID: nonsense").problem(http.StatusBadRequest)
	_, err := w.Events(ctx, client.EventFilter{After: "i1-0-0"})
	var gone *api.Problem
	require.ErrorAs(t, err, &gone)
	require.Equal(t, http.StatusGone, gone.Status)
}
