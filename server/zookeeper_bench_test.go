package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	journalzk "github.com/perigee-sched/perigee/scheduler/journal/zk"
	leasezk "github.com/perigee-sched/perigee/scheduler/lease/zk"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// stored is a journal and a lease on one session with ZooKeeper.
type stored struct {
	client  *zookeeper.Client
	journal *journalzk.Journal
	lease   *leasezk.Lease
}

// benchServer starts a server that syncs to disk and has the tick of production.
func benchServer(b *testing.B) string {
	b.Helper()
	s, err := zktest.Start(b.TempDir(), zktest.Options{Sync: true, Tick: 2 * time.Second, Heap: 1024})
	zktest.Require(b, err)
	b.Cleanup(s.Close)
	return s.Address
}

func store(b *testing.B, server, name string) *stored {
	b.Helper()
	c, err := zookeeper.Connect(b.Context(), zookeeper.Options{Servers: []string{server}, Chroot: "/perigee/bench", Credentials: "perigee:hush"})
	require.NoError(b, err)
	s := &stored{client: c}
	s.journal, err = journalzk.Open(b.Context(), c, journalzk.Options{Cluster: "bench", Create: true})
	require.NoError(b, err)
	s.lease, err = leasezk.New(c, leasezk.Options{Address: name})
	require.NoError(b, err)
	return s
}

func (s *stored) close() {
	_ = s.journal.Close()
	_ = s.lease.Close()
	s.client.Close()
}

// beginZooKeeper has the journal in one ZooKeeper, on the same machine.
func beginZooKeeper(b *testing.B) *whole {
	b.Helper()
	s := store(b, benchServer(b), "bench")
	b.Cleanup(s.close)
	return beginOn(b, s.journal, s.lease)
}

// BenchmarkRunsZooKeeper is BenchmarkRuns with the journal in ZooKeeper, which
// has its part of the same cores.
func BenchmarkRunsZooKeeper(b *testing.B) { measureRuns(b, beginZooKeeper) }

// BenchmarkWrites has 200 writes a second come in over HTTP, each at its time,
// whether those before are answered or not, and reports how long after that
// each was answered: durable. Every second one starts a run, which is placed
// and finished meanwhile; the others change the number of instances of a
// service.
func BenchmarkWrites(b *testing.B) {
	for name, begin := range map[string]func(*testing.B) *whole{"file": begin, "zookeeper": beginZooKeeper} {
		b.Run(name, func(b *testing.B) {
			w := begin(b)
			w.send("PUT", "/v1/jobs/web/prod/shop", `{"kind":"service","command":"./serve","instances":1,"resources":{"cpus":0.1,"memory":"64MiB"}}`)
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			first := time.Now()
			var users sync.WaitGroup
			for i := range b.N {
				due := first.Add(time.Duration(i) * 5 * time.Millisecond)
				time.Sleep(time.Until(due))
				users.Go(func() {
					if i%2 == 0 {
						w.send("POST", "/v1/jobs/etl/prod/load/runs", `{"runs":[{}]}`)
					} else {
						w.send("PUT", "/v1/jobs/web/prod/shop/instances", fmt.Sprintf(`{"instances":%d}`, 1+i/2%2))
					}
					took[i] = time.Since(due)
				})
			}
			users.Wait()
			b.StopTimer()
			slices.Sort(took)
			for name, q := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "max-ms": 1} {
				b.ReportMetric(float64(took[int(float64(len(took)-1)*q)].Microseconds())/1000, name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// used is the processor time of this process, and of those it started:
// ZooKeeper.
type used struct{ own, others time.Duration }

func cpuTime(b *testing.B) used {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	is := used{own: time.Duration(u.Utime.Nano() + u.Stime.Nano())}
	files, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(b, err)
	for _, f := range files {
		pids, _ := os.ReadFile(f) // a thread may have ended
		for _, pid := range strings.Fields(string(pids)) {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			require.NoError(b, err)
			_, after, _ := strings.Cut(string(stat), ") ")
			for _, ticks := range strings.Fields(after)[11:13] {
				n, err := strconv.Atoi(ticks)
				require.NoError(b, err)
				is.others += time.Duration(n) * 10 * time.Millisecond
			}
		}
	}
	return is
}

// report reports how many cores were used since.
func (u used) report(b *testing.B) {
	now := cpuTime(b)
	b.ReportMetric((now.own-u.own).Seconds()/b.Elapsed().Seconds(), "cores")
	b.ReportMetric((now.others-u.others).Seconds()/b.Elapsed().Seconds(), "zookeeper-cores")
}
