package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
	leases "github.com/perigee-sched/perigee/scheduler/lease/memory"
)

// pair is two schedulers that share a journal and an election, each with its
// API. There is no Mesos.
type pair struct {
	*testing.T
	storage  *memory.Storage
	election *leases.Election
	all      []*world
	access   *server.Access
	limits   server.Limits
	executor string
}

func beginPair(t *testing.T) (leader, standby *world, p *pair) {
	t.Helper()
	return beginPairWith(t, nil)
}

func beginPairWith(t *testing.T, access *server.Access) (leader, standby *world, p *pair) {
	t.Helper()
	return beginPairOf(t, &pair{access: access})
}

// beginPairOf is beginPair with what p says of how the API is served.
func beginPairOf(t *testing.T, p *pair) (leader, standby *world, _ *pair) {
	t.Helper()
	p.T, p.storage, p.election = t, new(memory.Storage), new(leases.Election)
	leader = p.start()
	leader.eventually("it leads", leader.engine.Leads)
	standby = p.start()
	standby.eventually("it stands by", func() bool { return len(standby.engine.Status().Schedulers) == 2 })
	return leader, standby, p
}

// listen has hear told all requests to a world of a pair, until it is nil.
func (w *world) listen(hear func(*http.Request)) {
	if hear == nil {
		w.heard.Store(nil)
		return
	}
	w.heard.Store(&hear)
}

// overhear has hear told the headers of all requests, of a world of a pair.
func (w *world) overhear(hear func(http.Header)) {
	w.listen(func(r *http.Request) { hear(r.Header) })
}

func (p *pair) start() *world {
	p.Helper()
	w := &world{TB: p.T, storage: p.storage}
	var handler atomic.Pointer[http.Handler]
	w.api = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if hear := w.heard.Load(); hear != nil {
			(*hear)(r)
		}
		(*handler.Load()).ServeHTTP(rw, r)
	}))
	w.url = w.api.URL
	w.mesos = newMesos(p.T)
	w.engine = engine.New(engine.Options{
		Journal: p.storage.Open(), Lease: p.election.Open(w.url), Caller: w.mesos, EventsKeep: 1000,
		Leaving: func(ctx context.Context) { w.server.SaveTokenUses(ctx) },
		Elected: core.Elected{Scheduler: w.url, Address: w.url, Incarnation: "i1", Secret: []byte("of " + w.url)},
	})
	s, err := server.New(server.Options{Scheduler: w.engine, Cluster: "test", Access: p.access, Limits: p.limits, Executor: p.executor, InitCode: "code of " + w.url, Log: slog.New(slog.DiscardHandler)})
	require.NoError(p, err)
	w.server = s
	h := s.Handler()
	handler.Store(&h)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.engine.Run(ctx); err != nil {
			p.Errorf("the engine failed: %v", err)
		}
	})
	p.Cleanup(func() {
		w.api.CloseClientConnections()
		w.api.Close()
		cancel()
		running.Wait()
	})
	w.Client, err = client.New(w.url, client.WithActor("tester"))
	require.NoError(p, err)
	p.all = append(p.all, w)
	return w
}

