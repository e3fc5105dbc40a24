package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/core"
)

// site is a spec whose instances are ready as soon as they run; more is added
// to it: `"instances": 3, "command": "./slow"`.
func site(more string) string {
	fields := map[string]json.RawMessage{}
	for _, part := range []string{
		`{"kind":"service","command":"./serve","instances":2,"resources":{"cpus":0.1,"memory":"64MiB"},"ports":["http"],"ready":{"after":"1ms"},"stop":{"drain":"1ms"}}`,
		"{" + more + "}",
	} {
		if err := json.Unmarshal([]byte(part), &fields); err != nil {
			panic(part + err.Error())
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// specOf reads a spec, as what the client sends.
func specOf(job, text string) *api.Spec {
	spec := new(api.Spec)
	if err := json.Unmarshal([]byte(text), spec); err != nil {
		panic(err)
	}
	spec.Job = job
	return spec
}

// deploy begins a deploy and wants it begun.
func (w *world) deploy(job, spec string, change ...func(*api.DeployRequest)) *api.WrittenDeploy {
	w.Helper()
	r := &api.DeployRequest{Spec: specOf(job, spec)}
	for _, c := range change {
		c(r)
	}
	d, err := w.StartDeploy(ctx, r, client.WriteOptions{})
	require.NoError(w, err)
	require.True(w, d.Changed)
	return d
}

// over waits until a deploy is, and wants it to have come to a state.
func (w *world) over(job string, number uint32, state api.DeployState) *api.Deploy {
	w.Helper()
	d, err := w.AwaitDeploy(ctx, job, number, patience)
	require.NoError(w, err)
	require.Equal(w, state, d.State, "%s %+v", d.Reason, d.Rollout)
	return d
}

// stands waits until a deploy is in a phase.
func (w *world) stands(job string, number uint32, phase api.RolloutPhase) *api.Deploy {
	w.Helper()
	var d *api.Deploy
	w.eventually("the deploy is "+string(phase), func() bool {
		var err error
		d, err = w.Deploy(ctx, job, number)
		require.NoError(w, err)
		return d.Rollout != nil && d.Rollout.Phase == phase
	})
	return d
}

const shop = "web/prod/shop"

func TestDeploy_IsAnsweredAtOnceAndAwaited(t *testing.T) {
	t.Parallel()
	w := begin(t)
	a := w.do("POST", "/v1/jobs/"+shop+"/deploys", `{"spec": `+site("")+`, "author": "ci", "message": "first", "links": {"build": "https://ci/1"}}`)
	require.Equal(t, http.StatusCreated, a.status, a.body)
	require.Equal(t, `"1"`, a.header.Get("ETag"))
	var d api.WrittenDeploy
	require.NoError(t, json.Unmarshal([]byte(a.body), &d))
	require.True(t, d.Changed)
	require.True(t, d.Created)
	require.Equal(t, api.DeployOfSpec, d.Kind)
	require.Equal(t, "ci", d.Author)
	require.Equal(t, map[string]string{"build": "https://ci/1"}, d.Links)
	require.NotNil(t, d.Rollout)
	require.Nil(t, d.Spec)
	over := w.over(shop, 1, api.DeploySucceeded)
	require.Equal(t, 2, over.Updated)
	require.Nil(t, over.Rollout)
	require.Equal(t, "./serve", over.Spec.Command)
	require.NotNil(t, over.EndedAt)
}

// Behaviour 20.
func TestDeploy_OfAnEqualSpecChangesNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	for _, again := range []struct {
		more    string
		changed bool
	}{{"", false}, {`"instances": 3`, true}, {`"instances": 3`, false}} { // a scale is no deploy
		a := w.do("POST", "/v1/jobs/"+shop+"/deploys", `{"spec": `+site(again.more)+`}`)
		require.Equal(t, http.StatusOK, a.status, a.body)
		var d api.WrittenDeploy
		require.NoError(t, json.Unmarshal([]byte(a.body), &d))
		require.Equal(t, again.changed, d.Changed)
		require.EqualValues(t, 1, d.Number)
	}
}

// Behaviour 19.
func TestDeploy_WhileOneIsInProgressIsRefusedWithThatOne(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	w.deploy(shop, site(`"command": "./slow"`), func(r *api.DeployRequest) { r.Message = "the slow one" })
	path := "/v1/jobs/" + shop
	for _, refused := range []struct{ path, body string }{
		{path + "/deploys", `{"spec": ` + site(`"command": "./other"`) + `}`},
		{path + "/bounce", ``},
		{"/v1/deploy-groups", `{"specs": [` + strings.Replace(site(`"command": "./other"`), "{", `{"job": "`+shop+`", `, 1) + `]}`},
	} {
		p := w.do("POST", refused.path, refused.body).problem(http.StatusConflict)
		require.Equal(t, "urn:perigee:conflict", p.Type)
		require.NotNil(t, p.Deploy, "%s %+v", refused.path, p)
		require.EqualValues(t, 2, p.Deploy.Number)
		require.Equal(t, "the slow one", p.Deploy.Message)
		require.Equal(t, api.DeployInProgress, p.Deploy.State)
	}
	w.deploy(shop, site(`"command": "./other"`), func(r *api.DeployRequest) { r.Replace = true })
	w.over(shop, 2, api.DeploySuperseded)
	w.over(shop, 3, api.DeploySucceeded)
}

func TestDeploy_SameKeyIsAnsweredWithTheSameDeploy(t *testing.T) {
	t.Parallel()
	w := begin(t)
	body := `{"spec": ` + site("") + `, "message": "x"}`
	send := func(body string) answer {
		return w.do("POST", "/v1/jobs/"+shop+"/deploys", body, "Idempotency-Key: build-7")
	}
	require.Equal(t, http.StatusCreated, send(body).status)
	w.over(shop, 1, api.DeploySucceeded)
	again := send(body)
	require.Equal(t, http.StatusCreated, again.status, again.body)
	require.Equal(t, "true", again.header.Get(api.HeaderReplayed))
	require.Equal(t, `"1"`, again.header.Get("ETag"))
	require.Contains(t, again.body, `"state":"succeeded"`, "it is told as it is by now")
	require.Equal(t, "urn:perigee:idempotency-key-reused", send(`{"spec": `+site("")+`}`).problem(http.StatusConflict).Type)
	require.Equal(t, "urn:perigee:stale", w.do("POST", "/v1/jobs/"+shop+"/deploys", `{"spec": `+site(`"command": "./new"`)+`}`, `If-Match: "7"`).
		problem(http.StatusPreconditionFailed).Type)
}

func TestDeploy_RolloutSaysHowFarItIs(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(`"instances": 4`))
	first := w.over(shop, 1, api.DeploySucceeded)
	require.Equal(t, 4, first.Updated)
	w.deploy(shop, site(`"instances": 4, "command": "./slow", "update": {"batch": [1, 2], "deadline": "5m"}`))
	var d *api.Deploy
	w.eventually("the first instance's new task starts", func() bool {
		d = w.stands(shop, 2, api.PhaseMoving)
		return d.Rollout.Progress[0].State == "starting"
	})
	r := d.Rollout
	require.Equal(t, []int{1, 3, 1}, []int{r.Step, r.Steps, r.Target})
	require.Equal(t, api.StrategyRolling, r.Strategy)
	require.EqualValues(t, 1, r.Back)
	require.NotNil(t, r.Deadline)
	require.Equal(t, 5*time.Minute, r.Deadline.Sub(d.CreatedAt))
	require.Contains(t, r.Waits, "instance 0 is starting")
	require.Len(t, r.Progress, 4)
	require.True(t, r.Progress[0].Moved)
	require.EqualValues(t, 2, r.Progress[0].Deploy)
	require.False(t, r.Progress[0].Ready)
	require.NotEmpty(t, r.Progress[0].Old, "the old task goes on beside it")
	require.Equal(t, api.InstanceProgress{Instance: 3, Deploy: 1, Task: r.Progress[3].Task, State: "running", Ready: true, Host: "host-1"}, r.Progress[3])
	job, err := w.Job(ctx, shop)
	require.NoError(t, err)
	require.Equal(t, 4, job.Tasks.Ready)
	require.NotNil(t, job.LatestDeploy.Rollout)
	require.Nil(t, job.LatestDeploy.Rollout.Progress)

	for _, e := range []core.Event{core.Disconnected{Reason: "a test"}, core.Connecting{}} {
		require.NoError(t, w.engine.Deliver(ctx, e))
	}
	w.eventually("the deadline counts from the subscription", func() bool {
		d, err := w.Deploy(ctx, shop, 2)
		require.NoError(t, err)
		return d.Rollout.Deadline != nil && d.Rollout.Deadline.After(*r.Deadline)
	})

	paused, err := w.PauseDeploy(ctx, shop, 0, "lunch", client.WriteOptions{})
	require.NoError(t, err)
	require.True(t, paused.Rollout.Paused)
	require.Equal(t, "by tester: lunch", paused.Rollout.Pause)
	require.Equal(t, "paused by tester: lunch", paused.Rollout.Waits)
	require.Nil(t, paused.Rollout.Deadline)
	resumed, err := w.ResumeDeploy(ctx, shop, 2, "", client.WriteOptions{})
	require.NoError(t, err)
	require.False(t, resumed.Rollout.Paused)
	_, err = w.CancelDeploy(ctx, shop, 2, "wrong build", client.WriteOptions{})
	require.NoError(t, err)
	d = w.over(shop, 2, api.DeployCancelled)
	require.Contains(t, d.Reason, "wrong build")
	p := w.do("POST", "/v1/jobs/"+shop+"/deploys/2/pause", "").problem(http.StatusConflict)
	require.Contains(t, p.Detail, "is over: it is cancelled")
}

func TestDeploy_ThatFailsRollsBackAndTellsItsFailures(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	broken := site(`"command": "./broken", "restart": {"min": "100ms", "max": "100ms"}, "update": {"retries": 1}`)
	w.deploy(shop, broken)
	d := w.over(shop, 2, api.DeployRolledBack)
	require.Contains(t, d.Reason, "exited with status 3")
	require.Contains(t, d.Reason, "back on deploy 1")
	w.deploy(shop, strings.Replace(broken, `"retries":1`, `"retries":1,"on_failure":"pause"`, 1))
	d, err := w.AwaitDeploy(ctx, shop, 3, patience)
	require.NoError(t, err)
	require.Equal(t, api.DeployInProgress, d.State)
	require.True(t, d.Rollout.Paused)
	require.Contains(t, d.Rollout.Failed, "instance 0 failed 2 times (1 tolerated): exited with status 3")
	require.Equal(t, "it failed: "+d.Rollout.Failed, d.Rollout.Pause)
	require.Equal(t, 2, d.Rollout.Progress[0].Failures)
	require.Contains(t, d.Rollout.Progress[0].Message, "exited with status 3")
	again, err := w.AwaitDeploy(ctx, shop, 3, 10*time.Millisecond)
	require.NoError(t, err)
	require.NotEmpty(t, again.Rollout.Failed, "who asks of one that stands still waits")
	_, err = w.CancelDeploy(ctx, shop, 3, "", client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, api.DeployCancelled, w.over(shop, 3, api.DeployCancelled).State)
	_, err = w.PauseDeploy(ctx, shop, w.deploy(shop, site(`"command": "./slow"`)).Number, "it failed: no", client.WriteOptions{})
	require.NoError(t, err)
	byHand, err := w.Deploy(ctx, shop, 4)
	require.NoError(t, err)
	require.True(t, byHand.Rollout.Paused)
	require.Empty(t, byHand.Rollout.Failed, "a person's reason is no failure")
}

func TestDeploy_CanaryIsPromotedAndAsksItsGate(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	asked := make(chan api.GateQuestion, 1000)
	gate := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var q api.GateQuestion
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		asked <- q
		if !open.Load() {
			http.Error(rw, "not yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(rw, `{"decision": "go", "reason": "looks good"}`)
	}))
	t.Cleanup(gate.Close)
	w := begin(t)
	w.deploy(shop, site(`"instances": 3`))
	w.over(shop, 1, api.DeploySucceeded)
	d := w.deploy(shop, site(`"instances": 3, "command": "./new", "update": {"strategy": "canary", "steps": [
		{"name": "look", "instances": 1, "manual": true},
		{"name": "ask", "instances": 2, "checks": {"gate": {"url": "`+gate.URL+`/check", "interval": "100ms"}}}]}`))
	require.Equal(t, "look", d.Rollout.StepName)
	stands := w.stands(shop, 2, api.PhasePromotion)
	require.Equal(t, "to be promoted", stands.Rollout.Waits)
	require.Equal(t, 1, stands.Updated)
	_, err := w.PromoteDeploy(ctx, shop, 0, false, client.WriteOptions{})
	require.NoError(t, err)
	q := <-asked
	require.Equal(t, api.GateQuestion{Job: shop, Deploy: 2, From: 1, Step: "ask", Instances: 2, Digest: d.Digest}, q)
	w.eventually("what the gate says is told", func() bool {
		d := w.stands(shop, 2, api.PhaseGate)
		return d.Rollout.Waits == `the gate: gate `+gate.URL+`/check answered 503: "not yet"` && d.Rollout.Deadline != nil
	})
	open.Store(true)
	w.over(shop, 2, api.DeploySucceeded)
}

