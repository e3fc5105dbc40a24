package core

import (
	"slices"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// census is which agents there are, as told: each is told of once when it joins
// and once when it is lost, whoever leads. Who joined only the master's list
// says. Offers do not: one that was on its way may be of an agent that is gone.
//
// It is apart from the pool, which knows what agents have and forgets those that
// are of no use now.
type census struct {
	known map[string]*record.Agent // durable, or in this step's writes
	// gone are those given up while the master is asked for its list, which may
	// be older than that: it says nothing of them. nil when it is not asked.
	gone map[string]bool
	// joining and leaving are still to be told of, as of the last list.
	joining []Agent
	leaving []string
	moreAt  int64 // when the next are told of, Unix ms
}

// A cluster's agents all join at its first subscription. They are told of some at
// a time, so that what is launched meanwhile need not wait for them to be durable.
const (
	countAtOnce = 1000
	countPace   = 20 // ms
)

func (s *census) listing() { s.gone = map[string]bool{} }

// stop forgets what was to be told: the next subscription begins with a list.
func (s *census) stop() { s.gone, s.joining, s.leaving = nil, nil, nil }

// counted compares the master's list, which the pool has taken in, with what was
// told.
func (c *Core) counted(list Agents) {
	if !c.mesos.subscribed {
		return
	}
	s := &c.census
	gone := s.gone
	s.stop()
	for _, a := range list.Agents {
		if a.ID != "" && s.known[a.ID] == nil && !gone[a.ID] {
			s.joining = append(s.joining, a)
		}
	}
	recovered := make(map[string]bool, len(list.Recovered))
	for _, id := range list.Recovered {
		recovered[id] = true
	}
	for id := range s.known {
		if a := c.pool.agents[id]; (a == nil || !a.listed) && !recovered[id] {
			s.leaving = append(s.leaving, id)
		}
	}
	slices.Sort(s.leaving)
	c.count()
}

// count tells of some agents, and of more soon.
func (c *Core) count() {
	s := &c.census
	n := min(len(s.leaving), countAtOnce)
	for _, id := range s.leaving[:n] {
		c.lose(id, "the master does not know it any more")
	}
	s.leaving = s.leaving[n:]
	n = min(len(s.joining), countAtOnce-n)
	for _, a := range s.joining[:n] {
		c.join(a)
	}
	if s.joining = s.joining[n:]; len(s.joining)+len(s.leaving) > 0 {
		s.moreAt = c.now + countPace
		c.timers.add(timer{at: s.moreAt, kind: timerCensus})
	}
}

func (c *Core) countMore() {
	if c.now >= c.census.moreAt { // else the timer was of an earlier list
		c.count()
	}
}

func (c *Core) join(a Agent) {
	if c.census.known[a.ID] != nil {
		return
	}
	rec := &record.Agent{Id: a.ID, Host: validText(a.Host), JoinedAt: c.now}
	c.census.known[a.ID] = rec
	c.write(record.AgentKey(a.ID), func() Record { return rec })
	c.emit(&record.Event{Type: "agent.joined", Agent: a.ID, Host: rec.Host})
}

func (c *Core) lose(id, why string) {
	rec := c.census.known[id]
	if rec == nil {
		return
	}
	delete(c.census.known, id)
	c.delete(record.AgentKey(id))
	c.emit(&record.Event{Type: "agent.lost", Agent: id, Host: rec.Host, Message: why})
}

// gaveUp notes that the master gave an agent up.
func (c *Core) gaveUp(id string) {
	s := &c.census
	if s.gone != nil {
		s.gone[id] = true
	}
	s.joining = slices.DeleteFunc(s.joining, func(a Agent) bool { return a.ID == id })
	c.lose(id, "the master gave it up")
}
