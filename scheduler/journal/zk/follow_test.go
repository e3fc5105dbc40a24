package zk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	zklib "github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// state is a Source of n records of about size bytes; those whose number is below changed have
// another value than in a state with another version.
type state struct {
	index            uint64
	n, size, changed int
	version          byte
}

func (s state) Index() uint64 { return s.index }

func (s state) Records(string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for i := range s.n {
			value := []byte(fmt.Sprintf(`{"task":"payments/prod/checkout/%d","agent":"%x","state":"RUNNING"}`, i, i*7919))
			value = append(value, make([]byte, max(0, s.size-len(value)))...)
			if i < s.changed {
				value[len(value)-1] = s.version
			}
			if !yield(fmt.Sprintf("task/%012d", i), value) {
				return
			}
		}
	}
}

func TestStandbySeesEveryGroupOnceInOrder(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	leader := openOn(t, connect(t, chroot))
	at := fill(t, leader, lead(t, leader), 10)
	standby, k := openOn(t, connect(t, chroot)), new(kept)
	stop := follow(t, standby, k)
	at = fill(t, leader, at, 200)
	waitFor(t, k, 210)
	require.NoError(t, leader.Compact(t.Context(), state{index: 100, n: 10}))
	fill(t, leader, at, 50)
	waitFor(t, k, 260)
	require.Equal(t, upTo(260), k.seen())
	require.ErrorIs(t, stop(), context.Canceled)
}

func TestLeadAfterFollowPassesOnlyTheRest(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	first := openOn(t, connect(t, chroot))
	at := fill(t, first, lead(t, first), 5)
	require.NoError(t, first.Compact(t.Context(), state{index: 3, n: 10, size: 100}))
	second, k := openOn(t, connect(t, chroot)), new(kept)
	stop := follow(t, second, k)
	waitFor(t, k, 5)
	require.ErrorIs(t, stop(), context.Canceled)
	require.Len(t, k.records, 10)
	at = fill(t, first, at, 4)
	rest := new(kept)
	now, err := second.Lead(t.Context(), rest)
	require.NoError(t, err)
	require.Equal(t, []uint64{6, 7, 8, 9}, rest.seen())
	require.Empty(t, rest.records)
	require.Equal(t, journal.Position{Epoch: 2, Index: 10}, now)
	require.ErrorIs(t, first.Append(t.Context(), []*record.Entry{entryAt(at, 1)}), journal.ErrFenced)
	fill(t, second, now, 3)
	anew := new(kept)
	_, err = second.Lead(t.Context(), anew)
	require.NoError(t, err)
	require.Len(t, anew.records, 10, "after a leadership a Lead begins anew")
	require.Equal(t, []uint64{4, 5, 6, 7, 8, 9, 10, 11, 12}, anew.seen())
}

func TestAFollowerThatWasAwayTooLongIsBehind(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	leader := openOn(t, connect(t, chroot))
	at := fill(t, leader, lead(t, leader), 5)
	standby, k := openOn(t, connect(t, chroot)), new(kept)
	stop := follow(t, standby, k)
	waitFor(t, k, 5)
	require.ErrorIs(t, stop(), context.Canceled)
	fill(t, leader, at, 10)
	require.NoError(t, leader.Compact(t.Context(), state{index: 10, n: 3}))
	require.NoError(t, leader.Compact(t.Context(), state{index: 15, n: 3}))
	anew := new(kept)
	at, err := standby.Lead(t.Context(), anew)
	require.NoError(t, err, "leading, it reads anew")
	require.Len(t, anew.records, 3)
	require.Equal(t, []uint64{11, 12, 13, 14, 15}, anew.past)
	require.Equal(t, uint64(16), at.Index)
}

// slow is a session of a standby that is paused, and keeps its connection, before it watches.
type slow struct {
	session
	paused chan<- struct{} // told when it is
	on     <-chan struct{}
}

func (s slow) Watch(p string) (*zklib.Stat, <-chan zklib.Event, error) {
	s.paused <- struct{}{}
	<-s.on
	return s.session.Watch(p)
}

// A standby that is paused while the leader appends and compacts, and whose connection outlives that,
// learns that it is behind although what it begins to watch never comes.
func TestAFollowerThatIsPausedTooLongIsBehind(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	leader := openOn(t, connect(t, chroot))
	at := fill(t, leader, lead(t, leader), 5)
	client := connect(t, chroot)
	paused, on := make(chan struct{}), make(chan struct{})
	standby, err := open(t.Context(), Options{Cluster: "test"}, func(ctx context.Context) (session, error) {
		s, err := client.Session(ctx)
		return slow{s, paused, on}, err
	})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- standby.Follow(t.Context(), new(kept)) }()
	<-paused
	fill(t, leader, at, 10)
	require.NoError(t, leader.Compact(t.Context(), state{index: 10, n: 3}))
	require.NoError(t, leader.Compact(t.Context(), state{index: 15, n: 3}))
	close(on)
	select {
	case err := <-ended:
		require.ErrorIs(t, err, journal.ErrBehind)
	case <-paused:
		require.Fail(t, "it waits for an entry that is gone")
	case <-time.After(30 * time.Second):
		require.Fail(t, "it waits for an entry that is gone")
	}
}

