package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
	"github.com/perigee-sched/perigee/scheduler/lease"
	leases "github.com/perigee-sched/perigee/scheduler/lease/memory"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func TestStandby_ShowsWhatTheLeaderDoes(t *testing.T) {
	inBubbles(t, 3, func(s *several) {
		t := s.T
		s.leads(s.a())
		followed, err := s.b().engine.Follow("")
		require.NoError(t, err)
		before := s.a().engine.View().Index
		s.a().history()
		s.agree()
		v, err := s.b().engine.WaitIndex(t.Context(), s.a().engine.View().Index)
		require.NoError(t, err)
		require.NotNil(t, v.Job("web/prod/shop"))
		require.Greater(t, v.Index, before)
		require.NotEmpty(t, s.b().read(followed))
		refused := s.b().ask(t.Context(), runs("etl/prod/load", 1))
		require.ErrorIs(t, refused.err, engine.ErrUnavailable)
		require.ErrorContains(t, refused.err, "a does")
		require.Equal(t, "a", s.b().engine.Leader())
		require.True(t, s.b().engine.Standby())
		require.Equal(t, engine.Status{Address: "b", Leader: "a", Schedulers: []lease.Member{
			{Address: "a", Stands: true}, {Address: "b", Stands: true}, {Address: "c", Stands: true}}}, s.b().engine.Status())

		s.a().compactNow()
		s.a().do(runs("etl/prod/load", 1))
		s.a().compactNow()
		late := s.add("late")
		require.Equal(t, state(t, s.a().engine.View()), state(t, late.engine.View()), "one that comes later reads a snapshot")
		require.True(t, late.engine.View().Loaded)
	})
}

// A standby that starts when nothing is written after the snapshot shows it.
func TestStandby_OfAnIdleCluster(t *testing.T) {
	inBubbles(t, 1, func(s *several) {
		t := s.T
		s.a().do(batch(t, "etl/prod/load"))
		s.a().compactNow()
		b := s.add("b")
		require.True(t, b.engine.View().Loaded)
		s.agree2(s.a(), b)
	})
}

func (s *several) agree2(a, b *world) {
	s.Helper()
	require.Equal(s, state(s, a.engine.View()), state(s, b.engine.View()))
	require.Equal(s, a.engine.View().Index, b.engine.View().Index)
}

func TestHandOver(t *testing.T) {
	inBubbles(t, 3, func(s *several) {
		t := s.T
		s.a().history()
		_, resume := lastEvent(s.b())
		began := time.Now()
		require.NoError(t, s.a().stop())
		s.settle()
		require.Zero(t, time.Since(began), "nobody waits for a lease that is released")
		s.leads(s.b())
		require.False(t, s.a().engine.View().Leads)
		require.EqualValues(t, 2, s.b().engine.View().Epoch)
		s.b().subscribe()
		s.b().do(runs("etl/prod/load", 2))
		s.agree2(s.b(), s.all[2])
		first := s.all[2].follow(resume)
		require.Equal(t, "scheduler.elected", first[0].Event.Type, "the event after the last that a published")
	})
}

func (s *several) settle() { synctest.Wait() }

// lastEvent returns the newest event's id.
func lastEvent(w *world) (engine.Published, string) {
	all := w.follow("i1-0-0")
	last := all[len(all)-1]
	return last, last.ID.String()
}

func TestStepDown(t *testing.T) {
	inBubbles(t, 2, func(s *several) {
		t := s.T
		s.a().history()
		require.ErrorIs(t, s.b().engine.StepDown(t.Context()), engine.ErrUnavailable)
		for range 3 {
			require.NoError(t, s.a().engine.StepDown(t.Context()))
			s.settle()
			s.leads(s.b())
			require.Equal(t, "b", s.a().engine.Leader())
			s.b().pass(time.Second)
			s.b().do(runs("etl/prod/load", 1))
			s.agree()
			require.NoError(t, s.b().engine.StepDown(t.Context()))
			s.settle()
			s.leads(s.a())
			s.a().pass(time.Second)
			s.a().do(runs("etl/prod/load", 1))
			s.agree()
		}
	})
}

