package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/devcluster"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
	"github.com/perigee-sched/perigee/server"
)

var zooKeeper zktest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	zooKeeper.Close()
	os.Exit(code)
}

// several schedulers share a ZooKeeper and a Mesos master with simulated agents.
type several struct {
	*testing.T
	chroot  string
	master  string
	options []client.Option // more of those of clients
	all     []*process
}

// process is a scheduler in this process, which reaches ZooKeeper through a
// proxy of its own.
type process struct {
	*several
	*client.Client
	proxy *zktest.Proxy
	stop  context.CancelFunc
	ended chan error
	over  sync.Once
	err   error
}

func beginSeveral(t *testing.T, n int) *several { return beginLasting(t, n, 10*time.Millisecond) }

// beginLasting is beginSeveral where tasks last for some time; for ever when 0.
func beginLasting(t *testing.T, n int, tasks time.Duration) *several {
	t.Helper()
	zooKeeper.Server(t)
	s := &several{T: t, chroot: zooKeeper.Chroot(t)}
	quiet := slog.New(slog.DiscardHandler)
	o := devcluster.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Ephemeral: true, AllocationInterval: 50 * time.Millisecond, Logger: quiet}
	for range 3 {
		o.Agents = append(o.Agents, devcluster.AgentOptions{Resources: "cpus:100;mem:100000;disk:100000",
			Simulated: &devcluster.Simulation{Duration: tasks}})
	}
	cluster, err := devcluster.Open(o)
	require.NoError(t, err)
	s.master = cluster.MasterAddr()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = cluster.Run(ctx) })
	t.Cleanup(func() {
		for _, p := range s.all {
			if err := p.end(); err != nil {
				t.Errorf("a scheduler failed: %v", err)
			}
			p.proxy.Close()
		}
		cancel()
		running.Wait()
	})
	for range n {
		s.start()
	}
	return s
}

// config is that of a scheduler which has its journal there.
func (s *several) config(zookeeper string) *config.Server {
	s.Helper()
	c, _, err := config.LoadServer("", nil, nil)
	require.NoError(s, err)
	c.Cluster, c.API.Listen, c.Mesos.Master = "three", "127.0.0.1:0", s.master
	c.Journal.URL, c.Journal.Credentials = "zk://"+zookeeper+s.chroot, "perigee:hush"
	c.Journal.SessionTimeout = api.Duration(2 * time.Second)
	c.Executor.Path, c.Defaults.User = os.Args[0], "nobody"
	c.History.URL = "sqlite://" + filepath.Join(s.TempDir(), "history.db")
	return c
}

// start starts a scheduler and waits until it is ready.
func (s *several) start(change ...func(*server.Options)) *process {
	s.Helper()
	proxy, err := zktest.NewProxy(zooKeeper.Server(s).Address)
	require.NoError(s, err)
	c := s.config(proxy.Address)
	p := &process{several: s, proxy: proxy, ended: make(chan error, 1)}
	s.all = append(s.all, p)
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	urls := make(chan string, 1)
	log := slog.New(slog.NewTextHandler(testLog{s.T}, &slog.HandlerOptions{ReplaceAttr: withoutTime})).With("scheduler", len(s.all))
	o := server.Options{Config: c, Log: log, NewCluster: len(s.all) == 1, Listening: func(url string) { urls <- url }}
	for _, c := range change {
		c(&o)
	}
	go func() { p.ended <- server.Run(ctx, o) }()
	select {
	case url := <-urls:
		p.Client, err = client.New(url, append(s.options, client.WithActor("tester"), client.WithPatience(20*time.Second))...)
		require.NoError(s, err)
	case err := <-p.ended:
		s.Fatalf("the scheduler ended: %v", err)
	}
	p.eventually("it is ready", func() bool { return p.Ready(context.Background()) == nil })
	return p
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		a.Value = slog.StringValue(a.Value.Time().Format("05.000"))
	}
	return a
}

