package sim

import (
	"fmt"
	"iter"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// How mutants break what they are named for.

// rewrite changes records that the core wants to be durable.
func (b *broken) rewrite(s *schedulerProcess, r *core.Ready) {
	for i, wr := range r.Writes {
		switch m := wr.Record.(type) {
		case *record.Job:
			before := s.w.journal.job(m.Key)
			switch now := s.wall().Unix(); {
			case s.w.opts.Mutant == MutantCronBack && m.DecidedThrough > now:
				m = proto.CloneOf(m)
				m.DecidedThrough = now
			case s.w.opts.Mutant == MutantNoReturn && before != nil && m.Deploy < before.Deploy:
				m = proto.CloneOf(m)
				m.Deploy = before.Deploy
			}
			r.Writes[i].Record = m
		case *record.Task:
			switch {
			case s.w.opts.Mutant == MutantNoDrain && m.StopAt != 0 && !m.State.Terminal() && m.KillAt > m.StopAt:
				r.Calls = append(r.Calls, core.Kill{Task: m.Id, Agent: m.Agent})
			case s.w.opts.Mutant == MutantStopEarly && s.w.journal.task(m.Id) == nil:
				b.stopEarly(s, m, r)
			}
		}
	}
}

// stopEarly stops what serves as the instance of a task that begins.
func (b *broken) stopEarly(s *schedulerProcess, begins *record.Task, r *core.Ready) {
	if begins.Run != "" {
		return
	}
	for _, t := range s.w.journal.live.slots[slotOf(begins)] {
		if !t.Ready || t.StopAt != 0 {
			continue
		}
		t = t.Copy()
		t.StopAt, t.KillAt, t.Ready = s.coreAt, s.coreAt, false
		t.StopReason = fmt.Sprintf("makes room for deploy %d", begins.Deploy)
		r.Writes = append(r.Writes, core.Write{Key: record.TaskKey(t.Id), Record: t})
	}
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

// disorder exchanges two events of a task.
func (b *broken) disorder(r *core.Ready) {
	last := map[string]int{}
	for i, e := range r.Events {
		if !strings.HasPrefix(e.Type, "task.") {
			continue
		}
		if k, ok := last[e.Task]; ok {
			r.Events[k], r.Events[i] = r.Events[i], r.Events[k]
			return
		}
		last[e.Task] = i
	}
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
	return func(yield func(string, core.Record) bool) {
		for key, m := range s.w.journal.all() { // which decodes them, so that they may be changed
			switch m := m.(type) {
			case *record.Cluster:
				switch s.w.opts.Mutant {
				case MutantReuseIDs:
					m.SequenceThrough = 0
				case MutantNewFramework:
					m.FrameworkId = ""
				}
			case *record.Job:
				if s.w.opts.Mutant == MutantCronPassed && m.DecidedThrough != 0 {
					m.DecidedThrough = max(m.DecidedThrough, s.wall().Unix())
				}
			case *record.Agent:
				if s.w.opts.Mutant == MutantForgetAgents {
					continue
				}
			case *record.Run:
				if s.w.opts.Mutant == MutantForgetFailures {
					m.Failures = 0
				}
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
