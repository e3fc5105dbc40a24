package container_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster/container"
	"github.com/perigee-sched/perigee/devcluster/sandbox"
)

// asAgent makes this binary an agent that starts the container of this spec,
// says so, and then waits to be killed.
const asAgent = "CONTAINER_TEST_SPEC"

func TestMain(m *testing.M) {
	if code, ok := container.Supervise(); ok {
		os.Exit(code)
	}
	if text := os.Getenv(asAgent); text != "" {
		var spec container.Spec
		if err := json.Unmarshal([]byte(text), &spec); err != nil {
			panic(err)
		}
		if _, err := container.Start(spec); err != nil {
			panic(err)
		}
		fmt.Println("started")
		select {}
	}
	os.Exit(m.Run())
}

// box is a container's surroundings. mark is in the environment of everything
// that it runs.
type box struct {
	*testing.T
	sandbox, state, mark string
}

func newBox(t *testing.T) box {
	t.Helper()
	b := box{t, filepath.Join(t.TempDir(), "sandbox"), filepath.Join(t.TempDir(), "state"), "MARK=" + uuid.NewString()}
	require.NoError(t, sandbox.Create(b.sandbox, ""))
	b.fifo("ready")
	b.fifo("go")
	return b
}

func (b box) spec(shell string) container.Spec {
	return container.Spec{Sandbox: b.sandbox, StateDir: b.state, Shell: shell, Env: []string{b.mark}}
}

func (b box) start(spec container.Spec) *container.Process {
	b.Helper()
	p, err := container.Start(spec)
	require.NoError(b, err)
	b.ends(p)
	return p
}

func (b box) adopt() *container.Process {
	b.Helper()
	p, err := container.Adopt(b.state)
	require.NoError(b, err)
	b.ends(p)
	return p
}

func (b box) ends(p *container.Process) {
	b.Cleanup(func() {
		require.NoError(b, p.Destroy(context.Background()))
		require.NoError(b, p.Close())
	})
}

func (b box) fifo(name string) {
	b.Helper()
	require.NoError(b, syscall.Mkfifo(filepath.Join(b.sandbox, name), 0o666))
}

// said waits for what the container says by its FIFO ready.
func (b box) said() string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(b.sandbox, "ready"))
	require.NoError(b, err)
	return strings.TrimSpace(string(text))
}

// tell writes to the FIFO go, and waits until the container reads it.
func (b box) tell(text string) {
	b.Helper()
	require.NoError(b, os.WriteFile(filepath.Join(b.sandbox, "go"), []byte(text+"\n"), 0))
}

func (b box) file(name string) string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(b.sandbox, name))
	require.NoError(b, err)
	return string(text)
}

// signal signals the supervisor.
func (b box) signal(p *container.Process, s os.Signal) {
	b.Helper()
	require.Greater(b, p.Pid(), 1, "0 and less name many processes")
	supervisor, err := os.FindProcess(p.Pid())
	require.NoError(b, err)
	require.NoError(b, supervisor.Signal(s))
}

// running is how many processes the container has but for its supervisor.
func (b box) running() int {
	b.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(b, err)
	n := 0
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(b.mark)) {
			n++
		}
	}
	return n
}

