package mesos

import (
	"log/slog"

	"github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// Translator is a Driver's knowledge of Mesos's messages without its
// connections, for a simulation that hands messages over itself.
type Translator struct{ session *session }

// NewTranslator returns one with no subscription.
func NewTranslator(o Options) *Translator {
	o.Logger = slog.New(slog.DiscardHandler)
	d := New(o)
	return &Translator{&session{driver: d, asked: map[string]bool{}, agentsDue: make(chan struct{}, 1)}}
}

// Subscribe is the SUBSCRIBE for a core's.
func (t *Translator) Subscribe(s core.Subscribe) *scheduler.Call {
	return subscribeCall(t.session.driver.o.Framework, s)
}

// Subscribed begins a subscription; the offers of the last one are void.
func (t *Translator) Subscribed(framework string) {
	t.session.driver.offers.clear()
	clear(t.session.asked)
	t.session.launcher = newLauncher(framework, t.session.driver.o)
}

// Call is the message for a core's call. With an error, an Accept was not
// possible; see session.message.
func (t *Translator) Call(c core.Call) (*scheduler.Call, error) { return t.session.message(c) }

// Agents is what core is told of the master's list of agents.
func (t *Translator) Agents(list *master.Response_GetAgents) core.Agents {
	return coreAgents(list, t.session.driver.o.Framework.Role)
}

// AgentsDue says whether the master is to be asked for its agents soon, once for
// each time that there is a reason.
func (t *Translator) AgentsDue() bool {
	select {
	case <-t.session.agentsDue:
		return true
	default:
		return false
	}
}

// Event is what core is told of a message; nil when nothing.
func (t *Translator) Event(e *scheduler.Event) core.Event { return t.session.translate(e) }
