package history

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/history/pgtest"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// mayBeAway is where a history is that cannot be reached for a time.
type mayBeAway struct {
	*where
	leave, comeBack func()
	says            string // why it cannot be written
}

// onBothAway runs a test on each database: on a file that another process holds,
// and on a server of PostgreSQL that is killed.
func onBothAway(t *testing.T, test func(*mayBeAway)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "history.db")
		p := &mayBeAway{where: &where{TB: t, url: "sqlite://" + path}, says: "another scheduler uses the history " + path}
		var lock *os.File
		p.leave = func() {
			var err error
			lock, err = os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
			require.NoError(t, err)
			require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB))
		}
		p.comeBack = func() { require.NoError(t, lock.Close()) }
		test(p)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server, err := pgtest.Start()
		pgtest.Require(t, err)
		t.Cleanup(server.Close)
		address, err := server.Database()
		require.NoError(t, err)
		test(&mayBeAway{where: &where{TB: t, url: address}, says: "connect", leave: server.Kill, comeBack: func() {
			require.NoError(t, server.Restart())
			require.NoError(t, server.WaitServing(time.Minute))
		}})
	})
}

// small lets few items wait.
func small(o *Options) { o.queueItems, o.queueBytes = 20, queueBytesMost }

// When more waits for a history that is away than there is room for, it is told
// anew what the scheduler still holds. What that is no more is a gap, and counted.
func TestTellsAnewWhatWasTooMuch(t *testing.T) {
	onBothAway(t, func(p *mayBeAway) {
		s := p.start(small)
		s.Record(loaded(1))
		s.Record(entry(2, task("web/prod/shop", 2, finished)))
		s.Record(entry(3, task("web/prod/shop", 3, finished)))
		s.through(3)
		require.NoError(p, s.stop())

		p.leave()
		s = p.start(small)
		s.Record(loaded(3, entry(3, task("web/prod/shop", 3, finished))))
		var live []record.Message
		held := loaded(42)
		for i := uint64(4); i <= 42; i++ {
			d := entry(i, task("web/prod/shop", int(i), finished))
			s.Record(d)
			live = append(live, d.Finished...)
			if i > 30 {
				held.Events = append(held.Events, d.Events...)
			}
		}
		held.Finished, held.Before = live, id(30, 0)
		s.held.Store(&held)
		p.eventually("it says what is wrong", func() bool { return strings.Contains(s.State(p.Context()).Problem, p.says) })
		st := s.Stats()
		require.False(p, st.Up)
		require.Equal(p, 1, st.Drops)
		require.Zero(p, st.LostEvents, "the scheduler may hold them")
		require.EqualValues(p, 42, st.Lag)

		p.comeBack()
		s.through(42)
		s.Record(entry(43, task("web/prod/shop", 43, finished)))
		s.through(43)
		require.Len(p, s.tasks(api.HistoryFilter{}), 42, "no task is missing")
		var after []string
		for i := 31; i <= 43; i++ {
			after = append(after, id(uint64(i), 0).String()[len("b1x7-"):])
		}
		require.Equal(p, "2-0 3-0 gap "+strings.Join(after, " "), s.inOrder(engine.EventID{}, 5))
		gaps := s.State(p.Context()).Gaps
		require.Len(p, gaps, 1)
		require.Equal(p, "b1x7-3-0", gaps[0].After)
		require.Equal(p, "b1x7-30-0", gaps[0].Through)
		st = s.Stats()
		require.True(p, st.Up)
		require.Equal(p, 27, st.LostEvents, "4 to 30")
		require.Zero(p, st.Waiting)
		require.Zero(p, st.Lag)
	})
}

// Where the scheduler still holds all of it, nothing is missing and nothing is
// said to be lost.
func TestTooMuchIsNotLost(t *testing.T) {
	onBothAway(t, func(p *mayBeAway) {
		p.leave()
		s := p.start(small)
		s.Record(loaded(1))
		held := loaded(40)
		for i := uint64(2); i <= 40; i++ {
			d := entry(i, task("web/prod/shop", int(i), finished))
			s.Record(d)
			held.Finished, held.Events = append(held.Finished, d.Finished...), append(held.Events, d.Events...)
		}
		s.held.Store(&held)
		p.comeBack()
		s.through(40)
		require.Len(p, s.tasks(api.HistoryFilter{}), 39)
		require.Len(p, strings.Fields(s.inOrder(engine.EventID{}, 50)), 39)
		state := s.State(p.Context())
		require.Empty(p, state.Gaps)
		require.Zero(p, s.Stats().LostEvents)
		require.Positive(p, s.Stats().Drops)
	})
}
