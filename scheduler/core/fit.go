package core

import (
	"fmt"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/constraint"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Fit tries out where tasks of one spec would be placed, on a cluster as it was
// observed. Nothing of it is real: it is a Core of its own, with one job and
// one made-up offer of all that is free on each agent, so that what it says is
// what placement would do and what an explanation would tell.
//
// Free is what an agent has on offer, or, when it offers nothing at present,
// all of it but what our tasks there take. What others run on it then is not
// known.
type Fit struct {
	core  *Core
	class *class
}

// fitPorts stands for the ports of an agent that does not offer any at present,
// which are not known.
const fitPorts = 1 << 16

// NewFit prepares to place tasks of a valid spec, defaults filled in or not.
func NewFit(o *Observed, spec *api.Spec) (*Fit, error) {
	canonical, err := spec.Canonical()
	if err != nil {
		return nil, err
	}
	c := newCore(Config{Overhead: o.Overhead})
	c.mesos.subscribed = o.Subscribed
	j := newJob(&record.Job{Key: spec.Job, Deploy: 1})
	d := &deploy{rec: &record.Deploy{Job: spec.Job, Number: 1, Spec: canonical}}
	if d.class, err = c.newClass(j, d); err != nil {
		return nil, err
	}
	j.deploys = append(j.deploys, d)
	var known []Agent
	var offers []Offer
	for i, a := range o.Agents {
		known = append(known, Agent{ID: a.ID, Host: a.Host, URL: a.URL, Attributes: a.Attributes, Total: a.Total, Active: a.Active})
		offer := Offer{ID: fmt.Sprint(i), Agent: a.ID, Host: a.Host, URL: a.URL, Attributes: a.Attributes,
			Free: a.Offered}
		ports := a.Ports
		if !a.Holds {
			offer.Free = Amounts{CPUs: a.Total.CPUs - a.Used.CPUs, Memory: a.Total.Memory - a.Used.Memory, Disk: a.Total.Disk - a.Used.Disk}
			ports = fitPorts
		}
		if ports > 0 {
			offer.Ports = []PortRange{{First: 1, Last: uint32(ports)}}
		}
		if a.Active && (a.Holds || a.Total != Amounts{}) {
			offers = append(offers, offer)
		}
	}
	c.offered(offers)
	c.agentsKnown(known)
	c.clearFresh()
	return &Fit{core: c, class: d.class}, nil
}

// Count enters a live task of the job, which the agents' use has in it already,
// for limits and spreading.
func (f *Fit) Count(t *record.Task) { f.class.job.countAt(&task{rec: t}, 1) }

// Vacate has a task that was counted, whose spec is given, end.
func (f *Fit) Vacate(t *record.Task, spec *api.Spec) {
	f.class.job.countAt(&task{rec: t}, -1)
	if a := f.core.pool.agents[t.Agent]; a != nil && spec != nil {
		need, overhead := needs(spec), f.core.cfg.Overhead
		a.free.CPUs += need.CPUs + overhead.CPUs
		a.free.Memory += need.Memory + overhead.Memory
		a.free.Disk += need.Disk + overhead.Disk
		a.nports += len(t.Ports)
	}
}

// Place finds a place for one more task, and says whether there is one.
func (f *Fit) Place() bool {
	cl := f.class
	a := f.core.find(&task{class: cl, job: cl.job, rec: &record.Task{}})
	if a == nil {
		return false
	}
	rec := &record.Task{Agent: a.id, Host: a.host, PlacedOn: map[string]string{}}
	for _, attribute := range cl.attributes {
		if value, ok := a.value(attribute); ok {
			rec.PlacedOn[attribute] = value
		}
	}
	f.Count(rec)
	a.free.CPUs -= cl.need.CPUs
	a.free.Memory -= cl.need.Memory
	a.free.Disk -= cl.need.Disk
	a.nports -= len(cl.spec.Ports)
	return true
}

// Explain says why there is no place for one more task.
func (f *Fit) Explain() api.PendingReason { return f.core.explain(f.class) }

// Warnings says what a user whose spec is accepted is told.
func (f *Fit) Warnings() []string { return f.core.warnings(f.class.job) }

// Unmet returns those of the spec's constraints, and of what its spread and
// limits want an agent to have, that none of the agents known meets.
func (f *Fit) Unmet() []string {
	var unmet []string
	none := func(text string, meets func(*agent) bool) {
		for _, a := range f.core.pool.agents {
			if meets(a) {
				return
			}
		}
		unmet = append(unmet, text)
	}
	for _, con := range f.class.constraints {
		none(con.String(), func(a *agent) bool { return matches(con, a) })
	}
	has := func(attribute string) func(*agent) bool {
		return func(a *agent) bool { _, ok := a.value(attribute); return ok }
	}
	for _, l := range f.class.limits {
		none("has "+l.attribute, has(l.attribute))
	}
	if spread := f.class.spec.Spread; spread != "" {
		none("has "+spread, has(spread))
	}
	return unmet
}

func matches(con constraint.Constraint, a *agent) bool { return con.Match(agentAttributes{a}) }
