package history

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// What is old goes, each kind in its time.
func TestRetainsByAge(t *testing.T) {
	onBoth(t, func(p *where) {
		var now atomic.Int64
		now.Store(at(0))
		clock := func(o *Options) {
			o.Now = func() time.Time { return time.UnixMilli(now.Load()) }
			o.Keep, o.EventsKeep = 10*time.Hour, 2*time.Hour
		}
		s := p.start(clock)
		s.Record(loaded(1))
		for i := range 600 { // one a minute
			s.Record(entry(uint64(i+2), task("web/prod/shop", i, failed, because("of nothing")), deploy("web/prod/shop", uint32(i), i, "anna", fmt.Sprint(i/10))))
		}
		s.through(601)
		require.Equal(p, 60, s.rows("specs"))
		require.NoError(p, s.stop())

		now.Store(at(15 * time.Hour))
		s = p.start(clock)
		p.eventually("what is old is gone", func() bool { return s.rows("tasks") == 300 && s.rows("deploys") == 300 && s.rows("events") == 0 })
		require.Equal(p, 30, s.rows("specs"))
		require.Len(p, s.tasks(api.HistoryFilter{Text: "nothing"}), 300, "what words find, too")
		require.Equal(p, "gap", s.inOrder(id(3, 0), 10))
		s.Record(loaded(601))
		s.Record(entry(602, task("web/prod/shop", 700, finished)))
		s.through(602)
		require.Equal(p, "602-0", s.inOrder(engine.EventID{}, 10))
		state := s.State(p.Context())
		require.EqualValues(p, 301, state.Rows["tasks"])
		require.EqualValues(p, 30, state.Rows["specs"])
		require.EqualValues(p, 1, state.Rows["events"])
	})
}

// The bound of the size is kept, also by the file.
func TestRetainsBySize(t *testing.T) {
	onBoth(t, func(p *where) {
		const most = 1 << 20
		s, err := p.open(func(o *Options) { o.Size = most })
		require.NoError(p, err)
		p.Cleanup(s.Close)
		s.Record(loaded(1))
		n := 0
		for i := range uint64(20) {
			d := entry(i + 2)
			for range 250 {
				d.Finished = append(d.Finished, task("web/prod/shop", n, failed, because(fmt.Sprintf("%d of them said %x %s", n, n*7919, strings.Repeat("so ", 50)))))
				n++
			}
			s.Record(d)
			s.writeAll()
			require.LessOrEqual(p, s.used(), int64(most))
		}
		left := s.rows("tasks")
		require.Less(p, left, n/2)
		require.Greater(p, left, 300)
		page, _, err := s.Tasks(p.Context(), api.HistoryFilter{Limit: 1})
		require.NoError(p, err)
		require.Equal(p, fmt.Sprintf("b1x7-%06d", n-1), page[0].Id, "the newest is there")
		if path, ok := strings.CutPrefix(p.url, "sqlite://"); ok {
			info, err := os.Stat(path)
			require.NoError(p, err)
			require.Less(p, info.Size(), int64(2*most), "room that is free is used again")
		}
	})
}