func (b box) requireStatus(p *container.Process, want int) {
	b.Helper()
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		b.Fatal("the executor does not end")
	}
	status, known := p.Status()
	require.True(b, known)
	require.Equal(b, want, status)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		spec   container.Spec
		status int
		stderr string
	}{
		{"exit 0", container.Spec{Shell: "exit 0"}, 0, ""},
		{"exit 3", container.Spec{Shell: "exit 3"}, 768, ""},
		{"exit 137", container.Spec{Shell: "exit 137"}, 137 << 8, ""},
		{"SIGKILL", container.Spec{Shell: "kill -9 $$"}, 9, ""},
		{"SIGTERM", container.Spec{Shell: "kill $$"}, 15, ""},
		{"unknown to the shell", container.Spec{Shell: "exec /no/such/executor"}, 32512, "/no/such/executor"},
		{"unknown without a shell", container.Spec{Path: "/no/such/executor"}, 256, "Failed to execute '/no/such/executor': "},
		{"unknown in PATH", container.Spec{Argv: []string{"no-such-executor"}}, 256, "Failed to execute 'no-such-executor': "},
		{"argv", container.Spec{Path: "sh", Argv: []string{"name", "-c", `test "$0$1" = nameone && exit 5`, "name", "one"}}, 5 << 8, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			c.spec.Sandbox, c.spec.StateDir = b.sandbox, b.state
			b.requireStatus(b.start(c.spec), c.status)
			if c.stderr == "" {
				require.Empty(t, b.file("stderr"))
			} else {
				require.Contains(t, b.file("stderr"), c.stderr)
			}
		})
	}
}

func TestSurroundings(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for _, name := range []string{"stdout", "stderr"} {
		require.NoError(t, os.WriteFile(filepath.Join(b.sandbox, name), []byte("fetched\n"), 0o644))
	}
	spec := b.spec(`env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | sort; pwd -P; cat; echo to stderr >&2; cut -d' ' -f1,5,6 /proc/$$/stat`)
	spec.Env = []string{"A=1", b.mark, "A=2", "EMPTY="}
	p := b.start(spec)
	b.requireStatus(p, 0)
	lines := strings.Split(strings.TrimSpace(b.file("stdout")), "\n")
	require.Equal(t, []string{"fetched", "A=2", "EMPTY=", b.mark,
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, lines[:5])
	real, err := filepath.EvalSymlinks(b.sandbox)
	require.NoError(t, err)
	require.Equal(t, real, lines[5], "the sandbox is the working directory, and standard input is empty")
	require.Equal(t, "fetched\nto stderr\n", b.file("stderr"))

	var pid, group, session int
	_, err = fmt.Sscan(lines[6], &pid, &group, &session)
	require.NoError(t, err)
	require.Equal(t, p.Pid(), group, "the executor is in the supervisor's process group")
	require.Equal(t, p.Pid(), session, "and in its session")
	require.NotEqual(t, p.Pid(), pid, "and leads neither")
}

func TestExecutableInSandboxComesBeforePATH(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	require.NoError(t, os.WriteFile(filepath.Join(b.sandbox, "ls"), []byte("#!/bin/sh\nexit 44\n"), 0o755))
	b.requireStatus(b.start(container.Spec{Sandbox: b.sandbox, StateDir: b.state, Path: "ls"}), 44<<8)
}

func TestSignalsAreForwarded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	p := b.start(b.spec(`trap 'exit 7' TERM; echo yes > ready; while :; do read x < go; done`))
	require.Equal(t, "yes", b.said())
	status, known := p.Status()
	require.False(t, known, "status %d", status)
	b.signal(p, syscall.SIGTERM)
	b.requireStatus(p, 7<<8)
}

func TestUser(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	spec := b.spec("id -u; id -G")
	if os.Geteuid() != 0 {
		spec.User = "root"
		_, err := container.Start(spec)
		require.ErrorContains(t, err, `cannot act as user "root"`)
		return
	}
	spec.User = "nobody"
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	b.requireStatus(b.start(spec), 0)
	require.Equal(t, nobody.Uid+"\n"+nobody.Gid+"\n", b.file("stdout"))
	for _, name := range []string{"stdout", "stderr"} {
		fi, err := os.Stat(filepath.Join(b.sandbox, name))
		require.NoError(t, err)
		require.Equal(t, nobody.Uid, fmt.Sprint(fi.Sys().(*syscall.Stat_t).Uid))
		require.Equal(t, fs.FileMode(0o644), fi.Mode())
	}
}

