package devcluster_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster/container"
)

// clusterProcess is a cluster in a process of its own.
type clusterProcess struct {
	cmd    *exec.Cmd
	master string
}

func startProcess(t *testing.T, dir string) *clusterProcess {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, clusterArgument, dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &clusterProcess{cmd: cmd}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "the cluster tells its address")
	p.master = "http://" + strings.TrimSpace(line)
	return p
}

// kill is kill -9.
func (p *clusterProcess) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	p.cmd.Wait()
}

// testFramework is a scheduler in plain JSON.
type testFramework struct {
	t      *testing.T
	url    string
	id     string
	stream string
	events chan map[string]any
	offers []map[string]any // that came and were not used
}

func subscribe(t *testing.T, master, id string) *testFramework {
	t.Helper()
	info := map[string]any{"user": "root", "name": "test", "roles": []string{"test"}, "checkpoint": true,
		"failover_timeout": 3600, "capabilities": []any{map[string]any{"type": "MULTI_ROLE"}, map[string]any{"type": "PARTITION_AWARE"}}}
	call := map[string]any{"type": "SUBSCRIBE", "subscribe": map[string]any{"framework_info": info}}
	if id != "" {
		info["id"] = map[string]any{"value": id}
		call["framework_id"] = info["id"]
	}
	f := &testFramework{t: t, url: master + "/api/v1/scheduler", events: make(chan map[string]any, 1000)}
	resp, err := http.Post(f.url, "application/json", body(t, call))
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	require.Equal(t, 200, resp.StatusCode)
	f.stream = resp.Header.Get("Mesos-Stream-Id")
	go f.read(resp.Body)
	e := f.next("SUBSCRIBED", func(map[string]any) bool { return true })
	f.id = text(e, "subscribed", "framework_id", "value")
	return f
}

func (f *testFramework) read(r io.Reader) {
	defer close(f.events)
	in := bufio.NewReader(r)
	for {
		var n int
		if _, err := fmt.Fscanf(in, "%d\n", &n); err != nil {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return
		}
		var e map[string]any
		if json.Unmarshal(b, &e) != nil {
			return
		}
		f.events <- e
	}
}

// next waits for an event and passes by others.
func (f *testFramework) next(typ string, match func(map[string]any) bool) map[string]any {
	f.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case e, ok := <-f.events:
			require.True(f.t, ok, "the stream ended while waiting for %s", typ)
			f.keepOffers(e)
			if e["type"] == typ && match(e) {
				return e
			}
		case <-timeout:
			require.FailNow(f.t, "no "+typ+" within 30 s")
		}
	}
}

// keepOffers remembers what is out: an offer comes when it comes.
func (f *testFramework) keepOffers(e map[string]any) {
	list, _ := object(e, "offers")["offers"].([]any)
	for _, o := range list {
		f.offers = append(f.offers, o.(map[string]any))
	}
	if e["type"] == "RESCIND" {
		f.offers = slices.DeleteFunc(f.offers, func(o map[string]any) bool {
			return text(o, "id", "value") == text(e, "rescind", "offer_id", "value")
		})
	}
}

func (f *testFramework) call(typ string, field map[string]any) {
	f.t.Helper()
	require.Equal(f.t, 202, f.status(typ, field))
}