// A standby that is cut off, while entries are appended and compacted away, learns that it is behind
// although the watch it waits at never fires.
func TestAFollowerThatIsCutOffTooLongIsBehind(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	leader := openOn(t, connect(t, chroot))
	at := fill(t, leader, lead(t, leader), 5)
	p := proxy(t)
	standby, k := openOn(t, connect(t, chroot, p.Address)), new(kept)
	ended := make(chan error, 1)
	go func() { ended <- standby.Follow(context.Background(), k) }()
	waitFor(t, k, 5)
	p.Cut(true)
	fill(t, leader, at, 10)
	require.NoError(t, leader.Compact(t.Context(), state{index: 10, n: 3}))
	require.NoError(t, leader.Compact(t.Context(), state{index: 15, n: 3}))
	p.Restore()
	require.ErrorIs(t, <-ended, journal.ErrBehind)
}

func proxy(t testing.TB) *zktest.Proxy {
	t.Helper()
	p, err := zktest.NewProxy(server.Server(t).Address)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func TestFollowOutlivesLostConnectionsAndSessions(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	leader := openOn(t, connect(t, chroot))
	at := fill(t, leader, lead(t, leader), 3)
	p := proxy(t)
	client := connect(t, chroot, p.Address)
	standby, k := openOn(t, client), new(kept)
	stop := follow(t, standby, k)
	waitFor(t, k, 3)
	for range 3 {
		p.Cut(true)
		at = fill(t, leader, at, 20)
		p.Restore()
		waitFor(t, k, at.Index-1)
	}
	s, err := client.Session(t.Context())
	require.NoError(t, err)
	p.Cut(true)
	<-time.After(s.Timeout() + 500*time.Millisecond) // until the server has expired it
	at = fill(t, leader, at, 20)
	p.Restore()
	waitFor(t, k, at.Index-1)
	<-s.Expired()
	require.Equal(t, upTo(at.Index-1), k.seen())
	require.ErrorIs(t, stop(), context.Canceled)
}

func TestAnApplierThatFailsBeginsAnew(t *testing.T) {
	t.Parallel()
	j := openOn(t, connect(t, server.Chroot(t)))
	fill(t, j, lead(t, j), 3)
	broken := errors.New("out of order")
	require.ErrorIs(t, j.Follow(t.Context(), &kept{fail: broken}), broken)
	k := new(kept)
	follow(t, j, k)
	waitFor(t, k, 3)
	require.Equal(t, upTo(3), k.seen())
}

// An append whose answer is lost is committed; one that was lost is not; and either is resolved.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		lose    func(p *zktest.Proxy)
		another bool // leads before Resolve
		want    error
		entries int
	}{
		{"the answer was lost", func(p *zktest.Proxy) { p.Deaf(true) }, false, nil, 4},
		{"the request was lost", func(p *zktest.Proxy) { p.Cut(true) }, false, nil, 4},
		{"the answer was lost, and another leads", func(p *zktest.Proxy) { p.Deaf(true) }, true, nil, 4},
		{"the request was lost, and another leads", func(p *zktest.Proxy) { p.Cut(true) }, true, journal.ErrFenced, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			chroot := server.Chroot(t)
			p := proxy(t)
			j := openOn(t, connect(t, chroot, p.Address))
			at := fill(t, j, lead(t, j), 3)
			c.lose(p)
			err := j.Append(t.Context(), []*record.Entry{entryAt(at, 100)})
			require.ErrorIs(t, err, journal.ErrUnknown)
			require.ErrorIs(t, err, zookeeper.ErrConnectionLost)
			require.ErrorIs(t, j.Resolve(t.Context()), journal.ErrUnknown, "it is still away")
			second := openOn(t, connect(t, chroot))
			if c.another {
				fill(t, second, lead(t, second), 1)
			}
			p.Restore()
			err = j.Resolve(t.Context())
			for errors.Is(err, journal.ErrUnknown) {
				err = j.Resolve(t.Context())
			}
			if errors.Is(err, zookeeper.ErrSessionExpired) {
				t.Skip("the machine is so slow that the session expired")
			}
			require.ErrorIs(t, err, c.want)
			k := new(kept)
			_, err = second.Lead(t.Context(), k)
			require.NoError(t, err)
			if c.another {
				c.entries++
			}
			require.Equal(t, upTo(uint64(c.entries)), k.seen())
		})
	}
}

func TestAnExpiredSessionEndsTheLeadership(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	p := proxy(t)
	client := connect(t, chroot, p.Address)
	j := openOn(t, client)
	at := fill(t, j, lead(t, j), 3)
	s, err := client.Session(t.Context())
	require.NoError(t, err)
	p.Cut(true)
	err = j.Append(t.Context(), []*record.Entry{entryAt(at, 100)})
	require.ErrorIs(t, err, journal.ErrUnknown)
	<-time.After(s.Timeout() + 500*time.Millisecond) // until the server has expired it
	p.Restore()
	<-s.Expired()
	err = j.Resolve(t.Context())
	require.ErrorIs(t, err, journal.ErrFenced)
	require.ErrorIs(t, err, zookeeper.ErrSessionExpired)
	k := new(kept)
	at, err = j.Lead(t.Context(), k)
	require.NoError(t, err, "it may lead again")
	require.Equal(t, upTo(3), k.seen())
	fill(t, j, at, 2)
}