func TestStart_Refuses(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*container.Spec){
		"no command is given":         func(s *container.Spec) { s.Shell = "" },
		"give one":                    func(s *container.Spec) { s.Argv = []string{"true"} },
		"open sandbox: ":              func(s *container.Spec) { s.Sandbox += "/missing" },
		`find user "no-such-user"`:    func(s *container.Spec) { s.User = "no-such-user" },
		"supervisor.json.new: ":       func(s *container.Spec) { require.NoError(t, os.MkdirAll(s.StateDir+"/supervisor.json.new", 0o700)) },
		"has a container already: fi": func(s *container.Spec) { require.NoError(t, os.MkdirAll(s.StateDir+"/supervisor.json", 0o700)) },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			spec := b.spec("echo started")
			change(&spec)
			_, err := container.Start(spec)
			require.ErrorContains(t, err, want)
			require.Zero(t, b.running())
			if out, err := os.ReadFile(filepath.Join(b.sandbox, "stdout")); err == nil {
				require.Empty(t, string(out), "nothing was started")
			}
		})
	}
}

// agent runs an agent of its own that starts spec, and kills it with SIGKILL
// once kill is called.
func (b box) agent(spec container.Spec) (kill func()) {
	b.Helper()
	text, err := json.Marshal(spec)
	require.NoError(b, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asAgent+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	started := make([]byte, len("started\n"))
	_, err = out.Read(started)
	require.NoError(b, err)
	kill = sync.OnceFunc(func() {
		require.NoError(b, cmd.Process.Kill())
		require.Error(b, cmd.Wait())
	})
	b.Cleanup(kill)
	return kill
}

func TestAdopt_ExecutorSurvivesItsAgent(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	kill := b.agent(b.spec(`echo before; echo yes > ready; read code < go; echo after; exit $code`))
	kill()
	p := b.adopt()
	require.Equal(t, "yes", b.said())
	_, known := p.Status()
	require.False(t, known)
	require.Equal(t, 1, b.running())
	b.tell("3")
	b.requireStatus(p, 768)
	require.Equal(t, "before\nafter\n", b.file("stdout"))
	b.requireStatus(b.adopt(), 768) // and any time later
}

func TestAdopt_ExecutorEndedWhileTheAgentWasAway(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	kill := b.agent(b.spec(`sleep 1000 & read code < go; exit $code`))
	kill()
	before := b.adopt()
	b.tell("4")
	b.requireStatus(before, 4<<8)
	p := b.adopt()
	b.requireStatus(p, 4<<8)
	require.Equal(t, 1, b.running(), "what it had started goes on")
	require.NoError(t, p.Destroy(context.Background()))
	require.Zero(t, b.running())
}

func TestAdopt_DestroysTheWholeContainer(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	kill := b.agent(b.spec(`sleep 1000 & echo yes > ready; sleep 1000; exit 1`))
	require.Equal(t, "yes", b.said())
	kill()
	p := b.adopt()
	require.NoError(t, p.Destroy(context.Background()))
	require.Zero(t, b.running())
	b.requireStatus(p, 9)
}

func TestAdopt_AfterClose(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	p := b.start(b.spec(`read code < go; exit $code`))
	require.NoError(t, p.Close())
	again := b.adopt()
	b.tell("5")
	b.requireStatus(again, 5<<8)
	_, known := p.Status()
	require.False(t, known, "the closed one no longer looks")
}

func TestAdopt_NothingOrNonsense(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := container.Adopt(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, text := range []string{"", "{", "{}", `{"pid":-1,"start":1,"boot":""}`, `{"pid":1,"start":1,"boot":""}`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "supervisor.json"), []byte(text), 0o600))
		_, err := container.Adopt(dir)
		require.ErrorContains(t, err, "supervisor.json: ", text)
	}
}

