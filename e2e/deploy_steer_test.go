package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// gates are HTTP services that decide about deploys. Each notes what it is
// asked.
type gates struct {
	url string

	mu    sync.Mutex
	asked map[string][]api.GateQuestion // by path
}

// openGates serves one that answers wait before it answers go, one that answers
// stop, and one that never answers.
func (w *world) openGates() *gates {
	g := &gates{asked: map[string][]api.GateQuestion{}}
	answer := func(rw http.ResponseWriter, a api.GateAnswer) { _ = json.NewEncoder(rw).Encode(a) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /go", func(rw http.ResponseWriter, r *http.Request) {
		if g.ask(w, r) == 1 {
			answer(rw, api.GateAnswer{Decision: api.GateWait, Reason: "not enough requests yet"})
		} else {
			answer(rw, api.GateAnswer{Decision: api.GateGo})
		}
	})
	mux.HandleFunc("POST /stop", func(rw http.ResponseWriter, r *http.Request) {
		g.ask(w, r)
		answer(rw, api.GateAnswer{Decision: api.GateStop, Reason: "latency has doubled"})
	})
	mux.HandleFunc("POST /silent", func(_ http.ResponseWriter, r *http.Request) {
		g.ask(w, r)
		<-r.Context().Done()
	})
	server := httptest.NewServer(mux)
	w.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	g.url = server.URL
	return g
}

