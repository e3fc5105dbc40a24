package core

import (
	"slices"
	"strings"
)

// pool is the agents, and what they have on offer.
type pool struct {
	agents  map[string]*agent
	holders map[string]*agent // agents by the ids of held offers
	// offered are the agents with held offers, in no particular order.
	offered []*agent
	// fresh are those that offered something since the last pass.
	fresh []*agent
	// sets numbers the different sets of attributes, for the verdicts of
	// constraints.
	sets   map[string]int
	cursor int // where the next search begins
	// domains lists agents by attribute and value, of the attributes that some
	// spec spreads over; nil when agents changed.
	domains map[string][]*domain

	suppressed bool
	wanted     bool  // REVIVE is due: a new kind of demand, or something was freed
	freed      bool  // tasks ended in this step
	revivedAt  int64 // Unix ms
	idleSince  int64 // no demand; 0 while there is some
	timer      int64 // when a timerOffers is due, 0 when there is none
	holdUntil  int64 // no held offer is due before; 0 when unknown
}

func newPool() pool {
	return pool{agents: map[string]*agent{}, holders: map[string]*agent{}, sets: map[string]int{}, suppressed: true}
}

type agent struct {
	id, host, url string
	attributes    Attributes
	set           int // number of the set of attributes
	total         Amounts
	active        bool // as the master says; true while it did not say
	listed        bool // the master told of it

	offers []Offer
	since  int64 // when the oldest of offers came
	free   Amounts
	ports  []PortRange
	nports int
	index  int // in pool.offered, -1 when not there
	fresh  bool

	tasks    int // live and launched
	used     Amounts
	launches []Launch // of this pass
	nextPort uint32   // where the search for ports begins

	sandboxes string // what the paths of its tasks' sandboxes begin with
}

type domain struct {
	value  string
	agents []*agent
	cursor int
}

// The times of offers, in ms.
const (
	holdMost    = 30_000 // while there is demand
	holdIdle    = 2_000  // when there is none any more
	reviveEvery = 200
)

// refuseLong is for how many seconds an offer that is of no use is refused;
// REVIVE forgets that.
const refuseLong = 3600

func (c *Core) agentNamed(id, host, url string) *agent {
	a := c.pool.agents[id]
	if a == nil {
		a = &agent{id: id, active: true, index: -1}
		c.pool.agents[id] = a
		c.pool.domains = nil
		c.describe(a, host, nil)
	}
	if url != "" && url != a.url { // the same string for all of its tasks
		a.url = url
	}
	return a
}

// describe notes what an agent says of itself.
func (c *Core) describe(a *agent, host string, attributes Attributes) {
	var b strings.Builder
	for _, at := range attributes {
		b.WriteString(at.Name + "\x00" + at.Value + "\x00")
	}
	key := b.String()
	set, ok := c.pool.sets[key]
	if !ok {
		set = len(c.pool.sets)
		c.pool.sets[key] = set
	}
	if a.host != host || a.set != set || a.attributes == nil {
		a.host, a.attributes, a.set = host, attributes, set
		c.pool.domains = nil
	}
}

func (c *Core) agentsKnown(list []Agent) {
	for _, a := range c.pool.agents {
		a.listed = false
	}
	for _, known := range list {
		a := c.agentNamed(known.ID, known.Host, known.URL)
		c.describe(a, known.Host, known.Attributes)
		a.total, a.active, a.listed = known.Total, known.Active, true
	}
	for id, a := range c.pool.agents {
		if !a.listed && a.tasks == 0 && len(a.offers) == 0 {
			delete(c.pool.agents, id)
			c.pool.domains = nil
		}
	}
}

func (c *Core) agentRemoved(id string) {
	if a := c.pool.agents[id]; a != nil {
		a.active = false
		if a.tasks == 0 && len(a.offers) == 0 {
			delete(c.pool.agents, id)
			c.pool.domains = nil
		}
	}
}

func (c *Core) offered(list []Offer) {
	if p := &c.pool; len(p.holders) == 0 && len(list) >= presizeAt { // a new subscription: all agents at once
		p.holders = make(map[string]*agent, len(list))
		p.offered = slices.Grow(p.offered, len(list))
		p.fresh = slices.Grow(p.fresh, len(list))
		if len(p.agents) == 0 {
			p.agents = make(map[string]*agent, len(list))
		}
	}
	for _, o := range list {
		if c.pool.holders[o.ID] != nil {
			continue
		}
		a := c.agentNamed(o.Agent, o.Host, o.URL)
		c.describe(a, o.Host, o.Attributes)
		a.active = true
		if len(a.offers) == 0 {
			a.since = c.now
		}
		a.offers = append(a.offers, o)
		c.pool.holders[o.ID] = a
		c.recount(a)
		if !a.fresh {
			a.fresh = true
			c.pool.fresh = append(c.pool.fresh, a)
		}
	}
}

// presizeAt is from how many offers on room is made for all of them at once.
const presizeAt = 1000

func (c *Core) rescinded(id string) {
	a := c.pool.holders[id]
	if a == nil {
		return
	}
	delete(c.pool.holders, id)
	a.offers = slices.DeleteFunc(a.offers, func(o Offer) bool { return o.ID == id })
	c.recount(a)
}

