package fault

import (
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
)

// A leader that is asked to gives its lease up: nobody waits until it runs out.
func handedOver(w *world) {
	w.atOnce("SIGTERM", func() time.Duration {
		leader := w.leader()
		begun := time.Now()
		leader.signal(syscall.SIGTERM)
		took := w.awaitWrite(w.awaitLeader(leader)).Sub(begun)
		<-leader.Ended
		require.Zero(w, leader.Cmd.ProcessState.ExitCode(), leader.Stderr)
		leader.start()
		return took
	})
	w.atOnce("step-down", func() time.Duration { return w.stepDown(w.leader()) })
}

// atOnce wants a hand-over not to wait until a session ends. One that did never
// would be faster; on a machine that is busy with others, one of three is.
func (w *world) atOnce(what string, handOver func() time.Duration) {
	w.Helper()
	for try := 1; ; try++ {
		took := handOver()
		w.Logf("%s to the next leader's first write: %v", what, took)
		if took < sessionTimeout {
			return
		}
		require.Less(w, try, 3, "each hand-over took longer than a session")
	}
}

// stepDown has the leader step down, by a standby's word, and returns how long
// it took until the next leader answered a write.
func (w *world) stepDown(leader *scheduler) time.Duration {
	w.Helper()
	c := exec.Command(built.perigee, "scheduler", "step-down")
	c.Env = program.Environment(w.others(leader)[0].url) // who passes it on
	begun := time.Now()
	said, err := c.CombinedOutput()
	require.NoError(w, err, string(said))
	took := w.awaitWrite(w.awaitLeader(leader)).Sub(begun)
	w.awaitStandby(leader)
	return took
}

func rollingRestart(w *world) {
	before, pids := w.living(web)
	for _, s := range w.schedulers {
		w.roll(s)
	}
	w.leader()
	after, _ := w.living(web)
	require.Equal(w, before, after, "tasks were replaced")
	require.NoError(w, pids())
}

// roll ends a scheduler as an operator does and starts it again.
func (w *world) roll(s *scheduler) {
	w.Helper()
	s.end(os.Interrupt)
	require.Zero(w, s.Cmd.ProcessState.ExitCode(), s.Stderr)
	s.start()
	eventually(w.T, s.name+" is ready", func() error {
		ctx, cancel := quickly()
		defer cancel()
		return s.Ready(ctx)
	})
}
