package core

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
)

// verdict is what a filter says of an agent: fits, or which filter refused.
type verdict uint8

// The filters, in the order in which they are asked.
const (
	fits verdict = iota
	byConstraint
	byLimit
	byCPUs
	byMemory
	byDisk
	byPorts
	byActive // asked only to explain: an agent that offers is active
	byOffer  // likewise
	verdicts
)

var filterNames = [verdicts]string{"", "constraint", "limit", "cpus", "memory", "disk", "ports", "agent", "offer"}

// refuses asks each filter about an agent's offers.
func (cl *class) refuses(a *agent) verdict {
	switch {
	case a.free.CPUs < cl.need.CPUs:
		if v := cl.refusesAtAll(a); v != fits {
			return v
		}
		return byCPUs
	case a.free.Memory < cl.need.Memory:
		if v := cl.refusesAtAll(a); v != fits {
			return v
		}
		return byMemory
	}
	if v := cl.refusesAtAll(a); v != fits {
		return v
	}
	switch {
	case a.free.Disk < cl.need.Disk:
		return byDisk
	case a.nports < len(cl.spec.Ports):
		return byPorts
	}
	return fits
}

// refusesAtAll asks the filters that are not about what is on offer.
func (cl *class) refusesAtAll(a *agent) verdict {
	if len(cl.constraints) > 0 && !cl.meets(a) {
		return byConstraint
	}
	if cl.spec.Spread != "" {
		if _, ok := a.value(cl.spec.Spread); !ok {
			return byConstraint
		}
	}
	for _, l := range cl.limits {
		if value, ok := a.value(l.attribute); !ok || cl.job.placed[l.attribute][value] >= l.most {
			return byLimit
		}
	}
	return fits
}

// meets asks the constraints, once for all agents with the same attributes
// unless they are about the host.
func (cl *class) meets(a *agent) bool {
	for len(cl.verdicts) <= a.set {
		cl.verdicts = append(cl.verdicts, 0)
	}
	if v := cl.verdicts[a.set]; v != 0 {
		return v > 0
	}
	hosts := false
	for _, con := range cl.constraints {
		name := con.Name()
		onHost := name == hostAttribute || name == "hostname"
		hosts = hosts || onHost
		if !con.Match(agentAttributes{a}) {
			if !onHost && !hosts {
				cl.verdicts[a.set] = -1
			}
			return false
		}
	}
	if !hosts {
		cl.verdicts[a.set] = 1
	}
	return true
}

// agentAttributes adds the host name to an agent's attributes.
type agentAttributes struct{ a *agent }

func (x agentAttributes) Attribute(name string) (string, bool) { return x.a.value(name) }

// explain says why a class's tasks are pending: each agent is asked, and what
// the first filter that refuses says is counted.
func (c *Core) explain(cl *class) api.PendingReason {
	reason := api.PendingReason{Deploy: cl.deploy.rec.Number, Agents: len(c.pool.agents)}
	switch {
	case cl.job.rec.Paused:
		reason.Summary = "the job is paused"
		return reason
	case !c.mesos.subscribed:
		reason.Summary = "the scheduler is not connected to a Mesos master"
		return reason
	case c.restored():
		reason.Summary = "the state was restored from a backup: nothing is launched until Mesos has told of all that it runs, and what the backup does not know has ended"
		return reason
	case len(c.pool.agents) == 0:
		reason.Summary = "Mesos offers no agent to this framework"
		return reason
	}
	var counts [verdicts]int
	var most [verdicts]int64
	var nearest *agent
	shortest := int64(0)
	for _, a := range c.pool.agents {
		v, short := cl.verdictOn(a)
		counts[v]++
		most[v] = max(most[v], cl.offers(a, v))
		if v == byCPUs || v == byMemory || v == byDisk || v == byPorts {
			if nearest == nil || short < shortest || short == shortest && a.host < nearest.host {
				nearest, shortest = a, short
			}
		}
	}
	for v := byConstraint; v < verdicts; v++ {
		if counts[v] > 0 {
			reason.Refused = append(reason.Refused, api.Refusal{
				Filter: filterNames[v], Detail: cl.detail(v, most[v]), Agents: counts[v]})
		}
	}
	slices.SortStableFunc(reason.Refused, func(a, b api.Refusal) int { return cmp.Compare(b.Agents, a.Agents) })
	reason.Summary = summary(reason, counts[fits])
	if nearest != nil {
		v, _ := cl.verdictOn(nearest)
		reason.Nearest = fmt.Sprintf("%s: %s", nearest.host, cl.detail(v, cl.offers(nearest, v)))
	}
	return reason
}

func summary(r api.PendingReason, fit int) string {
	if fit > 0 {
		return "waits for its turn"
	}
	parts := make([]string, len(r.Refused))
	for i, f := range r.Refused {
		parts[i] = fmt.Sprintf("%s on %d (%s)", f.Filter, f.Agents, f.Detail)
	}
	return fmt.Sprintf("fits on none of %d agents: %s", r.Agents, strings.Join(parts, "; "))
}

