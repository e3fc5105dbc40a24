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
		outcome(answer.Text)
		s.disconnect(answer.Text)
	}
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
	clear(s.w.checks.held)
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
	switch e.Event.Type {
	case scheduler.Event_SUBSCRIBED:
		id := e.Event.Subscribed.FrameworkID.Value
		s.translator.Subscribed(id)
		s.inbox = append(s.inbox, core.Subscribed{FrameworkID: id, Master: "master:5050"})
		s.inbox = append(s.inbox, s.w.knownAgents())
		return
	case scheduler.Event_ERROR:
		s.disconnect(e.Event.Error.Message)
		return
	}
	event := s.translator.Event(e.Event)
	if event == nil {
		return
	}
	s.w.checks.offered(event)
	u, isUpdate := event.(core.Update)
	if isUpdate {
		s.w.checks.updates[string(u.UUID)] = u.State
		s.w.trace("update %s %s %s %s", u.Task, u.State, u.Reason, u.Message)
	}
	if isUpdate && !s.w.calm {
		event = s.disturb(u)
		if event == nil {
			return
		}
	}
	s.inbox = append(s.inbox, event)
}

// disturb loses an update (nil), repeats it, sends it once more and late, or
// exchanges it with the one before.
func (s *schedulerProcess) disturb(u core.Update) core.Event {
	switch {
	case len(u.UUID) > 0 && s.w.chance(25):
		s.w.trace("  lost")
		return nil
	case s.w.chance(25):
		s.inbox = append(s.inbox, u)
	case s.w.chance(15):
		stream := s.stream
		s.w.timers.add(s.w.now.Add(time.Duration(s.w.rng.IntN(8000))*time.Millisecond), func() {
			if s.up && s.stream == stream && len(u.UUID) > 0 {
				s.inbox = append(s.inbox, u)
			}
		})
	}
	if n := len(s.inbox); n > 0 && s.w.chance(10) {
		if other, ok := s.inbox[n-1].(core.Update); ok && other.Task != u.Task {
			s.inbox[n-1] = u
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
	clear(s.w.checks.held)
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
