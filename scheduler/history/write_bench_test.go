package history

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/history/pgtest"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// BenchmarkWrite has what ended written in the batches that the queue gives: b.N
// tasks of which one in ten is of a run, 25 in an entry of the journal, with four
// events each.
func BenchmarkWrite(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "history.db")
		writes(b, &where{TB: b, url: "sqlite://" + path}, func(*scheduler) int64 {
			info, err := os.Stat(path)
			require.NoError(b, err)
			return info.Size()
		})
	})
	b.Run("postgres", func(b *testing.B) {
		server, err := pgtest.Start()
		pgtest.Require(b, err)
		b.Cleanup(server.Close)
		address, err := server.Database()
		require.NoError(b, err)
		writes(b, &where{TB: b, url: address}, func(s *scheduler) (n int64) {
			require.NoError(b, s.db().QueryRow(`SELECT pg_database_size(current_database())`).Scan(&n))
			return n
		})
	})
}

func writes(b *testing.B, p *where, size func(*scheduler) int64) {
	s, err := p.open(func(o *Options) { o.queueItems, o.queueBytes = 1<<30, 1<<40 })
	require.NoError(b, err)
	defer s.Close()
	const each = 25
	past := newPast(max(b.N, 1000))
	s.Record(loaded(1))
	index := uint64(1)
	for n := 0; n < b.N; {
		index++
		d := engine.Durable{Incarnation: "b1x7", Index: index}
		for range min(each, b.N-n) {
			t, run := past.task(n)
			d.Finished = append(d.Finished, t)
			if run != nil {
				d.Finished = append(d.Finished, run)
			}
			for i, typ := range []string{"task.pending", "task.staging", "task.running", "task.finished"} {
				d.Events = append(d.Events, engine.Published{ID: engine.EventID{Incarnation: "b1x7", Index: index, Ordinal: len(d.Events)},
					Event: &record.Event{Type: typ, At: []int64{t.CreatedAt, t.LaunchedAt, t.RunningAt, t.EndedAt}[i], Job: t.Job, Task: t.Id, Host: t.Host, Agent: t.Agent, Run: t.Run}})
			}
			n++
		}
		s.Record(d)
	}
	cpu := used()
	b.ResetTimer()
	for {
		n, err := s.write(b.Context())
		require.NoError(b, err)
		if n == 0 {
			break
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((used()-cpu).Microseconds())/float64(b.N), "cpu-µs/task")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	b.ReportMetric(float64(size(s))/float64(b.N), "B/task")
}