type testLog struct{ *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// end stops a scheduler as SIGTERM does.
func (p *process) end() error {
	p.over.Do(func() {
		p.stop()
		p.err = <-p.ended
	})
	return p.err
}

func (s *several) eventually(what string, holds func() bool) {
	s.Helper()
	require.Eventually(s, holds, 30*time.Second, 5*time.Millisecond, what)
}

func (p *process) shows() *api.Scheduler {
	p.Helper()
	is, err := p.Scheduler(context.Background())
	require.NoError(p, err)
	return is
}

// leader waits until all of these agree who leads, and returns it and the rest.
func (s *several) leader(among ...*process) (leader *process, standbys []*process) {
	s.Helper()
	s.eventually("one leads, and all know", func() bool {
		leader, standbys = nil, nil
		for _, p := range among {
			if p.shows().Role == api.RoleLeader {
				leader = p
			} else {
				standbys = append(standbys, p)
			}
		}
		if leader == nil || len(standbys) != len(among)-1 {
			return false
		}
		for _, p := range standbys {
			if p.shows().Leader != leader.Base() {
				return false
			}
		}
		return leader.Ready(context.Background()) == nil
	})
	return leader, standbys
}

// run starts runs through any scheduler, and wants to read them there at once.
func (p *process) run(n int) []string {
	p.Helper()
	w, err := p.StartRuns(context.Background(), "etl/prod/load", make([]api.NewRun, n), client.WriteOptions{})
	require.NoError(p, err)
	require.Len(p, w.Runs, n)
	_, err = p.Run(context.Background(), "etl/prod/load", w.Runs[n-1])
	require.NoError(p, err, "what was written here is read here")
	return w.Runs
}

// succeed waits until these runs succeeded, as this scheduler shows it.
func (p *process) succeed(runs []string) {
	p.Helper()
	for _, id := range runs {
		p.eventually("run "+id+" succeeds", func() bool {
			r, err := p.Run(context.Background(), "etl/prod/load", id)
			return err == nil && r.State == "succeeded"
		})
	}
}

func TestThreeSchedulers(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 3)
	leader, standbys := s.leader(s.all...)
	ctx := context.Background()

	// A write through a standby is read there, and everywhere.
	spec, err := api.DecodeSpec([]byte(`{"job":"etl/prod/load","kind":"batch","command":"./work","resources":{"cpus":0.1,"memory":"64MiB"}}`))
	require.NoError(t, err)
	_, err = standbys[0].PutJob(ctx, spec, client.PutOptions{})
	require.NoError(t, err)
	_, err = standbys[0].Job(ctx, "etl/prod/load")
	require.NoError(t, err)
	resp, err := http.Get(standbys[0].Base() + "/v1/jobs")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "standby", resp.Header.Get("X-Perigee-Role"))
	require.Equal(t, leader.Base(), resp.Header.Get("X-Perigee-Leader"))
	agents, err := standbys[1].Agents(ctx)
	require.NoError(t, err)
	require.Len(t, agents, 3, "what only the leader knows")
	all := standbys[1].run(20)
	standbys[0].succeed(all)
	s.eventually("it is not behind", func() bool { lag := standbys[0].shows().Lag; return lag != nil && *lag == 0 })
	require.ElementsMatch(t, []string{s.all[0].Base(), s.all[1].Base(), s.all[2].Base()}, standbys[0].shows().Schedulers)
	require.Equal(t, leader.Base(), standbys[0].shows().Schedulers[0])

	// It steps down at once, and stands by.
	was, err := standbys[0].StepDown(ctx)
	require.NoError(t, err)
	require.Equal(t, leader.Base(), was.Address)
	old := leader
	leader, standbys = s.leader(s.all...)
	require.NotSame(t, old, leader)
	all = append(all, old.run(20)...)
	leader.succeed(all)

	// Cut off from ZooKeeper it answers reads and refuses writes; another leads.
	cut := leader
	cut.proxy.Cut(true)
	leader, _ = s.leader(standbys...)
	all = append(all, leader.run(20)...)
	s.eventually("it does not say that it leads", func() bool { return cut.shows().Role == api.RoleStandby })
	require.NotEmpty(t, cut.shows().NotWritable)
	require.Error(t, cut.Ready(ctx))
	_, err = cut.Job(ctx, "etl/prod/load")
	require.NoError(t, err)
	impatient, err := client.New(cut.Base(), client.WithPatience(0))
	require.NoError(t, err)
	_, err = impatient.PauseJob(ctx, "etl/prod/load", "", client.WriteOptions{})
	var p *api.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusServiceUnavailable, p.Status)
	cut.proxy.Restore()
	s.eventually("it is a standby again", func() bool { return cut.Ready(ctx) == nil })
	all = append(all, cut.run(20)...)
	cut.succeed(all)

	// SIGTERM hands over at once.
	began := time.Now()
	require.NoError(t, leader.end())
	var rest []*process
	for _, p := range s.all {
		if p != leader {
			rest = append(rest, p)
		}
	}
	leader, _ = s.leader(rest...)
	t.Logf("SIGTERM to subscribed: %s", time.Since(began))
	all = append(all, rest[0].run(20)...)
	rest[1].succeed(all)
	require.Len(t, all, 100)

	// All that remain tell the same.
	require.Equal(t, fmt.Sprint(eventsOf(t, rest[0], all)), fmt.Sprint(eventsOf(t, rest[1], all)))
}

// eventsOf reads the ends of runs from the beginning, and wants each once.
func eventsOf(t *testing.T, p *process, runs []string) []string {
	t.Helper()
	var ids []string
	seen := map[string]bool{}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := p.Events(ctx, client.EventFilter{After: "none-0-0"})
	var gone *api.Problem
	require.ErrorAs(t, err, &gone)
	oldest, ok := gone.Errors[0].Value.(string)
	require.True(t, ok, gone)
	stream, err := p.Events(ctx, client.EventFilter{After: oldest, Type: "run.succeeded"})
	require.NoError(t, err)
	defer stream.Close()
	for e, err := range stream.All(ctx) {
		require.NoError(t, err)
		require.False(t, seen[e.ID], "%s comes twice", e.ID)
		seen[e.ID] = true
		if ids = append(ids, e.ID); len(ids) == len(runs) {
			break
		}
	}
	return ids
}
