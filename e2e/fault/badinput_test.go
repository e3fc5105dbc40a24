package fault

import (
	"context"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

const credentials = "perigee:secret"

// TestBad_Journal has journals in ZooKeeper that a scheduler must not start
// with: it ends and names what is wrong, where.
func TestBad_Journal(t *testing.T) {
	servers := needsZooKeeper(t)
	for _, bad := range []struct {
		name   string
		change func(*stored)           // of the journal
		as     func(*schedulerOptions) // of who starts with it
		says   func(*stored) []string  // in its last words
	}{
		{name: "WrongCredentials",
			as:   func(o *schedulerOptions) { o.credentials = "perigee:wrong" },
			says: func(s *stored) []string { return []string{s.chroot, "not permitted"} }},
		{name: "NoCredentials",
			as:   func(o *schedulerOptions) { o.credentials = "" },
			says: func(s *stored) []string { return []string{s.chroot, "not permitted"} }},
		{name: "AnotherCluster",
			as:   func(o *schedulerOptions) { o.cluster = "south" },
			says: func(s *stored) []string { return []string{s.chroot, `"north"`, `"south"`, "path of its own"} }},
		{name: "AnothersPath",
			as:   func(o *schedulerOptions) { o.chroot += "/log" },
			says: func(s *stored) []string { return []string{s.chroot + "/log", "no journal of Perigee's"} }},
		{name: "NewerLayout",
			change: func(s *stored) { s.set("/layout", "perigee journal, layout 2\n") },
			says:   func(s *stored) []string { return []string{s.chroot + "/layout", "newer Perigee", "layout 2"} }},
		{name: "CorruptEntry",
			change: func(s *stored) { s.damage(s.entry(1)) },
			says:   func(s *stored) []string { return []string{s.chroot + s.entry(1), "corrupt"} }},
		{name: "MissingEntry",
			change: func(s *stored) { s.delete(s.entry(1)) },
			says:   func(s *stored) []string { return []string{s.chroot + s.entry(1), "missing"} }},
		{name: "MissingChunk", // and entries that it stood for are gone, as they are after a while
			change: func(s *stored) {
				s.seal("/manifest", `{"snapshots": [{"table": "table-2", "crc32c": 1, "index": 3}, {"table": "table-1", "crc32c": 1, "index": 2}]}`)
				s.delete(s.entry(0))
				s.delete(s.entry(1))
			},
			says: func(s *stored) []string { return []string{s.chroot + "/snapshot/table-2", "missing"} }},
		{name: "CorruptManifest",
			change: func(s *stored) { s.damage("/manifest") },
			says:   func(s *stored) []string { return []string{s.chroot + "/manifest", "corrupt"} }},
		{name: "MissingEpoch",
			change: func(s *stored) { s.delete("/epoch") },
			says:   func(s *stored) []string { return []string{s.chroot + "/epoch", "missing"} }},
	} {
		t.Run(bad.name, func(t *testing.T) {
			o := schedulerOptions{name: "bad-" + bad.name, cluster: "north", chroot: program.Again("/fault/bad/" + bad.name),
				zookeepers: zktest.Addresses(servers), credentials: credentials, master: "127.0.0.1:1"}
			s := store(t, o)
			if bad.change != nil {
				bad.change(s)
			}
			before := s.everything()
			if bad.as != nil {
				bad.as(&o)
			}
			words := refused(t, o)
			for _, say := range bad.says(s) {
				require.Contains(t, words, say)
			}
			require.Equal(t, before, s.everything(), "what is there was changed")
		})
	}
}

// A server that is not there, and one that is something else.
func TestBad_ZooKeeper(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	bad := []struct{ name, address, says string }{
		{"Unreachable", "127.0.0.1:1", "connection refused"},
		{"SomethingElse", l.Addr().String(), "answers nothing"},
	}
	var begun []*program.Process // all at once: each tries for a while
	for _, b := range bad {
		begun = append(begun, begin(t, schedulerOptions{name: "bad-" + b.name, cluster: "north", chroot: "/fault/bad",
			zookeepers: []string{b.address}, master: "127.0.0.1:1"}))
	}
	for i, b := range bad {
		words := lastWords(t, begun[i])
		require.Contains(t, words, "journal.url")
		require.Contains(t, words, b.address)
		require.Contains(t, words, b.says)
	}
}

// refused starts a scheduler that is to end by itself, and returns its last
// words.
func refused(t *testing.T, o schedulerOptions) string {
	t.Helper()
	return lastWords(t, begin(t, o))
}

func begin(t *testing.T, o schedulerOptions) *program.Process {
	t.Helper()
	p, err := program.Start(built.dir, o.name, built.perigee, append(o.arguments(), "--api-listen", "127.0.0.1:0")...)
	require.NoError(t, err)
	t.Cleanup(func() { endAll(t, p) })
	return p
}

func lastWords(t *testing.T, p *program.Process) string {
	t.Helper()
	select {
	case <-p.Ended:
	case <-time.After(patience):
		require.FailNow(t, "the scheduler goes on", p.Stderr.String())
	}
	require.NotZero(t, p.Cmd.ProcessState.ExitCode())
	said := p.Stderr.String()
	require.NotContains(t, said, "subscribed")
	require.NotContains(t, said, "panic")
	_, words, ok := strings.Cut(said, "error: ")
	require.True(t, ok, said)
	return words
}

// stored is a journal that a scheduler has left, as ZooKeeper has it.
type stored struct {
	t      *testing.T
	conn   *zk.Conn
	chroot string
}

// store has a scheduler make a journal with a job.
func store(t *testing.T, o schedulerOptions) *stored {
	t.Helper()
	p := begin(t, o)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	line, err := p.Stdout.Await(ctx, "answers at ")
	require.NoError(t, err, p.Stderr)
	_, url, _ := strings.Cut(line, "answers at ")
	c, err := client.New(url, client.WithPatience(patience))
	require.NoError(t, err)
	for n := range 3 {
		_, err = c.PutJob(ctx, &api.Spec{Job: fmt.Sprintf("web/test/job-%d", n), Kind: api.KindBatch, Command: "true", Resources: small()}, client.PutOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, p.End(ctx, os.Interrupt))

	conn, _, err := zk.Connect(o.zookeepers, 4*time.Second, zk.WithLogInfo(false))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	require.NoError(t, conn.AddAuth("digest", []byte(o.credentials)))
	return &stored{t: t, conn: conn, chroot: o.chroot}
}

// entry is the path of an entry, the first being 0.
func (s *stored) entry(n int) string { return fmt.Sprintf("/log/%010d", n+1) }

func (s *stored) get(path string) []byte {
	s.t.Helper()
	b, _, err := s.conn.Get(s.chroot + path)
	require.NoError(s.t, err, path)
	return b
}

func (s *stored) set(path, content string) {
	s.t.Helper()
	_, err := s.conn.Set(s.chroot+path, []byte(content), -1)
	require.NoError(s.t, err)
}

func (s *stored) delete(path string) {
	s.t.Helper()
	require.NoError(s.t, s.conn.Delete(s.chroot+path, -1))
}

// damage changes one bit.
func (s *stored) damage(path string) {
	s.t.Helper()
	b := s.get(path)
	b[len(b)/2] ^= 4
	s.set(path, string(b))
}

// seal sets content with its checksum.
func (s *stored) seal(path, content string) {
	content += "\n"
	sum := crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli))
	s.set(path, fmt.Sprintf("%scrc32c %08x\n", content, sum))
}

// everything is all of the journal, but for who stands for election and the
// count of leaderships.
func (s *stored) everything() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, path := range []string{"/layout", "/cluster", "/manifest"} {
		all[path] = string(s.get(path))
	}
	names, _, err := s.conn.Children(s.chroot + "/log")
	require.NoError(s.t, err)
	require.NotEmpty(s.t, names)
	for _, n := range names {
		all["/log/"+n] = string(s.get("/log/" + n))
	}
	return all
}
