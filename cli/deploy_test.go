package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// recorded is an API that gives the answers it was given, and keeps what it was
// asked. What a scheduler really answers is tested end to end.
type recorded struct {
	*testing.T
	url     string
	mu      sync.Mutex
	answers map[string]any // by "METHOD /path"; an *api.Problem is an error, a []*api.Deploy a stream
	asked   []string       // METHOD /path?query body
	keys    []string       // Idempotency-Key of writes
}

func answering(t *testing.T, answers map[string]any) *recorded {
	t.Helper()
	r := &recorded{T: t, answers: answers}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

func (r *recorded) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	r.mu.Lock()
	r.asked = append(r.asked, strings.TrimSpace(fmt.Sprintf("%s %s %s", q.Method, q.URL.RequestURI(), body)))
	if key := q.Header.Get(api.HeaderIdempotencyKey); key != "" {
		r.keys = append(r.keys, key)
	}
	answer, ok := r.answers[q.Method+" "+q.URL.Path]
	r.mu.Unlock()
	if !ok {
		answer = &api.Problem{Status: http.StatusNotFound, Detail: "there is no " + q.URL.Path}
	}
	switch a := answer.(type) {
	case *api.Problem:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(a.Status)
	case string:
		w.Header().Set(api.HeaderSize, fmt.Sprint(len(a)))
		io.WriteString(w, a)
		return
	case []*api.Deploy:
		stream(w, a)
		return
	case held:
		a.write(w)
		return
	}
	json.NewEncoder(w).Encode(answer)
}

// stream writes messages of a deploy's stream.
func stream(w http.ResponseWriter, messages []*api.Deploy) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, d := range messages {
		text, _ := json.Marshal(d)
		fmt.Fprintf(w, "data: %s\n\n", text)
	}
	w.(http.Flusher).Flush()
}

// run executes a command line.
func (r *recorded) run(args ...string) (code int, out, errs string) {
	r.Helper()
	var o, e bytes.Buffer
	code = Run(r.Context(), args, Streams{In: strings.NewReader(""), Out: &o, Err: &e, Environ: []string{"PERIGEE_API=" + r.url}})
	return code, o.String(), e.String()
}

// last is the last request that was no GET.
func (r *recorded) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.asked) - 1; i >= 0; i-- {
		if !strings.HasPrefix(r.asked[i], "GET") {
			return r.asked[i]
		}
	}
	return ""
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jobs.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

const oneJob = `job: web/hello
kind: service
command: ./hello
resources: {cpus: 0.1, memory: 16MiB}
stages: {devel: {}, prod: {}}
`

const threeJobs = `kind: service
command: ./hello
resources: {cpus: 0.1, memory: 16MiB}
jobs: [{job: web/devel/a}, {job: web/devel/b}, {job: web/devel/c}]
`

const helloPath = "/v1/jobs/web/devel/hello"

// ended is a deploy of hello that ended in a state.
func over(state api.DeployState, reason string) *api.Deploy {
	now := time.Now()
	return &api.Deploy{Job: "web/devel/hello", Number: 4, From: 3, Kind: api.DeployOfSpec, State: state, Reason: reason, CreatedAt: now, EndedAt: &now,
		Instances: 2, Updated: 2}
}

func underway() *api.Deploy {
	d := over(api.DeployInProgress, "")
	d.EndedAt, d.Rollout = nil, &api.Rollout{Phase: api.PhaseMoving, Strategy: api.StrategyRolling, Step: 1, Steps: 2, Target: 1, Back: 3}
	return d
}

