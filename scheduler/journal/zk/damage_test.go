package zk

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	zklib "github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

func sessionOf(t testing.TB, c *zookeeper.Client) *zookeeper.Session {
	t.Helper()
	s, err := c.Session(t.Context())
	require.NoError(t, err)
	return s
}

// What is damaged is named, and a Lead never starts with less.
func TestDamageIsNamed(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(s *zookeeper.Session) (path string, err error){
		"an entry changed": func(s *zookeeper.Session) (string, error) {
			_, err := s.Set(logPath(7), []byte("nonsense"), -1)
			return logPath(7), err
		},
		"an entry missing": func(s *zookeeper.Session) (string, error) { return logPath(7), s.Delete(logPath(7), -1) },
		"the epoch missing": func(s *zookeeper.Session) (string, error) {
			return epochNode, s.Delete(epochNode, -1)
		},
		"the manifest changed": func(s *zookeeper.Session) (string, error) {
			_, err := s.Set(manifestNode, []byte("{}"), -1)
			return manifestNode, err
		},
		"a chunk of both snapshots missing": func(s *zookeeper.Session) (string, error) {
			m, err := readManifest(s)
			if err != nil {
				return "", err
			}
			chunks, err := readTable(s, m.Snapshots[0])
			if err != nil {
				return "", err
			}
			p := snapshotPath(chunks[len(chunks)-1].Node)
			return p, s.Delete(p, -1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, server.Chroot(t))
			j := openOn(t, client)
			at := fill(t, j, lead(t, j), 5)
			require.NoError(t, j.Compact(t.Context(), state{index: 4, n: 3000, size: 500, changed: 1, version: 1}))
			require.NoError(t, j.Compact(t.Context(), state{index: 5, n: 3000, size: 500, changed: 1, version: 2}))
			fill(t, j, at, 5)
			s := sessionOf(t, client)
			path, err := damage(s)
			require.NoError(t, err)
			for range 2 {
				_, err = openOn(t, client).Lead(t.Context(), new(kept))
				var damaged *journal.CorruptError
				require.ErrorAs(t, err, &damaged)
				require.Equal(t, s.Path(path), damaged.File)
			}
		})
	}
}

func TestAnEpochThatWasSetBackIsRaisedAboveTheLog(t *testing.T) {
	t.Parallel()
	client := connect(t, server.Chroot(t))
	j := openOn(t, client)
	for range 3 {
		fill(t, j, lead(t, j), 1)
	}
	_, err := sessionOf(t, client).Set(epochNode, encodeEpoch(0), -1)
	require.NoError(t, err)
	require.Equal(t, journal.Position{Epoch: 4, Index: 4}, lead(t, openOn(t, client)))
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	client := connect(t, chroot)
	openOn(t, client)
	_, err := Open(t.Context(), client, Options{Cluster: "another"})
	require.ErrorContains(t, err, fmt.Sprintf(`%s holds the journal of cluster "test", this scheduler is of cluster "another"`, chroot))
	_, err = Open(t.Context(), client, Options{})
	require.ErrorContains(t, err, "the cluster's name is not given")
	s := sessionOf(t, client)
	_, err = s.Set(layoutNode, fmt.Appendf(nil, layoutFormat, 2), -1)
	require.NoError(t, err)
	_, err = Open(t.Context(), client, Options{Cluster: "test"})
	require.ErrorContains(t, err, "written by a newer Perigee (layout 2, this one reads up to 1)")

	other := connect(t, server.Chroot(t))
	require.NoError(t, other.MakeChroot(t.Context()))
	_, err = sessionOf(t, other).Create("brokers", nil, 0)
	require.NoError(t, err)
	for _, create := range []bool{false, true} {
		_, err = Open(t.Context(), other, Options{Cluster: "test", Create: create})
		require.ErrorContains(t, err, "holds brokers and no journal of Perigee's")
	}
}

