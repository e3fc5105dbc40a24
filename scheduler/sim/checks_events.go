package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api/eventtest"
	"github.com/perigee-sched/perigee/scheduler/cloudevent"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// eventChecks is what was told, as consumers see it.
type eventChecks struct {
	tasks   map[string]*taskTold
	written []*record.Task  // in this entry
	gone    map[string]bool // jobs that were removed
	agents  map[string]bool // that joined, and were not lost
	lost    map[string]int  // how often
	removed map[string]int  // how often the master gave an agent up
	away    map[string]bool // agents that it has given up, as its registry says
}

// taskTold are the states that a task was told to enter.
type taskTold struct {
	moments []*record.Moment
	over    bool
}

func newEventChecks() eventChecks {
	return eventChecks{tasks: map[string]*taskTold{}, gone: map[string]bool{}, agents: map[string]bool{},
		lost: map[string]int{}, removed: map[string]int{}, away: map[string]bool{}}
}

// told: an event is as the catalogue says. Each agent joins and is lost in turn,
// and is lost no more often than the master gave it up; nothing is told of a task
// that is over, or of a job that is gone.
func (c *checks) told(e *record.Event) {
	b, err := json.Marshal(cloudevent.Of("sim", "siml-1-0", e))
	if err == nil {
		err = eventtest.Check(b)
	}
	if err != nil {
		c.fail("events are as the catalogue says: %v", err)
	}
	c.jobTold(e)
	switch kind, what, _ := strings.Cut(e.Type, "."); kind {
	case "task":
		c.taskTold(e, what)
	case "agent":
		c.agentTold(e, what)
	}
}

func (c *checks) jobTold(e *record.Event) {
	switch {
	case e.Job == "":
	case e.Type == "job.removed":
		c.events.gone[e.Job] = true
	case e.Type == "job.created":
		delete(c.events.gone, e.Job)
	case c.events.gone[e.Job]:
		c.fail("events of a job are in order: %s is told of %s, which was removed", e.Type, e.Job)
	}
}

func (c *checks) taskTold(e *record.Event, what string) {
	t := c.events.tasks[e.Task]
	if t == nil {
		t = &taskTold{}
		c.events.tasks[e.Task] = t
	}
	if t.over {
		c.fail("events of a task are in order: %s of %s is told when it is over", e.Type, e.Task)
	}
	number, is := record.TaskState_value["TASK_STATE_"+strings.ToUpper(what)]
	if !is {
		return
	}
	state := record.TaskState(number)
	t.moments = append(t.moments, &record.Moment{At: e.At, State: state, Message: e.Message, Reason: e.Reason})
	t.over = state.Terminal()
}

// timelinesTold: the events of a task's states are its timeline.
func (c *checks) timelinesTold() {
	for _, t := range c.events.written {
		told, timeline := c.events.tasks[t.Id], t.Moments()
		if told == nil {
			c.fail("events of a task are its timeline: none is told of %s, which is %v", t.Id, t.State)
		}
		kept := timeline
		if len(kept) < len(told.moments) { // the core leaves out what is between the first and the last
			kept = kept[min(2, len(kept)):]
		}
		last := told.moments[max(0, len(told.moments)-len(kept)):]
		if !slices.EqualFunc(kept, last, sameMoment) {
			c.fail("events of a task are its timeline: %s has %v, and %v was told", t.Id, timeline, told.moments)
		}
	}
	c.events.written = c.events.written[:0]
}

func sameMoment(a, b *record.Moment) bool {
	return a.At == b.At && a.State == b.State && a.Message == b.Message && a.Reason == b.Reason
}

func (c *checks) agentTold(e *record.Event, what string) {
	ev := &c.events
	joins := what == "joined"
	if ev.agents[e.Agent] == joins {
		c.fail("an agent joins and is lost in turn: %s of %s is told twice in a row", e.Type, e.Agent)
	}
	if joins {
		ev.agents[e.Agent] = true
		if ev.lost[e.Agent] > 0 {
			c.w.sees("agent joins again")
		}
		return
	}
	delete(ev.agents, e.Agent)
	c.w.sees("agent lost")
	if ev.lost[e.Agent]++; ev.lost[e.Agent] > ev.removed[e.Agent] {
		c.fail("no agent is lost that the master has: %s is lost for the %d. time, and it gave it up %d times",
			e.Agent, ev.lost[e.Agent], ev.removed[e.Agent])
	}
}

// registered notes what the master's registry has of an agent.
func (c *checks) registered(key string, value []byte) {
	id, ok := strings.CutPrefix(key, "agent/")
	if !ok {
		return
	}
	var r struct {
		Unreachable time.Time `json:"unreachable"`
		Gone        bool      `json:"gone"`
	}
	if err := json.Unmarshal(value, &r); err != nil {
		c.fail("the registry has %s as %q: %v", id, value, err)
	}
	away := r.Gone || !r.Unreachable.IsZero()
	if away && !c.events.away[id] {
		c.events.removed[id]++
	}
	c.events.away[id] = away
}

// agentsAtRest: the agents that joined are those that the master has.
func (c *checks) agentsAtRest() string {
	for _, id := range slices.Sorted(maps.Keys(c.events.away)) {
		if has := !c.events.away[id]; has != c.events.agents[id] {
			return fmt.Sprintf("agent %s is the master's: %v, and has joined: %v", id, has, c.events.agents[id])
		}
	}
	for key, m := range c.w.journal.decoded {
		if a, ok := m.(*record.Agent); ok && !c.events.agents[a.Id] {
			return fmt.Sprintf("%s is there, and has not joined", key)
		}
	}
	return ""
}