// What is being written when a leader ends is finished, and what it decided
// beyond that is not done.
func TestHandOver_FinishesTheWriteThatIsOnItsWay(t *testing.T) {
	inBubbles(t, 2, func(s *several) {
		t := s.T
		s.a().do(batch(t, "etl/prod/load"))
		s.a().journal.close()
		writing := s.a().ask(t.Context(), runs("etl/prod/load", 1))
		queued := s.a().ask(t.Context(), runs("etl/prod/load", 1))
		stepped := make(chan error, 1)
		go func() { stepped <- s.a().engine.StepDown(context.Background()) }()
		s.settle()
		require.False(t, s.b().engine.View().Leads, "the write is not finished")
		s.a().journal.open()
		require.NoError(t, <-stepped)
		s.settle()
		require.NoError(t, writing.err)
		require.ErrorIs(t, queued.err, engine.ErrUnavailable)
		require.ErrorContains(t, queued.err, "hands over")
		s.leads(s.b())
		found := 0
		s.b().engine.View().Runs("etl/prod/load", "", func(r *record.Run) bool { found++; return true })
		require.Equal(t, 1, found)
	})
}

// A leader whose lease has ended without its knowledge, paused say, can neither
// write nor command.
func TestDeposedLeader(t *testing.T) {
	inBubbles(t, 3, func(s *several) {
		t := s.T
		s.a().subscribe()
		s.a().do(batch(t, "etl/prod/load"))
		s.a().deliver(offer("a1"))
		s.a().do(runs("etl/prod/load", 1))
		running := update(s.a().mesos.launched()[0], "a1", core.MesosRunning)
		s.a().deliver(running)
		calls := len(s.a().mesos.all())

		s.election.Leading().Expire()
		s.settle()
		require.True(t, s.b().engine.View().Leads)
		require.True(t, s.a().engine.View().Leads, "it does not know yet")
		refused := s.a().ask(t.Context(), runs("etl/prod/load", 1))
		s.a().pass(time.Second)
		require.ErrorIs(t, refused.err, engine.ErrUnavailable)
		require.ErrorContains(t, refused.err, "another scheduler leads")
		require.Len(t, s.a().mesos.all(), calls, "nothing was said to Mesos")
		s.leads(s.b())
		s.b().do(runs("etl/prod/load", 1))
		s.agree()
		require.NoError(t, s.b().stop())
		s.settle()
		require.True(t, s.all[2].engine.View().Leads)
		require.NoError(t, s.all[2].stop())
		s.settle()
		require.True(t, s.a().engine.View().Leads, "it stood for election again")
	})
}

// A lease that is not renewed in time withholds calls that no write precedes;
// they go on when it is renewed, and are dropped when it is not.
func TestCallsWithoutAWriteNeedTheLease(t *testing.T) {
	for _, renewed := range []bool{true, false} {
		t.Run(fmt.Sprint("renewed ", renewed), func(t *testing.T) {
			inBubbles(t, 2, func(s *several) {
				t := s.T
				s.a().subscribe()
				s.a().do(batch(t, "etl/prod/load"))
				s.a().deliver(offer("a1"))
				s.a().do(runs("etl/prod/load", 1))
				running := update(s.a().mesos.launched()[0], "a1", core.MesosRunning)
				s.a().deliver(running)
				s.a().pass(5 * time.Second) // SUPPRESS and reconciliation
				index, calls := s.a().engine.View().Index, len(s.a().mesos.all())
				s.a().deliver(running)
				require.Len(t, s.a().mesos.all(), calls+1, "a repeated update is acknowledged")
				require.Equal(t, index, s.a().engine.View().Index, "without a write")

				term := s.election.Leading()
				term.Stop(true)
				s.a().pass(time.Nanosecond)
				s.a().deliver(running)
				s.a().pass(2 * time.Second)
				require.Len(t, s.a().mesos.all(), calls+1)
				require.NotEmpty(t, s.a().engine.Status().Stalled)
				require.False(t, s.a().engine.Leads(), "it cannot know")
				refused := s.a().ask(t.Context(), runs("etl/prod/load", 1))
				require.ErrorIs(t, refused.err, engine.ErrUnavailable)
				require.ErrorContains(t, refused.err, "lease is not renewed")
				if renewed {
					term.Stop(false)
					s.a().pass(time.Second)
					require.Len(t, s.a().mesos.all(), calls+2)
					require.Empty(t, s.a().engine.Status().Stalled)
					s.a().do(runs("etl/prod/load", 1))
					return
				}
				term.Expire()
				term.Notice()
				s.settle()
				s.leads(s.b())
				require.Len(t, s.a().mesos.all(), calls+1)
			})
		})
	}
}

