package executor_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// binary is the executor, built once for all tests; plain is as it is released.
var binary, plain string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "perigee-executor-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	// Tasks of other users must be able to enter.
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	plain = filepath.Join(dir, "perigee-executor")
	build(plain, []string{"CGO_ENABLED=0"}, "-trimpath", "-tags=nethttpomithttp2", "-ldflags=-s -w")
	binary = plain
	if raceEnabled {
		binary = filepath.Join(dir, "perigee-executor-race")
		build(binary, nil, "-race")
	}
	workDir = dir
	return m.Run()
}

func build(to string, env []string, args ...string) {
	cmd := exec.Command("go", append(append([]string{"build", "-o", to}, args...), "./cmd/perigee-executor")...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
}

var workDir string

// directory makes a directory that every user may enter; t.TempDir's is closed.
func directory(t testing.TB) string {
	dir, err := os.MkdirTemp(workDir, "t")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// patienceOfTests is how long a test waits for what must come.
const patienceOfTests = 30 * time.Second

// run is one executor under test, with its agent.
type run struct {
	t       testing.TB
	agent   *fakeAgent
	sandbox string
	cmd     *exec.Cmd
	done    chan struct{} // the executor's process was reaped
	stderr  *lockedBuffer
}

type option struct {
	env   []string
	hold  bool // do not launch
	plain bool // the released binary, also with the race detector
	agent func(*fakeAgent)
}

// definition returns a service that runs a command.
func definition(command string) *api.Definition {
	return &api.Definition{
		Task: "task-1", Job: "web/devel/hello", Deploy: 7, Instance: 2, Attempt: 3, Host: "agent-1.example",
		Ports: map[string]uint32{},
		Spec: api.Spec{Job: "web/devel/hello", Kind: api.KindService, Command: command,
			Resources: api.Resources{CPUs: 0.1, Memory: 64 * api.MiB}},
	}
}

// start starts an executor, as an agent does, and launches the task.
func start(t testing.TB, d *api.Definition, options ...option) *run {
	r := &run{t: t, sandbox: directory(t), done: make(chan struct{}), stderr: &lockedBuffer{}}
	r.agent = newFakeAgent(t)
	data, err := json.Marshal(d)
	require.NoError(t, err)
	launch, env, program := true, []string{}, binary
	for _, o := range options {
		if o.agent != nil {
			o.agent(r.agent)
		}
		launch = launch && !o.hold
		env = append(env, o.env...)
		if o.plain {
			program = plain
		}
	}
	if launch {
		r.agent.launch(d.Task, data)
	}
	r.cmd = exec.Command(program)
	r.cmd.Dir = r.sandbox
	r.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"MESOS_AGENT_ENDPOINT=" + r.agent.address,
		"MESOS_FRAMEWORK_ID=framework-1",
		"MESOS_EXECUTOR_ID=executor-1",
		"MESOS_SANDBOX=" + r.sandbox,
		"MESOS_DIRECTORY=" + r.sandbox,
		"MESOS_SLAVE_ID=agent-1",
		"MESOS_CHECKPOINT=1",
		"MESOS_RECOVERY_TIMEOUT=20secs",
		"MESOS_SUBSCRIPTION_BACKOFF_MAX=200ms",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs",
		"LIBPROCESS_PORT=0",
		"PERIGEE_ALLOW_ROOT=1",
		"GORACE=atexit_sleep_ms=0", // or every executor waits a second at its end
		"PERIGEE_CACHE=" + filepath.Join(r.sandbox, "..", filepath.Base(r.sandbox)+"-cache"),
	}, env...)
	r.cmd.Stdout, r.cmd.Stderr = r.stderr, r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, r.cmd.Start())
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // its status is in ProcessState
	}()
	t.Cleanup(r.close)
	return r
}