func TestDeploy_BlueGreenSwitchesEndpointsAtOnceAndReturns(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	lists := make(chan string, 100)
	go func() {
		defer close(lists)
		for e, err := range w.FollowEndpoints(watching, shop) {
			if err != nil {
				return
			}
			lists <- deploysOf(e)
		}
	}()
	require.Equal(t, "1 1", <-lists)
	w.deploy(shop, site(`"command": "./new", "update": {"strategy": "blue-green", "keep": "1h"}`))
	d := w.over(shop, 2, api.DeploySucceeded)
	require.Equal(t, "2 2", <-lists, "never a mixture, never fewer")
	require.Equal(t, api.PhaseKeeping, d.Rollout.Phase)
	require.NotNil(t, d.Rollout.Until)
	require.NotEmpty(t, d.Rollout.Progress[0].Old)
	job, err := w.Job(ctx, shop)
	require.NoError(t, err)
	require.Equal(t, 4, job.Tasks.Running)
	require.Equal(t, 2, job.Tasks.Ready, "those that serve")
	back, err := w.Rollback(ctx, shop, api.RollbackRequest{DeployNotes: api.DeployNotes{Message: "slow pages"}}, client.WriteOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 2, back.Number)
	require.Equal(t, "1 1", <-lists)
	d = w.over(shop, 2, api.DeployRolledBack)
	require.Contains(t, d.Reason, "slow pages")
	require.NoError(t, removed(w, shop))
	for list := range lists { // until the job is gone
		require.NotContains(t, list, "2")
	}
}

