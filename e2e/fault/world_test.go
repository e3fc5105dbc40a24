package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// world is three schedulers and what they work with, users and consumers.
type world struct {
	*testing.T // of the fault under way
	whole      *testing.T
	zookeeper  []*zktest.Server
	mesos      *cluster
	schedulers []*scheduler
	journal    *chronicle // nil for one that is not in ZooKeeper
	effects    effects
	answers    *answers
	load       *load
	consumers  []*consumer
	held       func() // ends the users' writing
}

// Jobs of a world.
const (
	web     = "web/test/web"     // a service that is deployed
	elastic = "web/test/elastic" // one that is scaled all the time
	sums    = "web/test/sums"    // runs that users start all the time
	tick    = "web/test/tick"    // a cron that fires every other second
	gated   = "web/test/gated"   // runs that are held until a file appears
	lone    = "web/test/lone"    // a service whose task is replaced when its agent is away
	idle    = "web/test/idle"    // only written to
)

const tickEvery = 2 * time.Second

// newWorld is a world of three schedulers whose journal is in ZooKeeper.
func newWorld(t *testing.T, zookeeper []*zktest.Server, chroot string) *world {
	t.Helper()
	w := &world{T: t, whole: t, zookeeper: zookeeper, mesos: startCluster(t)}
	w.journal = newChronicle(t, zktest.Addresses(w.zookeeper), credentials, chroot)
	for i := range 3 {
		w.schedulers = append(w.schedulers, newScheduler(t, schedulerOptions{name: fmt.Sprintf("%s-scheduler-%d", t.Name(), i+1), cluster: "north",
			zookeepers: zktest.Addresses(w.zookeeper), chroot: chroot, credentials: credentials, master: w.mesos.master}))
	}
	w.begin()
	return w
}

// begin starts the schedulers, and waits until jobs run that users write to.
func (w *world) begin() {
	w.Helper()
	w.answers = &answers{at: map[string]time.Time{}}
	w.effects = effects(filepath.Join(built.dir, program.Again("effects-"+w.Name())))
	require.NoError(w, os.WriteFile(string(w.effects), nil, 0o666))
	require.NoError(w, os.Chmod(string(w.effects), 0o666)) // whatever the umask: tasks run as others
	for _, s := range w.schedulers {
		s.start()
	}
	w.awaitLeader(nil)
	w.follow()
	w.deployAll()
	w.write()
}

// follow starts the consumers: one through each scheduler, and one that roams.
func (w *world) follow() {
	for _, s := range w.schedulers {
		w.consumers = append(w.consumers, &consumer{name: "through " + s.name, schedulers: []*scheduler{s}})
	}
	w.consumers = append(w.consumers, &consumer{name: "roaming", schedulers: w.schedulers})
	ctx, stop := context.WithCancel(context.Background())
	var running, begun sync.WaitGroup
	for _, c := range w.consumers {
		begun.Add(1)
		running.Go(func() { c.run(ctx, sync.OnceFunc(begun.Done)) })
	}
	w.Cleanup(func() {
		stop()
		running.Wait()
	})
	begun.Wait()
}

func (w *world) deployAll() {
	w.Helper()
	for _, spec := range []*api.Spec{
		w.service(elastic, 1, "0"),
		w.service(web, 3, "0"),
		w.lone(),
		{Job: sums, Kind: api.KindBatch, Command: w.effects.tell(), Resources: small(), Retries: 5,
			Parameters: map[string]api.Parameter{"key": {}}},
		{Job: gated, Kind: api.KindBatch, Command: w.effects.tell() + `; until test -e "$PARAM_GATE"; do sleep 0.05; done`,
			Resources: small(), Parameters: map[string]api.Parameter{"gate": {}}},
		{Job: idle, Kind: api.KindBatch, Command: "true", Resources: small()},
		{Job: tick, Kind: api.KindCron, Command: w.effects.tell(), Resources: small(), Retries: 5,
			Schedule: &api.Schedule{Cron: fmt.Sprintf("@every %v", tickEvery), Overlap: api.OverlapAllow, Missed: api.MissedAll, MaxRuns: 100, MaxMissed: 100}},
	} {
		w.put(spec)
	}
	w.awaitReady(web, 3)
}

// service is one whose deploys differ by their version.
func (w *world) service(job string, instances int, version string) *api.Spec {
	after := api.Duration(300 * time.Millisecond)
	return &api.Spec{Job: job, Ready: &api.Ready{After: &after}, Kind: api.KindService, Instances: &instances, Resources: small(),
		Command: w.effects.tell() + "; exec sleep 1000000 # " + version}
}

