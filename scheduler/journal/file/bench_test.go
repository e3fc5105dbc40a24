package file

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// groupOf makes a group of one entry of about size bytes with n records.
func groupOf(at journal.Position, size, n int) []*record.Entry {
	e := &record.Entry{Index: at.Index, Epoch: at.Epoch, At: 1 << 40}
	value := []byte(strings.Repeat("v", size/n-24))
	for i := range n {
		e.Puts = append(e.Puts, &record.Put{Key: fmt.Sprintf("task/%012d", (int(at.Index)*n+i)%100000), Value: value})
	}
	return []*record.Entry{e}
}

func reportLatency(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for name, q := range map[string]float64{"p50-µs": 0.5, "p99-µs": 0.99, "max-µs": 1} {
		b.ReportMetric(float64(took[int(float64(len(took)-1)*q)].Microseconds()), name)
	}
}

func benchJournal(b *testing.B) (*Journal, journal.Position) {
	b.Helper()
	return lead(b, b.TempDir(), Options{})
}

// BenchmarkAppend appends one group at a time, synced to disk.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			j, at := benchJournal(b)
			took := make([]time.Duration, 0, b.N)
			b.SetBytes(int64(size))
			group := groupOf(at, size, 1)
			b.ReportAllocs()
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
			j, at := benchJournal(b)
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

// BenchmarkLead replays 100,000 records, from the log and from a snapshot.
func BenchmarkLead(b *testing.B) {
	const records = 100_000
	b.Run("log", func(b *testing.B) {
		j, at := benchJournal(b)
		for range records / 100 {
			require.NoError(b, j.Append(b.Context(), groupOf(at, 500*100, 100)))
			at.Index++
		}
		benchLead(b, j, records)
	})
	b.Run("snapshot", func(b *testing.B) {
		j, at := benchJournal(b)
		require.NoError(b, j.Append(b.Context(), groupOf(at, 500, 1)))
		require.NoError(b, j.Compact(b.Context(), bulk{index: at.Index, records: records}))
		benchLead(b, j, records)
	})
}

func benchLead(b *testing.B, j *Journal, records int) {
	b.ReportAllocs()
	for b.Loop() {
		_, err := j.Lead(context.Background(), nobody{})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// bulk is a Source of many records of 500 bytes.
type bulk struct {
	index   uint64
	records int
}

func (s bulk) Index() uint64 { return s.index }

func (s bulk) Records(string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		value := make([]byte, 480)
		for i := range s.records {
			if !yield(fmt.Sprintf("task/%012d", i), value) {
				return
			}
		}
	}
}

// BenchmarkAppendBesideCompact appends 1 KiB groups while snapshots of no, 100,000 (50 MB) and
// 1,000,000 records are written one after another: the difference in latency is the stall.
func BenchmarkAppendBesideCompact(b *testing.B) {
	for _, records := range []int{0, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("%drecords", records), func(b *testing.B) {
			j, at := benchJournal(b)
			require.NoError(b, j.Append(b.Context(), groupOf(at, 1<<10, 1)))
			at.Index++
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan int)
			go func() {
				compactions := 0
				for ; records > 0 && ctx.Err() == nil; compactions++ {
					_ = j.Compact(ctx, bulk{index: j.Stat().Index, records: records})
				}
				done <- compactions
			}()
			var took []time.Duration
			group := groupOf(at, 1<<10, 1)
			for b.Loop() {
				group[0].Index = at.Index
				start := time.Now()
				require.NoError(b, j.Append(context.Background(), group))
				took = append(took, time.Since(start))
				at.Index++
			}
			cancel()
			b.ReportMetric(float64(<-done), "compactions")
			reportLatency(b, took)
		})
	}
}
