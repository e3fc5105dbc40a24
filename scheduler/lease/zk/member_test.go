package zk

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

const soon = 20 * time.Millisecond // of TellEvery

// awaitMembers waits until a lease knows of members that satisfy, and returns them.
func awaitMembers(t *testing.T, l *Lease, what string, satisfy func([]lease.Member) bool) []lease.Member {
	t.Helper()
	deadline := time.After(patience)
	for {
		all, changed := l.Members()
		if satisfy(all) {
			return all
		}
		select {
		case <-changed:
		case <-deadline:
			require.Fail(t, what, "%+v", all)
		}
	}
}

func TestMembersTellOfThemselves(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	var index atomic.Uint64
	a := open(t, chroot, Options{Address: "a:1", Version: "1.4.0", Features: []string{"x", "y"}, TellEvery: soon,
		Saw: func() (uint64, uint64) { return index.Load(), 7 }})
	b := open(t, chroot, Options{Address: "b:1", Version: "1.5.0", Features: []string{"y", "z"}, TellEvery: soon})
	acquire(t, b)
	standing(t, a)
	c := open(t, chroot, Options{Address: "c:1", Version: "1.5.0", Features: []string{}, TellEvery: soon}) // still loads its journal
	index.Store(50)
	for _, l := range []*Lease{a, b, c} {
		all := awaitMembers(t, l, "three members, the first of which leads", func(all []lease.Member) bool {
			untold := func(m lease.Member) bool { return m.Skew == nil } // until it was measured
			return len(all) == 3 && all[0].Address == "b:1" && all[1].Index == 50 && !slices.ContainsFunc(all, untold)
		})
		for i := range all {
			require.Less(t, all[i].Skew.Abs(), 2*time.Second)
			all[i].Skew = nil
		}
		require.Equal(t, []lease.Member{
			{Address: "b:1", Version: "1.5.0", Features: []string{"y", "z"}, Stands: true},
			{Address: "a:1", Version: "1.4.0", Features: []string{"x", "y"}, Index: 50, Epoch: 7, Stands: true},
			{Address: "c:1", Version: "1.5.0", Features: []string{}},
		}, all)
	}
	index.Store(51)
	awaitMembers(t, b, "how far a is", func(all []lease.Member) bool { return all[1].Index == 51 })
	require.NoError(t, c.Close())
	c.client.Close()
	awaitMembers(t, b, "c has gone", func(all []lease.Member) bool { return len(all) == 2 })
}

// A feature is of use only while every scheduler that lives knows it. One of a version that tells nothing,
// or something that cannot be read, knows none.
func TestAnOlderSchedulerTurnsFeaturesOff(t *testing.T) {
	t.Parallel()
	a := open(t, server.Chroot(t), Options{Address: "a:1", Features: []string{"x"}})
	acquire(t, a)
	usable := func(want ...string) {
		t.Helper()
		awaitMembers(t, a, fmt.Sprintf("usable are %v", want), func(all []lease.Member) bool {
			return fmt.Sprint(lease.Features(all)) == fmt.Sprint(want)
		})
	}
	usable("x")
	s, err := a.client.Session(t.Context())
	require.NoError(t, err)
	older, err := s.Create(electionNode+"/0011223344556677-", []byte("older:1"), zk.FlagEphemeral|zk.FlagSequence)
	require.NoError(t, err)
	usable()
	all, _ := a.Members()
	require.Equal(t, lease.Member{Address: "older:1", Stands: true}, all[1])
	require.NoError(t, s.Delete(older, -1))
	usable("x")
	unreadable, err := s.Create(membersNode+"/8899aabbccddeeff", []byte("\x01of a later day"), zk.FlagEphemeral)
	require.NoError(t, err)
	usable()
	require.NoError(t, s.Delete(unreadable, -1))
	usable("x")
	_, err = s.Create(membersNode+"/8899aabbccddeeff", []byte(`{"address":"newer:1","features":["x","w"],"more":{}}`), zk.FlagEphemeral)
	require.NoError(t, err)
	awaitMembers(t, a, "a newer one", func(all []lease.Member) bool { return len(all) == 2 })
	usable("x")
}

// Whoever deletes a member's znode, or ends its session, does not end its membership.
func TestAMemberStaysOne(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	p, err := zktest.NewProxy(server.Server(t).Address)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	a := open(t, chroot, Options{Address: "a:1", TellEvery: soon}, p.Address)
	b := open(t, chroot, Options{Address: "b:1", TellEvery: soon})
	both := func(all []lease.Member) bool { return len(all) == 2 }
	awaitMembers(t, b, "both", both)
	s, err := b.client.Session(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Delete(a.own(), -1))
	awaitMembers(t, b, "both again", both)

	p.Cut(true)
	awaitMembers(t, b, "a has gone", func(all []lease.Member) bool { return len(all) == 1 })
	require.Eventually(t, func() bool { return strings.Contains(a.Problem(), p.Address) }, patience, time.Millisecond,
		"a says why it knows nothing")
	all, _ := a.Members()
	require.Empty(t, all)
	require.Empty(t, b.Problem())
	p.Restore()
	awaitMembers(t, b, "both on another session", both)
	awaitMembers(t, a, "both", both)
	require.Empty(t, a.Problem())
}

// said is a log.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *said) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

func (s *said) with(text string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for line := range strings.Lines(s.buf.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// Clocks that differ are told, with how much and whose, once for as long as that stays so.
func TestSkewBetweenSchedulersIsLogged(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	logs := [3]said{}
	rounds := [3]atomic.Uint64{}
	var all [3]*Lease
	for i, now := range []func() time.Time{clock, time.Now, time.Now} {
		all[i] = open(t, chroot, Options{Address: string(rune('a'+i)) + ":1", Now: now, TellEvery: soon, Logger: logs[i].logger(),
			Saw: func() (uint64, uint64) { return rounds[i].Add(1), 0 }})
	}
	// looked waits until each has measured, told and looked at the others anew.
	looked := func() {
		t.Helper()
		for i := range all {
			now := rounds[i].Load()
			for k := range all {
				awaitMembers(t, all[k], "all look at all", func(members []lease.Member) bool {
					for _, m := range members {
						if m.Address == all[i].o.Address && m.Index > now+2 {
							return true
						}
					}
					return false
				})
			}
		}
	}
	const differ, agree = "clock and another scheduler's differ", "agree again"
	// count waits until so many lines were written, and wants no more to come.
	count := func(text string, want ...int) {
		t.Helper()
		for i := range logs {
			require.Eventually(t, func() bool { return len(logs[i].with(text)) >= want[i] }, patience, time.Millisecond, "%s of %s", text, all[i].o.Address)
		}
		looked()
		for i := range logs {
			require.Len(t, logs[i].with(text), want[i], "%s of %s", text, all[i].o.Address)
		}
	}
	looked()
	count(differ, 0, 0, 0)
	ahead.Store(int64(90 * time.Second))
	count(differ, 2, 1, 1)
	require.Contains(t, logs[1].with(differ)[0], "of=a:1")
	require.Regexp(t, `ahead=-(1m29|1m30)\.?\d*s`, logs[1].with(differ)[0])
	require.Contains(t, logs[1].with(differ)[0], "see to the time service")
	skew, known := all[0].Skew()
	require.True(t, known)
	require.InDelta(t, -90, skew.Seconds(), 2, "ZooKeeper's is behind a's")
	ahead.Store(int64(-40 * time.Second))
	count(differ, 4, 2, 2)
	ahead.Store(0)
	count(agree, 2, 1, 1)
	count(differ, 4, 2, 2)
}
