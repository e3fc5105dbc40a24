package sim

import (
	"fmt"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/scheduler/core"
)

// call performs the next call to Mesos. One that no write precedes, and
// SUBSCRIBE, is made only while nobody else can have been elected.
func (s *schedulerProcess) call() bool {
	if len(s.calls) == 0 {
		return false
	}
	c := s.calls[0]
	sub, isSubscribe := c.Call.(core.Subscribe)
	late := !s.mono().Before(s.renewed.Add(sessionLasts))
	if late && (c.bare || isSubscribe) && s.w.opts.Mutant != MutantDeadline {
		s.w.sees("calls withheld after the lease's deadline")
		return false
	}
	s.calls = s.calls[1:]
	if isSubscribe {
		s.subscribe(sub)
	} else {
		s.perform(c)
	}
	return true
}

// perform makes one call to Mesos. While nobody is subscribed, calls are
// dropped, and launches reported as such.
func (s *schedulerProcess) perform(c queuedCall) {
	accept, isAccept := c.Call.(core.Accept)
	outcome := func(err string) {
		if isAccept {
			s.inbox = append(s.inbox, core.Accepted{Tasks: taskIDs(accept), Err: err})
		}
	}
	if s.stream == 0 {
		outcome("not subscribed")
		return
	}
	s.w.checks.called(c.Call)
	message, err := s.translator.Call(c.Call)
	if err != nil {
		if isAccept {
			s.w.sees("launch withheld, its offer is gone")
		}
		outcome(err.Error())
	}
	if message == nil {
		return
	}
	if s.away {
		s.disconnect("no answer")
		outcome("no answer")
		return
	}
	if s.lostOnTheWay(c.Call) {
		return
	}
	answer := s.w.model.Call(s.w.now, s.uuid, message)
	s.w.trace("scheduler %d: call %s %s: %d %s", s.number, message.Type, callee(c.Call), answer.Code, answer.Text)
	if answer.Code == 202 {
		s.w.checks.commanded(s, c)
	}
	switch {
	case err != nil:
	case answer.Code == 202:
		outcome("")
	default:
		if isAccept {
			s.w.sees("launch not answered 202")
		}
		outcome(answer.Text)
		s.disconnect(answer.Text)
	}
}

// lostOnTheWay loses what the master took and passes on to an agent: nobody
// says so.
func (s *schedulerProcess) lostOnTheWay(call core.Call) bool {
	what, once := "", 0
	switch call.(type) {
	case core.Kill:
		what, once = "KILL lost", 8
	case core.Acknowledge:
		what, once = "acknowledgement lost", 30
	}
	if what == "" || s.w.calm || !s.w.chance(once) {
		return false
	}
	s.w.sees(what)
	s.w.trace("scheduler %d: %s: %s", s.number, what, callee(call))
	return true
}

// callee names the task of a call, for the trace.
func callee(c core.Call) string {
	switch c := c.(type) {
	case core.Accept:
		return fmt.Sprint(taskIDs(c))
	case core.Kill:
		return c.Task
	case core.Acknowledge:
		return c.Task
	}
	return ""
}

func taskIDs(a core.Accept) []string {
	ids := make([]string, len(a.Launches))
	for i, l := range a.Launches {
		ids[i] = l.Task
	}
	return ids
}

func (s *schedulerProcess) subscribe(sub core.Subscribe) {
	if !s.w.masterUp || s.away {
		s.reconnect = true
		return
	}
	if s.stream != 0 {
		s.w.model.Closed(s.w.now, s.stream)
		s.stream = 0
	}
	s.w.checks.subscribes(s)
	clear(s.w.checks.offers.held)
	answer := s.w.model.Subscribe(s.w.now, s.translator.Subscribe(sub))
	s.w.trace("scheduler %d: SUBSCRIBE: %d %s", s.number, answer.Code, answer.Text)
	if answer.Code != 200 {
		panic(failed(fmt.Sprintf("SUBSCRIBE was refused: %d %s", answer.Code, answer.Text)))
	}
	s.stream, s.uuid = answer.Stream, answer.StreamUUID
}