// A pid that was given again, or is of an earlier boot, is not the container's.
func TestAdopt_AnotherProcessHasThePid(t *testing.T) {
	t.Parallel()
	for _, change := range []map[string]any{{"start": 1}, {"boot": "another"}} {
		b := newBox(t)
		b.requireStatus(b.start(b.spec("exit 6")), 6<<8)
		bystander := exec.Command("sleep", "1000")
		bystander.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		require.NoError(t, bystander.Start())

		path := filepath.Join(b.state, "supervisor.json")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var c map[string]any
		require.NoError(t, json.Unmarshal(text, &c))
		c["pid"] = bystander.Process.Pid
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", bystander.Process.Pid))
		require.NoError(t, err)
		c["start"] = json.Number(strings.Fields(string(stat))[21])
		for k, v := range change {
			c[k] = v
		}
		text, err = json.Marshal(c)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, text, 0o600))

		p := b.adopt()
		b.requireStatus(p, 6<<8)
		require.NoError(t, p.Destroy(context.Background()))
		require.NoError(t, bystander.Process.Signal(syscall.SIGTERM))
		require.EqualError(t, bystander.Wait(), "signal: terminated", "Destroy left it alone")
	}
}

func TestDestroy_FindsEveryProcess(t *testing.T) {
	// bash where set -m must give a process group without a terminal, too.
	t.Parallel()
	for name, script := range map[string]string{
		"a child":                                   `sleep 1000 & sleep 1001 & echo yes > ready; wait`,
		"one of another process group":              `exec bash -c 'set -m; sleep 1000 & sleep 1001 & set +m; echo yes > ready; wait'`,
		"one whose parent has ended":                `(sleep 1000 & sleep 1001 &) ; echo yes > ready; exec sleep 1002`,
		"one of another group, parent ended":        `exec bash -c 'set -m; (sleep 1000 & sleep 1001 &) & wait; set +m; echo yes > ready; exec sleep 1002'`,
		"one of another session with its own":       `setsid bash -c 'set -m; (sleep 1000 &) & wait; set +m; echo yes > ready; sleep 1001; :' & wait`,
		"one that ignores every other signal":       `trap '' TERM INT HUP QUIT; sleep 1000 & echo yes > ready; while :; do wait; done`,
		"one that is stopped":                       `sh -c 'kill -STOP $$; sleep 1000' & echo yes > ready; wait`,
		"one after the other, faster than it looks": `n=0; while n=$((n+1)); do [ $n = 40 ] && echo yes > ready; (sleep 1000 &); [ $n -lt 400 ] || wait; done`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			p := b.start(b.spec(script))
			require.Equal(t, "yes", b.said())
			require.GreaterOrEqual(t, b.running(), 2)
			require.NoError(t, p.Destroy(context.Background()))
			require.Zero(t, b.running())
			b.requireStatus(p, 9)
			require.NoError(t, p.Destroy(context.Background()), "again")
		})
	}
}

func TestDestroy_WhatTheExecutorLeft(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	p := b.start(b.spec(`sleep 1000 & exit 0`))
	b.requireStatus(p, 0)
	require.Equal(t, 1, b.running())
	require.NoError(t, p.Destroy(context.Background()))
	require.Zero(t, b.running())
	b.requireStatus(p, 0)
}

func TestDestroy_AfterTheSupervisorWasKilled(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	p := b.start(b.spec(`echo yes > ready; sleep 1000; :`))
	require.Equal(t, "yes", b.said())
	b.signal(p, syscall.SIGKILL)
	b.requireStatus(p, 9)
	require.NotZero(t, b.running())
	require.NoError(t, p.Destroy(context.Background()))
	require.Zero(t, b.running())
}

func TestDestroy_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	p := b.start(b.spec(`sleep 1000`))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, p.Destroy(ctx), context.Canceled)
	require.NoError(t, p.Destroy(context.Background()))
	require.Zero(t, b.running())
}

func TestClose_LeavesItRunning(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	p := b.start(b.spec(`echo yes > ready; sleep 1000; :`))
	require.Equal(t, "yes", b.said())
	require.NoError(t, p.Close())
	require.NoError(t, p.Close(), "again")
	require.NotZero(t, b.running())
	require.NoError(t, p.Destroy(context.Background()), "still possible")
	require.Zero(t, b.running())
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.requireStatus(b.start(b.spec("exit "+strconv.Itoa(i))), i<<8)
		})
	}
}