// While the storage is away reads go on, nobody is told that a write is
// durable, and all goes on when it is back.
func TestStorageAway(t *testing.T) {
	inBubbles(t, 2, func(s *several) {
		t := s.T
		s.a().subscribe()
		s.a().do(batch(t, "etl/prod/load"))
		s.a().deliver(offer("a1"))
		calls := len(s.a().mesos.all())
		s.storage.Unreachable(true)
		asked := s.a().ask(t.Context(), runs("etl/prod/load", 1))
		require.ErrorIs(t, asked.err, engine.ErrUnknownOutcome)
		s.a().pass(time.Minute)
		later := s.a().ask(t.Context(), runs("etl/prod/load", 1))
		require.ErrorIs(t, later.err, engine.ErrUnavailable)
		require.ErrorContains(t, later.err, "the storage cannot be reached")
		require.NotEmpty(t, s.a().engine.Status().Stalled)
		require.Len(t, s.a().mesos.all(), calls)
		for _, w := range s.all {
			require.NotNil(t, w.engine.View().Job("etl/prod/load"))
		}
		s.storage.Unreachable(false)
		s.a().pass(2 * time.Second)
		s.leads(s.a())
		require.Len(t, s.a().mesos.launched(), 1, "what was decided is done")
		s.a().do(runs("etl/prod/load", 1))
		s.agree()
	})
}

// A session that expires while the storage is away means to stand for election
// again, and to read all anew, in the same process.
func TestStorageAway_UntilTheLeaseEnds(t *testing.T) {
	inBubbles(t, 2, func(s *several) {
		t := s.T
		s.a().subscribe()
		s.a().do(batch(t, "etl/prod/load"))
		s.storage.Unreachable(true)
		asked := s.a().ask(t.Context(), runs("etl/prod/load", 1))
		require.ErrorIs(t, asked.err, engine.ErrUnknownOutcome)
		waiting := s.a().ask(t.Context(), runs("etl/prod/load", 1))
		term := s.election.Leading()
		term.Expire()
		term.Notice()
		s.a().pass(10 * time.Second)
		require.True(t, waiting.done)
		require.Error(t, waiting.err)
		for _, w := range s.all {
			require.False(t, w.engine.View().Leads)
			require.NotNil(t, w.engine.View().Job("etl/prod/load"), "reads go on")
		}
		require.Zero(t, s.running.Load())
		s.storage.Unreachable(false)
		s.a().pass(10 * time.Second)
		leader := s.a()
		if s.b().engine.View().Leads {
			leader = s.b()
		}
		s.leads(leader)
		leader.subscribe()
		leader.do(runs("etl/prod/load", 1))
		s.agree()
	})
}

// An outcome that is unknown when the leader loses its lease is the next
// leader's to see.
func TestUnknownOutcomeIsResolvedByTheNextLeader(t *testing.T) {
	for name, outcome := range map[string]memory.Outcome{"durable": memory.LosesAnswer, "not durable": memory.LosesWrite} {
		t.Run(name, func(t *testing.T) {
			inBubbles(t, 2, func(s *several) {
				t := s.T
				s.a().do(batch(t, "etl/prod/load"))
				s.a().journal.lose(true)
				s.storage.Inject(func([]*record.Entry) memory.Outcome { return outcome })
				key := core.Request{IdempotencyKey: "k", Digest: "d", Op: runs("etl/prod/load", 1)}
				asked := s.a().askWith(t.Context(), key)
				require.ErrorIs(t, asked.err, engine.ErrUnknownOutcome)
				s.storage.Inject(nil)
				term := s.election.Leading()
				term.Expire()
				s.settle()
				again := s.b().askWith(t.Context(), key)
				require.NoError(t, again.err)
				require.Equal(t, outcome == memory.LosesAnswer, again.result.Repeated)
				s.a().journal.lose(false)
				s.a().pass(5 * time.Second)
				require.Empty(t, s.a().mesos.all())
				term.Notice()
				s.a().pass(5 * time.Second)
				s.leads(s.b())
				s.agree()
			})
		})
	}
}

