package sim

import (
	"fmt"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/mesos"
)

// schedulerProcess is one scheduler: the real core, and the engine's and
// driver's part of the work, one small step at a time so that it can die
// between any two.
type schedulerProcess struct {
	w          *world
	up         bool
	core       *core.Core
	translator *mesos.Translator
	lives      int // processes started

	stream    model.StreamID // 0 while not subscribed
	uuid      string
	framework string

	inbox     []core.Event // arrived from Mesos, not yet stepped
	decided   []core.Ready // not durable
	calls     []core.Call  // durable, not performed
	replies   []core.Reply // durable, not sent
	wakeAt    int64
	steps     int
	reconnect bool // Connecting is due
}

func newScheduler(w *world) *schedulerProcess {
	return &schedulerProcess{w: w}
}

// start begins a process: what is durable is all it knows.
func (s *schedulerProcess) start() {
	c, err := core.Load(core.Config{Overhead: core.Amounts{CPUs: 10, Memory: 32_000}, DefaultUser: "nobody",
		ReplaceAfter: 2 * 60_000, FinishedKeep: 500}, s.w.journal.all())
	if err != nil {
		panic(failed(fmt.Sprintf("the state cannot be loaded: %v", err)))
	}
	s.lives++
	*s = schedulerProcess{w: s.w, up: true, core: c, lives: s.lives,
		translator: mesos.NewTranslator(mesos.Options{Executor: mesos.ExecutorOptions{URL: "http://scheduler/executor", SHA256: zeros}})}
	s.w.journal.epoch++
	s.w.trace("scheduler %d starts at journal index %d", s.lives, s.w.journal.index)
	s.step(core.Elected{Scheduler: fmt.Sprint("s", s.lives), Incarnation: "siml"})
	s.reconnect = true
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// crash ends the process where it stands.
func (s *schedulerProcess) crash() {
	s.w.trace("scheduler %d dies: %d steps not durable, %d calls not performed", s.lives, len(s.decided), len(s.calls))
	if s.stream != 0 {
		s.w.model.Closed(s.w.now, s.stream)
	}
	s.up, s.stream = false, 0
	clear(s.w.checks.held)
	s.w.users.lost()
}

// step runs the core on events, and queues what it wants.
func (s *schedulerProcess) step(events ...core.Event) {
	var ready core.Ready
	if s.alone(events) {
		s.step() // what is due by itself
		ready = s.core.Step(s.w.now.UnixMilli(), events)
		s.w.checks.refused(ready)
	} else {
		ready = s.core.Step(s.w.now.UnixMilli(), events)
	}
	s.steps++
	s.wakeAt = ready.Wake
	if s.w.opts.Mutant == MutantCallEarly {
		s.calls = append(s.calls, ready.Calls...)
		ready.Calls = nil
	}
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

// receive steps the core with some of what arrived, if anything did.
func (s *schedulerProcess) receive() bool {
	if !s.up {
		return false
	}
	if s.reconnect && len(s.decided) < 3 {
		s.reconnect = false
		if s.w.masterUp {
			s.step(core.Connecting{})
			return true
		}
		s.reconnect = true
	}
	if len(s.inbox) == 0 || len(s.decided) >= 3 {
		return false
	}
	n := 1 + s.w.rng.IntN(len(s.inbox))
	batch := s.inbox[:n:n]
	s.inbox = s.inbox[n:]
	s.w.trace("step with %d events", n)
	s.step(batch...)
	return true
}

// tick steps the core when it asked to be.
func (s *schedulerProcess) tick() {
	if s.up && s.wakeAt != 0 && s.wakeAt <= s.w.now.UnixMilli() && len(s.decided) < 3 {
		s.step()
	}
}

func (s *schedulerProcess) wake() time.Time {
	if !s.up || s.wakeAt == 0 || len(s.decided) >= 3 {
		return time.Time{}
	}
	return time.UnixMilli(s.wakeAt).UTC()
}

// progress makes the next thing happen that was decided: an entry durable, a
// call performed, a reply sent.
func (s *schedulerProcess) progress() bool {
	switch {
	case !s.up:
		return false
	case len(s.calls) > 0:
		call := s.calls[0]
		s.calls = s.calls[1:]
		s.perform(call)
	case len(s.replies) > 0:
		reply := s.replies[0]
		s.replies = s.replies[1:]
		s.w.users.answered(reply)
	case len(s.decided) > 0:
		ready := s.decided[0]
		s.decided = s.decided[1:]
		s.w.journal.append(ready)
		s.calls = append(s.calls, ready.Calls...)
		s.replies = append(s.replies, ready.Replies...)
	default:
		return false
	}
	return true
}

// perform makes one call to Mesos. While nobody is subscribed, calls are
// dropped, and launches reported as such.
func (s *schedulerProcess) perform(call core.Call) {
	if sub, ok := call.(core.Subscribe); ok {
		s.subscribe(sub)
		return
	}
	accept, isAccept := call.(core.Accept)
	if s.stream == 0 {
		if isAccept {
			s.inbox = append(s.inbox, core.Accepted{Tasks: taskIDs(accept), Err: "not subscribed"})
		}
		return
	}
	s.w.checks.beforeCall(call)
	s.w.checks.called(call)
	message, err := s.translator.Call(call)
	if err != nil && isAccept {
		s.inbox = append(s.inbox, core.Accepted{Tasks: taskIDs(accept), Err: err.Error()})
	}
	if message == nil {
		return
	}
	answer := s.w.model.Call(s.w.now, s.uuid, message)
	s.w.trace("call %s: %d %s", message.Type, answer.Code, answer.Text)
	if isAccept && err == nil {
		e := ""
		if answer.Code != 202 {
			e = answer.Text
		}
		s.inbox = append(s.inbox, core.Accepted{Tasks: taskIDs(accept), Err: e})
	}
}

func taskIDs(a core.Accept) []string {
	ids := make([]string, len(a.Launches))
	for i, l := range a.Launches {
		ids[i] = l.Task
	}
	return ids
}

func (s *schedulerProcess) subscribe(sub core.Subscribe) {
	if !s.w.masterUp {
		s.reconnect = true
		return
	}
	if s.stream != 0 {
		s.w.model.Closed(s.w.now, s.stream)
		s.stream = 0
	}
	answer := s.w.model.Subscribe(s.w.now, s.translator.Subscribe(sub))
	s.w.trace("SUBSCRIBE: %d %s", answer.Code, answer.Text)
	if answer.Code != 200 {
		panic(failed(fmt.Sprintf("SUBSCRIBE was refused: %d %s", answer.Code, answer.Text)))
	}
	s.stream, s.uuid = answer.Stream, answer.StreamUUID
}

// arrived takes an event of Mesos; some are late, repeated, or lost.
func (s *schedulerProcess) arrived(e model.SchedulerEvent) {
	if !s.up || e.Stream != s.stream {
		return
	}
	switch e.Event.Type {
	case scheduler.Event_SUBSCRIBED:
		id := e.Event.Subscribed.FrameworkID.Value
		s.framework = id
		s.translator.Subscribed(id)
		s.inbox = append(s.inbox, core.Subscribed{FrameworkID: id, Master: "master:5050"})
		s.inbox = append(s.inbox, s.w.knownAgents())
		return
	case scheduler.Event_ERROR:
		s.w.trace("ERROR: %s", e.Event.Error.Message)
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
		s.w.trace("update %s %s %s %s", u.Task, u.State, u.Reason, u.Message)
	}
	if isUpdate && !s.w.calm {
		switch {
		case len(u.UUID) > 0 && s.w.chance(25):
			s.w.trace("  lost")
			return
		case s.w.chance(25):
			s.inbox = append(s.inbox, event) // repeated
		case s.w.chance(15):
			stream := s.stream
			s.w.timers.add(s.w.now.Add(time.Duration(s.w.rng.IntN(8000))*time.Millisecond), func() {
				if s.up && s.stream == stream && len(u.UUID) > 0 {
					s.inbox = append(s.inbox, event) // late, and once more
				}
			})
		}
		if n := len(s.inbox); n > 0 && s.w.chance(10) {
			if other, ok := s.inbox[n-1].(core.Update); ok && other.Task != u.Task {
				s.inbox[n-1] = event // reordered, of different tasks
				event = other
			}
		}
	}
	s.inbox = append(s.inbox, event)
}

// disconnect tells the core that the subscription is over.
func (s *schedulerProcess) disconnect(why string) {
	if !s.up || s.stream == 0 {
		return
	}
	s.w.trace("disconnected: %s", why)
	s.stream = 0
	clear(s.w.checks.held)
	var dropped []core.Call
	for _, c := range s.calls {
		if a, ok := c.(core.Accept); ok {
			s.inbox = append(s.inbox, core.Accepted{Tasks: taskIDs(a), Err: "disconnected"})
			continue
		}
		if _, ok := c.(core.Subscribe); ok {
			dropped = append(dropped, c)
		}
	}
	s.calls = dropped
	s.inbox = append(s.inbox, core.Disconnected{Reason: why})
	if len(dropped) == 0 {
		s.reconnect = true
	}
}
