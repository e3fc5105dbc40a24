package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
)

func masterRestarted(w *world) {
	before, pids := w.living(web)
	ends := w.holdRun("master")
	w.mesos.kill()
	ends() // while neither master nor agents are there
	w.mesos.start()
	w.leader()
	w.awaitSucceeded("master")
	w.awaitReady(web, 3)
	after, _ := w.living(web)
	require.Equal(w, before, after, "tasks were replaced")
	require.NoError(w, pids())
}

// All three agents, since each may have tasks.
func agentRestarted(w *world) {
	before, pids := w.living(web)
	ends := w.holdRun("agent")
	for _, agent := range w.mesos.agents {
		w.mesos.order("stop " + agent)
	}
	ends()
	require.NoError(w, pids())
	for _, agent := range w.mesos.agents {
		w.mesos.order("start " + agent)
	}
	w.awaitSucceeded("agent")
	w.awaitReady(web, 3)
	after, _ := w.living(web)
	require.Equal(w, before, after, "tasks were replaced")
	require.NoError(w, pids())
}

// An agent that is away for longer than Mesos waits. The task of the job that
// does not wait either is replaced, and killed when its agent is back; all others
// go on.
func agentLost(w *world) {
	w.held() // whose scaling down would wait for the agent
	before, pids := w.living(web)
	replaced, _ := w.living(lone)
	all := w.effectsOf(lone)
	at := slices.IndexFunc(all, func(e effect) bool { return e.task == replaced[0] })
	agent := w.agentOf(replaced[0])
	w.mesos.order("stop " + agent)
	eventually(w.T, "the task is replaced", func() error {
		if n := len(w.effectsOf(lone)); n != len(all)+1 {
			return fmt.Errorf("%d tasks started, %d before", n, len(all))
		}
		return nil
	})
	require.True(w, program.Alive(all[at].pid), "nobody can reach it")
	w.mesos.order("start " + agent)
	eventually(w.T, "the task that was replaced is killed", func() error {
		if program.Alive(all[at].pid) {
			return errors.New("it lives")
		}
		return nil
	})
	w.awaitReady(lone, 1)
	w.awaitReady(web, 3)
	after, _ := w.living(web)
	require.Equal(w, before, after, "tasks were replaced")
	require.NoError(w, pids())
	w.write()
}

// agentOf is the name of the agent that a task is on.
func (w *world) agentOf(id string) string {
	w.Helper()
	all, err := w.tasks()
	require.NoError(w, err)
	at := slices.IndexFunc(all, func(t api.Task) bool { return t.ID == id })
	require.GreaterOrEqual(w, at, 0, "task %s has ended", id)
	n, err := strconv.Atoi(all[at].Host[strings.LastIndex(all[at].Host, ".")+1:]) // the agents are 127.0.0.1 and so on
	require.NoError(w, err)
	return w.mesos.agents[n-1]
}

func executorKilled(w *world) {
	before, _ := w.living(web)
	all := w.effectsOf(web)
	at := slices.IndexFunc(all, func(e effect) bool { return e.task == before[0] })
	require.NoError(w, syscall.Kill(all[at].executor, syscall.SIGKILL))
	eventually(w.T, "the instance is started again", func() error {
		if n := len(w.effectsOf(web)); n != len(all)+1 {
			return fmt.Errorf("%d tasks started, %d before", n, len(all))
		}
		if program.Alive(all[at].pid) {
			return errors.New("the process outlives its executor")
		}
		return nil
	})
	w.awaitReady(web, 3)
}

// holdRun starts a run and waits until it is at work. What it returns lets it
// end, and waits until it has.
func (w *world) holdRun(name string) (ends func()) {
	w.Helper()
	gate := filepath.Join(built.dir, program.Again("gate-"+w.whole.Name()+"-"+name))
	key, before := "gated-"+name, len(w.effectsOf(gated))
	eventually(w.T, "the run starts", func() error {
		return w.anyone(func(ctx context.Context, s *scheduler) error {
			_, err := s.StartRuns(ctx, gated, []api.NewRun{{Parameters: map[string]string{"gate": gate}}}, client.WriteOptions{IdempotencyKey: key})
			return err
		})
	})
	w.answers.note(key)
	var pid int
	eventually(w.T, "the run is at work", func() error {
		all := w.effectsOf(gated)
		if len(all) != before+1 {
			return fmt.Errorf("%d tasks of %s began", len(all), gated)
		}
		pid = all[len(all)-1].pid
		return nil
	})
	return func() {
		w.Helper()
		require.NoError(w, os.WriteFile(gate, nil, 0o644))
		eventually(w.T, "the run's process ends", func() error {
			if program.Alive(pid) {
				return errors.New("it lives")
			}
			return nil
		})
	}
}

// awaitSucceeded waits until a run that was held has succeeded, at its first
// attempt.
func (w *world) awaitSucceeded(name string) {
	w.Helper()
	eventually(w.T, "the run succeeds", func() error {
		runs, err := w.runs(gated)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(runs, func(r api.Run) bool { return strings.HasSuffix(r.Parameters["gate"], "-"+name) })
		if i < 0 {
			return fmt.Errorf("it is not among %d runs", len(runs))
		}
		if runs[i].State != "succeeded" || runs[i].Attempts != 1 {
			return fmt.Errorf("it is %s after %d attempts", runs[i].State, runs[i].Attempts)
		}
		return nil
	})
}
