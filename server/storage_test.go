package server_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
	"github.com/perigee-sched/perigee/server"
)

// refused starts a scheduler that ends by itself, and returns what it says.
func (s *several) refused(patience time.Duration, change ...func(*server.Options)) string {
	s.Helper()
	o := server.Options{Config: s.config(zooKeeper.Server(s).Address), Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := server.Run(ctx, o)
	require.Error(s, err)
	return err.Error()
}

// A path that is mistyped begins no new cluster.
func TestStart_AtAMistypedPath(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 0)
	s.chroot += "/prod"
	s.leader(s.start())
	mistyped := func(o *server.Options) {
		o.Config.Journal.URL = strings.TrimSuffix(o.Config.Journal.URL, "prod") + "prdo"
	}
	for range 2 { // nothing is made the first time
		said := s.refused(time.Minute, mistyped)
		require.Contains(t, said, "/prdo holds nothing")
		require.Contains(t, said, "there is one in "+s.chroot)
		require.Contains(t, said, "--new-cluster")
	}
}

// write scales a job and returns what is wrong, nil when it was done.
func (p *process) write(instances int) *api.Problem {
	p.Helper()
	impatient, err := client.New(p.Base(), client.WithPatience(0))
	require.NoError(p, err)
	_, err = impatient.ScaleJob(context.Background(), "web/prod/shop", instances, client.WriteOptions{})
	var problem *api.Problem
	if errors.As(err, &problem) {
		return problem
	}
	require.NoError(p, err)
	return nil
}

// shop is a service of no instances.
func (p *process) shop() {
	p.Helper()
	spec, err := api.DecodeSpec([]byte(`{"job":"web/prod/shop","kind":"service","command":"./serve","instances":0,"resources":{"cpus":0.1,"memory":"64MiB"}}`))
	require.NoError(p, err)
	_, err = p.PutJob(context.Background(), spec, client.PutOptions{})
	require.NoError(p, err)
}

// refuses waits until a write is refused with these words, and wants reads to go
// on.
func (p *process) refuses(words ...string) {
	p.Helper()
	p.eventually("writes are refused: "+strings.Join(words, ", "), func() bool {
		problem := p.write(1)
		if problem == nil {
			return false
		}
		require.Equal(p, http.StatusServiceUnavailable, problem.Status)
		for _, w := range words {
			if !strings.Contains(problem.Detail, w) {
				return false
			}
		}
		return true
	})
	_, err := p.Job(context.Background(), "web/prod/shop")
	require.NoError(p, err)
}

// accepts waits until writes are done again.
func (p *process) accepts() {
	p.Helper()
	p.eventually("writes are done again", func() bool { return p.write(0) == nil })
	p.eventually("it is ready", func() bool { return p.Ready(context.Background()) == nil })
}

// ZooKeeper without a quorum serves reads alone: what is there can be read, and
// writes are refused with the reason, until it is back. Who starts meanwhile says
// why it cannot.
func TestZooKeeper_InReadOnlyMode(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 0)
	servers, err := zktest.StartEnsemble(t.TempDir(), 2, zktest.Options{ReadOnly: true})
	zktest.Require(t, err)
	for _, z := range servers {
		t.Cleanup(z.Close)
	}
	whole := func(o *server.Options) {
		o.Config.Journal.URL = "zk://" + strings.Join(zktest.Addresses(servers), ",") + s.chroot
		o.Config.Journal.SessionTimeout = api.Duration(4 * time.Second)
	}
	leader, standby := s.start(whole), s.start(whole)
	leader, standbys := s.leader(leader, standby)
	standby = standbys[0]
	leader.shop()
	leader.accepts()
	servers[1].Kill()
	const why = " is in read-only mode"
	leader.refuses(servers[0].Address+why, servers[1].Address+": connection refused")
	standby.refuses("who leads is not known", servers[0].Address+why)
	standby.eventually("it shows why", func() bool { return strings.Contains(standby.shows().NotWritable, why) })
	s.eventually("one that starts says so", func() bool { // a busy server may take its time to
		said := s.refused(3*time.Second, whole)
		require.Contains(t, said, "journal.url")
		return strings.Contains(said, servers[0].Address+why)
	})
	require.NoError(t, servers[1].Restart())
	leader.accepts()
	standby.accepts()
	require.NoError(t, standby.end()) // while ZooKeeper is there
	require.NoError(t, leader.end())
}

// Access lists that let it read only are told at the start, and writes are refused
// with the reason until they are put right.
func TestZooKeeper_ThatMayOnlyBeRead(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 0)
	leader := s.start()
	s.leader(leader)
	leader.shop()
	leader.accepts()
	permit := zktest.Permit(t, zooKeeper.Server(t).Address, s.chroot, "perigee:hush")
	permit(zk.PermRead)
	leader.refuses("not permitted")
	said := s.refused(time.Minute)
	require.Contains(t, said, s.chroot+" can be read and not written with these credentials")
	permit(zk.PermAll)
	leader.accepts()
}
