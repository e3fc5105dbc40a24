package history

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// sharing are schedulers that share a history. All are told what becomes durable,
// and the one that leads writes it.
type sharing struct {
	*where
	all    []*scheduler
	leader atomic.Int32
}

func (p *where) shared(n int, change ...func(*Options)) *sharing {
	s := &sharing{where: p}
	for i := range n {
		s.all = append(s.all, p.start(append(change, func(o *Options) {
			o.Leads = func() bool { return int(s.leader.Load()) == i }
		})...))
	}
	return s
}

func (s *sharing) record(d engine.Durable) {
	for _, one := range s.all {
		one.Record(d)
	}
}

// waiting is how much waits in each queue.
func (s *sharing) waiting() (out []int) {
	for _, one := range s.all {
		out = append(out, one.Stats().Waiting)
	}
	return out
}

// Of two schedulers that share a PostgreSQL the leader alone writes. The other
// keeps what it was told until it is there, and no longer.
func TestTheLeaderAloneWrites(t *testing.T) {
	t.Parallel()
	s := (&where{TB: t, url: postgreSQL.Database(t)}).shared(2)
	leader, standby := s.all[0], s.all[1]
	s.record(loaded(1))
	for i := range uint64(200) {
		s.record(pair(i + 2))
	}
	leader.through(201)
	standby.through(201)
	s.eventually("no queue has anything left", func() bool { return fmt.Sprint(s.waiting()) == "[0 0]" })
	require.Positive(t, leader.Stats().Batches)
	require.Zero(t, standby.Stats().Batches)
	require.Empty(t, standby.State(t.Context()).Problem)
	require.EqualValues(t, 400, standby.Stats().Rows["tasks"], "it tells what there is, too")
	standby.onceEach(2, 201) // and reads it

	s.leader.Store(-1) // nobody leads
	for i := range uint64(50) {
		s.record(pair(i + 202))
	}
	require.Equal(t, []int{200, 200}, s.waiting(), "all keep it")
	s.leader.Store(1)
	standby.through(251)
	leader.through(251)
	s.eventually("no queue has anything left", func() bool { return fmt.Sprint(s.waiting()) == "[0 0]" })
	standby.onceEach(2, 251)
}

// Leadership goes from one to the other, again and again, at any moment and with
// two that think they lead, while tasks end.
func TestHandingOverLosesNothing(t *testing.T) {
	t.Parallel()
	p := &where{TB: t, url: postgreSQL.Database(t)}
	var leads [3]atomic.Bool
	s := &sharing{where: p}
	for i := range leads {
		s.all = append(s.all, p.start(func(o *Options) { o.Leads = leads[i].Load }))
	}
	s.record(loaded(1))
	index := uint64(1)
	for round := range 9 {
		now, next := &leads[round%3], &leads[(round+1)%3]
		now.Store(true)
		for range 150 {
			index++
			s.record(pair(index))
		}
		s.eventually("some is written", func() bool { at, _ := s.all[round%3].Through(); return at > index-150 })
		next.Store(true) // for a time, both do
		for range 50 {
			index++
			s.record(pair(index))
		}
		now.Store(false)
	}
	s.all[0].through(index)
	s.eventually("no queue has anything left", func() bool { return fmt.Sprint(s.waiting()) == "[0 0 0]" })
	s.all[2].onceEach(2, index)
	for _, one := range s.all {
		require.Positive(t, one.Stats().Batches, "each led")
		require.Zero(t, one.Stats().LostEvents)
	}
}

// Of two that write at once the second waits for the first, and then finds done
// what it was about to do.
func TestTwoThatWriteAtOnceWait(t *testing.T) {
	t.Parallel()
	address := postgreSQL.Database(t)
	within, goOn := make(chan struct{}), make(chan struct{})
	var puts atomic.Int64
	first, err := (&where{TB: t, url: address, through: func(d dialect) dialect {
		return watched{d, func(int) {
			if puts.Add(1) == 1 {
				close(within)
				<-goOn
			}
		}}
	}}).open()
	require.NoError(t, err)
	second, err := (&where{TB: t, url: address}).open()
	require.NoError(t, err)
	for _, s := range []*scheduler{first, second} {
		s.Record(loaded(1))
		for i := range uint64(20) {
			s.Record(pair(i + 2))
		}
	}
	first.run()
	<-within
	second.run()
	second.p.eventually("it waits", func() bool {
		return second.text(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`) == "1"
	})
	close(goOn)
	first.through(21)
	second.through(21)
	second.p.eventually("no queue has anything left", func() bool { return first.Stats().Waiting+second.Stats().Waiting == 0 })
	second.onceEach(2, 21)
	require.Zero(t, first.Stats().Errors)
	require.Zero(t, second.Stats().Errors)
}

// A leader ends before it wrote what it was told; the next one has it.
func TestTheNextLeaderGoesOn(t *testing.T) {
	t.Parallel()
	pg, p := server(t)
	s := p.shared(2)
	s.record(loaded(1))
	s.record(pair(2))
	s.all[0].through(2)
	s.all[1].through(2)
	pg.Kill()
	for i := range uint64(100) {
		s.record(pair(i + 3))
	}
	require.NoError(t, s.all[0].stop()) // it cannot write that any more
	s.leader.Store(1)
	require.NoError(t, pg.Restart())
	s.all[1].through(102)
	s.all[1].onceEach(2, 102)
}

// A scheduler that does not lead, and dropped what was too much while PostgreSQL
// was away, keeps what follows once it is back: should it lead then, nothing is
// missing, and nothing is said to be lost.
func TestAStandbyThatDroppedKeepsAnew(t *testing.T) {
	t.Parallel()
	pg, p := server(t)
	s := p.shared(2, func(o *Options) { o.queueItems, o.queueBytes = 40, queueBytesMost })
	s.record(loaded(1))
	s.record(pair(2))
	s.all[0].through(2)
	pg.Kill()
	held := loaded(1)
	tell := func(from, to uint64) {
		for i := from; i <= to; i++ {
			d := pair(i)
			held.Finished, held.Events, held.Index = append(held.Finished, d.Finished...), append(held.Events, d.Events...), i
			s.record(d)
		}
	}
	tell(3, 60)
	for _, one := range s.all {
		kept := held
		one.held.Store(&kept)
		require.Equal(t, 1, one.Stats().Drops)
	}
	require.NoError(t, pg.Restart())
	s.all[0].through(60)
	s.all[1].through(60)
	s.leader.Store(-1)
	tell(61, 65)
	s.eventually("it keeps what follows", func() bool { return s.all[1].Stats().Waiting == 20 })
	s.leader.Store(1)
	s.all[1].through(65)
	s.all[1].onceEach(2, 65)
	for _, one := range s.all {
		require.Zero(t, one.Stats().LostEvents)
	}
}
