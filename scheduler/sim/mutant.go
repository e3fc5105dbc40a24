package sim

import (
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Mutant breaks a scheduler on purpose, in what surrounds its core, to see that
// the invariants find it out.
type Mutant string

// The mutants.
const (
	MutantNone            Mutant = ""
	MutantCallEarly       Mutant = "calls before the journal"
	MutantAcknowledge     Mutant = "acknowledges before the journal"
	MutantReplyEarly      Mutant = "answers before the journal"
	MutantForgetEntry     Mutant = "a lost entry"
	MutantNoFence         Mutant = "no fence"
	MutantLaunchAgain     Mutant = "launches again on a rescind"
	MutantCronLate        Mutant = "a cron instant is decided after its launch"
	MutantSubscribe       Mutant = "SUBSCRIBE without a fenced append"
	MutantBlindRetry      Mutant = "an unknown append is retried blindly"
	MutantReleaseUnknown  Mutant = "effects of an unknown append are released"
	MutantDeadline        Mutant = "calls after the lease's deadline"
	MutantReuseIDs        Mutant = "ids are given out again after a failover"
	MutantForgetStrays    Mutant = "no KILL of a task that returned"
	MutantStaleMemory     Mutant = "leads again without loading"
	MutantNoReconcile     Mutant = "never reconciles"
	MutantForgetAnswers   Mutant = "answers are not kept for a retry"
	MutantForgetKillAgain Mutant = "a KILL is sent once"
)

// Mutants are all of them.
var Mutants = []Mutant{MutantCallEarly, MutantAcknowledge, MutantReplyEarly, MutantForgetEntry, MutantNoFence,
	MutantLaunchAgain, MutantCronLate, MutantSubscribe, MutantBlindRetry, MutantReleaseUnknown, MutantDeadline,
	MutantReuseIDs, MutantForgetStrays, MutantStaleMemory, MutantNoReconcile, MutantForgetAnswers, MutantForgetKillAgain}

// broken is what a mutant keeps beside a leadership.
type broken struct {
	kept    *core.Core             // MutantStaleMemory: of the leadership before
	late    []core.Write           // MutantCronLate: for the next entry
	offers  map[string]string      // MutantLaunchAgain: agents by offer
	accepts map[string]core.Accept // the last, by agent
	again   []core.Launch          // to launch on the next offer
	killed  map[string]bool        // MutantForgetKillAgain
}

// stepped changes what the core wants.
func (b *broken) stepped(s *schedulerProcess, events []core.Event, r *core.Ready) {
	early := func(is func(core.Call) bool) {
		b.filter(r, func(c core.Call) bool {
			if is(c) {
				s.calls = append(s.calls, queuedCall{Call: c})
				return false
			}
			return true
		})
	}
	switch s.w.opts.Mutant {
	case MutantCallEarly:
		early(func(core.Call) bool { return true })
	case MutantAcknowledge:
		early(func(c core.Call) bool { _, ok := c.(core.Acknowledge); return ok })
	case MutantSubscribe:
		early(func(c core.Call) bool { _, ok := c.(core.Subscribe); return ok })
	case MutantReplyEarly:
		s.replies = append(s.replies, r.Replies...)
		r.Replies = nil
	case MutantCronLate:
		b.decideLate(s, r)
	case MutantForgetStrays:
		b.filter(r, func(c core.Call) bool {
			k, ok := c.(core.Kill)
			return !ok || s.w.journal.live.byKey[record.TaskKey(k.Task)] != nil
		})
	case MutantNoReconcile:
		b.filter(r, func(c core.Call) bool { _, ok := c.(core.Reconcile); return !ok })
	case MutantForgetKillAgain:
		b.filter(r, b.firstKill)
	case MutantForgetAnswers:
		b.forgetAnswers(r)
	case MutantLaunchAgain:
		b.launchAgain(s, events, r)
	}
}

func (b *broken) filter(r *core.Ready, keep func(core.Call) bool) {
	var kept []core.Call
	for _, c := range r.Calls {
		if keep(c) {
			kept = append(kept, c)
		}
	}
	r.Calls = kept
}

func (b *broken) firstKill(c core.Call) bool {
	k, ok := c.(core.Kill)
	if !ok {
		return true
	}
	if b.killed == nil {
		b.killed = map[string]bool{}
	}
	first := !b.killed[k.Task]
	b.killed[k.Task] = true
	return first
}

func (b *broken) forgetAnswers(r *core.Ready) {
	var kept []core.Write
	for _, wr := range r.Writes {
		if _, ok := wr.Record.(*record.IdempotentReply); !ok {
			kept = append(kept, wr)
		}
	}
	r.Writes = kept
}

func (b *broken) decideLate(s *schedulerProcess, r *core.Ready) {
	late := b.late
	b.late = nil
	var kept []core.Write
	for _, wr := range r.Writes {
		j, ok := wr.Record.(*record.Job)
		before, known := s.w.journal.decoded[wr.Key].(*record.Job)
		if ok && known && j.DecidedThrough != before.DecidedThrough && j.Revision == before.Revision {
			b.late = append(b.late, wr)
		} else {
			kept = append(kept, wr)
		}
	}
	r.Writes = append(late, kept...)
}

func (b *broken) launchAgain(s *schedulerProcess, events []core.Event, r *core.Ready) {
	if b.offers == nil {
		b.offers, b.accepts = map[string]string{}, map[string]core.Accept{}
	}
	for _, e := range events {
		switch e := e.(type) {
		case core.Offers:
			for _, o := range e.Offers {
				b.offers[o.ID] = o.Agent
				if len(b.again) > 0 {
					r.Calls = append([]core.Call{core.Accept{Agent: o.Agent, Offers: []string{o.ID}, Launches: b.again}}, r.Calls...)
					b.again = nil
				}
			}
		case core.Rescinded:
			for _, l := range b.accepts[b.offers[e.Offer]].Launches {
				if t := s.w.journal.task(l.Task); t == nil || t.State == record.TaskState_TASK_STATE_LAUNCHING {
					b.again = append(b.again, l)
				}
			}
		}
	}
	for _, c := range r.Calls {
		if a, ok := c.(core.Accept); ok {
			b.accepts[a.Agent] = a
		}
	}
}

// records are what a leadership begins with.
func (b *broken) records(s *schedulerProcess) iter.Seq2[string, core.Record] {
	if s.w.opts.Mutant != MutantReuseIDs {
		return s.w.journal.all()
	}
	return func(yield func(string, core.Record) bool) {
		for key, m := range s.w.journal.all() {
			if c, ok := m.(*record.Cluster); ok && c.SequenceThrough > 0 {
				c = proto.CloneOf(c)
				c.SequenceThrough = 0
				m = c
			}
			if !yield(key, m) {
				return
			}
		}
	}
}

func (b *broken) outcomeUnknown(s *schedulerProcess, a *appending) {
	if s.w.opts.Mutant != MutantReleaseUnknown {
		return
	}
	s.release(false)
	a.readys = nil
	s.append = a
}

// retryBlindly makes an append again with more in it, and takes any entry of
// its own in that place for it.
func (b *broken) retryBlindly(s *schedulerProcess) bool {
	if s.w.opts.Mutant != MutantBlindRetry {
		return false
	}
	a := s.append
	a.readys = append(a.readys, s.decided...)
	s.decided = nil
	if there := s.w.journal.entries[a.entry.index]; there != nil && there.epoch == s.epoch {
		s.settle(committed)
		return true
	}
	a.entry = &entry{epoch: s.epoch, index: a.entry.index}
	a.entry.merge(a.readys)
	s.settle(s.w.journal.append(a.entry))
	return true
}