// TestDeploy_ExitStatuses: each end of a deploy has one of its own.
func TestDeploy_ExitStatuses(t *testing.T) {
	t.Parallel()
	for state, want := range map[api.DeployState]int{api.DeploySucceeded: 0, api.DeployFailed: 10, api.DeployRolledBack: 11,
		api.DeployCancelled: 12, api.DeploySuperseded: 13} {
		instance := 1
		ended := time.Now()
		r := answering(t, map[string]any{
			"POST " + helloPath + "/deploys":         api.WrittenDeploy{Deploy: *underway(), Changed: true},
			"GET " + helloPath + "/deploys/4":        underway(),
			"GET " + helloPath + "/deploys/4/events": []*api.Deploy{underway(), over(state, "instance 1 failed 3 times")},
			"GET " + helloPath + "/tasks": api.Page[api.Task]{Items: []api.Task{{ID: "t-1", Job: "web/devel/hello", Deploy: 4, Instance: &instance,
				State: "failed", Message: "exited with status 3", Host: "a1", EndedAt: &ended}}},
			"GET /v1/tasks/t-1/files/content": strings.Repeat("earlier\n", 20) + "cannot open database\nbye\x1b[2J\n",
		})
		code, out, errs := r.run("deploy", file(t, oneJob), "--stage", "devel", "-m", "build 41", "--author", "jenkins", "--link", "build=https://ci/41",
			"--replace", "--resume", "--idempotency-key", "build-41")
		require.Equal(t, want, code, "%s: %s%s", state, out, errs)
		require.Contains(t, r.last(), "POST /v1/jobs/web/devel/hello/deploys ")
		require.Contains(t, r.last(), `"author":"jenkins","message":"build 41","links":{"build":"https://ci/41"},"replace":true,"resume":true`)
		require.Equal(t, []string{"build-41"}, r.keys)
		require.Contains(t, out, "deploy 4 of web/devel/hello: rolling, 2 instances")
		if state == api.DeploySucceeded {
			require.Contains(t, out, "Deploy 4 of web/devel/hello succeeded: 2 of 2 instances ready")
			continue
		}
		require.Contains(t, errs, ended1(state)+": instance 1 failed 3 times")
		require.Contains(t, errs, "`perigee deploys web/devel/hello 4` shows more")
		if state == api.DeployFailed || state == api.DeployRolledBack {
			require.Contains(t, errs, "task t-1 of web/devel/hello/1 on a1 failed: exited with status 3; its last lines in logs/stderr:\n    earlier\n")
			require.Contains(t, errs, "    cannot open database\n    bye\n")
			require.Equal(t, 8, strings.Count(errs, "earlier"), "ten lines in all")
		}
	}
}

// TestDeploy_StandsStill: a deploy that failed and neither goes on nor returns by
// itself is not waited for, alone or in a group.
func TestDeploy_StandsStill(t *testing.T) {
	t.Parallel()
	stands := underway()
	stands.Rollout.Paused, stands.Rollout.Pause, stands.Rollout.Failed = true, "it failed: instance 1 failed once", "instance 1 failed once"
	group := api.DeployGroup{ID: "g-1", State: api.DeployInProgress, Members: []api.DeployGroupEntry{{Job: "web/devel/hello", Deploy: 4, State: api.DeployInProgress}}}
	r := answering(t, map[string]any{
		"POST " + helloPath + "/deploys":         api.WrittenDeploy{Deploy: *underway(), Changed: true},
		"GET " + helloPath + "/deploys/4":        underway(),
		"GET " + helloPath + "/deploys/4/events": []*api.Deploy{underway(), stands},
		"GET " + helloPath + "/tasks":            api.Page[api.Task]{},
		"GET /v1/deploy-groups/g-1":              group,
	})
	for _, args := range [][]string{{"deploy", file(t, oneJob), "--stage", "devel"}, {"deploys", "web/devel/hello", "4", "--watch"}, {"groups", "g-1", "--watch"}} {
		code, out, errs := r.run(args...)
		require.Equal(t, 14, code, "%v: %s%s", args, out, errs)
		require.Contains(t, errs, "error: deploy 4 of web/devel/hello has failed, and stands still: instance 1 failed once\n")
		require.Contains(t, errs, "`perigee resume web/devel/hello --deploy` has it go on, `perigee cancel web/devel/hello` returns to deploy 3")
	}
}

func ended1(s api.DeployState) string { return "deploy 4 of web/devel/hello " + ended(string(s)) }

