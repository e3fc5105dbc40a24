package model

import (
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// slave is what the master knows of a registered agent. It bears Mesos's old
// name for agents, to tell it from agent, which is the agent itself.
type slave struct {
	id      string
	host    *host
	info    *mesos.AgentInfo
	url     *mesos.URL
	machine *machine

	connected bool // its process is there
	active    bool // and gets tasks

	registered, reregistered, drainStart time.Time

	total, free bag
	tasks       *ordered[taskKey, *task]
	executors   *ordered[taskKey, *slaveExecutor]
	offers      *ordered[string, *offer]
	inverse     *ordered[string, *inverseOffer]
	killed      map[taskKey]bool // to be killed again when the agent is back
	ping        *timer           // set while it is away
}

// taskKey names a task or an executor of a framework.
type taskKey struct{ framework, id string }

type slaveExecutor struct {
	info      *mesos.ExecutorInfo
	bag       bag
	framework *framework
}

// uses says whether a framework has or is offered anything on the agent.
func (s *slave) uses(f *framework) bool {
	for _, o := range s.offers.all() {
		if o.framework == f {
			return true
		}
	}
	for _, e := range s.executors.all() {
		if e.framework == f {
			return true
		}
	}
	for _, t := range s.tasks.all() {
		if t.framework == f && !terminal(t.GetState()) {
			return true
		}
	}
	return false
}

func (s *slave) asks(f *framework) bool {
	for _, o := range s.inverse.all() {
		if o.framework == f {
			return true
		}
	}
	return false
}

// toAgent sends a message to an agent. It is lost when the agent is not
// connected when it arrives.
func (ma *master) toAgent(s *slave, message func(*agent)) {
	if !s.connected {
		return
	}
	ma.m.post(func() {
		if a := s.host.agent; a != nil && a.id == s.id {
			message(a)
		}
	})
}

// registration is what an agent tells the master of itself when it registers.
type registration struct {
	host       *host
	info       *mesos.AgentInfo
	frameworks []*mesos.FrameworkInfo
	executors  []*mesos.ExecutorInfo
	tasks      []*mesos.Task
}

// register gives a new agent its id.
func (ma *master) register(r registration) {
	info := *r.info
	info.ID = &mesos.AgentID{Value: fmt.Sprintf("%s-S%d", ma.id, ma.nextAgent)}
	ma.nextAgent++
	r.info = &info
	ma.storeAgent(&info)
	s := ma.addSlave(r)
	ma.toAgentOf(r.host, func(a *agent) { a.registered(s.id) })
}

// toAgentOf answers an agent that may not be registered.
func (ma *master) toAgentOf(h *host, message func(*agent)) {
	ma.m.post(func() {
		if h.agent != nil {
			message(h.agent)
		}
	})
}

func (ma *master) addSlave(r registration) *slave {
	info := r.info
	ip := r.host.spec.IP
	path, scheme := "/slave(1)", "http"
	if ma.m.opts.Secure {
		scheme = "https"
	}
	s := &slave{
		id: info.ID.Value, host: r.host, info: info, connected: true, active: true, registered: ma.m.now,
		url: &mesos.URL{Scheme: scheme, Path: &path,
			Address: mesos.Address{Hostname: &info.Hostname, IP: &ip, Port: info.GetPort()}},
		machine: ma.machine(machineOf(&mesos.MachineID{Hostname: &info.Hostname, IP: &ip})),
		total:   bagOf(info.Resources, ""), killed: map[taskKey]bool{},
		tasks: newOrdered[taskKey, *task](), executors: newOrdered[taskKey, *slaveExecutor](),
		offers: newOrdered[string, *offer](), inverse: newOrdered[string, *inverseOffer](),
	}
	s.free = s.total.clone()
	ma.slaves.set(s.id, s)
	ma.alloc.addTotal(s)
	ma.recover1(s, r)
	ma.publishAgentAdded(s)
	ma.alloc.touch(s)
	ma.alloc.now()
	return s
}

// recover1 adds what an agent brings along.
func (ma *master) recover1(s *slave, r registration) {
	for _, info := range r.frameworks {
		if id := info.ID.Value; !ma.frameworks.has(id) && !ma.completed.has(id) {
			ma.recoverFramework(info)
		}
	}
	take := func(f *framework, b bag) {
		plain := b.allocated("")
		s.free = s.free.sub(plain)
		ma.alloc.acquire(f, roleOfBag(b), plain)
	}
	for _, info := range r.executors {
		if f := ma.frameworks.get(info.FrameworkID.GetValue()); f != nil {
			take(f, ma.addExecutor(s, f, info).bag)
		}
	}
	for _, t := range r.tasks {
		if f := ma.frameworks.get(t.FrameworkID.Value); f != nil {
			f.unreachable.delete(t.TaskID.Value)
			added := ma.addTask(s, f, copyTask(t))
			if !terminal(t.GetState()) {
				take(f, added.bag)
			}
		}
	}
}

// reregister takes back an agent that has an id: one that was away for a
// moment, one that was given up, or one that an earlier master knew.
func (ma *master) reregister(r registration) {
	id := r.info.ID.Value
	if ma.gone[id] {
		ma.toAgentOf(r.host, func(a *agent) { a.exit("Agent has been marked gone") })
		return
	}
	if s := ma.slaves.get(id); s != nil {
		ma.reconnect(s, r)
		return
	}
	known := ma.recovered.has(id)
	text := "Unknown agent reregistered"
	if ma.unreachable.has(id) {
		text = "Unreachable agent re-reregistered"
	}
	ma.recovered.delete(id)
	ma.unreachable.delete(id)
	ma.storeAgent(r.info)
	if !known {
		ma.tellReregistered(r.tasks, text)
	}
	s := ma.addSlave(r)
	s.reregistered = ma.m.now
	if ma.deactivated[id] {
		ma.deactivateSlave(s)
	}
	ma.toAgent(s, func(a *agent) { a.reregistered(nil) })
	if d := ma.draining[id]; d != nil {
		config := d.Config
		ma.toAgent(s, func(a *agent) { a.drain(&config) })
		ma.drained(s)
	}
	ma.shutdownCompleted(s, r)
}

// tellReregistered tells frameworks of each task on an agent that had been
// given up. The agent's own update, if there is one, follows.
func (ma *master) tellReregistered(tasks []*mesos.Task, text string) {
	for _, t := range tasks {
		if f := ma.frameworks.get(t.FrameworkID.Value); f != nil {
			s := ma.m.status(statusOf{task: t.TaskID.Value, agent: t.AgentID.Value, state: t.GetState(),
				source: mesos.SOURCE_MASTER, reason: mesos.REASON_AGENT_REREGISTERED, message: text, executor: t.ExecutorID})
			keepOf(&s, t)
			ma.forward(f, s)
		}
	}
}

// shutdownCompleted ends what runs of frameworks that are removed.
func (ma *master) shutdownCompleted(s *slave, r registration) {
	for _, info := range r.frameworks {
		if id := info.ID.Value; ma.completed.has(id) {
			ma.toAgent(s, func(a *agent) { a.shutdownFramework(id) })
		}
	}
}

// reconnect takes back an agent that the master had not given up.
func (ma *master) reconnect(s *slave, r registration) {
	ma.m.stop(s.ping)
	s.reregistered, s.connected = ma.m.now, true
	tasks, executors := map[taskKey]bool{}, map[taskKey]bool{}
	for _, t := range r.tasks {
		tasks[taskKey{t.FrameworkID.Value, t.TaskID.Value}] = true
	}
	for _, e := range r.executors {
		executors[taskKey{e.FrameworkID.GetValue(), e.ExecutorID.Value}] = true
	}
	var unknown []lostTask
	for key, t := range s.tasks.all() {
		if !tasks[key] {
			unknown = append(unknown, lostTask{key, t.framework.aware})
		}
	}
	ma.toAgent(s, func(a *agent) { a.reregistered(unknown) })
	for _, e := range s.executors.values() {
		if !executors[taskKey{e.framework.id, e.info.ExecutorID.Value}] {
			ma.removeExecutor(s, e)
		}
	}
	for _, t := range r.tasks {
		if key := (taskKey{t.FrameworkID.Value, t.TaskID.Value}); s.killed[key] && !terminal(t.GetState()) {
			ma.toAgent(s, func(a *agent) { a.killTask(key.framework, key.id, nil) })
		}
	}
	if !ma.deactivated[s.id] {
		s.active = true
		ma.alloc.soon(ma.m.now)
	}
	ma.alloc.touch(s)
	if d := ma.draining[s.id]; d != nil {
		config := d.Config
		ma.toAgent(s, func(a *agent) { a.drain(&config) })
		ma.drained(s)
	}
	ma.shutdownCompleted(s, r)
}

// lostTask is one that the master launched and the agent never got.
type lostTask struct {
	taskKey
	aware bool
}

// agentDisconnected is how the master sees an agent's process die. The agent
// has time to come back before it is given up.
// removeFromSlave gives up what a framework without checkpoint had on an agent
// whose process died: it does not survive that.
// deactivateSlave takes back what is offered of an agent.
// markGone is MARK_AGENT_GONE of an agent that is known.
// removeSlave takes an agent off the list, because it is unreachable or gone.
// tellLost tells every framework that an agent is lost.
