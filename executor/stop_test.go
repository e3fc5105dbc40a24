package executor_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func withGrace(d *api.Definition, grace time.Duration) *api.Definition {
	d.Spec.Stop = &api.Stop{Grace: ptr(api.Duration(grace))}
	return d
}

func TestStop_SIGTERMIsEnoughForAnOrderlyTask(t *testing.T) {
	t.Parallel()
	r := start(t, definition("trap 'echo bye; exit 0' TERM; echo $$ > pid; while :; do sleep 0.01; done"))
	r.pid("pid")
	r.agent.kill("task-1", -1)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch RUNNING/run KILLING/stop KILLED/end", r.updates())
	require.Regexp(t, `^stopped: exited with status 0 \S+ after SIGTERM$`, r.await("KILLED").Message)
	require.Equal(t, "bye\n", r.file("logs/stdout"))
}

func TestStop_GroupThatIgnoresSIGTERMIsKilledAfterTheGrace(t *testing.T) {
	t.Parallel()
	const stubborn = `trap '' TERM; sh -c 'trap "" TERM; echo $$ > child; while :; do sleep 1; done' & echo $$ > pid; wait; while :; do sleep 1; done`
	r := start(t, withGrace(definition(stubborn), 200*time.Millisecond))
	pid, child := r.pid("pid"), r.pid("child")
	r.agent.kill("task-1", -1)
	require.Equal(t, 0, r.exit())
	require.Regexp(t, `^killed: it was still running ([2-9]\d\dms|\S+[0-9]s) after SIGTERM$`, r.await("KILLED").Message)
	require.Equal(t, 137, r.await("KILLED").report.ExitCode)
	require.False(t, alive(pid))
	require.False(t, alive(child))
}

func TestStop_KillPolicyAndASecondKillShortenTheGrace(t *testing.T) {
	t.Parallel()
	r := start(t, withGrace(definition("trap '' TERM; echo $$ > pid; while :; do sleep 0.01; done"), time.Hour))
	r.pid("pid")
	r.agent.kill("task-1", 30*time.Minute)
	r.await("KILLING")
	require.True(t, alive(r.pid("pid")))
	r.agent.kill("task-1", 10*time.Millisecond)
	r.await("KILLED")
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch RUNNING/run KILLING/stop KILLED/end", r.updates(), "a second KILL is not told again")
}

func TestStop_ServerBehindAShellMayFinish(t *testing.T) {
	t.Parallel()
	// The shell dies of SIGTERM at once; the server needs a moment.
	r := start(t, definition(`cd . && sh -c 'trap "sleep 0.2; echo served; exit 0" TERM; echo $$ > pid; while :; do sleep 0.01; done' && echo`))
	r.pid("pid")
	r.agent.kill("task-1", -1)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "served\n", r.file("logs/stdout"))
}

func TestStop_DaemonThatForkedTwiceIsKilled(t *testing.T) {
	t.Parallel()
	const daemon = `(setsid sh -c 'trap "" TERM HUP; echo $$ > daemon; while :; do sleep 1; done' >/dev/null 2>&1 &) ; `
	for name, end := range map[string]string{"after a KILL": "exec sleep 1000", "after the end": "while ! [ -s daemon ]; do :; done; exit 0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, definition(daemon+end))
			pid := r.pid("daemon")
			r.agent.kill("task-1", -1)
			require.Equal(t, 0, r.exit())
			require.False(t, alive(pid), "no process outlives its task")
		})
	}
}

func TestStop_BackgroundProcessEndsWithTheMainOne(t *testing.T) {
	t.Parallel()
	r := start(t, definition("sleep 1000 & echo $! > pid; echo done"))
	require.Equal(t, 0, r.exit())
	require.False(t, alive(r.pid("pid")), "it also held the log's pipe")
	require.Equal(t, "done\n", r.file("logs/stdout"))
}

func TestStop_HTTPCallComesBeforeSIGTERM(t *testing.T) {
	t.Parallel()
	var calls atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		calls.Store(req.Method + " " + req.URL.Path)
	}))
	t.Cleanup(server.Close)
	d := definition("exec sleep 1000")
	d.Spec.Ports = []string{"admin"}
	d.Ports["admin"] = portOf(t, server.Listener.Addr().String())
	d.Spec.Stop = &api.Stop{HTTP: &api.HTTPCall{Port: "admin", Path: "/quit"}}
	r := start(t, d)
	r.await("RUNNING")
	r.agent.kill("task-1", -1)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "POST /quit", calls.Load())
}

func TestStop_HTTPCallThatHangsDelaysNoLongerThanAllowed(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	d := definition("trap '' TERM; while :; do sleep 0.01; done")
	d.Spec.Ports = []string{"admin"}
	d.Ports["admin"] = portOf(t, server.Listener.Addr().String())
	d.Spec.Stop = &api.Stop{HTTP: &api.HTTPCall{Port: "admin", Path: "/quit"}, Grace: ptr(api.Duration(time.Hour))}
	// The agent kills the executor 400 ms after SHUTDOWN; the task must be gone
	// before, whatever it does.
	r := start(t, d, option{env: []string{"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=400ms"}})
	r.await("RUNNING")
	asked := time.Now()
	r.agent.event(object{"type": "SHUTDOWN"})
	r.await("KILLED")
	require.Equal(t, 0, r.exit())
	require.Less(t, time.Since(asked), 4*time.Second, "not the call's 5 s")
}

func TestStop_ShutdownWithoutATask(t *testing.T) {
	t.Parallel()
	r := start(t, definition("true"), option{hold: true})
	r.agent.event(object{"type": "SHUTDOWN"})
	require.Equal(t, 0, r.exit())
}

func TestStop_SignalToTheExecutorStopsTheTask(t *testing.T) {
	t.Parallel()
	r := start(t, definition("exec sleep 1000"))
	r.await("RUNNING")
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, 0, r.exit())
	require.Equal(t, "the executor was told to end by a signal", r.await("KILLING").Message)
	r.await("KILLED")
}

func TestStop_KillOfAnotherTaskIsIgnored(t *testing.T) {
	t.Parallel()
	r := start(t, definition("while ! [ -e go ]; do sleep 0.01; done"))
	r.await("RUNNING")
	r.agent.kill("task-0", 0)
	r.eventually("the executor's log of it", func() bool {
		return contains(r.stderr.String(), "KILL of a task that is not here: task-0")
	})
	r.write("go", "")
	require.Equal(t, 0, r.exit())
	r.await("FINISHED")
}

func TestExecutor_KilledTakesItsTaskAlong(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{
		"simple":   "sleep 1000",
		"compound": "echo starting; exec sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, definition(command))
			r.await("RUNNING")
			var main int
			r.eventually("the main process", func() bool {
				for _, p := range processes(t) {
					if p.parent == r.cmd.Process.Pid {
						main = p.pid
						require.Equal(t, p.pid, p.group, "a group of its own")
						require.Equal(t, r.cmd.Process.Pid, p.session, "the executor's session")
					}
				}
				return main != 0
			})
			require.NoError(t, r.cmd.Process.Kill())
			r.awaitDead(main)
		})
	}
}