// TestDeploy_TimesOut: it says that the deploy goes on, and how to see it.
func TestDeploy_TimesOut(t *testing.T) {
	t.Parallel()
	r := answering(t, map[string]any{
		"POST " + helloPath + "/deploys":         api.WrittenDeploy{Deploy: *underway(), Changed: true},
		"GET " + helloPath + "/deploys/4/events": []*api.Deploy{underway()}, // and the stream breaks off, again and again
	})
	code, _, errs := r.run("deploy", file(t, oneJob), "--stage", "devel", "--timeout", "300ms")
	require.Equal(t, codeTimedOut, code)
	require.Contains(t, errs, "deploy 4 of web/devel/hello is still in progress after 300ms, and goes on")
	require.Contains(t, errs, "perigee deploys web/devel/hello 4 --watch")
}

// TestDeploy_Interrupted: the same, and the exit status is that of Ctrl-C.
func TestDeploy_Interrupted(t *testing.T) {
	t.Parallel()
	until := make(chan struct{})
	r := answering(t, map[string]any{
		"POST " + helloPath + "/deploys":         api.WrittenDeploy{Deploy: *underway(), Changed: true},
		"GET " + helloPath + "/deploys/4/events": held{first: []*api.Deploy{underway()}, until: until},
	})
	t.Cleanup(func() { close(until) }) // before the server is closed, which waits for its answers
	ctx, cancel := context.WithCancel(t.Context())
	out := &notify{part: "batch 1", then: cancel}
	var errs bytes.Buffer
	code := Run(ctx, []string{"deploy", file(t, oneJob), "--stage", "devel"},
		Streams{In: strings.NewReader(""), Out: out, Err: &errs, Environ: []string{"PERIGEE_API=" + r.url}})
	require.Equal(t, codeInterrupted, code)
	require.Equal(t, "\ndeploy 4 of web/devel/hello goes on: `perigee deploys web/devel/hello 4 --watch` shows it, `perigee cancel web/devel/hello` ends it\n", errs.String())
}

// notify calls a function when something is written.
type notify struct {
	part string
	then func()
}

func (n *notify) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(n.part)) {
		n.then()
	}
	return len(b), nil
}

// TestDeploy_Begins: what is printed when nothing is waited for.
func TestDeploy_Begins(t *testing.T) {
	t.Parallel()
	r := answering(t, map[string]any{"POST " + helloPath + "/deploys": api.WrittenDeploy{Deploy: *underway(), Changed: true, Warnings: []string{"it fits nowhere"}}})
	for _, flag := range []string{"--detach", "--wait=false"} {
		code, out, errs := r.run("deploy", file(t, oneJob), "--stage", "devel", flag)
		require.Zero(t, code, errs)
		require.Equal(t, "Deploy 4 of web/devel/hello has begun: `perigee deploys web/devel/hello 4 --watch` shows it.\n", out)
		require.Equal(t, "warning: it fits nowhere\n", errs)
	}
	code, out, _ := r.run("deploy", file(t, oneJob), "--stage", "devel", "-d", "-o", "json")
	require.Zero(t, code)
	var w api.WrittenDeploy
	require.NoError(t, json.Unmarshal([]byte(out), &w))
	require.EqualValues(t, 4, w.Number)

	r = answering(t, map[string]any{"POST " + helloPath + "/deploys": api.WrittenDeploy{Deploy: *over(api.DeploySucceeded, "")}})
	code, out, _ = r.run("deploy", file(t, oneJob), "--stage", "devel")
	require.Zero(t, code)
	require.Equal(t, "Nothing to change: web/devel/hello has this spec since deploy 4.\n", out)
}

