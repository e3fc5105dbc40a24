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
	leader := w.leader()
	begun := time.Now()
	leader.signal(syscall.SIGTERM)
	next := w.awaitLeader(leader)
	took := w.awaitWrite(next).Sub(begun)
	w.Logf("SIGTERM to the next leader's first write: %v", took)
	require.Less(w, took, sessionTimeout)
	<-leader.Ended
	require.Zero(w, leader.Cmd.ProcessState.ExitCode(), leader.Stderr)
	leader.start()
	w.Logf("step-down to the next leader's first write: %v", w.stepDown(next))
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
	require.Less(w, took, sessionTimeout)
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