func removed(w *world, job string) error {
	_, err := w.RemoveJob(ctx, job, client.WriteOptions{})
	return err
}

func deploysOf(e *api.Endpoints) string {
	var out []string
	for _, one := range e.Endpoints {
		out = append(out, fmt.Sprint(one.Deploy))
	}
	return strings.Join(out, " ")
}

func TestDeploy_BounceAndRestart(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	before, err := w.Endpoints(ctx, shop)
	require.NoError(t, err)
	b, err := w.Bounce(ctx, shop, api.BounceRequest{Incremental: true, DeployNotes: api.DeployNotes{Message: "leak"}}, client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, api.DeployOfBounce, b.Kind)
	require.EqualValues(t, 1, b.Of)
	require.Equal(t, []int{1, 2}, []int{b.Rollout.Step, b.Rollout.Steps}, "one after the other")
	w.over(shop, 2, api.DeploySucceeded)
	after, err := w.Endpoints(ctx, shop)
	require.NoError(t, err)
	require.Len(t, after.Endpoints, 2)
	for i := range after.Endpoints {
		require.NotEqual(t, before.Endpoints[i].Task, after.Endpoints[i].Task)
		require.NotZero(t, after.Endpoints[i].Ports["http"])
		require.Equal(t, "host-1", after.Endpoints[i].Host)
	}
	written, err := w.RestartInstance(ctx, shop, 1, "stuck", client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, after.Endpoints[1].Task, written.Task)
	w.eventually("another task serves instance 1 alone", func() bool {
		now, err := w.Endpoints(ctx, shop)
		require.NoError(t, err)
		return len(now.Endpoints) == 2 && now.Endpoints[0].Task == after.Endpoints[0].Task && now.Endpoints[1].Task != after.Endpoints[1].Task
	})
	for path, status := range map[string]int{"/instances/9/restart": 404, "/instances/x/restart": 422, "/instances/-1/restart": 422} {
		w.do("POST", "/v1/jobs/"+shop+path, "").problem(status)
	}
}

