package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// sleeper is the job file of a service that costs next to nothing, so that many
// instances of it may be replaced many times.
const sleeper = `
job: JOB
kind: service
instances: 4
command: exec sleep 3600
env: {VERSION: v1}
resources: {cpus: 0.02, memory: 16MiB, disk: 16MiB}
ready: {after: 300ms}
restart: {min: 200ms, max: 1s}
stop: {grace: 1s}
update: UPDATE
`

// sleeps is sleeper in some version, deployed in some way.
func sleeps(version, update string) string {
	return strings.NewReplacer("v1", version, "UPDATE", update).Replace(sleeper)
}

const (
	oneByOne = "{batch: 1, deadline: 60s}"
	// atOnce is for tests that are about something else.
	atOnce = "{batch: 100%, deadline: 60s}"
)

// fails has a version end as soon as it starts. Its health check has it not be
// taken for ready, however long that takes.
func fails(version, update string) string {
	text := sleeps(version, update[:len(update)-1]+", retries: 0}")
	return strings.Replace(text, "exec sleep 3600", "exit 3", 1) + "health: {command: {command: 'false'}}\n"
}

// deployNow is a job's deploy as it is now.
func (w *world) deployNow(job string, number uint32) *api.Deploy {
	w.Helper()
	d, err := w.Deploy(w.ctx, job, number)
	require.NoError(w, err)
	return d
}

// awaitPhase waits until a deploy in progress does something of a kind.
func (w *world) awaitPhase(job string, number uint32, phase api.RolloutPhase, step int) {
	w.Helper()
	w.await(job, fmt.Sprintf("deploy %d is at %s of step %d", number, phase, step), func() bool {
		r := w.deployNow(job, number).Rollout
		return r != nil && r.Phase == phase && r.Step == step
	})
}

// awaitOver waits until a deploy is over, and wants it to have ended in a state.
func (w *world) awaitOver(job string, number uint32, state api.DeployState) *api.Deploy {
	w.Helper()
	w.await(job, fmt.Sprintf("deploy %d is over", number), func() bool { return w.deployNow(job, number).State.Over() })
	d := w.deployNow(job, number)
	require.Equal(w, state, d.State, d.Reason)
	return d
}

// live are the tasks of a job that are not over, by instance, with the deploy
// that each runs.
func (w *world) live(job string) (tasks []string, deploys []uint32) {
	w.Helper()
	page, err := w.Tasks(w.ctx, client.TaskFilter{Job: job, Limit: 1000})
	require.NoError(w, err)
	slices.SortFunc(page.Items, func(a, b api.Task) int { return *a.Instance - *b.Instance })
	for _, t := range page.Items {
		tasks, deploys = append(tasks, t.ID), append(deploys, t.Deploy)
	}
	return tasks, deploys
}

// serving is what a job's endpoints were, one after the other.
type serving struct {
	mu   sync.Mutex
	seen [][]api.Endpoint
	more chan struct{}
}