// A path that is mistyped begins no new cluster: what is missing is told, and what is near it.
func TestAMistypedPathIsToldWithWhatIsNear(t *testing.T) {
	t.Parallel()
	root := server.Chroot(t)
	for _, name := range []string{"/prod", "/test"} {
		openOn(t, connect(t, root+name))
	}
	require.NoError(t, connect(t, root+"/empty").MakeChroot(t.Context()))
	for path, near := range map[string][]string{
		root + "/prdo":        {root + "/prod", root + "/test"},
		root + "/prod/deeper": {root + "/prod"},
		root + "/empty":       {root + "/prod", root + "/test"},
		root + "/a/b":         {root + "/prod", root + "/test"},
	} {
		client := connect(t, path)
		_, err := Open(t.Context(), client, Options{Cluster: "test"})
		require.Error(t, err, path)
		var missing *MissingError
		require.ErrorAs(t, err, &missing, path)
		require.Equal(t, path, missing.Path)
		require.Equal(t, near, missing.Near, path)
		require.ErrorContains(t, err, strings.Join(near, ", "))
	}
	_, err := Open(t.Context(), connect(t, root), Options{Cluster: "test"})
	require.ErrorContains(t, err, root+" holds empty, prod, test and no journal of Perigee's")
	require.ErrorContains(t, err, root+"/prod")
	for path, exists := range map[string]bool{root + "/prdo": false, root + "/a": false, root + "/empty/layout": false, root + "/prod/layout": true} {
		s := sessionOf(t, connect(t, path))
		stat, err := s.Exists("")
		require.NoError(t, err)
		require.Equal(t, exists, stat != nil, "nothing was made: %s", path)
	}
	made := connect(t, root+"/a/b")
	openOn(t, made)
	_, err = Open(t.Context(), made, Options{Cluster: "test"})
	require.NoError(t, err)
}

// Who may only read is refused at the start, and what is there stays as it is.
func TestWhoMayOnlyReadIsRefused(t *testing.T) {
	t.Parallel()
	client := connect(t, server.Chroot(t))
	j := openOn(t, client)
	at := fill(t, j, lead(t, j), 2)
	permit := zktest.Permit(t, server.Server(t).Address, client.Chroot())
	permit(zklib.PermRead)
	_, err := Open(t.Context(), client, Options{Cluster: "test"})
	require.ErrorIs(t, err, zookeeper.ErrNotPermitted)
	require.ErrorContains(t, err, client.Chroot()+" can be read and not written with these credentials")

	err = j.Append(t.Context(), []*record.Entry{entryAt(at, 100)})
	require.ErrorIs(t, err, journal.ErrUnknown)
	require.ErrorIs(t, err, zookeeper.ErrNotPermitted)
	require.ErrorIs(t, j.Resolve(t.Context()), journal.ErrUnknown)
	permit(zklib.PermAll)
	require.NoError(t, j.Resolve(t.Context()), "it goes on by itself")
	at.Index++
	fill(t, j, at, 1)
	require.Equal(t, uint64(5), lead(t, openOn(t, client)).Index)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	chroot := server.Chroot(t)
	with := func(credentials string) (*zookeeper.Client, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c, err := zookeeper.Connect(ctx, zookeeper.Options{Servers: []string{server.Server(t).Address}, Chroot: chroot, Credentials: credentials})
		if err == nil {
			t.Cleanup(c.Close)
		}
		return c, err
	}
	right, err := with("perigee:secret")
	require.NoError(t, err)
	j := openOn(t, right)
	fill(t, j, lead(t, j), 2)
	for _, credentials := range []string{"", "perigee:wrong"} {
		wrong, err := with(credentials)
		require.NoError(t, err)
		_, err = Open(t.Context(), wrong, Options{Cluster: "test"})
		require.ErrorContains(t, err, "not permitted: the znode belongs to other credentials")
		require.ErrorContains(t, err, chroot+"/layout")
	}
	again, err := with("perigee:secret")
	require.NoError(t, err)
	k := new(kept)
	_, err = openOn(t, again).Lead(t.Context(), k)
	require.NoError(t, err)
	require.Equal(t, upTo(2), k.seen())
}