// A consumer that resumes on whichever scheduler sees every event once, however
// often the leader changes.
func TestEventsGoOnAcrossLeaders(t *testing.T) {
	inBubbles(t, 3, func(s *several) {
		t := s.T
		s.a().do(batch(t, "etl/prod/load"))
		var seen []engine.Published
		at := "i1-0-0"
		resume := func(w *world) {
			for _, e := range w.follow(at) {
				seen, at = append(seen, e), e.ID.String()
			}
		}
		for round := range 9 {
			leader := s.leader()
			leader.do(runs("etl/prod/load", 1+round%3))
			resume(s.all[round%3])
			leader.do(runs("etl/prod/load", 1))
			switch round % 3 {
			case 0:
				require.NoError(t, leader.engine.StepDown(t.Context()))
			case 1:
				s.election.Leading().Expire()
				s.settle()
				leader.ask(t.Context(), runs("etl/prod/load", 1))
			case 2:
				term := s.election.Leading()
				term.Expire()
				term.Notice()
			}
			leader.pass(time.Second)
			resume(s.all[(round+1)%3])
		}
		s.leader().pass(time.Second)
		resume(s.all[0])
		s.agree()
		requireSameEvents(s.a(), s.all[1].follow("i1-0-0"), seen)
		require.Greater(t, len(seen), 30)
	})
}

func (s *several) leader() *world {
	s.Helper()
	for _, w := range s.all {
		if w.engine.View().Leads {
			return w
		}
	}
	s.Fatal("nobody leads")
	return nil
}

// A standby that is too slow reads anew, and what it shows never goes back.
func TestStandby_FallsBehind(t *testing.T) {
	inBubbles(t, 2, func(s *several) {
		t := s.T
		s.a().do(batch(t, "etl/prod/load"))
		require.NoError(t, s.b().stop())
		for range 4 {
			s.a().do(runs("etl/prod/load", 3))
			s.a().compactNow()
		}
		s.startAs(s.b(), s.storage.Open(), "b")
		s.agree2(s.a(), s.b())
		_, err := s.b().engine.Follow("i1-1-0")
		var gone *engine.GoneError
		require.ErrorAs(t, err, &gone)
	})
}

// Readers may look at a view while the state is loaded to lead, which shares
// its records; the race detector judges.
func TestReadersDuringATakeover(t *testing.T) {
	t.Parallel()
	storage, election := new(memory.Storage), new(leases.Election)
	start := func(name string) (*engine.Engine, func()) {
		e := engine.New(engine.Options{Journal: storage.Open(), Lease: election.Open(name), Caller: new(calls),
			Elected: core.Elected{Scheduler: name, Address: name, Incarnation: "i1"}})
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() {
			if err := e.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		return e, func() { cancel(); running.Wait() }
	}
	a, stopA := start("a")
	require.Eventually(t, func() bool { return a.View().Leads }, 10*time.Second, time.Millisecond)
	_, _, err := a.Do(t.Context(), core.Request{Op: batch(t, "etl/prod/load")})
	require.NoError(t, err)
	_, v, err := a.Do(t.Context(), core.Request{Op: runs("etl/prod/load", 500)})
	require.NoError(t, err)
	b, stopB := start("b")
	defer stopB()
	_, err = b.WaitIndex(t.Context(), v.Index)
	require.NoError(t, err)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			n := 0
			b.View().JobTasks("etl/prod/load", "", func(task *record.Task) bool { n += len(task.Job); return true })
			b.View().Runs("etl/prod/load", "", func(r *record.Run) bool { n += len(r.Job); return true })
		}
	})
	stopA()
	require.Eventually(t, func() bool { return b.View().Leads }, 10*time.Second, time.Millisecond)
	close(stop)
	readers.Wait()
	_, _, err = b.Do(t.Context(), core.Request{Op: runs("etl/prod/load", 1)})
	require.NoError(t, err)
}