// watch records all that a job's endpoints are, from now on.
func (w *world) watch(job string) *serving {
	w.Helper()
	s := &serving{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(w.ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for e, err := range w.FollowEndpoints(ctx, job) {
			if err != nil {
				if ctx.Err() == nil {
					w.Errorf("watch the endpoints of %s: %v", job, err)
				}
				return
			}
			s.mu.Lock()
			s.seen = append(s.seen, e.Endpoints)
			s.mu.Unlock()
			select {
			case s.more <- struct{}{}:
			default:
			}
		}
	}()
	w.Cleanup(func() {
		cancel()
		<-over
	})
	s.await(w, "something serves", func(now []api.Endpoint) bool { return len(now) > 0 })
	return s
}

// await waits until a condition of what serves now holds.
func (s *serving) await(w *world, what string, holds func([]api.Endpoint) bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for {
		seen := s.sets()
		if len(seen) > 0 && holds(seen[len(seen)-1]) {
			return
		}
		select {
		case <-s.more:
		case <-ctx.Done():
			require.FailNow(w, "not so: "+what, "what serves: %v", seen)
		}
	}
}

func (s *serving) sets() [][]api.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// deploysOf are the deploys of the tasks in a set, each once.
func deploysOf(set []api.Endpoint) []uint32 {
	var deploys []uint32
	for _, e := range set {
		deploys = append(deploys, e.Deploy)
	}
	slices.Sort(deploys)
	return slices.Compact(deploys)
}

// The endpoints switch from one whole set to the other, forth and back.
func TestDeploy_BlueGreenSwitchesAtOnce(t *testing.T) {
	w := begin(t)
	job := w.job("shop")
	w.must("deploy", w.file("shop", sleeps("v1", atOnce)))
	first, _ := w.live(job)
	s := w.watch(job)
	out := w.must("deploy", w.file("shop", sleeps("v2", "{strategy: blue-green, keep: 1h, deadline: 60s}")))
	require.Contains(t, out, "Deploy 2 of "+job+" succeeded")
	on := func(deploy uint32) func([]api.Endpoint) bool {
		return func(now []api.Endpoint) bool { return slices.Equal(deploysOf(now), []uint32{deploy}) }
	}
	s.await(w, "the new set serves", on(2))
	require.Len(t, w.tasks(job), 8, "the old set is kept beside the new one")

	w.must("rollback", job, "--yes")
	s.await(w, "the old set serves again", on(1))
	w.awaitOver(job, 2, api.DeployRolledBack)
	w.awaitReady(job, 4)
	back, _ := w.live(job)
	require.Equal(t, first, back, "the tasks that were kept serve again")
	for _, set := range s.sets() {
		require.Len(t, set, 4, "not a whole set serves")
		require.Len(t, deploysOf(set), 1, "instances of both sets serve at the same time")
	}
}

// The scheduler is killed with -9 in the middle of a deploy, which goes on where
// it was: every instance is replaced once, and four always serve.
func TestDeploy_GoesOnAfterItsSchedulerWasKilled(t *testing.T) {
	t.Parallel()
	require.NoError(t, shared.open())
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s, err := shared.startScheduler(ctx, "deploying")
	require.NoError(t, err)
	w := see(t, s.url)
	t.Cleanup(func() {
		w.removeAll()
		require.NoError(t, s.End(context.Background(), syscall.SIGTERM))
	})
	job := w.job("shop")
	w.must("deploy", w.file("shop", sleeps("v1", atOnce)))
	serving := w.watch(job)
	w.must("deploy", "--detach", w.file("shop", strings.Replace(sleeps("v2", oneByOne), "after: 300ms", "after: 700ms", 1)))
	w.await(job, "an instance has moved", func() bool { return w.deployNow(job, 2).Updated > 0 })
	require.NoError(t, s.restart(ctx))
	d := w.awaitOver(job, 2, api.DeploySucceeded)
	require.Equal(t, 4, d.Updated)
	w.awaitReady(job, 4)
	ran := 0
	for _, task := range w.tasks(job) {
		if task.RunningAt == nil { // its ACCEPT died with the scheduler
			require.Equal(t, "lost", task.State)
			continue
		}
		ran++
	}
	require.Equal(t, 8, ran, "tasks that ran, of 4 instances that were replaced once")
	for _, set := range serving.sets() {
		require.GreaterOrEqual(t, len(set), 4, "instances serve less than all the time: %v", set)
	}
}

func TestDeploy_BounceAndRestart(t *testing.T) {
	w := begin(t)
	job := w.job("shop")
	w.must("deploy", w.file("shop", sleeps("v1", atOnce)))
	s := w.watch(job)
	first, _ := w.live(job)
	require.Contains(t, w.must("bounce", job), "Deploy 2 of "+job)
	w.awaitOver(job, 2, api.DeploySucceeded)
	w.awaitReady(job, 4)
	second, deploys := w.live(job)
	require.Equal(t, []uint32{2, 2, 2, 2}, deploys)
	for _, task := range second {
		require.NotContains(t, first, task, "a bounce replaces every task")
	}

	w.must("restart", job+"/2", "--reason", "a test")
	w.await(job, "instance 2 has another task", func() bool {
		now, _ := w.live(job)
		return len(now) == 4 && now[2] != second[2]
	})
	w.awaitReady(job, 4)
	third, _ := w.live(job)
	second[2] = third[2]
	require.Equal(t, second, third, "no other instance was restarted")
	for _, set := range s.sets() {
		require.GreaterOrEqual(t, len(set), 4, "a replacement is ready before the old task ends")
	}
}