// verdictOn is refuses for an agent that may have nothing on offer. The more
// it is short, relative to what is needed, the farther it is.
func (cl *class) verdictOn(a *agent) (verdict, int64) {
	switch {
	case cl.refusesAtAll(a) != fits:
		return cl.refusesAtAll(a), 0
	case !a.active:
		return byActive, 0
	}
	free, ports := a.free, a.nports
	if len(a.offers) == 0 {
		if a.total == (Amounts{}) {
			return byOffer, 0
		}
		free = Amounts{a.total.CPUs - a.used.CPUs, a.total.Memory - a.used.Memory, a.total.Disk - a.used.Disk}
		ports = len(cl.spec.Ports)
	}
	part := func(need, free int64) int64 { return (need - free) * 1000 / max(need, 1) }
	switch {
	case free.CPUs < cl.need.CPUs:
		return byCPUs, part(cl.need.CPUs, free.CPUs)
	case free.Memory < cl.need.Memory:
		return byMemory, part(cl.need.Memory, free.Memory)
	case free.Disk < cl.need.Disk:
		return byDisk, part(cl.need.Disk, free.Disk)
	case ports < len(cl.spec.Ports):
		return byPorts, int64(len(cl.spec.Ports)-ports) * 1000
	case len(a.offers) == 0:
		return byOffer, 0
	}
	return fits, 0
}

// offers is how much of what a filter is about an agent has free.
func (cl *class) offers(a *agent, v verdict) int64 {
	free := a.free
	if len(a.offers) == 0 {
		free = Amounts{a.total.CPUs - a.used.CPUs, a.total.Memory - a.used.Memory, a.total.Disk - a.used.Disk}
	}
	switch v {
	case byCPUs:
		return free.CPUs
	case byMemory:
		return free.Memory
	case byDisk:
		return free.Disk
	case byPorts:
		return int64(a.nports)
	}
	return 0
}

// detail says what a filter wants, and the most of it there is.
func (cl *class) detail(v verdict, most int64) string {
	amount := func(n int64) string {
		return api.Bytes(n * int64(api.MiB) / 1000).String()
	}
	switch v {
	case byConstraint:
		var texts []string
		for _, con := range cl.constraints {
			texts = append(texts, con.String())
		}
		if cl.spec.Spread != "" {
			texts = append(texts, "has "+cl.spec.Spread)
		}
		return "must meet " + strings.Join(texts, " and ")
	case byLimit:
		texts := make([]string, len(cl.limits))
		for i, l := range cl.limits {
			texts[i] = fmt.Sprintf("at most %d per %s", l.most, l.attribute)
		}
		return strings.Join(texts, ", ")
	case byCPUs:
		return fmt.Sprintf("needs %s with its executor, the most free is %s", millis(cl.need.CPUs), millis(most))
	case byMemory:
		return fmt.Sprintf("needs %s with its executor, the most free is %s", amount(cl.need.Memory), amount(most))
	case byDisk:
		return fmt.Sprintf("needs %s, the most free is %s", amount(cl.need.Disk), amount(most))
	case byPorts:
		return fmt.Sprintf("needs %d, the most free is %d", len(cl.spec.Ports), most)
	case byActive:
		return "not active"
	case byOffer:
		return "nothing on offer at present"
	}
	return ""
}

// millis writes thousandths without trailing zeros.
func millis(n int64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%d.%03d", n/1000, n%1000), "0"), ".")
}

// warnings says what a user should know of a job that was accepted.
func (c *Core) warnings(j *job) []string {
	cl := j.target().class
	if len(c.pool.agents) == 0 {
		return nil
	}
	var most Amounts
	matching := 0
	for _, a := range c.pool.agents {
		if len(cl.constraints) > 0 && !cl.meets(a) {
			continue
		}
		matching++
		if a.total == (Amounts{}) || a.total.CPUs >= cl.need.CPUs && a.total.Memory >= cl.need.Memory && a.total.Disk >= cl.need.Disk {
			return nil
		}
		most.CPUs, most.Memory, most.Disk = max(most.CPUs, a.total.CPUs), max(most.Memory, a.total.Memory), max(most.Disk, a.total.Disk)
	}
	if matching == 0 {
		return []string{fmt.Sprintf("this can run on none of the %d agents now known: %s", len(c.pool.agents), cl.detail(byConstraint, 0))}
	}
	var short []string
	for _, r := range []struct {
		v          verdict
		need, most int64
	}{{byCPUs, cl.need.CPUs, most.CPUs}, {byMemory, cl.need.Memory, most.Memory}, {byDisk, cl.need.Disk, most.Disk}} {
		if r.need > r.most {
			short = append(short, filterNames[r.v]+" "+strings.Replace(cl.detail(r.v, r.most), "the most free is", "the largest agent has", 1))
		}
	}
	if short == nil {
		short = []string{"no single agent has enough of everything"}
	}
	return []string{fmt.Sprintf("this can run on none of the %d agents now known, however idle: %s", len(c.pool.agents), strings.Join(short, "; "))}
}