// A deploy's stream tells each change until the end, and what is over at once.
func TestDeploy_IsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	w.deploy(shop, site(`"command": "./new", "update": {"strategy": "canary", "steps": [{"instances": 1, "manual": true}]}`))
	var seen []string
	promoted := false
	for d, err := range w.FollowDeploy(ctx, shop, 0) {
		require.NoError(t, err)
		require.EqualValues(t, 2, d.Number)
		require.Nil(t, d.Spec)
		text, err := json.Marshal(d)
		require.NoError(t, err)
		require.NotContains(t, seen, string(text), "each is told once")
		seen = append(seen, string(text))
		if d.Rollout != nil && d.Rollout.Phase == api.PhasePromotion && !promoted {
			promoted = true
			_, err := w.PromoteDeploy(ctx, shop, 2, true, client.WriteOptions{})
			require.NoError(t, err)
		}
		if d.State.Over() {
			require.Equal(t, api.DeploySucceeded, d.State)
		}
	}
	require.Greater(t, len(seen), 1)
	a := w.do("GET", "/v1/jobs/"+shop+"/deploys/2/events", "")
	require.Equal(t, "text/event-stream", a.header.Get("Content-Type"))
	require.Equal(t, 1, strings.Count(a.body, "event: "))
	require.True(t, strings.HasPrefix(a.body, "event: end\ndata: {"), a.body)
	told := 0
	for _, err := range w.FollowDeploy(ctx, shop, 9) {
		told++
		require.ErrorContains(t, err, "no deploy 9")
	}
	require.Equal(t, 1, told)
}

