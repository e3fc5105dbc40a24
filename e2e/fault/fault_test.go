package fault

import (
	"context"
	"errors"
	"fmt"
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

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// TestFaults has one fault after the other happen to the same schedulers, while
// users write, a cron fires and consumers follow. After each there is an audit.
func TestFaults(t *testing.T) {
	if os.Getenv("PERIGEE_TEST_FAULTS") == "" {
		t.Skip("make faults runs it: an election of the ensemble may take more than a minute when the machine is busy")
	}
	t.Parallel()
	w := newEnsemble(t)
	for _, fault := range []struct {
		name string
		of   func(*world)
	}{
		{"LeaderKilledDuringDeploy", leaderKilledDuringDeploy},
		{"LeaderKilledAtCronInstant", leaderKilledAtCronInstant},
		{"LeaderStoppedAndContinued", leaderStoppedAndContinued},
		{"LeaderCutOffFromZooKeeper", leaderCutOffFromZooKeeper},
		{"LeaderCutOffFromMesos", leaderCutOffFromMesos},
		{"ZooKeeperNodesKilled", zooKeeperNodesKilled},
		{"MasterRestarted", masterRestarted},
		{"AgentRestarted", agentRestarted},
		{"ExecutorKilled", executorKilled},
		{"HandedOver", handedOver},
		{"RollingRestart", rollingRestart},
	} {
		ok := t.Run(fault.name, func(t *testing.T) {
			w.T = t
			begun := time.Now()
			fault.of(w)
			happened := time.Since(begun)
			w.audit()
			t.Logf("%v, and %v for the audit", happened.Round(time.Millisecond), (time.Since(begun) - happened).Round(time.Millisecond))
		})
		w.T = t
		if !ok {
			t.FailNow() // what comes after it would mean nothing
		}
	}
}

func leaderKilledDuringDeploy(w *world) {
	before := len(w.effectsOf(web))
	deploy := w.put(w.service(web, 3, "during")).Deploy
	eventually(w.T, "the deploy has begun", func() error {
		if len(w.effectsOf(web)) == before {
			return errors.New("no new task has started")
		}
		return nil
	})
	leader := w.leader()
	leader.kill()
	killed := time.Now()
	next := w.awaitLeader(leader)
	w.Logf("from kill -9 to the next leader's subscription: %v, to its first write: %v", time.Since(killed), w.awaitWrite(next).Sub(killed))
	leader.start()
	w.awaitDeployed(web, deploy)
	w.awaitReady(web, 3)
}

func leaderKilledAtCronInstant(w *world) {
	leader := w.leader()
	runs, err := w.runs(tick)
	require.NoError(w, err)
	require.NotEmpty(w, runs)
	last := slices.MaxFunc(runs, func(a, b api.Run) int { return a.Instant.Compare(*b.Instant) })
	next := last.Instant.Add(2 * tickEvery)
	<-time.After(time.Until(next)) // the instant itself is what is waited for
	leader.kill()
	w.awaitLeader(leader)
	leader.start()
}

// A leader that was paused past its session finds that another leads: it does
// nothing, says why, and stands by.
func leaderStoppedAndContinued(w *world) {
	stopped := w.leader()
	stopped.signal(syscall.SIGSTOP)
	leads := w.awaitLeader(stopped)
	before := w.epoch(leads)
	w.awaitWrite(leads)
	stopped.signal(syscall.SIGCONT)
	for range 5 { // writes under which it could do harm
		w.awaitWrite(leads)
		subscribed, err := w.mesos.subscriber()
		require.NoError(w, err)
		require.Equal(w, leads.url, subscribed, "the deposed leader took the subscription")
	}
	w.awaitStandby(stopped)
	require.Contains(w, stopped.Stderr.String(), "leads no more")
	require.Equal(w, before, w.epoch(leads), "the deposed leader raised the epoch")
}

func leaderCutOffFromZooKeeper(w *world) {
	cut := w.leader()
	cut.cutZooKeeper()
	leads := w.awaitLeader(cut)
	w.awaitWrite(leads)
	ctx, cancel := quickly()
	defer cancel()
	_, err := cut.Job(ctx, web)
	require.NoError(w, err, "reads go on")
	_, err = cut.PauseJob(ctx, idle, "never", client.WriteOptions{})
	require.Error(w, err)
	cut.restoreZooKeeper()
	w.awaitStandby(cut)
	require.Contains(w, cut.Stderr.String(), "leads no more")
	require.Same(w, leads, w.leader())
}

func leaderCutOffFromMesos(w *world) {
	cut := w.leader()
	cut.mesos.Cut(true)
	eventually(w.T, "the master notices", func() error {
		if url, err := w.mesos.subscriber(); err != nil || url == cut.url {
			return fmt.Errorf("it takes %q to be subscribed, %w", url, err)
		}
		return nil
	})
	w.awaitWrite(cut)
	cut.mesos.Restore()
	w.leader()
}

// One of three nodes: nobody notices. Two: writes are refused and say why, all
// else goes on. Back again: nothing needs a restart.
func zooKeeperNodesKilled(w *world) {
	first := slices.IndexFunc(w.zookeeper, func(s *zktest.Server) bool { return s.Leads() })
	require.GreaterOrEqual(w, first, 0, "no ZooKeeper server leads")
	second := (first + 1) % len(w.zookeeper)
	w.zookeeper[first].Kill()
	for n, server := range w.zookeeper {
		if n != first {
			require.NoError(w, server.WaitServing(patience))
		}
	}
	w.awaitWrite(w.schedulers[0])
	before, pids := w.living(web)

	w.zookeeper[second].Kill()
	for _, s := range w.schedulers {
		eventually(w.T, "writes are refused", func() error {
			ctx, cancel := quickly()
			defer cancel()
			_, err := s.PauseJob(ctx, idle, "while two are away", client.WriteOptions{}) // which may yet happen
			if p := problemOf(err); p == nil || p.Status != http.StatusServiceUnavailable || p.Detail == "" {
				return fmt.Errorf("%s answered a write with %w", s.name, err)
			}
			return nil
		})
		ctx, cancel := quickly()
		_, err := s.Job(ctx, web)
		cancel()
		require.NoError(w, err, "reads go on")
	}
	require.NoError(w, pids())
	for _, n := range []int{first, second} {
		require.NoError(w, w.zookeeper[n].Restart())
	}
	for _, n := range []int{first, second} {
		require.NoError(w, w.zookeeper[n].WaitServing(patience))
	}
	for _, s := range w.schedulers {
		w.awaitWrite(s)
		require.NoError(w, s.alive())
	}
	again, _ := w.living(web)
	require.Equal(w, before, again, "tasks were replaced")
	require.NoError(w, pids())
}

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

// holdRun starts a run and waits until it is at work. What it returns lets it
// end, and waits until it has.
func (w *world) holdRun(name string) (ends func()) {
	w.Helper()
	gate := filepath.Join(built.dir, "gate-"+name)
	key, before := "gated-"+name, len(w.effectsOf(gated))
	eventually(w.T, "the run starts", func() error {
		return w.anyone(func(ctx context.Context, s *scheduler) error {
			_, err := s.StartRuns(ctx, gated, []api.NewRun{{Parameters: map[string]string{"gate": gate}}}, client.WriteOptions{IdempotencyKey: key})
			return err
		})
	})
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
		i := slices.IndexFunc(runs, func(r api.Run) bool { return strings.HasSuffix(r.Parameters["gate"], "gate-"+name) })
		if i < 0 || runs[i].State != "succeeded" || runs[i].Attempts != 1 {
			return fmt.Errorf("the runs are %+v", runs)
		}
		return nil
	})
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

