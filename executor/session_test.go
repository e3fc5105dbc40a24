package executor_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestAgent_RestartLosesNoUpdate(t *testing.T) {
	t.Parallel()
	r := start(t, definition("echo $$ > pid; while ! [ -e go ]; do sleep 0.01; done; exit 3"),
		option{agent: func(a *fakeAgent) { a.withhold = true }})
	running, pid := r.await("RUNNING"), r.pid("pid")
	r.agent.crash()
	require.True(t, alive(pid), "the task does not notice")
	r.write("go", "")
	r.awaitDead(pid)
	r.agent.change(func() { r.agent.withhold = false })
	r.agent.listen()
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch RUNNING/run FAILED/end", r.updates())

	again := r.agent.subscriptions()[1]
	require.Len(t, again.Tasks, 1, "no update of the task was acknowledged")
	require.Contains(t, string(again.Tasks[0]), `"task-1"`)
	// The last update is in the call, or follows it if the call was on its way.
	require.GreaterOrEqual(t, len(again.Updates), 2)
	require.Equal(t, "TASK_STARTING", again.Updates[0].Status.State)
	require.Equal(t, running.UUID, again.Updates[1].Status.UUID, "the same update again")
}

func TestAgent_RestartWithNothingUnacknowledged(t *testing.T) {
	t.Parallel()
	r := start(t, definition("exec sleep 1000"))
	r.await("RUNNING")
	// What comes after an acknowledgement is read after it.
	r.agent.kill("task-0", -1)
	r.eventually("the executor's reading", func() bool { return contains(r.stderr.String(), "task-0") })
	r.agent.crash()
	r.agent.listen()
	r.eventually("a second subscription", func() bool { return len(r.agent.subscriptions()) == 2 })
	r.agent.kill("task-1", -1) // given while it was away
	require.Equal(t, 0, r.exit())
	again := r.agent.subscriptions()[1]
	require.Empty(t, again.Tasks)
	require.Empty(t, again.Updates)
	require.Equal(t, "STARTING/fetch RUNNING/run KILLING/stop KILLED/end", r.updates())
}

func TestAgent_SecondLaunchOfTheSameTaskIsIgnored(t *testing.T) {
	t.Parallel()
	d := definition("echo ran >> count; while ! [ -e go ]; do sleep 0.01; done")
	r := start(t, d)
	r.await("RUNNING")
	r.agent.launch(d.Task, marshal(t, d))
	r.write("go", "")
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch RUNNING/run FINISHED/end", r.updates())
	require.Equal(t, "ran\n", r.file("count"))
}

func TestAgent_ThatRecoversIsTriedAgain(t *testing.T) {
	t.Parallel()
	answer := func(call string, n int) int {
		switch {
		case call == "SUBSCRIBE" && n == 1:
			return http.StatusNotFound // its routes are not there yet
		case n <= 3:
			return http.StatusServiceUnavailable // Agent has not finished recovery
		}
		return 0
	}
	r := start(t, definition("true"), option{agent: func(a *fakeAgent) { a.answer = answer }})
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch RUNNING/run FINISHED/end", r.updates())
}

func TestAgent_ThatForgotTheSubscriptionGetsAnother(t *testing.T) {
	t.Parallel()
	answer := func(call string, n int) int {
		if call == "UPDATE" && n == 1 {
			return http.StatusForbidden // Executor is not subscribed
		}
		return 0
	}
	r := start(t, definition("true"), option{agent: func(a *fakeAgent) { a.answer = answer }})
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch RUNNING/run FINISHED/end", r.updates())
	require.GreaterOrEqual(t, len(r.agent.subscriptions()), 2)
}

func TestAgent_GoneForGoodEndsTheTask(t *testing.T) {
	t.Parallel()
	r := start(t, definition("trap 'echo bye; exit 0' TERM; echo $$ > pid; while :; do sleep 0.01; done"),
		option{env: []string{"MESOS_RECOVERY_TIMEOUT=300ms"}})
	r.await("RUNNING")
	pid := r.pid("pid")
	gone := time.Now()
	r.agent.crash()
	require.Equal(t, 1, r.exit())
	require.GreaterOrEqual(t, time.Since(gone), 300*time.Millisecond)
	require.False(t, alive(pid))
	require.Equal(t, "bye\n", r.file("logs/stdout"), "stopped gracefully")
	require.Contains(t, r.stderr.String(), "the agent is gone: it was away for its recovery timeout of 300ms")
}

func TestAgent_GoneAfterTheTaskEnded(t *testing.T) {
	t.Parallel()
	r := start(t, definition("while ! [ -e go ]; do sleep 0.01; done"), option{env: []string{"MESOS_RECOVERY_TIMEOUT=300ms"}})
	r.await("RUNNING")
	r.agent.crash()
	r.write("go", "")
	require.Equal(t, 1, r.exit(), "the last update was never acknowledged")
}

func TestAgent_WithoutCheckpointsEndsTheTaskAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, definition("exec sleep 1000"), option{env: []string{"MESOS_CHECKPOINT=0"}})
	r.await("RUNNING")
	r.agent.crash()
	require.Equal(t, 1, r.exit())
	require.Contains(t, r.stderr.String(), "executors of this framework do not survive it")
}

func TestAgent_ErrorEventEndsTheTask(t *testing.T) {
	t.Parallel()
	r := start(t, definition("echo $$ > pid; exec sleep 1000"))
	pid := r.pid("pid")
	r.agent.event(object{"type": "ERROR", "error": object{"message": "no such executor"}})
	require.Equal(t, 1, r.exit())
	require.False(t, alive(pid))
	require.Contains(t, r.stderr.String(), "no such executor")
}

func TestAgent_ThatDoesNotKnowTheExecutor(t *testing.T) {
	t.Parallel()
	r := start(t, definition("true"), option{agent: func(a *fakeAgent) {
		a.answer = func(string, int) int { return http.StatusBadRequest }
	}})
	require.Equal(t, 1, r.exit(), "at once, and not after the recovery timeout")
	require.Contains(t, r.stderr.String(), "SUBSCRIBE was answered 400")
}