// lone is a service that does not wait for an agent.
func (w *world) lone() *api.Spec {
	spec := w.service(lone, 1, "0")
	spec.Unreachable = &api.Unreachable{ReplaceAfter: api.Duration(500 * time.Millisecond)}
	return spec
}

func small() api.Resources { return api.Resources{CPUs: 0.05, Memory: 16 << 20} }

// write starts the users. hold ends them.
func (w *world) write() {
	if w.load == nil {
		w.load = &load{schedulers: w.schedulers, answers: w.answers, runs: sums, scaled: elastic, pace: 250 * time.Millisecond, started: map[string]string{}}
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.load.run(ctx)
	}()
	w.held = sync.OnceFunc(func() {
		stop()
		<-done
	})
	w.whole.Cleanup(w.held)
}

// leader is the scheduler that is subscribed to Mesos, and says that it leads.
func (w *world) leader() *scheduler {
	w.Helper()
	var leader *scheduler
	eventually(w.T, "a scheduler leads", func() (err error) {
		if leader, err = w.subscribed(); err != nil {
			return err
		}
		ctx, cancel := quickly()
		defer cancel()
		part, err := leader.Scheduler(ctx)
		if err == nil && part.Role != api.RoleLeader {
			err = fmt.Errorf("%s is subscribed, and takes itself for a %s", leader.name, part.Role)
		}
		return err
	})
	return leader
}

func (w *world) subscribed() (*scheduler, error) {
	url, err := w.mesos.subscriber()
	if err != nil {
		return nil, err
	}
	for _, s := range w.schedulers {
		if s.url == url {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no scheduler is subscribed, but %q", url)
}

// awaitLeader waits until a scheduler other than old leads, and returns it.
func (w *world) awaitLeader(old *scheduler) *scheduler {
	w.Helper()
	var leader *scheduler
	eventually(w.T, "another scheduler leads", func() (err error) {
		leader, err = w.subscribed()
		if err == nil && leader == old {
			err = fmt.Errorf("%s still leads", old.name)
		}
		return err
	})
	return leader
}

func (w *world) others(s *scheduler) []*scheduler {
	var others []*scheduler
	for _, o := range w.schedulers {
		if o != s {
			others = append(others, o)
		}
	}
	return others
}

// anyone asks each scheduler until one answers.
func (w *world) anyone(ask func(ctx context.Context, s *scheduler) error) error {
	var errs []error
	for _, s := range w.schedulers {
		ctx, cancel := quickly()
		err := ask(ctx, s)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
	}
	return errors.Join(errs...)
}

// put writes a job, and repeats that until it is answered.
func (w *world) put(spec *api.Spec) *api.Written {
	w.Helper()
	var written *api.Written
	key := fmt.Sprintf("put-%d", time.Now().UnixNano())
	eventually(w.T, "the job "+spec.Job+" is written", func() error {
		return w.anyone(func(ctx context.Context, s *scheduler) (err error) {
			written, err = s.PutJob(ctx, spec, client.PutOptions{WriteOptions: client.WriteOptions{IdempotencyKey: key}})
			if p := problemOf(err); p != nil && p.Status < 500 {
				err = violation{err} // it would be answered so again
			}
			return err
		})
	})
	w.answers.note(key)
	return written
}

func (w *world) awaitReady(job string, n int) {
	w.Helper()
	eventually(w.T, job+" is ready", func() error {
		return w.anyone(func(ctx context.Context, s *scheduler) error {
			j, err := s.Job(ctx, job)
			if err != nil {
				return err
			}
			if c := j.Tasks; c.Ready != n || c.Running != n || c.Pending+c.Starting+c.Stopping+c.Unreachable != 0 {
				return fmt.Errorf("%s has %+v", job, c)
			}
			return nil
		})
	})
}

func (w *world) awaitDeployed(job string, number uint32) {
	w.Helper()
	eventually(w.T, fmt.Sprintf("deploy %d of %s succeeds", number, job), func() error {
		return w.anyone(func(ctx context.Context, s *scheduler) error {
			d, err := s.Deploy(ctx, job, number)
			if err == nil && d.State != "succeeded" {
				err = fmt.Errorf("deploy %d is %s: %s", number, d.State, d.Reason)
			}
			return err
		})
	})
}

// problemOf is the answer that an error is about, nil when there was none.
func problemOf(err error) *api.Problem {
	var p *api.Problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}
