package core

import (
	"container/heap"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/perigee-sched/perigee/api"
)

// sampleSize is how many agents that fit are compared before the best is
// taken. On a cluster of any size a placement costs about the same.
const sampleSize = 16

// place puts pending tasks on the offers there are: in the order of the queue,
// each on the agent that leaves the least unused, away from tasks of its own
// job.
func (c *Core) place() {
	defer c.clearFresh()
	if !c.mesos.subscribed || c.queue.pending == 0 || len(c.pool.offered) == 0 || c.restored() {
		return
	}
	var touched []*agent
	for h := c.queue.candidates(len(c.pool.fresh) > 0); h.Len() > 0; {
		l := (*h)[0]
		t := l.head()
		if t == nil {
			heap.Pop(h)
			continue
		}
		if l.share != l.group.running {
			l.share = l.group.running
			heap.Fix(h, 0)
			continue
		}
		a := c.find(t)
		if a == nil {
			l.class.blocked = true
			heap.Pop(h)
			continue
		}
		if len(a.launches) == 0 {
			touched = append(touched, a)
		}
		c.launch(t, a)
	}
	for _, a := range touched {
		left := a.free.CPUs > 0 && a.free.Memory > 0
		launches := a.launches
		a.launches = nil
		c.call(Accept{Agent: a.id, Offers: c.release(a), Launches: launches})
		c.pool.wanted = c.pool.wanted || left && c.queue.pending > 0
	}
}

// find returns the agent for a task, nil when it fits on none that offers.
func (c *Core) find(t *task) *agent {
	cl := t.class
	s := search{core: c, class: cl, avoid: t.rec.Avoid}
	switch {
	case cl.blocked:
		s.look(c.pool.fresh, 0) // on all others it was refused before
	case cl.spec.Spread != "":
		c.findSpread(&s)
	default:
		n := s.look(c.pool.offered, c.pool.cursor)
		if len(c.pool.offered) > 0 {
			c.pool.cursor = (c.pool.cursor + n) % len(c.pool.offered)
		}
	}
	if cl.blocked && cl.spec.Spread != "" && s.best != nil {
		cl.blocked = false
		return c.find(t) // something fits again; now where it should be
	}
	if s.best == nil {
		return s.avoided
	}
	return s.best
}

// search compares agents that a class fits on.
type search struct {
	core      *Core
	class     *class
	avoid     string
	best      *agent
	bestScore int64
	avoided   *agent // fits, and is only better than nothing
	found     int
}

// look compares agents, beginning at from, until enough were found, and
// returns how many it looked at.
func (s *search) look(agents []*agent, from int) (looked int) {
	for looked < len(agents) && s.found < sampleSize {
		a := agents[(from+looked)%len(agents)]
		looked++
		if len(a.offers) == 0 || s.class.refuses(a) != fits {
			continue
		}
		if a.id == s.avoid {
			s.avoided = a
			continue
		}
		s.found++
		if score := s.class.score(a); s.best == nil || score < s.bestScore {
			s.best, s.bestScore = a, score
		}
	}
	return looked
}

// findSpread looks at the values of the attribute that has the fewest
// instances first.
func (c *Core) findSpread(s *search) {
	cl := s.class
	attribute := cl.spec.Spread
	if attribute == "hostname" {
		attribute = hostAttribute
	}
	counts := cl.job.placed[attribute]
	domains := c.domainsOf(attribute)
	tried := -1
	for {
		// The next higher number of instances that some value has.
		level := math.MaxInt
		for _, d := range domains {
			if n := counts[d.value]; n > tried && n < level {
				level = n
			}
		}
		if level == math.MaxInt {
			return
		}
		for _, d := range domains {
			if counts[d.value] == level {
				n := s.look(d.agents, d.cursor)
				d.cursor = (d.cursor + n) % len(d.agents)
			}
		}
		if s.best != nil {
			return
		}
		tried = level
	}
}

// domainsOf returns the agents by their value of an attribute, sorted by
// value. Those without the attribute are none of them.
func (c *Core) domainsOf(attribute string) []*domain {
	p := &c.pool
	if p.domains == nil {
		p.domains = map[string][]*domain{}
	}
	if list, ok := p.domains[attribute]; ok {
		return list
	}
	byValue := map[string]*domain{}
	for _, id := range slices.Sorted(maps.Keys(p.agents)) {
		a := p.agents[id]
		value, ok := a.value(attribute)
		if !ok {
			continue
		}
		if byValue[value] == nil {
			byValue[value] = &domain{value: value}
		}
		byValue[value].agents = append(byValue[value].agents, a)
	}
	list := []*domain{}
	for _, value := range slices.Sorted(maps.Keys(byValue)) {
		list = append(list, byValue[value])
	}
	p.domains[attribute] = list
	return list
}

func (a *agent) value(attribute string) (string, bool) {
	if attribute == hostAttribute || attribute == "hostname" {
		return a.host, true
	}
	return a.attributes.Attribute(attribute)
}

