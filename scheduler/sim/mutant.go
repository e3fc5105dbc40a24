package sim

import (
	"slices"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Mutant breaks a scheduler on purpose, in what surrounds its core or in what
// passes between them, to see that the invariants find it out.
type Mutant string

// The mutants: of the order of effects, of leading, of appends, of tasks, of
// crons and runs, of histories, of agents and events, of deploys.
const (
	MutantNone Mutant = ""

	MutantCallEarly      Mutant = "calls before the journal"
	MutantAcknowledge    Mutant = "acknowledges before the journal"
	MutantAckUnwritten   Mutant = "acknowledges an end that is not written"
	MutantReplyEarly     Mutant = "answers before the journal"
	MutantForgetAnswers  Mutant = "answers are not kept for a retry"
	MutantForgetEntry    Mutant = "a lost entry"
	MutantNoFence        Mutant = "no fence"
	MutantSubscribe      Mutant = "SUBSCRIBE without a fenced append"
	MutantDeadline       Mutant = "calls after the lease's deadline"
	MutantStaleMemory    Mutant = "leads again without loading"
	MutantReuseIDs       Mutant = "ids are given out again after a failover"
	MutantNewFramework   Mutant = "a new framework after a failover"
	MutantBlindRetry     Mutant = "an unknown append is retried blindly"
	MutantReleaseUnknown Mutant = "effects of an unknown append are released"

	MutantLaunchAgain     Mutant = "launches again on a rescind"
	MutantForgetStrays    Mutant = "no KILL of a task that returned"
	MutantForgetKillAgain Mutant = "a KILL is sent once"
	MutantNoDrain         Mutant = "a KILL does not wait for the drain"
	MutantNoReconcile     Mutant = "never reconciles"
	MutantNeverAck        Mutant = "never acknowledges"
	MutantHoard           Mutant = "declines no offer"

	MutantCronLate       Mutant = "a cron instant is decided after its launch"
	MutantCronBack       Mutant = "decided_through follows a clock that was set back"
	MutantCronEarly      Mutant = "crons do not wait for a clock that was set back"
	MutantCronPassed     Mutant = "instants of an outage are passed over"
	MutantForgetFailures Mutant = "failures are forgotten after a failover"

	MutantHistoryAhead Mutant = "finished work goes before histories have it"

	MutantStaleList    Mutant = "a list of agents undoes what came after it"
	MutantNotBack      Mutant = "agents that are not back yet are left out"
	MutantForgetAgents Mutant = "agents are forgotten after a failover"
	MutantEventOrder   Mutant = "events of a task out of order"

	// MutantUnsettled is of simulations that end with a restore alone.
	MutantUnsettled Mutant = "launches beside strays after a restore"

	MutantReadyEarly Mutant = "ready without a health check"
	MutantStopEarly  Mutant = "a deploy stops what serves before its replacement does"
	MutantNoReturn   Mutant = "a deploy that is rolled back stays wanted"
)

// Mutants are all of them.
var Mutants = []Mutant{MutantCallEarly, MutantAcknowledge, MutantAckUnwritten, MutantReplyEarly, MutantForgetAnswers, MutantForgetEntry,
	MutantNoFence, MutantSubscribe, MutantDeadline, MutantStaleMemory, MutantReuseIDs, MutantNewFramework, MutantBlindRetry, MutantReleaseUnknown,
	MutantLaunchAgain, MutantForgetStrays, MutantForgetKillAgain, MutantNoDrain, MutantNoReconcile, MutantNeverAck, MutantHoard,
	MutantCronLate, MutantCronBack, MutantCronEarly, MutantCronPassed, MutantForgetFailures,
	MutantHistoryAhead, MutantStaleList, MutantNotBack, MutantForgetAgents, MutantEventOrder, MutantReadyEarly, MutantStopEarly, MutantNoReturn}

// broken is what a mutant keeps beside a leadership.
type broken struct {
	kept    *core.Core             // MutantStaleMemory: of the leadership before
	late    []core.Write           // MutantCronLate: for the next entry
	offers  map[string]string      // MutantLaunchAgain: agents by offer
	accepts map[string]core.Accept // the last, by agent
	again   []core.Launch          // to launch on the next offer
	killed  map[string]bool        // MutantForgetKillAgain
}

// heard changes what the core is told.
func (b *broken) heard(s *schedulerProcess, events []core.Event) []core.Event {
	switch s.w.opts.Mutant {
	case MutantReadyEarly:
		return slices.Collect(func(yield func(core.Event) bool) {
			for _, e := range events {
				if u, ok := e.(core.Update); ok && u.State == core.MesosRunning && u.Report != nil {
					report, healthy := *u.Report, true
					report.Successes = 1
					u.Healthy, u.Report = &healthy, &report
					e = u
				}
				if !yield(e) {
					return
				}
			}
		})
	case MutantStaleList:
		return slices.DeleteFunc(slices.Clone(events), func(e core.Event) bool { _, ok := e.(core.ListingAgents); return ok })
	case MutantNotBack:
		events = slices.Clone(events)
		for i, e := range events {
			if list, ok := e.(core.Agents); ok {
				events[i] = core.Agents{Agents: list.Agents}
			}
		}
	case MutantCronEarly:
		return slices.DeleteFunc(slices.Clone(events), func(e core.Event) bool { _, ok := e.(core.ClockBehind); return ok })
	}
	return events
}

// stepped changes what the core wants.
func (b *broken) stepped(s *schedulerProcess, events []core.Event, r *core.Ready) {
	switch s.w.opts.Mutant {
	case MutantNone:
	case MutantCallEarly:
		b.early(s, r, func(core.Call) bool { return true })
	case MutantAcknowledge:
		b.early(s, r, is[core.Acknowledge])
	case MutantSubscribe:
		b.early(s, r, is[core.Subscribe])
	case MutantReplyEarly:
		s.replies = append(s.replies, r.Replies...)
		r.Replies = nil
	case MutantForgetAnswers:
		b.forget(r, func(wr core.Write) bool { _, ok := wr.Record.(*record.IdempotentReply); return ok })
	case MutantAckUnwritten:
		b.forget(r, func(wr core.Write) bool { t, ok := wr.Record.(*record.Task); return ok && t.State.Terminal() })
	case MutantForgetStrays:
		b.filter(r, func(c core.Call) bool {
			k, ok := c.(core.Kill)
			return !ok || s.w.journal.live.byKey[record.TaskKey(k.Task)] != nil
		})
	case MutantNoReconcile:
		b.filter(r, func(c core.Call) bool { return !is[core.Reconcile](c) })
	case MutantNeverAck:
		b.filter(r, func(c core.Call) bool { return !is[core.Acknowledge](c) })
	case MutantHoard:
		b.filter(r, func(c core.Call) bool { return !is[core.Decline](c) })
	case MutantForgetKillAgain:
		b.filter(r, b.firstKill)
	case MutantLaunchAgain:
		b.launchAgain(s, events, r)
	case MutantCronLate:
		b.decideLate(s, r)
	case MutantEventOrder:
		b.disorder(r)
	default:
		b.rewrite(s, r)
	}
}

func is[C core.Call](c core.Call) bool { _, ok := c.(C); return ok }

// early has calls made at once.
func (b *broken) early(s *schedulerProcess, r *core.Ready, which func(core.Call) bool) {
	b.filter(r, func(c core.Call) bool {
		if which(c) {
			s.calls = append(s.calls, queuedCall{Call: c})
			return false
		}
		return true
	})
}

// forget drops writes.
func (b *broken) forget(r *core.Ready, which func(core.Write) bool) {
	r.Writes = slices.DeleteFunc(slices.Clone(r.Writes), which)
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