// handOver is how long users may wait for the next leader's first answer.
const handOver = 1500 * time.Millisecond

func handedOver(w *world) {
	leader := w.leader()
	begun := time.Now()
	leader.signal(syscall.SIGTERM)
	next := w.awaitLeader(leader)
	took := w.awaitWrite(next).Sub(begun)
	w.Logf("SIGTERM to the next leader's first write: %v", took)
	require.Less(w, took, handOver)
	<-leader.Ended
	require.Zero(w, leader.Cmd.ProcessState.ExitCode(), leader.Stderr)
	leader.start()

	c := exec.Command(built.perigee, "scheduler", "step-down")
	c.Env = program.Environment(w.others(next)[0].url) // a standby passes it on
	begun = time.Now()
	said, err := c.CombinedOutput()
	require.NoError(w, err, string(said))
	took = w.awaitWrite(w.awaitLeader(next)).Sub(begun)
	w.Logf("step-down to the next leader's first write: %v", took)
	require.Less(w, took, handOver)
	w.awaitStandby(next)
}

func rollingRestart(w *world) {
	before, pids := w.living(web)
	for _, s := range w.schedulers {
		s.end(os.Interrupt)
		require.Zero(w, s.Cmd.ProcessState.ExitCode(), s.Stderr)
		s.start()
		eventually(w.T, s.name+" is ready", func() error {
			ctx, cancel := quickly()
			defer cancel()
			return s.Ready(ctx)
		})
	}
	w.leader()
	after, _ := w.living(web)
	require.Equal(w, before, after, "tasks were replaced")
	require.NoError(w, pids())
}