// TestDeploy_Refused: bad command lines, and what the state of the job forbids.
func TestDeploy_Refused(t *testing.T) {
	t.Parallel()
	r := answering(t, map[string]any{"POST " + helloPath + "/deploys": &api.Problem{Status: 409, Detail: "a deploy is in progress", Deploy: underway()}})
	one, three := file(t, oneJob), file(t, threeJobs)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"deploy", one, "--stage", "prod"}, codeUsage, "Deploy web/prod/hello? Say --yes"},
		{[]string{"deploy", one, "--stage", "none"}, codeInvalid, "none"},
		{[]string{"deploy", one, "--stage", "devel", "--link", "build"}, codeUsage, "NAME=URL"},
		{[]string{"deploy", one, "--stage", "devel", "--link", "a=http://x", "--link", "a=http://y"}, codeUsage, "twice"},
		{[]string{"deploy", one, "--stage", "devel", "--wait", "--detach"}, codeUsage, "detach"},
		{[]string{"deploy", one, "--stage", "devel", "--detach", "--timeout", "1m"}, codeUsage, "timeout"},
		{[]string{"deploy", three, "--resume"}, codeUsage, "--only"},
		{[]string{"deploy", three, "--only", "d"}, codeUsage, "it has web/devel/a, web/devel/b, web/devel/c"},
		{[]string{"deploy", one, "--stage", "devel"}, codeConflict, "`perigee deploys web/devel/hello 4 --watch` shows it, --replace ends it"},
		{[]string{"rollback", "web/devel/hello", "--to", "0"}, codeUsage, "--to 0"},
		{[]string{"rollback", "web/devel/hello"}, codeNotFound, "no /v1"},
		{[]string{"deploys", "web/devel/hello", "x"}, codeUsage, "not the number of a deploy"},
		{[]string{"promote", "web/devel/hello", "0"}, codeUsage, "not the number of a deploy"},
		{[]string{"restart", "web/devel/hello"}, codeUsage, "perigee bounce"},
		{[]string{"cancel", "web/devel/hello/0"}, codeUsage, "perigee kill"},
		{[]string{"scale", "web/devel/hello", "3", "--for", "-1h"}, codeUsage, "more than 0"},
		{[]string{"skip-health", "web/devel/hello"}, codeUsage, "for"},
		{[]string{"pause", "web/devel/hello", "--deploy", "--for", "1h"}, codeUsage, "for"},
		{[]string{"endpoints", "web/devel/hello", "--exec", "true"}, codeUsage, "--file"},
		{[]string{"endpoints", "web/devel/hello", "--file", "x"}, codeUsage, "haproxy-servers"},
	} {
		code, _, errs := r.run(c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, errs)
		require.Contains(t, errs, c.says, c.args)
	}
	require.Equal(t, 1, strings.Count(strings.Join(r.asked, "\n"), "POST"), "what is wrong is never sent")
}

// TestDeploy_OnlyOneOfAFile: and without it all, as a group, in their order.
func TestDeploy_SeveralJobs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := api.DeployGroup{ID: "g-1", State: api.DeployInProgress, CreatedAt: now, Members: []api.DeployGroupEntry{
		{Job: "web/devel/a", Deploy: 4, State: api.DeploySucceeded}, {Job: "web/devel/b", Deploy: 4, State: api.DeployInProgress}, {Job: "web/devel/c"}}}
	end := g
	end.State, end.Reason, end.EndedAt = api.DeployRolledBack, "deploy 4 of web/devel/b was rolled back", &now
	b := underway()
	b.Job = "web/devel/b"
	bEnd := over(api.DeployRolledBack, "it failed")
	bEnd.Job = "web/devel/b"
	r := answering(t, map[string]any{
		"POST /v1/deploy-groups":                    api.WrittenGroup{DeployGroup: g, Changed: true},
		"GET /v1/deploy-groups/g-1":                 end,
		"GET /v1/jobs/web/devel/a/deploys/4":        over(api.DeploySucceeded, ""),
		"GET /v1/jobs/web/devel/b/deploys/4":        b,
		"GET /v1/jobs/web/devel/b/deploys/4/events": []*api.Deploy{b, bEnd},
		"POST /v1/jobs/web/devel/b/deploys":         api.WrittenDeploy{Deploy: *b, Changed: true},
	})
	path := file(t, threeJobs)
	code, out, errs := r.run("deploy", path, "-m", "all of it")
	require.Equal(t, codeRolledBack, code, errs)
	require.Contains(t, out, "deploy 4 of web/devel/b was rolled back: it failed")
	require.Contains(t, errs, "group g-1 was rolled back: deploy 4 of web/devel/b was rolled back")
	sent := r.last()
	require.Contains(t, sent, "POST /v1/deploy-groups ")
	require.Contains(t, sent, `"message":"all of it"`)
	a, c := strings.Index(sent, "web/devel/a"), strings.Index(sent, "web/devel/c")
	require.True(t, 0 < a && a < strings.Index(sent, "web/devel/b") && strings.Index(sent, "web/devel/b") < c, sent)

	code, out, errs = r.run("deploy", path, "--only", "b", "--detach")
	require.Zero(t, code, errs)
	require.Contains(t, out, "Deploy 4 of web/devel/b has begun")
	require.Contains(t, r.last(), "POST /v1/jobs/web/devel/b/deploys")
}

