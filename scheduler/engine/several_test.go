package engine_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
	leases "github.com/perigee-sched/perigee/scheduler/lease/memory"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// shared is a gate on a journal that can be followed.
type shared struct {
	*gate
	journal.Follower
}

func (s shared) Append(ctx context.Context, g []*record.Entry) error { return s.gate.Append(ctx, g) }
func (s shared) Resolve(ctx context.Context) error                   { return s.gate.Resolve(ctx) }
func (s shared) Stat() journal.Stat                                  { return s.gate.Stat() }
func (s shared) Compact(ctx context.Context, src journal.Source) error {
	return s.gate.Compact(ctx, src)
}
func (s shared) Lead(ctx context.Context, a journal.Applier) (journal.Position, error) {
	return s.Follower.Lead(ctx, a)
}
func (s shared) Close() error { return nil }

// driver is a leadership's way to Mesos, which tells what it was asked for.
type driver struct {
	*calls
	running *atomic.Int32
	asked   *atomic.Int32
}

func (d driver) Flush(ctx context.Context) error { return d.calls.flush(ctx) }

func (d driver) Run(ctx context.Context) error {
	d.asked.Add(1)
	d.running.Add(1)
	<-ctx.Done()
	d.running.Add(-1)
	return nil
}

// several schedulers share a storage and an election.
type several struct {
	*testing.T
	storage  *memory.Storage
	election *leases.Election
	running  atomic.Int32 // drivers
	all      []*world
}

// inBubbles runs a test with schedulers a, b, … of which the first leads.
func inBubbles(t *testing.T, n int, test func(s *several)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &several{T: t, storage: new(memory.Storage), election: new(leases.Election)}
		for i := range n {
			s.add(string(rune('a' + i)))
		}
		defer func() {
			for _, w := range s.all {
				_ = w.stop()
			}
			require.Zero(t, s.running.Load(), "every driver has ended")
		}()
		test(s)
	})
}

func (s *several) add(name string, change ...func(*engine.Options)) *world {
	w := &world{T: s.T, storage: s.storage}
	s.all = append(s.all, w)
	return s.startAs(w, s.storage.Open(), name, change...)
}

func (s *several) startAs(w *world, j *memory.Journal, name string, change ...func(*engine.Options)) *world {
	w.launch(j, append(change, func(o *engine.Options) {
		o.Journal = shared{w.journal, j}
		w.lease = s.election.Open(name)
		o.Lease = w.lease
		o.Elected = core.Elected{Scheduler: name, Address: name, Incarnation: "i1"}
		asked := new(atomic.Int32)
		mesos := w.mesos
		o.Connect = func(engine.Deliver) engine.Driver { return driver{mesos, &s.running, asked} }
	})...)
	w.settle()
	return w
}

func (s *several) a() *world { return s.all[0] }
func (s *several) b() *world { return s.all[1] }

// leads wants exactly this one to lead.
func (s *several) leads(leader *world) {
	s.Helper()
	for i, w := range s.all {
		require.Equal(s, w == leader, w.engine.View().Leads, "scheduler %c leads", 'a'+i)
	}
	require.EqualValues(s, 1, s.running.Load(), "one driver runs")
}

// agree wants all to show the same.
func (s *several) agree() {
	s.Helper()
	first := s.all[0]
	for _, w := range s.all[1:] {
		require.Equal(s, state(s, first.engine.View()), state(s, w.engine.View()))
		require.Equal(s, first.engine.View().Index, w.engine.View().Index)
		require.Equal(s, first.engine.View().Epoch, w.engine.View().Epoch)
		requireSameEvents(w, first.follow("i1-0-0"), w.follow("i1-0-0"))
	}
}
