package zk

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// benchJournal leads a journal on a server that syncs to disk, as in production.
func benchJournal(b *testing.B) (*Journal, journal.Position, func() *Journal) {
	b.Helper()
	s, err := zktest.Start(b.TempDir(), zktest.Options{Sync: true, Tick: 2 * time.Second})
	zktest.Require(b, err)
	b.Cleanup(s.Close)
	client := connect(b, "/perigee/bench", s.Address)
	j := openOn(b, client)
	return j, lead(b, j), func() *Journal { return openOn(b, connect(b, "/perigee/bench", s.Address)) }
}

func groupOf(at journal.Position, size, n int) []*record.Entry {
	e := &record.Entry{Index: at.Index, Epoch: at.Epoch, At: 1 << 40}
	for i := range n {
		value := fmt.Appendf(nil, `{"task":"payments/prod/checkout/%d","agent":"%x","state":"RUNNING"}`, i, i*7919)
		value = append(value, make([]byte, max(0, size/n-24-len(value)))...)
		e.Puts = append(e.Puts, &record.Put{Key: fmt.Sprintf("task/%012d", (int(at.Index)*n+i)%100000), Value: value})
	}
	return []*record.Entry{e}
}

func reportLatency(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for name, q := range map[string]float64{"p50-µs": 0.5, "p99-µs": 0.99} {
		b.ReportMetric(float64(took[int(float64(len(took)-1)*q)].Microseconds()), name)
	}
}

// BenchmarkAppend appends one group at a time to one ZooKeeper.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			j, at, _ := benchJournal(b)
			took := make([]time.Duration, 0, b.N)
			group := groupOf(at, size, 1)
			for b.Loop() {
				group[0].Index = at.Index
				start := time.Now()
				require.NoError(b, j.Append(context.Background(), group))
				took = append(took, time.Since(start))
				at.Index++
			}
			reportLatency(b, took)
		})
	}
}

// BenchmarkGroupCommit appends what a batch of steps changed in one group: records of 500 bytes.
func BenchmarkGroupCommit(b *testing.B) {
	for _, records := range []int{1, 16, 128, 512} {
		b.Run(fmt.Sprintf("%drecords", records), func(b *testing.B) {
			j, at, _ := benchJournal(b)
			group := groupOf(at, 500*records, records)
			for b.Loop() {
				group[0].Index = at.Index
				require.NoError(b, j.Append(context.Background(), group))
				at.Index++
			}
			b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

type nobody struct{}

func (nobody) Record(string, []byte) error { return nil }
func (nobody) Past([]*record.Entry) error  { return nil }
func (nobody) Apply([]*record.Entry) error { return nil }

// BenchmarkLead leads with 100,000 records of 500 bytes: from the log, from a snapshot, and after
// following, when another scheduler's last hundred entries are still to be read.
func BenchmarkLead(b *testing.B) {
	const records = 100_000
	cold := func(b *testing.B, j *Journal) {
		for b.Loop() {
			_, err := j.Lead(context.Background(), nobody{})
			require.NoError(b, err)
		}
	}
	fillLog := func(b *testing.B, j *Journal, at journal.Position) {
		for range records / 500 {
			require.NoError(b, j.Append(b.Context(), groupOf(at, 500*500, 500)))
			at.Index++
		}
	}
	b.Run("log", func(b *testing.B) {
		j, at, _ := benchJournal(b)
		fillLog(b, j, at)
		cold(b, j)
	})
	b.Run("snapshot", func(b *testing.B) {
		j, at, _ := benchJournal(b)
		fill(b, j, at, 1)
		start := time.Now()
		require.NoError(b, j.Compact(b.Context(), state{index: 1, n: records, size: 480}))
		took := time.Since(start)
		cold(b, j)
		b.ReportMetric(float64(took.Milliseconds()), "compact-ms")
		b.ReportMetric(float64(j.Stat().SnapshotBytes)/records, "B/record")
	})
	b.Run("followed", func(b *testing.B) {
		first, at, another := benchJournal(b)
		fillLog(b, first, at)
		for b.Loop() {
			b.StopTimer()
			k := new(kept)
			standby := another()
			stop := follow(b, standby, k)
			waitFor(b, k, first.Stat().Index)
			_ = stop()
			at = fill(b, first, journal.Position{Epoch: first.at.Epoch, Index: first.at.Index}, 100)
			b.StartTimer()
			_, err := standby.Lead(context.Background(), nobody{})
			require.NoError(b, err)
			first = standby
		}
	})
}

// BenchmarkFollow is from the begin of an append until a standby has it.
func BenchmarkFollow(b *testing.B) {
	j, at, another := benchJournal(b)
	k := new(kept)
	follow(b, another(), k)
	for b.Loop() {
		at = fill(b, j, at, 1)
		for k.last() < at.Index-1 {
			time.Sleep(10 * time.Microsecond)
		}
	}
}