// TestPause_AndResume: a job and its deploy can both be paused, so where both
// could be meant, the command line has to say which.
func TestPause_AndResume(t *testing.T) {
	t.Parallel()
	still := underway()
	still.Rollout.Paused = true
	steered := api.WrittenDeploy{Deploy: *underway(), Changed: true}
	written := api.Written{Changed: true}
	for _, c := range []struct {
		name   string
		paused bool
		deploy *api.Deploy
		args   []string
		code   int
		sent   string // "" is nothing
		says   string
	}{
		{"no deploy", false, nil, []string{"pause"}, 0, "POST " + helloPath + "/pause", "its tasks are being stopped"},
		{"deploy over", false, over(api.DeploySucceeded, ""), []string{"pause", "--reason", "lunch"}, 0, "POST " + helloPath + "/pause?reason=lunch", "its tasks"},
		{"for a time", false, nil, []string{"pause", "--for", "1h"}, 0, "POST " + helloPath + "/pause?for=1h0m0s", "in 1h00m"},
		{"deploy in progress", false, underway(), []string{"pause"}, codeUsage, "", "--tasks"},
		{"its deploy", false, underway(), []string{"pause", "--deploy"}, 0, "POST " + helloPath + "/deploys/current/pause", "Deploy 4 of web/devel/hello stands still"},
		{"its tasks", false, underway(), []string{"pause", "--tasks"}, 0, "POST " + helloPath + "/pause", "its tasks"},
		{"job paused", true, nil, []string{"resume"}, 0, "POST " + helloPath + "/resume", "is resumed"},
		{"job paused, deploy going on", true, underway(), []string{"resume"}, 0, "POST " + helloPath + "/resume", "is resumed"},
		{"deploy paused", false, still, []string{"resume"}, 0, "POST " + helloPath + "/deploys/current/resume", "goes on"},
		{"both paused", true, still, []string{"resume"}, codeUsage, "", "--deploy"},
		{"both paused, its tasks", true, still, []string{"resume", "--tasks"}, 0, "POST " + helloPath + "/resume", "is resumed"},
		{"both paused, its deploy", true, still, []string{"resume", "--deploy"}, 0, "POST " + helloPath + "/deploys/current/resume", "goes on"},
	} {
		r := answering(t, map[string]any{
			"GET " + helloPath:                              api.Job{Job: "web/devel/hello", Kind: api.KindService, Paused: c.paused, LatestDeploy: c.deploy},
			"POST " + helloPath + "/pause":                  written,
			"POST " + helloPath + "/resume":                 written,
			"POST " + helloPath + "/deploys/current/pause":  steered,
			"POST " + helloPath + "/deploys/current/resume": steered,
		})
		code, out, errs := r.run(append([]string{c.args[0], "web/devel/hello"}, c.args[1:]...)...)
		require.Equal(t, c.code, code, "%s: %s", c.name, errs)
		require.Contains(t, out+errs, c.says, c.name)
		sent, _, _ := strings.Cut(r.last()+" {", " {")
		require.Equal(t, c.sent, sent, c.name)
	}
}

