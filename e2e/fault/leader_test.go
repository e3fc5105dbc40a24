package fault

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

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

// A leader that was paused past its session finds that another leads: it writes
// nothing, commands nothing, says why, and stands by. What users ask of it
// meanwhile reaches it when it wakes up.
func leaderStoppedAndContinued(w *world) {
	stopped := w.leader()
	stopped.signal(syscall.SIGSTOP)
	asked := w.load.askFirst(stopped, "while it was stopped")
	leads := w.awaitLeader(stopped)
	epoch := w.epoch(leads)
	w.awaitWrite(leads)
	woken := time.Now()
	stopped.signal(syscall.SIGCONT)
	w.awaitStandby(stopped)
	asked()
	for range 5 { // writes under which it could do harm
		w.awaitWrite(leads)
	}
	said, err := w.saidSince(stopped, woken)
	require.NoError(w, err)
	require.Empty(w, said, "the deposed leader speaks to Mesos")
	require.Same(w, leads, w.leader())
	require.Contains(w, stopped.Stderr.String(), "this scheduler leads no more, and stands for election again")
	require.Equal(w, epoch, w.epoch(leads), "the deposed leader raised the epoch")
	require.NoError(w, w.journal.read(func() error { // that it has written nothing is for the audit to say
		if e := w.journal.epochs[len(w.journal.epochs)-1]; e.number != epoch || e.writer != leads.url {
			return fmt.Errorf("the last epoch is %v", e)
		}
		return nil
	}))
}

func leaderCutOffFromZooKeeper(w *world) {
	cut := w.leader()
	cut.cutZooKeeper()
	leads := w.awaitLeader(cut)
	gone := time.Now()
	w.awaitWrite(leads)
	ctx, cancel := quickly()
	defer cancel()
	_, err := cut.Job(ctx, web)
	require.NoError(w, err, "reads go on")
	_, err = cut.PauseJob(ctx, idle, "never", client.WriteOptions{})
	require.Error(w, err)
	cut.restoreZooKeeper()
	w.awaitStandby(cut)
	require.Contains(w, cut.Stderr.String(), "this scheduler leads no more, and stands for election again")
	require.Same(w, leads, w.leader())
	said, err := w.saidSince(cut, gone)
	require.NoError(w, err)
	require.Empty(w, said, "the deposed leader speaks to Mesos")
}

// A leader that cannot reach Mesos goes on leading: writes are taken, and done
// once it is back.
func leaderCutOffFromMesos(w *world) {
	before, pids := w.living(web)
	cut := w.leader()
	epoch := w.epoch(cut)
	cut.mesos.Cut(true)
	eventually(w.T, "the master notices", func() error {
		if url, err := w.mesos.subscriber(); err != nil || url == cut.url {
			return fmt.Errorf("it takes %q to be subscribed, %v", url, err)
		}
		return nil
	})
	w.awaitWrite(cut)
	cut.mesos.Restore()
	require.Same(w, cut, w.leader())
	require.Equal(w, epoch, w.epoch(cut))
	after, _ := w.living(web)
	require.Equal(w, before, after, "tasks were replaced")
	require.NoError(w, pids())
}
