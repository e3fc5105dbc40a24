package zk

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

var server zktest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	server.Close()
	os.Exit(code)
}

const patience = 20 * time.Second

func candidate(t *testing.T, chroot, address string, servers ...string) *Lease {
	t.Helper()
	return open(t, chroot, Options{Address: address}, servers...)
}

func open(t *testing.T, chroot string, o Options, servers ...string) *Lease {
	t.Helper()
	return openFor(t, 3*time.Second, chroot, o, servers...)
}

// openFor is open with sessions that end after another time.
func openFor(t *testing.T, session time.Duration, chroot string, o Options, servers ...string) *Lease {
	t.Helper()
	if len(servers) == 0 {
		servers = []string{server.Server(t).Address}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := zookeeper.Connect(ctx, zookeeper.Options{Servers: servers, Chroot: chroot, SessionTimeout: session})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.MakeChroot(ctx))
	l, err := New(c, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func acquire(t *testing.T, l *Lease) lease.Term {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	term, err := l.Acquire(ctx)
	require.NoError(t, err)
	return term
}

// standing acquires in the background.
func standing(t *testing.T, l *Lease) <-chan lease.Term {
	won := make(chan lease.Term, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if term, err := l.Acquire(ctx); err == nil {
			won <- term
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return won
}

func requireLeader(t *testing.T, l *Lease, address string) {
	t.Helper()
	require.Eventually(t, func() bool { return l.Leader() == address }, patience, time.Millisecond, "the leader is %q", address)
}

func isLost(term lease.Term) bool {
	select {
	case <-term.Lost():
		return true
	default:
		return false
	}
}

func TestOneLeadsAndAReleaseHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	const session = 10 * time.Second
	candidate := func(address string) *Lease { return openFor(t, session, chroot, Options{Address: address}) }
	a, b, c := candidate("a:1"), candidate("b:1"), candidate("c:1")
	first := acquire(t, a)
	for _, l := range []*Lease{a, b, c} {
		requireLeader(t, l, "a:1")
	}
	toB := standing(t, b)
	requireCandidates(t, a, 2)
	toC := standing(t, c)
	requireCandidates(t, a, 3)
	require.Empty(t, toB)
	begun := time.Now()
	require.NoError(t, first.Release(t.Context()))
	require.True(t, isLost(first))
	require.False(t, time.Now().Before(first.Deadline()))
	second := <-toB
	require.Less(t, time.Since(begun), session/2, "it waits for no session to end")
	for _, l := range []*Lease{a, b, c} {
		requireLeader(t, l, "b:1")
	}
	require.Empty(t, toC)
	require.NoError(t, b.Close(), "closing releases")
	require.True(t, isLost(second))
	require.False(t, isLost(<-toC))
}

func requireCandidates(t *testing.T, l *Lease, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, err := l.client.Session(t.Context())
		require.NoError(t, err)
		names, err := s.Children(electionNode)
		return err == nil && len(names) == n
	}, patience, time.Millisecond)
}

// Until the deadline nobody else can lead, and it moves on only while ZooKeeper is reached.
func TestNobodyLeadsBeforeTheDeadlineOfAnother(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	p, err := zktest.NewProxy(server.Server(t).Address)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	a, b := candidate(t, chroot, "a:1", p.Address), candidate(t, chroot, "b:1")
	first := acquire(t, a)
	begun := first.Deadline()
	require.True(t, begun.After(time.Now()))
	require.Eventually(t, func() bool { return first.Deadline().After(begun) }, patience, time.Millisecond, "it is renewed")
	toB := standing(t, b)
	requireCandidates(t, b, 2)
	p.Cut(true)
	second := <-toB
	require.True(t, time.Now().After(first.Deadline()), "the first could not know that it leads")
	require.False(t, isLost(second))
	requireLeader(t, b, "b:1")
	p.Restore()
	<-first.Lost()
	requireLeader(t, a, "b:1")
	toA := standing(t, a)
	require.NoError(t, second.Release(t.Context()))
	require.False(t, isLost(<-toA), "it stands again on another session")
}

// A standby that is cut off for as long as a lease lasts does not know who leads.
func TestWhoIsCutOffKnowsNoLeader(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	p, err := zktest.NewProxy(server.Server(t).Address)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	a, b := candidate(t, chroot, "a:1"), candidate(t, chroot, "b:1", p.Address)
	acquire(t, a)
	requireLeader(t, b, "a:1")
	p.Cut(true)
	requireLeader(t, b, "")
	requireLeader(t, a, "a:1")
	p.Restore()
	requireLeader(t, b, "a:1")
}

func TestADeletedZnodeEndsTheTerm(t *testing.T) {
	t.Parallel()
	a := candidate(t, server.Chroot(t), "a:1")
	term := acquire(t, a)
	s, err := a.client.Session(t.Context())
	require.NoError(t, err)
	names, err := s.Children(electionNode)
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.NoError(t, s.Delete(electionNode+"/"+names[0], -1))
	<-term.Lost()
	require.False(t, time.Now().Before(term.Deadline()))
	requireLeader(t, a, "")
	require.False(t, isLost(acquire(t, a)))
}

func TestAConnectionLostForAMomentEndsNothing(t *testing.T) {
	t.Parallel()
	p, err := zktest.NewProxy(server.Server(t).Address)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	a := candidate(t, server.Chroot(t), "a:1", p.Address)
	term := acquire(t, a)
	for range 3 {
		before := term.Deadline()
		p.Cut(false)
		require.Eventually(t, func() bool { return term.Deadline().After(before) }, patience, time.Millisecond)
	}
	require.False(t, isLost(term))
}

func TestWhoGivesUpLeavesNoZnode(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	a, b := candidate(t, chroot, "a:1"), candidate(t, chroot, "b:1")
	acquire(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := b.Acquire(ctx); ended <- err }()
	requireCandidates(t, a, 2)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	requireCandidates(t, a, 1)
}

func TestSkewIsMeasured(t *testing.T) {
	t.Parallel()
	a := candidate(t, server.Chroot(t), "a:1")
	acquire(t, a)
	_, known := a.Skew()
	require.True(t, known)
	require.Eventually(t, func() bool { _, exact := a.exactSkew(); return exact }, patience, time.Millisecond, "a request was quick")
	skew, _ := a.Skew()
	require.Less(t, skew.Abs(), 2*time.Second, "the server is on this machine")
}
