package zookeeper_test

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/zookeeper"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

var server zktest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	server.Close()
	os.Exit(code)
}

func connect(t *testing.T, o zookeeper.Options) (*zookeeper.Client, *zookeeper.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := zookeeper.Connect(ctx, o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.MakeChroot(ctx))
	s, err := c.Session(ctx)
	require.NoError(t, err)
	return c, s
}

func TestConnectSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	for want, o := range map[string]zookeeper.Options{
		"no servers given":       {Chroot: "/p"},
		`path "p": want`:         {Servers: []string{"h"}, Chroot: "p"},
		`path "/": want`:         {Servers: []string{"h"}, Chroot: "/"},
		`path "/p/": want`:       {Servers: []string{"h"}, Chroot: "/p/"},
		"want user:password":     {Servers: []string{"h"}, Chroot: "/p", Credentials: "me"},
		"want at least 1s":       {Servers: []string{"h"}, Chroot: "/p", SessionTimeout: time.Millisecond},
		"connection refused":     {Servers: []string{"127.0.0.1:1"}, Chroot: "/p"},
		"answers nothing (not Z": {Servers: []string{silent.Addr().String()}, Chroot: "/p"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := zookeeper.Connect(ctx, o)
		cancel()
		require.ErrorContains(t, err, want)
	}
}

func TestASessionIsOneSession(t *testing.T) {
	t.Parallel()
	p, err := zktest.NewProxy(server.Server(t).Address)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	chroot := server.Chroot(t)
	c, s := connect(t, zookeeper.Options{Servers: []string{p.Address}, Chroot: chroot, SessionTimeout: time.Second})
	require.Equal(t, time.Second, s.Timeout())
	_, err = s.Create("mine", nil, zk.FlagEphemeral)
	require.NoError(t, err)
	require.True(t, s.Deadline().After(time.Now()))
	_, other := connect(t, zookeeper.Options{Servers: []string{server.Server(t).Address}, Chroot: chroot})
	stat, gone, err := other.Watch("mine")
	require.NoError(t, err)
	require.NotNil(t, stat)
	p.Cut(true)
	<-gone
	require.True(t, time.Now().After(s.Deadline()), "nobody sees the end before the deadline")
	p.Restore()
	<-s.Expired()
	require.Zero(t, s.Deadline())
	_, err = s.Create("late", nil, 0)
	require.ErrorIs(t, err, zookeeper.ErrSessionExpired)
	again, err := c.Session(t.Context())
	require.NoError(t, err)
	require.NotSame(t, s, again)
	stat, err = again.Exists("late")
	require.NoError(t, err)
	require.Nil(t, stat, "what an expired session was asked for is not done by the next")
	c.Close()
	_, err = c.Session(t.Context())
	require.ErrorIs(t, err, zookeeper.ErrClosed)
}

func TestTheServerDecidesTheTimeout(t *testing.T) {
	t.Parallel()
	_, s := connect(t, zookeeper.Options{Servers: []string{server.Server(t).Address}, Chroot: server.Chroot(t), SessionTimeout: time.Hour})
	require.Equal(t, time.Minute, s.Timeout(), "the longest that it allows")
}

// What a server says that gives no session is told, and once it gives one the session that there was goes
// on.
func TestServersWithoutAQuorumSayWhy(t *testing.T) {
	t.Parallel()
	for readOnly, want := range map[bool]string{true: " is in read-only mode: it has lost touch", false: " serves nobody: it has lost touch"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			servers, err := zktest.StartEnsemble(t.TempDir(), 2, zktest.Options{Tick: 500 * time.Millisecond, ReadOnly: readOnly})
			zktest.Require(t, err)
			for _, s := range servers {
				t.Cleanup(s.Close)
			}
			o := zookeeper.Options{Servers: zktest.Addresses(servers), Chroot: "/perigee", SessionTimeout: 10 * time.Second}
			_, s := connect(t, o)
			servers[1].Kill()
			require.Eventually(t, func() bool {
				_, err := s.Create("never", nil, 0)
				require.Error(t, err)
				return strings.Contains(err.Error(), servers[0].Address+want) &&
					strings.Contains(err.Error(), servers[1].Address+": connection refused")
			}, time.Minute, 50*time.Millisecond)
			require.Eventually(t, func() bool { // a busy server may take its time to say so
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := zookeeper.Connect(ctx, o)
				require.Error(t, err)
				return strings.Contains(err.Error(), servers[0].Address+want)
			}, time.Minute, 50*time.Millisecond)
			require.NoError(t, servers[1].Restart())
			require.Eventually(t, func() bool {
				_, err := s.Create("one", nil, 0)
				return err == nil || err == zk.ErrNodeExists
			}, time.Minute, 50*time.Millisecond)
		})
	}
}

// Of three servers, one may be killed, and one may hang; without two nothing is answered; and what
// was written is there afterwards.
func TestEnsemble(t *testing.T) {
	t.Parallel()
	servers, err := zktest.StartEnsemble(t.TempDir(), 3, zktest.Options{Tick: 500 * time.Millisecond})
	zktest.Require(t, err)
	for _, s := range servers {
		t.Cleanup(s.Close)
	}
	_, s := connect(t, zookeeper.Options{Servers: zktest.Addresses(servers), Chroot: "/perigee", SessionTimeout: 10 * time.Second})
	write := func(name string) {
		t.Helper()
		require.Eventually(t, func() bool {
			_, err := s.Create(name, nil, 0)
			return err == nil || err == zk.ErrNodeExists
		}, time.Minute, 10*time.Millisecond, name)
	}
	write("one")
	leader := servers[0]
	for _, s := range servers {
		if s.Leads() {
			leader = s
		}
	}
	leader.Kill()
	write("two")
	require.NoError(t, leader.Restart())
	require.NoError(t, leader.WaitServing(time.Minute))
	require.NoError(t, servers[0].Stop())
	write("three")
	require.NoError(t, servers[0].Cont())
	servers[0].Kill()
	servers[1].Kill()
	_, err = s.Create("four", nil, 0)
	require.True(t, zookeeper.Passing(err), "%v", err)
	require.NoError(t, servers[0].Restart())
	require.NoError(t, servers[1].Restart())
	write("five")
	for _, name := range []string{"one", "two", "three", "five"} {
		stat, err := s.Exists(name)
		require.NoError(t, err)
		require.NotNil(t, stat, name)
	}
}