// status makes a call and returns the status of its answer.
func (f *testFramework) status(typ string, field map[string]any) int {
	f.t.Helper()
	call := map[string]any{"type": typ, "framework_id": map[string]any{"value": f.id}}
	if field != nil {
		call[strings.ToLower(typ)] = field
	}
	r, err := http.NewRequest("POST", f.url, body(f.t, call))
	require.NoError(f.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Mesos-Stream-Id", f.stream)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(f.t, err)
	defer resp.Body.Close()
	reason, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 202 {
		f.t.Logf("%s was answered %s", typ, reason)
	}
	return resp.StatusCode
}

// state waits until a task is in a state, acknowledging what comes.
func (f *testFramework) state(task, state string) map[string]any {
	f.t.Helper()
	return f.next("UPDATE", func(e map[string]any) bool {
		status := object(e, "update", "status")
		if status["uuid"] != nil {
			f.call("ACKNOWLEDGE", map[string]any{"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]})
		}
		return text(status, "task_id", "value") == task && status["state"] == state
	})
}

func (f *testFramework) launch(id, command string) (agent any) {
	f.t.Helper()
	return f.launchAs(id, map[string]any{"command": map[string]any{"value": command}})
}

// launchAs launches a task with more fields, a command by default.
func (f *testFramework) launchAs(id string, more map[string]any) (agent any) {
	f.t.Helper()
	offer := f.offer()
	f.accept(offer, taskOf(id, offer, more))
	return offer["agent_id"]
}

// launchMany launches tasks of one command at once.
func (f *testFramework) launchMany(n int, command string) {
	f.t.Helper()
	offer := f.offer()
	var tasks []any
	for i := range n {
		tasks = append(tasks, taskOf(fmt.Sprint("many-", i), offer, map[string]any{"command": map[string]any{"value": command}}))
	}
	f.accept(offer, tasks...)
}

// offer waits for one and takes it.
func (f *testFramework) offer() map[string]any {
	f.t.Helper()
	for len(f.offers) == 0 {
		f.next("OFFERS", func(map[string]any) bool { return true })
	}
	offer := f.offers[0]
	f.offers = f.offers[1:]
	return offer
}

func taskOf(id string, offer, more map[string]any) map[string]any {
	scalar := func(name string, v float64) map[string]any {
		return map[string]any{"name": name, "type": "SCALAR", "scalar": map[string]any{"value": v}}
	}
	task := map[string]any{"name": id, "task_id": map[string]any{"value": id}, "agent_id": offer["agent_id"],
		"resources": []any{scalar("cpus", 0.1), scalar("mem", 32)}, "command": map[string]any{"value": "true"}}
	maps.Copy(task, more)
	return task
}

func (f *testFramework) accept(offer map[string]any, tasks ...any) {
	f.t.Helper()
	f.call("ACCEPT", map[string]any{"offer_ids": []any{offer["id"]}, "filters": map[string]any{"refuse_seconds": 0},
		"operations": []any{map[string]any{"type": "LAUNCH", "launch": map[string]any{"task_infos": tasks}}}})
}

func object(v any, path ...string) map[string]any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	m, _ := v.(map[string]any)
	return m
}

func text(v any, path ...string) string {
	s, _ := object(v, path[:len(path)-1]...)[path[len(path)-1]].(string)
	return s
}

func body(t *testing.T, v any) io.Reader {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return bytes.NewReader(b)
}

// TestKill_WholeProcess kills master and agents at once while tasks run, one
// of which ends meanwhile, and starts them again: nothing is lost, nothing runs
// twice.
func TestKill_WholeProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Cleanup(func() { destroyContainers(t, dir) })
	p := startProcess(t, dir)
	f := subscribe(t, p.master, "")
	agent := f.launch("stays", "echo started >> runs; exec sleep 1000")
	f.state("stays", "TASK_RUNNING")
	f.launch("ends", "echo started >> runs; while [ ! -e go ]; do sleep 0.05; done; exit 5")
	f.state("ends", "TASK_RUNNING")
	ends := sandboxOf(t, dir, "ends")

	p.kill()
	require.NoError(t, os.WriteFile(filepath.Join(ends, "go"), nil, 0o644))

	again := startProcess(t, dir)
	require.Equal(t, p.master, again.master, "the master keeps its address")
	g := subscribe(t, again.master, f.id)
	require.Equal(t, f.id, g.id)
	failed := g.state("ends", "TASK_FAILED")
	require.Equal(t, "Command exited with status 5", text(failed, "update", "status", "message"))
	g.call("RECONCILE", map[string]any{"tasks": []any{map[string]any{"task_id": map[string]any{"value": "stays"}, "agent_id": agent}}})
	running := g.state("stays", "TASK_RUNNING")
	require.Equal(t, agent, object(running, "update", "status")["agent_id"], "the agent keeps its id")
	for _, task := range []string{"stays", "ends"} {
		runs, err := os.ReadFile(filepath.Join(sandboxOf(t, dir, task), "runs"))
		require.NoError(t, err)
		require.Equal(t, "started\n", string(runs), "the task ran once")
	}
	g.call("KILL", map[string]any{"task_id": map[string]any{"value": "stays"}})
	g.state("stays", "TASK_KILLED")
	g.launch("new", "true")
	g.state("new", "TASK_FINISHED")
}

func sandboxOf(t *testing.T, dir, executor string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "agents/*/slaves/*/frameworks/*/executors", executor, "runs/latest"))
	require.NoError(t, err)
	require.Len(t, found, 1, "sandbox of %s", executor)
	return found[0]
}

// destroyContainers ends what a killed cluster left running.
func destroyContainers(t *testing.T, dir string) {
	states, err := filepath.Glob(filepath.Join(dir, "agents/*/meta/containers/*"))
	require.NoError(t, err)
	for _, state := range states {
		if p, err := container.Adopt(state); err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // t's has ended
			defer cancel()
			require.NoError(t, p.Destroy(ctx))
			p.Close()
		}
	}
}
