package sim

import (
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/scheduler/core"
)

// listing is the driver's part in asking for the list of agents: one question at
// a time, and again after a while.
type listing struct {
	under model.StreamID // the subscription of the question under way
	due   bool           // there was a reason to ask since
	polls model.StreamID // the subscription that asks now and then
}

// listEvery is how long after a list the next is asked for.
const listEvery = 30 * time.Second

// listAgents asks the master for its agents: the list is of some time after the
// question, and comes some time after that, while events go on. It draws from a
// source of its own.
func (s *schedulerProcess) listAgents() {
	if s.listing.under == s.stream {
		s.listing.due = true
		return
	}
	s.listing.under, s.listing.due = s.stream, false
	s.inbox = append(s.inbox, core.ListingAgents{})
	stream := s.stream
	s.after(2*time.Second, stream, func() {
		answer := s.w.model.Operate(s.w.now, &master.Call{Type: master.Call_GET_AGENTS})
		if s.away || answer.Code != 200 || !s.w.calm && s.w.lists.IntN(20) == 0 {
			s.w.sees("agents not listed")
			s.after(5*time.Second, stream, s.listAgain)
			return
		}
		list := s.translator.Agents(answer.Master.GetAgents)
		if len(list.Recovered) > 0 {
			s.w.sees("agents listed that are not back")
		}
		s.after(2*time.Second, stream, func() {
			s.inbox = append(s.inbox, list)
			s.listing.under = 0
			if s.listing.due {
				s.listAgents()
			}
			s.listNowAndThen()
		})
	})
}

func (s *schedulerProcess) listAgain() {
	s.listing.under = 0
	s.listAgents()
}

// listNowAndThen asks again after a while, of a large cluster more rarely.
func (s *schedulerProcess) listNowAndThen() {
	if s.listing.polls == s.stream {
		return
	}
	s.listing.polls = s.stream
	stream := s.stream
	s.w.later(listEvery*time.Duration(s.w.scale), func() {
		s.happens(func() {
			if s.up && s.stream == stream {
				s.listing.polls = 0
				s.listAgents()
			}
		})
	})
}

// after does something within a time, if the process runs and the subscription
// lasts until then.
func (s *schedulerProcess) after(most time.Duration, stream model.StreamID, do func()) {
	s.w.later(time.Duration(s.w.lists.Int64N(int64(most/time.Millisecond)))*time.Millisecond, func() {
		s.happens(func() {
			if s.up && s.stream == stream {
				do()
			}
		})
	})
}
