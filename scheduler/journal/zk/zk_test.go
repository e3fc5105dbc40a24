package zk

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	zklib "github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/journal/journaltest"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

var server zktest.Shared

func TestMain(m *testing.M) {
	journaltest.Child(func(location string) (journal.Journal, error) {
		address, chroot, _ := strings.Cut(location, "|")
		client, err := zookeeper.Connect(context.Background(), zookeeper.Options{Servers: []string{address}, Chroot: chroot})
		if err != nil {
			return nil, err
		}
		return Open(context.Background(), client, Options{Cluster: "test", Create: true})
	})
	code := m.Run()
	server.Close()
	os.Exit(code)
}

// connect returns a client of the shared server, or of those given.
func connect(t testing.TB, chroot string, servers ...string) *zookeeper.Client {
	t.Helper()
	if len(servers) == 0 {
		servers = []string{server.Server(t).Address}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// Long, for a machine that is so busy that answers are seconds late.
	c, err := zookeeper.Connect(ctx, zookeeper.Options{Servers: servers, Chroot: chroot, SessionTimeout: 30 * time.Second})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func openOn(t testing.TB, c *zookeeper.Client) *Journal {
	t.Helper()
	j, err := Open(t.Context(), c, Options{Cluster: "test", Create: true})
	require.NoError(t, err)
	return j
}

func TestConformance(t *testing.T) {
	t.Parallel()
	address := server.Server(t).Address
	journaltest.Run(t, func(t *testing.T) *journaltest.Storage {
		chroot := server.Chroot(t)
		client := connect(t, chroot)
		require.NoError(t, client.MakeChroot(t.Context()))
		faults := new(faults)
		return &journaltest.Storage{
			Open: func() (journal.Journal, error) {
				j, err := open(t.Context(), Options{Cluster: "test", Create: true}, func(ctx context.Context) (session, error) {
					s, err := client.Session(ctx)
					return &faultySession{session: s, faults: faults}, err
				})
				if err != nil {
					return nil, err
				}
				return j, nil
			},
			OpenToRestore: func() (journal.Restorer, error) {
				j, err := open(t.Context(), Options{Cluster: "test", Create: true, Restore: true}, func(ctx context.Context) (session, error) {
					s, err := client.Session(ctx)
					return &faultySession{session: s, faults: faults}, err
				})
				if err != nil {
					return nil, err
				}
				return j, nil
			},
			Shared:         true,
			Crash:          func(journal.Journal) {}, // it holds nothing that an end would free
			Leave:          func(entries []*record.Entry) error { return leave(t, client, entries) },
			DamageSnapshot: func() error { return damageSnapshot(t, client) },
			Fail:           faults.fail,
			Location:       address + "|" + chroot,
		}
	})
}

func leave(t testing.TB, c *zookeeper.Client, entries []*record.Entry) error {
	s, err := c.Session(t.Context())
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := encodeEntry(e)
		if err != nil {
			return err
		}
		if _, err := s.Create(logPath(e.GetIndex()), b, 0); err != nil {
			return err
		}
	}
	return nil
}

func damageSnapshot(t testing.TB, c *zookeeper.Client) error {
	s, err := c.Session(t.Context())
	if err != nil {
		return err
	}
	m, err := readManifest(s)
	if err != nil {
		return err
	}
	_, err = s.Set(snapshotPath(m.Snapshots[0].Table), []byte{packedPlain, '['}, -1)
	return err
}

// faults counts what a journal asks of ZooKeeper, and fails some of it as a lost connection does: by
// turns the request is lost, and the answer.
type faults struct {
	mu     sync.Mutex
	count  int
	from   int // 0 for never
	to     int // the first that works again
	failed bool
}

func (f *faults) fail(n, times int) (heal func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from, f.to, f.failed = f.count+n, f.count+n+min(times, 1<<30), false
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.from = 0
		return f.failed
	}
}

// next decides what becomes of a request.
func (f *faults) next() (lost, unanswered bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.from == 0 || f.count < f.from || f.count >= f.to {
		return false, false
	}
	f.failed = true
	return f.count%2 == 0, f.count%2 == 1
}

func (f *faults) around(request func() error) error {
	lost, unanswered := f.next()
	if lost {
		return zookeeper.ErrConnectionLost
	}
	if err := request(); err != nil || !unanswered {
		return err
	}
	return zookeeper.ErrConnectionLost
}

type faultySession struct {
	session
	faults *faults
}

func (s *faultySession) Get(p string) (b []byte, stat *zklib.Stat, err error) {
	err = s.faults.around(func() error { b, stat, err = s.session.Get(p); return err })
	return b, stat, err
}

func (s *faultySession) Children(p string) (names []string, err error) {
	err = s.faults.around(func() error { names, err = s.session.Children(p); return err })
	return names, err
}

func (s *faultySession) Sync(p string) error {
	return s.faults.around(func() error { return s.session.Sync(p) })
}

func (s *faultySession) Set(p string, b []byte, version int32) (stat *zklib.Stat, err error) {
	err = s.faults.around(func() error { stat, err = s.session.Set(p, b, version); return err })
	return stat, err
}

func (s *faultySession) Multi(ops ...zookeeper.Op) error {
	return s.faults.around(func() error { return s.session.Multi(ops...) })
}

// kept is an Applier that keeps what it is passed.
type kept struct {
	mu      sync.Mutex
	records map[string]string
	past    []uint64
	applied []uint64 // the last index of each group
	entries int
	fail    error
}

func (k *kept) Record(key string, value []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.records == nil {
		k.records = map[string]string{}
	}
	if _, twice := k.records[key]; twice {
		return errors.New("a record is passed twice")
	}
	k.records[key] = string(value)
	return nil
}

func (k *kept) Past(group []*record.Entry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.past = append(k.past, group[len(group)-1].GetIndex())
	return nil
}

func (k *kept) Apply(group []*record.Entry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	k.applied = append(k.applied, group[len(group)-1].GetIndex())
	k.entries += len(group)
	return nil
}

func (k *kept) seen() []uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]uint64(nil), k.applied...)
}

func (k *kept) last() uint64 {
	if s := k.seen(); len(s) > 0 {
		return s[len(s)-1]
	}
	return 0
}

// upTo lists 1 … n.
func upTo(n uint64) []uint64 {
	var all []uint64
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

func lead(t testing.TB, j *Journal) journal.Position {
	t.Helper()
	at, err := j.Lead(t.Context(), new(kept))
	require.NoError(t, err)
	return at
}

// entryAt makes an entry of about size bytes.
func entryAt(at journal.Position, size int) *record.Entry {
	return &record.Entry{Index: at.Index, Epoch: at.Epoch,
		Puts: []*record.Put{{Key: "k", Value: make([]byte, size)}}}
}

// fill appends n entries of 100 bytes, each a group.
func fill(t testing.TB, j *Journal, at journal.Position, n int) journal.Position {
	t.Helper()
	for range n {
		require.NoError(t, j.Append(t.Context(), []*record.Entry{entryAt(at, 100)}))
		at.Index++
	}
	return at
}

// follow follows in the background until the test ends or stop is called; its error is then returned.
func follow(t testing.TB, j *Journal, k *kept) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- j.Follow(ctx, k) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-ended })
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func waitFor(t testing.TB, k *kept, last uint64) {
	t.Helper()
	require.Eventually(t, func() bool { return k.last() >= last }, 30*time.Second, 2*time.Millisecond, "the standby sees entry %d", last)
}
