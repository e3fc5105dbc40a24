package history

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/history/pgtest"
)

// server starts a server of PostgreSQL of the test's own.
func server(t *testing.T) (*pgtest.Server, *where) {
	t.Helper()
	s, err := pgtest.Start()
	pgtest.Require(t, err)
	t.Cleanup(s.Close)
	address, err := s.Database()
	require.NoError(t, err)
	return s, &where{TB: t, url: address}
}

// pair is an entry in which two tasks of one job ended.
func pair(index uint64) engine.Durable {
	n := 2 * int(index)
	return entry(index, task("web/prod/shop", n, finished), task("web/prod/shop", n+1, failed, because("of a crash")))
}

// onceEach sees that all of the pairs up to an entry are there, and nothing twice.
func (s *scheduler) onceEach(first, last uint64) {
	s.p.Helper()
	var tasks, events []string
	for i := first; i <= last; i++ {
		for n := range 2 {
			tasks = append(tasks, fmt.Sprintf("b1x7-%06d", 2*int(i)+n))
			events = append(events, fmt.Sprintf("%d-%d", i, n))
		}
	}
	var found []string
	f := api.HistoryFilter{Limit: 500}
	for {
		page, next, err := s.Tasks(s.p.Context(), f)
		require.NoError(s.p, err)
		for _, t := range page {
			found = append(found, t.Id)
		}
		if f.Cursor = next; next == "" {
			break
		}
	}
	require.ElementsMatch(s.p, tasks, found)
	require.Equal(s.p, strings.Join(events, " "), s.inOrder(engine.EventID{}, 1000))
	require.Equal(s.p, len(tasks), s.rows("tasks"))
	state := s.State(s.p.Context())
	require.EqualValues(s.p, len(tasks), state.Rows["tasks"], "as counted")
	require.Empty(s.p, state.Gaps)
}

// watched is a database that a test sees rows put into.
type watched struct {
	dialect
	put_ func(rows int)
}

func (d watched) put(b *batch, k kind, rows []row) error {
	err := d.dialect.put(b, k, rows)
	if err == nil {
		d.put_(len(rows))
	}
	return err
}

// PostgreSQL is killed when half of a batch is written.
func TestPostgreSQLKilledWithinABatch(t *testing.T) {
	t.Parallel()
	pg, p := server(t)
	var puts atomic.Int64
	killed := make(chan struct{})
	p.through = func(d dialect) dialect {
		return watched{d, func(int) {
			if puts.Add(1) == 4 { // of 8
				pg.Kill()
				close(killed)
			}
		}}
	}
	s, err := p.open()
	require.NoError(t, err)
	s.Record(loaded(1))
	for i := range uint64(400) {
		s.Record(pair(i + 2))
	}
	s.run()
	<-killed
	p.eventually("it knows", func() bool { return !s.Stats().Up })
	require.NotEmpty(t, s.State(t.Context()).Problem)
	require.Equal(t, 800*2, s.Stats().Waiting)
	through, _ := s.Through()
	require.LessOrEqual(t, through, uint64(1), "nothing of the batch counts as kept")
	_, _, err = s.Tasks(t.Context(), api.HistoryFilter{Limit: 1})
	require.ErrorIs(t, err, ErrUnavailable)
	s.Record(pair(402)) // the scheduler goes on

	require.NoError(t, pg.Restart())
	s.through(402)
	s.onceEach(2, 402)
	p.eventually("it says that all is well", func() bool { return s.State(t.Context()).Problem == "" })
	require.Positive(t, s.Stats().Errors)
}

// wire is a connection to PostgreSQL, of which a test sees commits.
type wire struct {
	net.Conn
	sent   func()      // before one goes out
	got    func() bool // when something came after one; true has it be lost
	commit atomic.Bool
}

func (w *wire) Write(data []byte) (int, error) {
	if bytes.Contains(data, []byte("COMMIT\x00")) {
		w.sent()
		w.commit.Store(true)
	}
	return w.Conn.Write(data)
}