// The long poll answers at the end, or when anything changed since an ETag.
func TestDeploy_LongPoll(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	w.deploy(shop, site(`"command": "./slow"`))
	path := "/v1/jobs/" + shop + "/deploys/current"
	w.eventually("nothing changes any more", func() bool {
		a := w.do("GET", path, "")
		require.True(t, strings.HasPrefix(a.header.Get("ETag"), `W/"`))
		return strings.Contains(a.body, `"state":"starting"`)
	})
	tag := w.do("GET", path, "").header.Get("ETag")
	a := w.do("GET", path+"?wait=10ms", "", "If-None-Match: "+tag)
	require.Equal(t, http.StatusNotModified, a.status, a.body)
	require.Empty(t, a.body)
	require.Equal(t, tag, a.header.Get("ETag"))
	a = w.do("GET", path+"?wait=10ms", "")
	require.Equal(t, http.StatusOK, a.status)
	require.Contains(t, a.body, `"state":"in_progress"`, "the wait is over before the deploy is")
	answers := make(chan answer, 2)
	go func() { answers <- w.do("GET", path+"?wait=5m", "", "If-None-Match: "+tag) }()
	go func() { answers <- w.do("GET", path+"?wait=5m", "") }()
	w.eventually("both wait", func() bool {
		return strings.Contains(w.do("GET", "/metrics", "").body, `perigee_http_streams{kind="waits"} 2`)
	})
	_, err := w.PauseDeploy(ctx, shop, 2, "", client.WriteOptions{})
	require.NoError(t, err)
	a = <-answers
	require.Equal(t, http.StatusOK, a.status)
	require.Contains(t, a.body, `"paused":true`)
	_, err = w.CancelDeploy(ctx, shop, 2, "", client.WriteOptions{})
	require.NoError(t, err)
	a = <-answers
	require.Contains(t, a.body, `"number":2`, "current is that of when it was asked")
	require.Contains(t, a.body, `"state":"cancelled"`)
}

func TestDeploy_StandbyTellsProgressAndEndpoints(t *testing.T) {
	t.Parallel()
	leader, standby, _ := beginPair(t)
	require.NoError(t, leader.engine.Deliver(ctx))
	d := standby.deploy(shop, site("")) // there is no Mesos: it waits
	require.Equal(t, api.DeployInProgress, d.State)
	ended := make(chan api.DeployState, 1)
	go func() {
		var last api.DeployState
		for d, err := range standby.FollowDeploy(ctx, shop, 1) {
			if err != nil {
				t.Error(err)
				break
			}
			last = d.State
		}
		ended <- last
	}()
	p := standby.do("POST", "/v1/jobs/"+shop+"/deploys", `{"spec": `+site(`"command": "./new"`)+`}`).problem(http.StatusConflict)
	require.EqualValues(t, 1, p.Deploy.Number)
	list, err := standby.Endpoints(ctx, shop)
	require.NoError(t, err)
	require.Empty(t, list.Endpoints)
	_, err = standby.CancelDeploy(ctx, shop, 1, "", client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, api.DeployCancelled, <-ended)
}