// ask notes a question, and returns how many there were.
func (g *gates) ask(w *world, r *http.Request) int {
	var q api.GateQuestion
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		w.Errorf("a gate is asked what it cannot read: %v", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked[r.URL.Path] = append(g.asked[r.URL.Path], q)
	return len(g.asked[r.URL.Path])
}

func (g *gates) questions(path string) []api.GateQuestion {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked[path]
}

// A canary's first instance is out, and an outside system is asked whether the
// others follow.
func TestDeploy_CanaryAsksAGate(t *testing.T) {
	w := begin(t)
	g := w.openGates()
	for _, how := range []string{"go", "stop", "silent"} {
		w.must("deploy", "--detach", w.file(how, sleeps("v1", atOnce)))
	}
	for _, how := range []string{"go", "stop", "silent"} {
		w.awaitOver(w.job(how), 1, api.DeploySucceeded)
		canary := "{strategy: canary, deadline: 60s, steps: [{name: one, instances: 1, checks: {gate: {url: '" + g.url + "/" + how +
			"', interval: 100ms, deadline: 60s}}}]}"
		if how == "silent" {
			canary = strings.Replace(canary, "deadline: 60s}}", "deadline: 2s}}", 1)
		}
		w.must("deploy", "--detach", w.file(how, sleeps("v2", canary)))
	}

	stopped := w.awaitOver(w.job("stop"), 2, api.DeployRolledBack)
	require.Contains(t, stopped.Reason, "latency has doubled")
	unanswered := w.awaitOver(w.job("silent"), 2, api.DeployRolledBack)
	require.Contains(t, unanswered.Reason, "2s", "the gate's deadline")
	w.awaitOver(w.job("go"), 2, api.DeploySucceeded)
	for how, deploy := range map[string]uint32{"go": 2, "stop": 1, "silent": 1} {
		w.awaitReady(w.job(how), 4)
		_, deploys := w.live(w.job(how))
		require.Equal(t, []uint32{deploy, deploy, deploy, deploy}, deploys, how)
	}
	require.Len(t, g.questions("/go"), 2, "it is asked again after it said wait, and not after it said go")
	q := g.questions("/go")[0]
	require.Equal(t, api.GateQuestion{Job: w.job("go"), Deploy: 2, From: 1, Step: "one", Instances: 1, Digest: q.Digest}, q)
	require.Equal(t, q.Digest, w.deployNow(w.job("go"), 2).Digest)
	require.NotEmpty(t, g.questions("/silent"))
}

// A deploy is paused, resumed and promoted by hand; the next one is cancelled,
// and then all is as it was at the beginning.
func TestDeploy_SteeredByHand(t *testing.T) {
	w := begin(t)
	job := w.job("shop")
	const byHand = "{strategy: canary, deadline: 60s, steps: [{instances: 1, manual: true}, {instances: 50%, manual: true}]}"
	w.must("deploy", w.file("shop", sleeps("v1", atOnce)))
	w.must("deploy", "--detach", w.file("shop", sleeps("v2", byHand)))
	w.awaitPhase(job, 2, api.PhasePromotion, 1)
	busy := w.cli("deploy", w.file("shop", sleeps("v3", byHand)))
	require.Equal(t, 5, busy.code, busy.out+busy.errors)
	require.Contains(t, busy.errors, "deploy 2", "which one is in progress")

	w.must("pause", job, "--deploy", "--reason", "lunch")
	require.Contains(t, w.must("deploys", job, "2"), "lunch")
	paused := w.cli("promote", job)
	require.Equal(t, 5, paused.code, paused.errors)
	w.must("resume", job, "--deploy")
	w.must("promote", job)
	w.awaitPhase(job, 2, api.PhasePromotion, 2)
	w.awaitReady(job, 4)
	_, deploys := w.live(job)
	require.Equal(t, []uint32{2, 2, 1, 1}, deploys, "half of the instances have moved")
	w.must("promote", job, "--full")
	w.awaitOver(job, 2, api.DeploySucceeded)

	w.must("deploy", "--detach", w.file("shop", sleeps("v3", byHand)))
	w.awaitPhase(job, 3, api.PhasePromotion, 1)
	w.must("cancel", job, "--reason", "wrong branch")
	require.Contains(t, w.awaitOver(job, 3, api.DeployCancelled).Reason, "wrong branch")
	w.awaitReady(job, 4)
	_, deploys = w.live(job)
	require.Equal(t, []uint32{2, 2, 2, 2}, deploys)

	w.must("rollback", job, "--to", "1", "--yes")
	back := w.awaitOver(job, 4, api.DeploySucceeded)
	require.Equal(t, api.DeployOfRollback, back.Kind)
	require.EqualValues(t, 1, back.Of)
	require.Equal(t, w.deployNow(job, 1).Digest, back.Digest)
	w.awaitReady(job, 4)
}

// Several jobs in one file move together, or not at all.
func TestDeploy_GroupIsAllOrNothing(t *testing.T) {
	w := begin(t)
	both := func(version, second string) string {
		file := w.file("front", sleeps(version, atOnce)+"---"+strings.Replace(second, "job: JOB", "job: "+w.job("back"), 1))
		return file
	}
	w.must("deploy", both("v1", sleeps("v1", atOnce)))
	undone := w.cli("deploy", both("v2", fails("v2", atOnce)))
	require.Equal(t, 11, undone.code, undone.out+undone.errors)
	for _, name := range []string{"front", "back"} {
		job := w.job(name)
		w.awaitReady(job, 4)
		j := w.jobNow(job)
		require.Equal(t, map[string]string{"VERSION": "v1"}, j.Spec.Env, "%s has the spec of before", job)
		require.Equal(t, w.deployNow(job, 1).Digest, w.deployNow(job, j.Deploy).Digest)
	}
	require.Equal(t, api.DeploySucceeded, w.deployNow(w.job("front"), 2).State, "the first went well, and was undone because of the second")
	require.Equal(t, api.DeployRolledBack, w.deployNow(w.job("back"), 2).State)
	require.Contains(t, w.must("groups"), "rolled back")
}

// A paused job is resumed by a deploy; one that fails leaves it paused.
func TestDeploy_ToResume(t *testing.T) {
	w := begin(t)
	job := w.job("shop")
	w.must("deploy", w.file("shop", sleeps("v1", atOnce)))
	w.must("pause", job, "--reason", "an incident")
	w.awaitReady(job, 0)
	bad := w.cli("deploy", "--resume", w.file("shop", fails("v2", atOnce)))
	require.Contains(t, []int{10, 11}, bad.code, bad.out+bad.errors)
	w.awaitReady(job, 0)
	require.Equal(t, "paused", w.jobNow(job).State)
	w.must("deploy", "--resume", w.file("shop", sleeps("v3", atOnce)))
	w.awaitReady(job, 4)
	require.False(t, w.jobNow(job).Paused)
}

func TestScale_ForATime(t *testing.T) {
	w := begin(t)
	job := w.job("shop")
	w.must("deploy", w.file("shop", strings.Replace(sleeps("v1", atOnce), "instances: 4", "instances: 1", 1)))
	w.must("scale", job, "3", "--for", "1h")
	require.Equal(t, 3, w.jobNow(job).Instances)
	require.Equal(t, api.TimedScale, w.jobNow(job).Timed[0].Action)
	w.must("scale", job, "2", "--for", "2s")
	w.await(job, "the scale is taken back", func() bool { return w.jobNow(job).Instances == 1 })
	require.Empty(t, w.jobNow(job).Timed)
	w.awaitReady(job, 1)
}

// The exit status of plan tells no change, changes and invalid apart.
func TestPlan_ExitStatus(t *testing.T) {
	w := begin(t)
	job := w.job("shop")
	created := w.cli("plan", w.file("shop", sleeps("v1", atOnce)))
	require.Equal(t, 7, created.code, created.out+created.errors)
	require.Equal(t, 4, w.cli("status", job).code, "a plan creates nothing")
	w.must("deploy", w.file("shop", sleeps("v1", atOnce)))
	w.must("plan", w.file("shop", sleeps("v1", atOnce)))
	changes := w.cli("plan", w.file("shop", sleeps("v2", oneByOne)))
	require.Equal(t, 7, changes.code, changes.out+changes.errors)
	require.Contains(t, changes.out, "env.VERSION")
	require.Contains(t, changes.out, "v2")
	invalid := w.cli("plan", w.file("shop", sleeps("v2", "{batch: 0}")))
	require.Equal(t, 3, invalid.code, invalid.out+invalid.errors)
	require.EqualValues(t, 1, w.jobNow(job).Deploy, "a plan deploys nothing")
}