func (w *wire) Read(data []byte) (int, error) {
	n, err := w.Conn.Read(data)
	if err == nil && w.commit.Swap(false) && w.got() {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// PostgreSQL is killed around a commit: just before it is asked for, and when it
// has committed and the answer is lost, so that whether it did is not known.
func TestPostgreSQLKilledAtACommit(t *testing.T) {
	t.Parallel()
	for _, committed := range []bool{false, true} {
		t.Run(fmt.Sprintf("committed=%v", committed), func(t *testing.T) {
			t.Parallel()
			pg, p := server(t)
			var armed atomic.Bool
			killed := make(chan struct{})
			kill := func() bool {
				if !armed.CompareAndSwap(true, false) {
					return false
				}
				pg.Kill()
				close(killed)
				return true
			}
			p.through = func(d dialect) dialect {
				config := d.(*postgres).config
				dial := config.DialFunc
				config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := dial(ctx, network, address)
					w := &wire{Conn: c, sent: func() {}, got: func() bool { return false }}
					if committed {
						w.got = kill
					} else {
						w.sent = func() { kill() }
					}
					return w, err
				}
				return d
			}
			s, err := p.open()
			require.NoError(t, err)
			s.Record(loaded(1))
			for i := range uint64(50) {
				s.Record(pair(i + 2))
			}
			armed.Store(true)
			s.run()
			<-killed
			p.eventually("it knows", func() bool { return !s.Stats().Up })
			require.NoError(t, pg.Restart())
			s.through(51)
			s.Record(pair(52))
			s.through(52)
			s.onceEach(2, 52)
		})
	}
}

// PostgreSQL is killed again and again, at any moment, while a scheduler writes.
func TestPostgreSQLKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	pg, p := server(t)
	var left atomic.Int64
	due := make(chan struct{})
	p.through = func(d dialect) dialect {
		return watched{d, func(int) {
			if left.Add(-1) == 0 {
				due <- struct{}{} // and goes on
			}
		}}
	}
	s := p.start()
	s.Record(loaded(1))
	const each = 300
	last := uint64(1)
	for range 4 {
		left.Store(1 + rand.Int64N(2*each/lookAtOnce))
		for range each {
			last++
			s.Record(pair(last))
		}
		<-due
		pg.Kill()
		require.NoError(t, pg.Restart())
	}
	s.through(last)
	s.onceEach(2, last)
}

// A scheduler that writes a file of SQLite is killed, and begins again with what
// the journal holds: more than once.
func TestSchedulerKilledWhileItWrites(t *testing.T) {
	t.Parallel()
	p := &where{TB: t, url: "sqlite://" + filepath.Join(t.TempDir(), "history.db")}
	for round := range 4 {
		victim := exec.Command(os.Args[0], "-test.run=^TestWritesUntilItIsKilled$", "-test.timeout=2m")
		victim.Env = append(os.Environ(), victimOf+"="+p.url)
		said, err := victim.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, victim.Start())
		told := bufio.NewScanner(said)
		for range 1 + round { // it says how far it is
			require.True(t, told.Scan())
		}
		require.NoError(t, victim.Process.Kill())
		kept, err := strconv.ParseUint(told.Text(), 10, 64)
		require.NoError(t, err)
		_ = victim.Wait()

		s := p.start()
		s.db()
		require.GreaterOrEqual(t, s.store.Load().at().through, kept, "what counts as kept is there")
		require.NoError(t, s.stop())
	}
	s := p.start()
	d := loaded(victimWrites)
	for i := uint64(2); i <= victimWrites; i++ {
		more := pair(i)
		d.Finished, d.Events = append(d.Finished, more.Finished...), append(d.Events, more.Events...)
	}
	s.Record(d)
	s.through(victimWrites)
	s.onceEach(2, victimWrites)
}

const (
	victimOf     = "PERIGEE_TEST_HISTORY_VICTIM"
	victimWrites = 800
)

// It is no test, but what TestSchedulerKilledWhileItWrites kills.
func TestWritesUntilItIsKilled(t *testing.T) {
	address := os.Getenv(victimOf)
	if address == "" {
		t.Skip("is a process of another test")
	}
	s, err := (&where{TB: t, url: address}).open()
	require.NoError(t, err)
	s.Record(loaded(1))
	for i := uint64(2); i <= victimWrites; i++ {
		s.Record(pair(i))
		if i%50 == 0 {
			_, err := s.write(t.Context())
			require.NoError(t, err)
			through, _ := s.Through()
			fmt.Println(through)
		}
	}
}