func TestStandby_PassesWritesOn(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPair(t)
	for round := range 20 {
		job := fmt.Sprintf("web/prod/hello-%d", round)
		a := standby.do("PUT", "/v1/jobs/"+job, service, "X-Perigee-Actor: ann", "Idempotency-Key: k"+job)
		require.Equal(t, http.StatusCreated, a.status, a.body)
		require.Equal(t, []string{"standby"}, a.header.Values(api.HeaderRole))
		require.Equal(t, []string{leader.url}, a.header.Values(api.HeaderLeader))
		require.Len(t, a.header.Values(api.HeaderIndex), 1)
		require.Equal(t, `"1"`, a.header.Get("ETag"))
		index, err := strconv.ParseUint(a.header.Get(api.HeaderIndex), 10, 64)
		require.NoError(t, err)
		require.GreaterOrEqual(t, standby.engine.View().Index, index, "it is answered once it is shown here")
		require.Equal(t, http.StatusOK, standby.do("GET", "/v1/jobs/"+job, "").status)
	}
	again := standby.do("PUT", "/v1/jobs/web/prod/hello-0", service, "Idempotency-Key: kweb/prod/hello-0")
	require.Equal(t, "true", again.header.Get(api.HeaderReplayed))
	again = leader.do("PUT", "/v1/jobs/web/prod/hello-0", service, "Idempotency-Key: kweb/prod/hello-0")
	require.Equal(t, "true", again.header.Get(api.HeaderReplayed), "a repetition may take another way")
	require.Equal(t, "ann", standby.engine.View().Deploy("web/prod/hello-0", 1).Author)
	standby.do("PUT", "/v1/jobs/web/prod/hello", `{"kind":"servise"}`).problem(http.StatusUnprocessableEntity)
	standby.do("PUT", "/v1/jobs/web/prod/hello", service, "Sec-Fetch-Site: cross-site").problem(http.StatusForbidden)
	standby.do("POST", "/v1/jobs/web/prod/hello-0/pause", "", "Origin: "+standby.url, "Sec-Fetch-Site: same-origin")
	require.True(t, standby.engine.View().Job("web/prod/hello-0").Paused, "a page that this scheduler served may write here")
	standby.do("POST", "/v1/jobs", "").problem(http.StatusMethodNotAllowed)
	standby.do("GET", "/v1/agents/none", "").problem(http.StatusNotFound)
	require.Equal(t, []string{"standby"}, standby.do("GET", "/v1/agents", "").header.Values(api.HeaderRole))
	require.Equal(t, "leader", leader.do("GET", "/v1/jobs", "").header.Get(api.HeaderRole))
	require.Equal(t, http.StatusOK, standby.do("HEAD", "/v1/agents", "").status)
}

func TestStandby_ReadsWaitForAnIndex(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPair(t)
	leader.put("web/prod/hello", service)
	index := leader.engine.View().Index
	a := standby.do("GET", fmt.Sprintf("/v1/jobs/web/prod/hello?min_index=%d", index), "")
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.Equal(t, strconv.FormatUint(index, 10), a.header.Get(api.HeaderIndex))
	standby.do("GET", fmt.Sprintf("/v1/jobs?min_index=%d", index+1), "").problem(http.StatusGatewayTimeout)
}

func TestStandby_SaysWhatItIs(t *testing.T) {
	t.Parallel()
	leader, standby, p := beginPair(t)
	var ready api.Readiness
	require.NoError(t, json.Unmarshal([]byte(standby.do("GET", "/readyz", "").body), &ready))
	require.Equal(t, api.Readiness{Ready: true, Role: "standby", Leader: leader.url}, ready)
	var is api.Scheduler
	require.NoError(t, json.Unmarshal([]byte(standby.do("GET", "/v1/scheduler", "").body), &is))
	require.Equal(t, "standby", is.Role)
	require.Equal(t, leader.url, is.Leader)
	require.Equal(t, []string{leader.url, standby.url}, is.Schedulers)
	require.NotNil(t, is.Lag)
	require.EqualValues(t, 1, is.Epoch)
	require.Empty(t, is.NotWritable)

	p.election.Leading().Stop(true) // the leader is cut off
	a := leader.do("GET", "/v1/scheduler", "")
	require.NoError(t, json.Unmarshal([]byte(a.body), &is))
	require.Equal(t, "standby", a.header.Get(api.HeaderRole))
	require.Contains(t, is.NotWritable, "not renewed")
	leader.do("GET", "/readyz", "").problem(http.StatusServiceUnavailable)
	leader.eventually("writes are refused", func() bool {
		return strings.Contains(leader.do("PUT", "/v1/jobs/web/prod/hello", service).body, "nothing was changed")
	})
	require.Equal(t, http.StatusOK, leader.do("GET", "/v1/jobs", "").status)
}

// All schedulers are listed, also one that does not answer.
func TestStandby_ListsSchedulers(t *testing.T) {
	t.Parallel()
	leader, standby, p := beginPair(t)
	leader.put("web/prod/hello", service)
	const dead = "http://127.0.0.1:1"
	ctx, cancel := context.WithCancel(context.Background())
	var standing sync.WaitGroup
	standing.Go(func() { _, _ = p.election.Open(dead).Acquire(ctx) })
	t.Cleanup(func() {
		cancel()
		standing.Wait()
	})
	var all []api.Scheduler
	standby.eventually("all three are listed", func() bool {
		var page api.Page[api.Scheduler]
		require.NoError(t, json.Unmarshal([]byte(standby.do("GET", "/v1/schedulers", "").body), &page))
		all = page.Items
		return len(all) == 3 && all[0].Unreachable+all[1].Unreachable == "" && strings.Contains(all[2].Unreachable, "connection refused")
	})
	require.Equal(t, []string{leader.url, standby.url, dead}, []string{all[0].Address, all[1].Address, all[2].Address})
	require.Equal(t, []string{"leader", "standby", "standby"}, []string{all[0].Role, all[1].Role, all[2].Role})
	require.Nil(t, all[0].Lag)
	require.NotNil(t, all[1].Lag)
	require.EqualValues(t, leader.engine.View().Index, all[0].Index)
}