func (r *run) close() {
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	for _, p := range processes(r.t) {
		if p.session == r.cmd.Process.Pid {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	<-r.done
	if r.t.Failed() {
		r.t.Logf("executor's log:\n%s", r.stderr)
		for _, name := range []string{"stdout", "stderr"} {
			b, _ := os.ReadFile(filepath.Join(r.sandbox, "logs", name))
			r.t.Logf("task's %s:\n%s", name, b)
		}
	}
}

// status is an update as the agent got it.
type status struct {
	Task     struct{ Value string } `json:"task_id"`
	Executor struct{ Value string } `json:"executor_id"`
	State    string                 `json:"state"`
	Source   string                 `json:"source"`
	Message  string                 `json:"message"`
	Healthy  *bool                  `json:"healthy"`
	Data     []byte                 `json:"data"`
	UUID     []byte                 `json:"uuid"`
	Time     float64                `json:"timestamp"`
	report   api.Report
}

func (s status) String() string {
	healthy := ""
	if s.Healthy != nil {
		healthy = fmt.Sprintf(" healthy=%v", *s.Healthy)
	}
	return fmt.Sprintf("%s/%s%s", strings.TrimPrefix(s.State, "TASK_"), s.report.Phase, healthy)
}

// await waits for an update to a state.
func (r *run) await(state string) status {
	r.t.Helper()
	return r.awaitThat("an update to "+state, func(s status) bool { return s.State == "TASK_"+state })
}

func (r *run) awaitHealth(healthy bool) status {
	r.t.Helper()
	return r.awaitThat(fmt.Sprintf("health %v", healthy), func(s status) bool { return s.Healthy != nil && *s.Healthy == healthy })
}

func (r *run) awaitThat(what string, ok func(status) bool) status {
	r.t.Helper()
	var found status
	r.eventually(what, func() bool {
		for _, s := range r.agent.received() {
			if ok(s) {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// eventually waits until a condition that others bring about holds.
func (r *run) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(patienceOfTests)
	for !ok() {
		select {
		case <-deadline:
			require.FailNow(r.t, "did not happen: "+what, "updates: %v\n%s", r.agent.received(), r.stderr)
		case <-r.agent.news():
		case <-time.After(10 * time.Millisecond): // what no update tells of
		}
	}
}

// exit waits for the executor to end and returns its status.
func (r *run) exit() int {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patienceOfTests):
		require.FailNow(r.t, "the executor did not end", "updates: %v\n%s", r.agent.received(), r.stderr)
	}
	return r.cmd.ProcessState.ExitCode()
}

// updates lists the states, phases and health reported, in order.
func (r *run) updates() string {
	var words []string
	for _, s := range r.agent.received() {
		words = append(words, s.String())
	}
	return strings.Join(words, " ")
}

// file returns what is in a file of the sandbox, "" when it is not there.
func (r *run) file(name string) string {
	b, _ := os.ReadFile(filepath.Join(r.sandbox, name))
	return string(b)
}

// write puts an executable file into the sandbox.
func (r *run) write(name, content string) {
	require.NoError(r.t, os.WriteFile(filepath.Join(r.sandbox, name), []byte(content), 0o755))
}

// pid reads a process id that a task wrote to a file.
func (r *run) pid(name string) int {
	r.t.Helper()
	pid := 0
	r.eventually("a process id in "+name, func() bool {
		text, whole := strings.CutSuffix(r.file(name), "\n")
		n, err := strconv.Atoi(text)
		pid = n
		return whole && err == nil
	})
	return pid
}

// awaitDead waits until a process is no more, or a zombie that is not ours.
func (r *run) awaitDead(pid int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("the end of process %d", pid), func() bool { return !alive(pid) })
}

func alive(pid int) bool {
	p, ok := readProcess(pid)
	return ok && p.state != "Z"
}

type proc struct {
	pid, parent, group, session int
	state                       string
}

func readProcess(pid int) (proc, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, false
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	n := func(i int) int { v, _ := strconv.Atoi(f[i]); return v }
	return proc{pid: pid, state: f[0], parent: n(1), group: n(2), session: n(3)}, true
}

func processes(t testing.TB) []proc {
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	var all []proc
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := readProcess(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// statusKB reads an amount of memory of the executor from /proc.
func (r *run) statusKB(name string) int {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	require.NoError(r.t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kb int
		if _, err := fmt.Sscanf(lines.Text(), name+": %d kB", &kb); err == nil {
			return kb
		}
	}
	require.FailNow(r.t, "no "+name)
	return 0
}

// portOf returns the port of a server's address.
func portOf(t testing.TB, address string) uint32 {
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	n, err := strconv.ParseUint(port, 10, 32)
	require.NoError(t, err)
	return uint32(n)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func ptr[T any](v T) *T { return &v }

func marshal(t testing.TB, v any) []byte {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}