// TestSteer: each command's request, and what it says.
func TestSteer(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(10 * time.Minute)
	d := underway()
	d.Rollout.PulseUntil = &until
	steered := api.WrittenDeploy{Deploy: *d, Changed: true}
	undone := steered
	undone.State, undone.Rollout = api.DeployRollingBack, &api.Rollout{Phase: api.PhaseReturning, Back: 3}
	r := answering(t, map[string]any{
		"GET " + helloPath: api.Job{Job: "web/devel/hello", LatestDeploy: d},
		"POST " + helloPath + "/deploys/current/promote":   steered,
		"POST " + helloPath + "/deploys/4/promote":         steered,
		"POST " + helloPath + "/deploys/current/cancel":    steered,
		"POST " + helloPath + "/deploys/current/pulse":     steered,
		"POST " + helloPath + "/rollback":                  undone,
		"POST " + helloPath + "/bounce":                    steered,
		"POST " + helloPath + "/instances/1/restart":       api.Written{Changed: true},
		"POST " + helloPath + "/scale":                     api.Written{Changed: true},
		"POST " + helloPath + "/skip-health":               api.Written{Changed: true},
		"DELETE " + helloPath + "/skip-health":             api.Written{Changed: true},
		"POST /v1/deploy-groups/g-1/cancel":                api.WrittenGroup{Changed: true},
		"DELETE " + helloPath + "/runs/20261121T031140Z-1": api.Written{Changed: true},
		"GET " + helloPath + "/deploys/4/events":           []*api.Deploy{&undone.Deploy, over(api.DeployCancelled, "")},
	})
	for _, c := range []struct{ args, sent, says string }{
		{"promote web/devel/hello", "POST " + helloPath + "/deploys/current/promote {}", "Deploy 4 of web/devel/hello goes on"},
		{"promote web/devel/hello 4 --full", "POST " + helloPath + `/deploys/4/promote {"full":true}`, "goes on"},
		{"cancel web/devel/hello --reason oops", "POST " + helloPath + `/deploys/current/cancel {"reason":"oops"}`, "is being cancelled"},
		{"cancel web/devel/hello/20261121T031140Z-1", "DELETE " + helloPath + "/runs/20261121T031140Z-1", "Run 20261121T031140Z-1 is being cancelled"},
		{"cancel g-1", "POST /v1/deploy-groups/g-1/cancel {}", "Group g-1 is being cancelled"},
		{"pulse web/devel/hello", "POST " + helloPath + "/deploys/current/pulse", "may go on until"},
		{"rollback web/devel/hello --yes -d", "POST " + helloPath + "/rollback {}", "Deploy 4 of web/devel/hello is being undone"},
		{"rollback web/devel/hello --yes", "POST " + helloPath + "/rollback {}", "Deploy 4 of web/devel/hello was cancelled"},
		{"rollback web/devel/hello --yes -d --to 2 --unchecked", "POST " + helloPath + `/rollback {"to":2,"unchecked":true}`, "is being undone"},
		{"bounce web/devel/hello -d --incremental", "POST " + helloPath + `/bounce {"incremental":true}`, "Deploy 4 of web/devel/hello has begun"},
		{"restart web/devel/hello/1 --reason leaks", "POST " + helloPath + `/instances/1/restart {"reason":"leaks"}`, "is being restarted"},
		{"scale web/devel/hello 5 --for 2h", "POST " + helloPath + `/scale?for=2h0m0s {"instances":5}`, "5 instances until"},
		{"skip-health web/devel/hello --for 30m", "POST " + helloPath + "/skip-health?for=30m0s", "count for nothing until"},
		{"skip-health web/devel/hello --off", "DELETE " + helloPath + "/skip-health", "count again"},
	} {
		code, out, errs := r.run(strings.Fields(c.args)...)
		require.Zero(t, code, "%s: %s", c.args, errs)
		require.Equal(t, c.sent, r.last(), c.args)
		require.Contains(t, out, c.says, c.args)
	}
	code, _, errs := r.run("rollback", "web/devel/hello")
	require.Equal(t, codeUsage, code)
	require.Contains(t, errs, "Undo deploy 4 of web/devel/hello")
}

