package sim

import (
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
)

// ask asks a gate, an outside system, whether a deploy goes on. Its answer takes
// a while, may be lost, and may come when nobody wants it any more.
func (s *schedulerProcess) ask() bool {
	if len(s.asks) == 0 {
		return false
	}
	question := s.asks[0]
	s.asks = s.asks[1:]
	w := s.w
	answer := core.GateAnswered{Job: question.Question.Job, Deploy: question.Question.Deploy, Step: question.Step, Decision: api.GateGo}
	if !w.calm {
		switch w.rng.IntN(8) {
		case 0, 1:
			w.sees("gate does not answer")
			return true
		case 2:
			answer.Decision, answer.Reason = api.GateStop, "errors are up"
		case 3, 4:
			answer.Decision, answer.Reason = api.GateWait, "not yet"
		}
	}
	w.sees("gate says " + string(answer.Decision))
	core := s.core
	w.later(w.upTo(5*time.Second), func() {
		s.happens(func() {
			if s.core == core {
				s.inbox = append(s.inbox, answer)
			}
		})
	})
	return true
}