// score is lower for a better agent: first away from the job's other
// instances, then where the least is left over.
func (cl *class) score(a *agent) int64 {
	score := (a.free.CPUs - cl.need.CPUs) + (a.free.Memory-cl.need.Memory)>>12 // 4 GiB count as much as a CPU
	if cl.spec.Kind == api.KindService {
		score += int64(cl.job.placed[hostAttribute][a.host]) << 40
	}
	return score
}

// launch commits a pending task to an agent.
func (c *Core) launch(t *task, a *agent) {
	cl := t.class
	c.dequeue(t)
	rec := c.editTask(t)
	rec.Agent, rec.Host, rec.AgentUrl = a.id, a.host, a.url
	rec.LaunchedAt, rec.NotBefore = c.now, 0
	rec.Ports = a.takePorts(len(cl.spec.Ports))
	rec.Unchecked = t.job.rec.SkipHealth && cl.spec.Health != nil // see specOf
	for _, attribute := range cl.attributes {
		if value, ok := a.value(attribute); ok && attribute != hostAttribute {
			if rec.PlacedOn == nil {
				rec.PlacedOn = map[string]string{}
			}
			rec.PlacedOn[attribute] = value
		}
	}
	a.free.CPUs -= cl.need.CPUs
	a.free.Memory -= cl.need.Memory
	a.free.Disk -= cl.need.Disk
	t.heardOf = c.mesos.round // accepted has it asked for, so it puts off nothing
	c.occupy(t)
	c.move(t, taskLaunching, "", "")
	a.launches = append(a.launches, Launch{
		Task: rec.Id, Name: taskName(t), Needs: needs(cl.spec), Ports: rec.Ports,
		Definition: c.definition(t), ShutdownGrace: shutdownGrace(cl.spec),
	})
}

func taskName(t *task) string {
	if t.run != nil {
		return t.rec.Job + "/" + t.rec.Run
	}
	return t.rec.Job + "/" + strconv.Itoa(int(t.rec.Instance))
}

// shutdownGrace covers all of an orderly stop, and 5 s, in ms.
func shutdownGrace(spec *api.Spec) int64 {
	const httpCall, margin = 5_000, 5_000
	grace := spec.Stop.Grace.Millis() + margin
	if spec.Stop.HTTP != nil {
		grace += httpCall
	}
	return grace
}

// definition is what the executor is told, as JSON of an api.Definition.
func (c *Core) definition(t *task) []byte {
	d := struct {
		api.Definition
		Spec *struct{} `json:"spec,omitempty"` // comes below: it is encoded already
	}{
		Definition: api.Definition{
			Task: t.rec.Id, Job: t.rec.Job, Deploy: t.rec.Deploy, Instance: t.rec.Instance, Run: t.rec.Run,
			Attempt: t.rec.Attempt, Host: t.rec.Host,
		},
	}
	if t.run != nil {
		d.Parameters = t.run.rec.Parameters
	}
	if len(t.rec.Ports) > 0 {
		d.Ports = make(map[string]uint32, len(t.rec.Ports))
		for i, name := range t.class.spec.Ports {
			d.Ports[name] = t.rec.Ports[i]
		}
	}
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // strings and numbers
	}
	spec := t.class.specOf(t.job)
	whole := make([]byte, 0, len(b)+len(spec)+len(`,"spec":`))
	whole = append(append(whole, b[:len(b)-1]...), `,"spec":`...)
	return append(append(whole, spec...), '}')
}

// takePorts takes n ports, going round, so that one that was freed is not
// given out again at once.
func (a *agent) takePorts(n int) []uint32 {
	if n == 0 {
		return nil
	}
	a.nports -= n
	var taken []uint32
	for _, from := range []uint32{a.nextPort, 0} {
		for i := 0; i < len(a.ports) && len(taken) < n; i++ {
			r := a.ports[i]
			for first := max(r.First, from); first <= r.Last && len(taken) < n; first++ {
				taken = append(taken, first)
			}
		}
	}
	// Going round a second time may meet ports of the first.
	slices.Sort(taken)
	taken = slices.Compact(taken)
	for _, p := range taken {
		a.dropPort(p)
	}
	if missing := n - len(taken); missing > 0 {
		a.nports += missing
		taken = append(taken, a.takePorts(missing)...)
	}
	a.nextPort = taken[len(taken)-1] + 1
	return taken
}

func (a *agent) dropPort(p uint32) {
	for i, r := range a.ports {
		if p < r.First || p > r.Last {
			continue
		}
		var rest []PortRange
		if p > r.First {
			rest = append(rest, PortRange{r.First, p - 1})
		}
		if p < r.Last {
			rest = append(rest, PortRange{p + 1, r.Last})
		}
		a.ports = slices.Replace(a.ports, i, i+1, rest...)
		return
	}
}
