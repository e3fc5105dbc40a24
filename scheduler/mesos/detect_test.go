package mesos

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

func TestParseMaster(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]masterAddress{
		"h:5050":                     {hosts: []string{"h:5050"}},
		"h1, h2:5051":                {hosts: []string{"h1:5050", "h2:5051"}},
		"[::1]:5050":                 {hosts: []string{"[::1]:5050"}},
		"zk://z1:2181,z2/mesos":      {zk: &zkAddress{servers: []string{"z1:2181", "z2:2181"}, path: "/mesos"}},
		"zk://me:secret@z1/a/mesos/": {zk: &zkAddress{servers: []string{"z1:2181"}, path: "/a/mesos", auth: "me:secret"}},
	} {
		got, err := parseMaster(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "zk://", "zk://h", "zk://h/", "http://h:5050", "h1:5050,,h2", "a:b:c", "zk:///mesos"} {
		_, err := parseMaster(s)
		require.ErrorContains(t, err, "want host:port", s)
	}
}

func TestMasterOf(t *testing.T) {
	t.Parallel()
	for info, want := range map[string]string{
		`{"address":{"hostname":"m1","ip":"10.0.0.1","port":5050},"hostname":"m1","id":"x","ip":16777226,"port":5050,"pid":"master@10.0.0.1:5050"}`: "10.0.0.1:5050",
		`{"address":{"hostname":"m1","port":5051}}`:           "m1:5051",
		`{"hostname":"m1","ip":16777226,"port":5050}`:         "m1:5050",
		`{"address":{"ip":"::1","port":5050},"id":"x"}`:       "[::1]:5050",
		`{"address":{"ip":"10.0.0.1"},"id":"x","port":5055 }`: "10.0.0.1:5055",
	} {
		got, err := masterOf([]byte(info))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, info := range []string{"", "{}", "\x0a\x04", `{"hostname":"m1"}`} {
		_, err := masterOf([]byte(info))
		require.ErrorContains(t, err, "master info")
	}
}

// group is the masters' znode.
type group struct {
	mu      sync.Mutex
	nodes   map[string]string
	changed chan zk.Event
	down    bool
}

func (g *group) set(nodes map[string]string, down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nodes, g.down = nodes, down
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

func (g *group) ChildrenW(string) ([]string, *zk.Stat, <-chan zk.Event, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
		return nil, nil, nil, zk.ErrNoServer
	}
	if g.changed == nil {
		g.changed = make(chan zk.Event)
	}
	var names []string
	for name := range g.nodes {
		names = append(names, name)
	}
	return names, nil, g.changed, nil
}

func (g *group) Get(path string) ([]byte, *zk.Stat, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b, ok := g.nodes[filepath.Base(path)]; ok {
		return []byte(b), nil, nil
	}
	return nil, nil, zk.ErrNoNode
}

func (g *group) Close() {}

func masterInfo(address string) string {
	host, port, _ := net.SplitHostPort(address)
	return fmt.Sprintf(`{"address":{"ip":%q,"port":%s}}`, host, port)
}

func TestZooKeeper_LowestLeads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &group{nodes: map[string]string{"log_replicas": ""}}
		z := &zkDetector{conn: g, path: "/mesos", log: slog.New(slog.DiscardHandler), pause: time.Second}
		found := make(chan string, 1)
		go func() {
			master, err := z.detect(t.Context())
			require.NoError(t, err)
			found <- master
		}()
		time.Sleep(time.Hour)
		require.Empty(t, found, "it waits for a leader")
		g.set(map[string]string{"log_replicas": "", "info_0000000001": "protobuf", "json.info_0000000010": masterInfo("m10:1"),
			"json.info_0000000009": masterInfo("m9:1"), "json.info_x": ""}, false)
		require.Equal(t, "m9:1", <-found)

		ended := make(chan error, 1)
		go func() { ended <- z.watch(t.Context(), "m9:1") }()
		g.set(map[string]string{"json.info_0000000009": masterInfo("m9:1")}, false)
		g.set(nil, true)
		time.Sleep(time.Hour)
		require.Empty(t, ended, "while ZooKeeper is away, nothing is known")
		g.set(map[string]string{"json.info_0000000010": masterInfo("m10:1")}, false)
		require.ErrorContains(t, <-ended, "m9:1 leads no more")
	})
}

// The same against a real ZooKeeper.
func TestZooKeeper_Real(t *testing.T) {
	t.Parallel()
	server, err := zktest.Start(t.TempDir(), zktest.Options{})
	zktest.Require(t, err)
	defer server.Close()
	address := server.Address
	admin, _, err := zk.Connect([]string{address}, 10*time.Second, zk.WithLogInfo(false), zk.WithLogger(discard{}))
	require.NoError(t, err)
	defer admin.Close()
	create := func(path, content string) {
		_, err := admin.Create(path, []byte(content), 0, zk.WorldACL(zk.PermAll))
		require.NoError(t, err)
	}
	create("/mesos", "")
	create("/mesos/log_replicas", "")
	create("/mesos/json.info_0000000003", masterInfo("10.0.0.3:5050"))

	z, err := newZKDetector(zkAddress{servers: []string{address}, path: "/mesos"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer z.close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	master, err := z.detect(ctx)
	require.NoError(t, err)
	require.Equal(t, "10.0.0.3:5050", master)

	ended := make(chan error, 1)
	go func() { ended <- z.watch(ctx, master) }()
	create("/mesos/json.info_0000000004", masterInfo("10.0.0.4:5050"))
	require.NoError(t, admin.Delete("/mesos/json.info_0000000003", -1))
	require.ErrorContains(t, <-ended, "10.0.0.3:5050 leads no more")
	master, err = z.detect(ctx)
	require.NoError(t, err)
	require.Equal(t, "10.0.0.4:5050", master)
}