func TestStandby_StepDown(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPair(t)
	leader.put("web/prod/hello", service)
	events, err := leader.Events(ctx, client.EventFilter{Type: "scheduler.*"})
	require.NoError(t, err)
	defer events.Close()
	a := standby.do("POST", "/v1/scheduler/step-down", "", api.HeaderActor+": ada", api.HeaderIdempotencyKey+": once")
	require.Equal(t, http.StatusOK, a.status, a.body)
	var was api.Scheduler
	require.NoError(t, json.Unmarshal([]byte(a.body), &was))
	require.Equal(t, leader.url, was.Address)
	standby.eventually("the other leads", standby.engine.Leads)
	leader.eventually("the first stands by", func() bool { return leader.engine.Leader() == standby.url })
	require.Equal(t, http.StatusCreated, leader.do("PUT", "/v1/jobs/web/prod/other", service).status)
	require.EqualValues(t, 2, standby.engine.View().Epoch)
	again := leader.do("POST", "/v1/scheduler/step-down", "", api.HeaderIdempotencyKey+": once")
	require.Equal(t, http.StatusOK, again.status, again.body)
	require.True(t, standby.engine.Leads(), "a retry moves no other leader")
	_, told := until(t, events, "scheduler.elected")
	require.Equal(t, "dev.perigee.scheduler.stepping_down", told[0].Type)
	require.Equal(t, "ada", told[0].Data.Actor)
	require.NotEmpty(t, told[0].Subject)
}

func TestStandby_WhenNobodyLeads(t *testing.T) {
	t.Parallel()
	leader, standby, p := beginPair(t)
	leader.put("web/prod/hello", service)
	a := standby.do("PUT", "/v1/jobs/web/prod/hello", service, api.HeaderForwardedBy+": http://other")
	require.Contains(t, a.problem(http.StatusServiceUnavailable).Detail, "http://other passed this on")
	standby.eventually("it shows what was written", func() bool { return standby.engine.View().Job("web/prod/hello") != nil })

	leader.api.Close() // its process is gone, and its lease is not yet
	a = standby.do("PUT", "/v1/jobs/web/prod/hello", service)
	require.Contains(t, a.problem(http.StatusServiceUnavailable).Detail, "cannot be reached")
	require.Equal(t, "1", a.header.Get("Retry-After"))

	p.storage.Unreachable(true) // nobody can lead any more
	term := p.election.Leading()
	term.Expire()
	term.Notice()
	standby.eventually("it wants to lead", func() bool { return standby.engine.Leader() != leader.url })
	a = standby.do("PUT", "/v1/jobs/web/prod/hello", service)
	require.Equal(t, "urn:perigee:unavailable", a.problem(http.StatusServiceUnavailable).Type)
	standby.do("GET", "/v1/agents", "").problem(http.StatusServiceUnavailable)
	require.Equal(t, http.StatusOK, standby.do("GET", "/v1/jobs/web/prod/hello", "").status, "reads go on")
	p.storage.Unreachable(false)
	standby.eventually("somebody leads", func() bool { return leader.engine.Leads() || standby.engine.Leads() })
}

// A leader that takes a write and does not answer may have done it.
func TestStandby_WhenTheLeaderDoesNotAnswer(t *testing.T) {
	t.Parallel()
	deaf := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }))
	defer deaf.Close()
	p := &pair{T: t, storage: new(memory.Storage), election: new(leases.Election)}
	_, err := p.election.Open(deaf.URL).Acquire(ctx)
	require.NoError(t, err)
	standby := p.start()
	standby.eventually("it has read the journal", func() bool { return standby.engine.View().Loaded })
	a := standby.do("PUT", "/v1/jobs/web/prod/hello", service)
	require.Equal(t, "urn:perigee:outcome-unknown", a.problem(http.StatusServiceUnavailable).Type)
	standby.do("GET", "/v1/agents", "").problem(http.StatusServiceUnavailable)
	began := time.Now()
	require.Equal(t, http.StatusOK, standby.do("GET", "/v1/scheduler", "").status)
	require.Less(t, time.Since(began), 5*time.Second)
}