// TestPlan: what it says, and the exit status of no change, changes, and a file
// that is not valid.
func TestPlan(t *testing.T) {
	t.Parallel()
	p := api.Plan{Job: "web/devel/hello", Action: api.PlanDeploy, From: 3, Starts: 0,
		Changes: []api.SpecChange{{Field: "env.MODE", Old: "a", New: "b\x1b[31m", Restart: true}, {Field: "env.NEW", New: true, Restart: true},
			{Field: "owners", Old: []any{"web"}}},
		Warnings: []string{"it is late"}, Blocked: "a deploy is in progress",
		Fit: api.PlanFit{Needs: 5, Room: 3, Agents: 3, Summary: "3 of 5 tasks have room now", Refused: []api.Refusal{{Filter: "cpus", Detail: "needs 1, the most free is 0.5", Agents: 3}}}}
	for i := range 9 {
		p.Restarts = append(p.Restarts, api.PlanBatch{Instances: []int{2 * i, 2*i + 1}})
	}
	p.Restarts[0] = api.PlanBatch{Step: "first", Instances: []int{0}, Bake: "10m", Manual: true}
	r := answering(t, map[string]any{"POST " + helloPath + "/plan": p})
	path := file(t, oneJob)
	code, out, errs := r.run("plan", path, "--stage", "devel")
	require.Equal(t, codeChanges, code)
	require.Empty(t, errs)
	golden(t, "plan.txt", out)
	code, out, _ = r.run("plan", path, "--stage", "devel", "-o", "json")
	require.Equal(t, codeChanges, code)
	var plans []api.Plan
	require.NoError(t, json.Unmarshal([]byte(out), &plans))
	require.Len(t, plans, 1)

	r = answering(t, map[string]any{"POST " + helloPath + "/plan": api.Plan{Job: "web/devel/hello", Action: api.PlanNone, From: 3, Fit: api.PlanFit{Fits: true}}})
	code, out, _ = r.run("plan", path, "--stage", "devel")
	require.Zero(t, code)
	require.Equal(t, "web/devel/hello  nothing to change from deploy 3\n", out)
	code, _, _ = r.run("plan", file(t, strings.Replace(oneJob, "command", "comand", 1)), "--stage", "devel")
	require.Equal(t, codeInvalid, code)
}

// TestDeploys_Lists: a table, and with --wide what does not fit everywhere.
func TestDeploys_Lists(t *testing.T) {
	t.Parallel()
	d := over(api.DeployRolledBack, "instance 1 failed")
	d.Kind, d.Of, d.Author, d.Message, d.Links, d.Digest = api.DeployOfRollback, 2, "jenkins", "build 41\nof main", map[string]string{"build": "https://ci/41"}, strings.Repeat("ab", 32)
	r := answering(t, map[string]any{"GET " + helloPath + "/deploys": api.Page[api.Deploy]{Items: []api.Deploy{*d}}, "GET " + helloPath + "/deploys/4": many(3, 1, 0, 1)})
	_, out, _ := r.run("deploys", "web/devel/hello")
	require.Contains(t, out, "4       rolled back  rollback to 2  jenkins")
	require.Contains(t, out, "build 41 of main; instance 1 failed")
	require.NotContains(t, out, "https://ci/41")
	_, out, _ = r.run("deploys", "web/devel/hello", "--wide")
	require.Contains(t, out, "abababababab")
	require.Contains(t, out, "build=https://ci/41")
	_, out, _ = r.run("deploys", "web/devel/hello", "4")
	require.Contains(t, out, "0         failing  t0    9")
	_, out, _ = r.run("__complete", "promote", "web/devel/hello", "")
	require.Contains(t, out, "4\trollback to 2, was rolled back, build 41 of main\n")
	_, out, _ = r.run("__complete", "rollback", "web/devel/hello", "--to", "")
	require.Contains(t, out, "4\trollback")
	_, out, _ = r.run("__complete", "deploy", file(t, oneJob), "--stage", "")
	require.Contains(t, out, "devel\nprod\n")
}