// happens does what happens to a process from outside: at once, or when it
// runs again.
func (s *schedulerProcess) happens(do func()) {
	if s.paused {
		s.missed = append(s.missed, do)
		return
	}
	do()
}

// arrived takes an event of Mesos; some are late, repeated, or lost.
func (s *schedulerProcess) arrived(e model.SchedulerEvent) {
	if !s.up || e.Stream != s.stream || s.away {
		return
	}
	if s.onTheWay(e) {
		return
	}
	switch e.Event.Type {
	case scheduler.Event_SUBSCRIBED:
		id := e.Event.Subscribed.FrameworkID.Value
		s.translator.Subscribed(id)
		s.inbox = append(s.inbox, core.Subscribed{FrameworkID: id, Master: "master:5050"})
		s.listAgents()
		return
	case scheduler.Event_ERROR:
		s.w.sees("subscription taken over by another scheduler")
		s.disconnect(e.Event.Error.Message)
		return
	}
	event := s.translator.Event(e.Event)
	if event == nil {
		return
	}
	s.w.checks.heard(s, event)
	if s.translator.AgentsDue() {
		s.listAgents()
	}
	if removed, ok := event.(core.AgentRemoved); ok {
		s.w.gaveUp(removed.Agent)
	}
	if u, isUpdate := event.(core.Update); isUpdate && !s.w.calm {
		event = s.disturb(u)
		if event == nil {
			return
		}
	}
	s.inbox = append(s.inbox, event)
}

// onTheWay says whether an event that takes something from the scheduler takes a
// while to reach it: until then it goes on.
func (s *schedulerProcess) onTheWay(e model.SchedulerEvent) bool {
	switch e.Event.Type {
	case scheduler.Event_RESCIND, scheduler.Event_ERROR:
	default:
		return false
	}
	if s.late == e.Event || s.w.calm || !s.w.chance(3) {
		return false
	}
	s.w.later(s.w.upTo(3*time.Second), func() {
		s.happens(func() {
			s.late = e.Event
			s.arrived(e)
			s.late = nil
		})
	})
	return true
}

// disturb loses an update (nil), repeats it, sends it once more and late, or
// exchanges it with the one before.
func (s *schedulerProcess) disturb(u core.Update) core.Event {
	switch {
	case len(u.UUID) > 0 && s.w.chance(25):
		s.w.trace("  lost")
		s.w.sees("update lost")
		return nil
	case s.w.chance(25):
		s.w.sees("update repeated")
		s.inbox = append(s.inbox, u)
	case s.w.chance(15):
		s.w.sees("update late")
		stream := s.stream
		s.w.timers.add(s.w.now.Add(time.Duration(s.w.rng.IntN(8000))*time.Millisecond), func() {
			// Of one task they come in order: the next only when this was acknowledged.
			if last := s.w.checks.tasks.lastUpdate[u.Task]; s.up && s.stream == stream && len(u.UUID) > 0 && last == string(u.UUID) {
				s.inbox = append(s.inbox, u)
			}
		})
	}
	if n := len(s.inbox); n > 0 && s.w.chance(10) {
		if other, ok := s.inbox[n-1].(core.Update); ok && other.Task != u.Task {
			s.inbox[n-1] = u
			s.w.sees("update overtakes another")
			return other
		}
	}
	return u
}

// disconnect tells the core that the subscription is over.
func (s *schedulerProcess) disconnect(why string) {
	if !s.up || s.stream == 0 {
		return
	}
	s.w.trace("scheduler %d is disconnected: %s", s.number, why)
	s.w.model.Closed(s.w.now, s.stream)
	s.stream = 0
	s.reconnect = true
	clear(s.w.checks.offers.held)
	var kept []queuedCall
	for _, c := range s.calls {
		switch call := c.Call.(type) {
		case core.Accept:
			s.inbox = append(s.inbox, core.Accepted{Tasks: taskIDs(call), Err: "disconnected"})
		case core.Subscribe:
			kept = append(kept, c)
			s.reconnect = false
		}
	}
	s.calls = kept
	s.inbox = append(s.inbox, core.Disconnected{Reason: why})
}