// A state of a fixed size that changes for ever leaves the journal as big as at first.
func TestSizeStaysProportionalToLiveState(t *testing.T) {
	t.Parallel()
	client := connect(t, server.Chroot(t))
	j := openOn(t, client)
	at := lead(t, j)
	s := sessionOf(t, client)
	const tasks, restarts = 2000, 40 // each task restarts so often, a tenth of them in an entry
	size := func() (bytes, nodes int) {
		for _, parent := range []string{logNode, snapshotNode} {
			names, err := s.Children(parent)
			require.NoError(t, err)
			nodes += len(names)
			for _, n := range names {
				stat, err := s.Exists(parent + "/" + n)
				require.NoError(t, err)
				bytes += int(stat.DataLength)
			}
		}
		return bytes, nodes
	}
	var most, mostNodes int
	for restart := range restarts {
		for part := range 10 {
			e := &record.Entry{Index: at.Index, Epoch: at.Epoch}
			for i := part; i < tasks; i += 10 {
				e.Puts = append(e.Puts, &record.Put{Key: fmt.Sprintf("task/%06d-%04d", restart, i), Value: make([]byte, 300)})
				if restart > 0 {
					e.Deletes = append(e.Deletes, fmt.Sprintf("task/%06d-%04d", restart-1, i))
				}
			}
			require.NoError(t, j.Append(t.Context(), []*record.Entry{e}))
			at.Index++
		}
		require.NoError(t, j.Compact(t.Context(), state{index: at.Index - 1, n: tasks, size: 300, changed: tasks, version: byte(restart)}))
		if bytes, nodes := size(); restart < 4 {
			most, mostNodes = max(most, bytes), max(mostNodes, nodes)
		} else {
			require.LessOrEqual(t, bytes, most*11/10)
			require.LessOrEqual(t, nodes, mostNodes+2)
		}
	}
}

// Of a state of which little changes, little is written.
func TestOnlyChangedChunksAreWritten(t *testing.T) {
	t.Parallel()
	client := connect(t, server.Chroot(t))
	j := openOn(t, client)
	at := fill(t, j, lead(t, j), 5)
	cut := func(index uint64, n, changed int) (fresh, all int) {
		require.NoError(t, j.Compact(t.Context(), state{index: index, n: n, size: 500, changed: changed, version: byte(index)}))
		s := sessionOf(t, client)
		m, err := readManifest(s)
		require.NoError(t, err)
		chunks, err := readTable(s, m.Snapshots[0])
		require.NoError(t, err)
		for _, k := range chunks {
			require.LessOrEqual(t, k.Bytes, int64(chunkMax+1))
			if k.Cut == index {
				fresh++
			}
		}
		return fresh, len(chunks)
	}
	fresh, all := cut(1, 10_000, 1)
	require.Equal(t, all, fresh)
	require.Greater(t, all, 10)
	fresh, _ = cut(2, 10_000, 1)
	require.Equal(t, 1, fresh, "one record has changed")
	fresh, again := cut(3, 10_100, 1)
	require.LessOrEqual(t, fresh, 3, "one record has changed, and some came at the end")
	require.LessOrEqual(t, again, all+1)
	fresh, again = cut(4, 100, 1)
	require.Equal(t, 1, fresh)
	require.Equal(t, 1, again, "few records are one chunk")
	_ = at
	k := new(kept)
	_, err := openOn(t, client).Lead(t.Context(), k)
	require.NoError(t, err)
	require.Len(t, k.records, 100)
	require.Equal(t, []uint64{4}, k.past)
	require.Equal(t, []uint64{5}, k.applied)
}