// recount adds up what an agent has on offer.
func (c *Core) recount(a *agent) {
	a.free, a.ports, a.nports = Amounts{}, nil, 0
	for _, o := range a.offers {
		a.free.CPUs += o.Free.CPUs
		a.free.Memory += o.Free.Memory
		a.free.Disk += o.Free.Disk
		for _, r := range o.Ports {
			a.ports = append(a.ports, r)
			a.nports += int(r.Last-r.First) + 1
		}
	}
	p := &c.pool
	switch has := len(a.offers) > 0; {
	case has && a.index < 0:
		a.index = len(p.offered)
		p.offered = append(p.offered, a)
	case !has && a.index >= 0:
		last := p.offered[len(p.offered)-1]
		p.offered[a.index], last.index = last, a.index
		p.offered[len(p.offered)-1] = nil
		p.offered, a.index = p.offered[:len(p.offered)-1], -1
	}
}

// release forgets an agent's offers, which were used or given back, and
// returns their ids.
func (c *Core) release(a *agent) []string {
	ids := make([]string, len(a.offers))
	for i, o := range a.offers {
		ids[i] = o.ID
		delete(c.pool.holders, o.ID)
	}
	a.offers = nil
	c.recount(a)
	return ids
}

func (c *Core) loseOffers() {
	for len(c.pool.offered) > 0 {
		c.release(c.pool.offered[len(c.pool.offered)-1])
	}
	c.clearFresh()
}

func (c *Core) clearFresh() {
	for i, a := range c.pool.fresh {
		a.fresh = false
		c.pool.fresh[i] = nil
	}
	c.pool.fresh = c.pool.fresh[:0]
}

// occupy counts a launched task where it runs.
func (c *Core) occupy(t *task) {
	a := c.agentNamed(t.rec.Agent, t.rec.Host, t.rec.AgentUrl)
	a.tasks++
	a.used.CPUs += t.class.need.CPUs
	a.used.Memory += t.class.need.Memory
	a.used.Disk += t.class.need.Disk
	t.group.running++
	t.job.countAt(t, 1)
}

func (c *Core) vacate(t *task) {
	a := c.agentNamed(t.rec.Agent, t.rec.Host, t.rec.AgentUrl)
	a.tasks--
	a.used.CPUs -= t.class.need.CPUs
	a.used.Memory -= t.class.need.Memory
	a.used.Disk -= t.class.need.Disk
	t.group.running--
	t.job.countAt(t, -1)
	if a.tasks == 0 && !a.active && len(a.offers) == 0 {
		delete(c.pool.agents, a.id)
		c.pool.domains = nil
	}
}

// countAt counts a task, or no longer, by where it is.
func (j *job) countAt(t *task, n int) {
	for attribute, counts := range j.placed {
		value, ok := t.rec.Host, true
		if attribute != hostAttribute {
			value, ok = t.rec.PlacedOn[attribute]
		}
		if ok {
			if counts[value] += n; counts[value] == 0 {
				delete(counts, value)
			}
		}
	}
}

// demand says whether offers are of use now.
func (c *Core) demand() bool {
	return !c.restored() && (c.queue.pending > 0 || c.queue.deploying > 0)
}

// settleOffers asks for offers while there is demand, and gives back those
// that are of no use: nothing is hoarded.
func (c *Core) settleOffers() {
	p := &c.pool
	freed := p.freed
	p.freed = false
	if !c.mesos.subscribed {
		return
	}
	if !c.demand() {
		c.settleIdle()
		return
	}
	p.idleSince = 0
	p.wanted = p.wanted || p.suppressed || freed && c.queue.pending > 0
	if p.wanted && c.due(p.revivedAt+reviveEvery) {
		p.wanted, p.suppressed, p.revivedAt = false, false, c.now
		c.call(Revive{})
	}
	c.giveBack(holdMost)
}

func (c *Core) settleIdle() {
	p := &c.pool
	if p.idleSince == 0 {
		p.idleSince = c.now
	}
	p.wanted = false
	if p.suppressed && len(p.offered) == 0 || !c.due(p.idleSince+holdIdle) {
		return
	}
	if !p.suppressed {
		p.suppressed = true
		c.call(Suppress{})
	}
	c.giveBack(0)
}

// giveBack declines the offers of agents that hold some for longer than hold.
func (c *Core) giveBack(hold int64) {
	if hold > 0 && c.now < c.pool.holdUntil {
		c.due(c.pool.holdUntil) // the timer may have been spent on something earlier
		return
	}
	var ids []string
	earliest := int64(0)
	for i := len(c.pool.offered) - 1; i >= 0; i-- {
		a := c.pool.offered[i]
		if due := a.since + hold; due <= c.now {
			ids = append(ids, c.release(a)...)
		} else if earliest == 0 || due < earliest {
			earliest = due
		}
	}
	if earliest != 0 {
		c.due(earliest)
	}
	c.pool.holdUntil = earliest // none is held: the next that come are looked at
	if len(ids) > 0 {
		c.call(Decline{Offers: ids, RefuseSeconds: refuseLong})
	}
}

// due says whether a time has come, and has the core stepped then if not.
func (c *Core) due(at int64) bool {
	if at <= c.now {
		return true
	}
	if c.pool.timer == 0 || at < c.pool.timer {
		c.pool.timer = at
		c.timers.add(timer{at: at, kind: timerOffers})
	}
	return false
}