// effectsOf are those of a job's tasks.
func (w *world) effectsOf(job string) []effect {
	w.Helper()
	all, err := w.effects.read()
	require.NoError(w, err)
	return slices.DeleteFunc(all, func(e effect) bool { return e.job != job })
}

// living are the ids of a service's tasks, and a check that their processes
// live.
func (w *world) living(job string) (tasks []string, processes func() error) {
	w.Helper()
	all, err := w.tasks()
	require.NoError(w, err)
	pids := map[int]string{}
	for _, t := range all {
		if t.Job == job {
			tasks = append(tasks, t.ID)
		}
	}
	for _, e := range w.effectsOf(job) {
		if slices.Contains(tasks, e.task) {
			pids[e.pid] = e.task
		}
	}
	require.NotEmpty(w, tasks)
	require.ElementsMatch(w, tasks, slices.Collect(maps.Values(pids)))
	slices.Sort(tasks)
	return tasks, func() error {
		for pid, task := range pids {
			if !program.Alive(pid) {
				return fmt.Errorf("task %s has ended", task)
			}
		}
		return nil
	}
}

// awaitWrite waits until a scheduler answers a write that changes nothing else,
// and returns when it did.
func (w *world) awaitWrite(s *scheduler) time.Time {
	w.Helper()
	key := fmt.Sprintf("write-%d", time.Now().UnixNano())
	eventually(w.T, s.name+" answers a write", func() error {
		ctx, cancel := quickly()
		defer cancel()
		_, err := s.PauseJob(ctx, idle, key, client.WriteOptions{IdempotencyKey: key})
		return err
	})
	w.answers.note(key)
	return time.Now()
}

func (w *world) awaitStandby(s *scheduler) {
	w.Helper()
	eventually(w.T, s.name+" stands by", func() error {
		ctx, cancel := quickly()
		defer cancel()
		if err := s.alive(); err != nil {
			return err
		}
		part, err := s.Scheduler(ctx)
		if err == nil && (part.Role != api.RoleStandby || part.Leader == "" || part.Leader == s.url) {
			err = fmt.Errorf("its part is %+v", part)
		}
		return err
	})
}

func (w *world) epoch(s *scheduler) uint64 {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	part, err := s.Scheduler(ctx)
	require.NoError(w, err)
	return part.Epoch
}
