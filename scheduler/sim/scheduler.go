package sim

import (
	"fmt"
	"time"

	mesosevent "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/mesos"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// schedulerProcess is one scheduler: the real core while it leads, and the
// engine's, the lease's and the driver's part of the work, one small step at a
// time so that it can die, or stand still, between any two.
type schedulerProcess struct {
	w      *world
	number int
	lives  int // processes started

	up     bool
	paused bool          // stopped by a signal, or with its machine
	cut    bool          // reaches neither journal nor election
	away   bool          // does not reach Mesos
	skew   time.Duration // of its clock
	lag    time.Duration // of its monotonic clock, which stands still with its machine
	missed []func()      // what happened to it while it was paused

	session *session
	renewed time.Time // by its monotonic clock: when its session was last renewed
	history history
	leadership
}

// leadership is what goes when a scheduler leads no more.
type leadership struct {
	core         *core.Core // nil while it does not lead
	translator   *mesos.Translator
	epoch, index uint64 // of the leadership, and of the last entry it knows of
	elected      bool   // it knows that it is the first
	suspended    bool   // its machine stood still meanwhile: its deadline means nothing

	stream    model.StreamID    // 0 while not subscribed
	late      *mesosevent.Event // that was on the way
	uuid      string
	listing   listing // of agents
	reconnect bool    // Connecting is due

	inbox   []core.Event // arrived, not yet stepped
	decided []core.Ready // not durable
	append  *appending   // under way
	calls   []queuedCall // released, not performed
	replies []core.Reply // durable, not sent
	asks    []core.AskGate
	wakeAt  int64
	instant int64 // of the next cron, by the wall clock
	clock   *clock
	coreAt  int64    // the time that the core was last stepped with
	behind  int64    // as the core was told
	written []stepAt // the steps that are durable
	broken  broken
}

// queuedCall is a call to Mesos that may be made.
type queuedCall struct {
	core.Call
	bare bool // no write precedes it
}

func (s *schedulerProcess) runs() bool { return s.up && !s.paused }

// wall is the time by its clock, mono by the one that nobody sets.
func (s *schedulerProcess) wall() time.Time { return s.w.now.Add(s.skew) }
func (s *schedulerProcess) mono() time.Time { return s.w.now.Add(-s.lag) }

// now is the core's time, and how far the wall clock is behind it.
func (s *schedulerProcess) now() (at, behind int64) { return s.clock.now(s.wall(), s.mono()) }

// start begins a process, which stands for election.
func (s *schedulerProcess) start() {
	s.lives++
	s.up, s.paused, s.missed = true, false, nil
	s.session = s.w.election.join(s)
	s.w.trace("scheduler %d starts, life %d", s.number, s.lives)
}

// crash ends the process where it stands. Its session goes on until it expires.
func (s *schedulerProcess) crash() {
	s.w.trace("scheduler %d dies: %d steps not durable, %d calls not performed", s.number, len(s.decided), len(s.calls))
	s.forget()
	s.up, s.paused, s.missed = false, false, nil
}

// forget ends a leadership: what is not durable is lost.
func (s *schedulerProcess) forget() {
	if s.stream != 0 {
		s.w.model.Closed(s.w.now, s.stream)
		clear(s.w.checks.offers.held)
	}
	s.leadership = leadership{}
	s.w.users.lost(s)
}

// handOver ends a leadership at once, with the session.
func (s *schedulerProcess) handOver() {
	s.w.trace("scheduler %d hands over", s.number)
	s.forget()
	s.w.election.close(s.session)
	s.session = s.w.election.join(s)
}

// depose ends a leadership that another took.
func (s *schedulerProcess) depose(why string) {
	s.w.trace("scheduler %d leads no more: %s", s.number, why)
	kept := s.core
	s.forget()
	if s.w.opts.Mutant == MutantStaleMemory {
		s.broken.kept = kept
	}
	s.w.election.close(s.session)
	s.session = s.w.election.join(s)
}

// learnLater has the process find out that its session is over: not at once.
func (s *schedulerProcess) learnLater() {
	s.w.timers.add(s.w.now.Add(time.Duration(s.w.rng.IntN(2000))*time.Millisecond), func() {
		if s.runs() && !s.cut && s.session != nil && s.session.over {
			s.depose("its session expired")
		}
	})
}

// candidate does the next thing on the way to lead: it learns that it is
// elected, or raises the epoch and loads what is durable.
func (s *schedulerProcess) candidate() bool {
	switch {
	case s.cut || s.session == nil || s.session.over || s.w.election.first() != s.session:
		return false
	case !s.elected:
		s.elected = true
		return true
	}
	epoch, index, ok := s.w.journal.lead(s.session)
	if !ok {
		return false
	}
	c := s.broken.kept
	if c == nil {
		var err error
		c, err = core.Load(core.Config{Overhead: overhead, DefaultUser: "nobody",
			ReplaceAfter: 2 * 60_000, FinishedKeep: finishedKeep, History: true, FinishedFor: finishedFor.Milliseconds()}, s.broken.records(s))
		if err != nil {
			panic(failed(fmt.Sprintf("the state cannot be loaded: %v", err)))
		}
	}
	s.leadership = leadership{core: c, epoch: epoch, index: index, written: []stepAt{{index, core.HistoryLoaded}}, reconnect: true, clock: newClock(s.wall(), s.mono()),
		translator: mesos.NewTranslator(mesos.Options{Executor: mesos.ExecutorOptions{URL: "http://scheduler/executor", SHA256: zeros}})}
	s.sawTakeover()
	s.w.trace("scheduler %d leads at journal index %d, epoch %d", s.number, index, epoch)
	s.step(core.Elected{Scheduler: fmt.Sprint("s", s.number), Incarnation: "siml"})
	return true
}

// sawTakeover notes what a leadership begins with.
func (s *schedulerProcess) sawTakeover() {
	w := s.w
	if w.journal.index == 0 {
		return
	}
	w.sees("takeover")
	if s.wall().UnixMilli() < w.lastLedAt {
		w.sees("takeover with a clock behind")
	}
	for _, j := range w.journal.jobs() {
		switch r := w.journal.rollout(j.Key); {
		case r == nil:
		case r.Phase == record.RolloutPhase_ROLLOUT_PHASE_RETURNING:
			w.sees("deploy returns across a takeover")
		default:
			w.sees("deploy across a takeover")
		}
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// step runs the core on events, and queues what it wants.
func (s *schedulerProcess) step(events ...core.Event) {
	alone := s.alone(events)
	if alone {
		s.step() // what is due by itself
	}
	now, behind := s.now()
	s.coreAt, s.w.lastLedAt = now, now
	if behind != s.behind {
		s.behind = behind
		events = append([]core.Event{core.ClockBehind{By: behind}}, events...)
	}
	if behind > 0 {
		s.w.sees("steps while a clock that was set back catches up")
	}
	ready := s.core.Step(now, s.broken.heard(s, events))
	s.w.checks.tooEarly(s, ready)
	if alone {
		s.w.checks.refused(ready)
	}
	s.wakeAt, s.instant = ready.Wake, ready.Instant
	s.broken.stepped(s, events, &ready)
	if !ready.Empty() {
		s.decided = append(s.decided, ready)
	}
}

// alone says whether a request is the only event of a step.
func (s *schedulerProcess) alone(events []core.Event) bool {
	if len(events) != 1 {
		return false
	}
	_, ok := events[0].(core.Request)
	return ok
}

// steps says whether it may decide more: not while too much is not durable, or
// the outcome of an append is unknown.
func (s *schedulerProcess) steps() bool {
	return s.runs() && s.core != nil && len(s.decided) < 3 && (s.append == nil || !s.append.unknown)
}

// receive steps the core with some of what arrived, if anything did.
func (s *schedulerProcess) receive() bool {
	if !s.steps() {
		return false
	}
	if s.reconnect && s.w.masterUp && !s.away {
		s.reconnect = false
		s.step(core.Connecting{})
		return true
	}
	if len(s.inbox) == 0 {
		return false
	}
	n := 1 + s.w.rng.IntN(len(s.inbox))
	batch := s.inbox[:n:n]
	s.inbox = s.inbox[n:]
	s.w.trace("scheduler %d: step with %d events", s.number, n)
	s.step(batch...)
	return true
}

// tick steps the core when it asked to be.
func (s *schedulerProcess) tick() {
	if !s.steps() {
		return
	}
	now, behind := s.now()
	if s.wakeAt != 0 && s.wakeAt <= now || s.instant != 0 && s.instant <= now-behind {
		s.step()
	}
}

// wake is when tick has to be called, if nobody sets the clock before; the zero
// time when only an event will do.
func (s *schedulerProcess) wake() time.Time {
	if !s.steps() {
		return time.Time{}
	}
	s.now()
	var due time.Time
	if s.wakeAt != 0 {
		due = s.w.now.Add(s.clock.until(s.wakeAt))
	}
	if s.instant != 0 {
		if at := s.w.now.Add(time.UnixMilli(s.instant).Sub(s.wall())); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due
}

// progress makes the next thing happen that was decided: an entry durable, a
// call performed, a reply sent.
func (s *schedulerProcess) progress() bool {
	if !s.runs() {
		return false
	}
	if s.core == nil {
		return s.candidate()
	}
	if s.w.chance(4) && s.write() {
		return true
	}
	return s.call() || s.reply() || s.ask() || s.write()
}

func (s *schedulerProcess) reply() bool {
	if len(s.replies) == 0 {
		return false
	}
	reply := s.replies[0]
	s.replies = s.replies[1:]
	s.w.users.answered(reply)
	return true
}
