package model

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	allocatorpb "github.com/mesos/mesos-go/api/v1/lib/allocator"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// offer is what is out to a framework.
type offer struct {
	id        string
	framework *framework
	slave     *slave
	role      string
	bag       bag // allocated to the role
}

type inverseOffer struct {
	id        string
	framework *framework
	slave     *slave
}

// roleOn is what a filter is for: one role of its framework on one agent.
type roleOn struct{ role, agent string }

// filter keeps what was refused from being offered again: anything that the
// refused resources contain, until a time.
type filter struct {
	refused bag
	until   time.Time
}

// refusal is for how long an answer refuses what it did not take.
type refusal time.Duration

const (
	noFilter       refusal = 0
	defaultRefusal         = refusal(5 * time.Second)
	maxRefusal             = refusal(365 * 24 * time.Hour)
)

// refuseFor reads the filters of a call. Leaving them out is 5 s, and so is a
// negative number.
func refuseFor(f *mesos.Filters) refusal {
	s := f.GetRefuseSeconds() // 5 by default
	switch {
	case s < 0 || s != s:
		return defaultRefusal
	case s > time.Duration(maxRefusal).Seconds():
		return maxRefusal
	}
	return refusal(s * float64(time.Second))
}

func (f *framework) forgetFilters(role string) {
	for on := range f.filters {
		if on.role == role {
			delete(f.filters, on)
		}
	}
}

// removeOffer takes an offer away without giving its resources back.
func (ma *master) removeOffer(o *offer) {
	delete(ma.offers, o.id)
	o.framework.offers.delete(o.id)
	o.slave.offers.delete(o.id)
}

// discardOffer ends an offer that the framework knows to be over.
func (ma *master) discardOffer(o *offer, r refusal) {
	ma.removeOffer(o)
	ma.giveBack(o.framework, o.slave, o.role, o.bag, r)
}

// rescindOffer ends an offer and tells the framework.
func (ma *master) rescindOffer(o *offer) {
	ma.send(o.framework, &scheduler.Event{Type: scheduler.Event_RESCIND,
		Rescind: &scheduler.Event_Rescind{OfferID: mesos.OfferID{Value: o.id}}})
	ma.discardOffer(o, noFilter)
}

// giveBack returns resources to the agent. They are offered again at the next
// allocation, to this framework only when no filter forbids.
func (ma *master) giveBack(f *framework, s *slave, role string, b bag, r refusal) {
	if len(b) == 0 {
		return
	}
	plain := b.allocated("")
	ma.alloc.release(f, role, plain)
	s.free = s.free.add(plain)
	ma.alloc.touch(s)
	if r != noFilter && f.active {
		on := roleOn{role, s.id}
		lasts := max(time.Duration(r), ma.m.opts.AllocationInterval)
		f.filters[on] = append(f.filters[on], filter{plain, ma.m.now.Add(lasts)})
	}
	ma.alloc.soon(ma.m.now)
}

// filtered says whether b may not be offered, and if so until when. Filters
// that are over are forgotten.
func (f *framework) filtered(now time.Time, on roleOn, b bag) (bool, time.Time) {
	filters := f.filters[on]
	if len(filters) == 0 {
		return false, time.Time{}
	}
	kept := filters[:0]
	var until time.Time
	for _, x := range filters {
		if !x.until.After(now) {
			continue
		}
		kept = append(kept, x)
		if x.until.After(until) && x.refused.contains(b) {
			until = x.until
		}
	}
	if len(kept) == 0 {
		delete(f.filters, on)
	} else {
		f.filters[on] = kept
	}
	return !until.IsZero(), until
}

// proto is the offer as the framework gets it.
func (o *offer) proto() mesos.Offer {
	s := o.slave
	role := o.role
	out := mesos.Offer{
		ID: mesos.OfferID{Value: o.id}, FrameworkID: mesos.FrameworkID{Value: o.framework.id},
		AgentID: mesos.AgentID{Value: s.id}, Hostname: s.info.Hostname, URL: s.url,
		Resources: o.bag.proto(), Attributes: s.info.Attributes,
		AllocationInfo: &mesos.Resource_AllocationInfo{Role: &role},
		Unavailability: s.machine.unavailability,
	}
	for key, e := range s.executors.all() {
		if e.framework == o.framework {
			out.ExecutorIDs = append(out.ExecutorIDs, mesos.ExecutorID{Value: key.id})
		}
	}
	if !hasCapability(o.framework.info, mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		out.AllocationInfo = nil
		for i := range out.Resources {
			out.Resources[i].AllocationInfo = nil
		}
	}
	return out
}

func (o *inverseOffer) proto() mesos.InverseOffer {
	out := mesos.InverseOffer{
		OfferID: mesos.OfferID{Value: o.id}, FrameworkID: mesos.FrameworkID{Value: o.framework.id},
		AgentID: &mesos.AgentID{Value: o.slave.id}, URL: o.slave.url,
	}
	if u := o.slave.machine.unavailability; u != nil {
		out.Unavailability = *u
	}
	return out
}

func (ma *master) removeInverseOffer(o *inverseOffer, tell bool) {
	delete(ma.inverseOffers, o.id)
	o.framework.inverse.delete(o.id)
	o.slave.inverse.delete(o.id)
	if tell {
		ma.send(o.framework, &scheduler.Event{Type: scheduler.Event_RESCIND_INVERSE_OFFER,
			RescindInverseOffer: &scheduler.Event_RescindInverseOffer{InverseOfferID: mesos.OfferID{Value: o.id}}})
	}
}

// answerInverseOffers is ACCEPT_ and DECLINE_INVERSE_OFFERS. The answer is for
// operators to see; the framework is asked again when the filter is over.
func (ma *master) answerInverseOffers(f *framework, ids []mesos.OfferID, filters *mesos.Filters, accept bool) {
	for _, id := range ids {
		o := ma.inverseOffers[id.Value]
		if o == nil || o.framework != f {
			continue
		}
		status := allocatorpb.InverseOfferStatus_DECLINE
		if accept {
			status = allocatorpb.InverseOfferStatus_ACCEPT
		}
		o.slave.machine.answers.set(f.id, allocatorpb.InverseOfferStatus{Status: status.Enum(),
			FrameworkID: mesos.FrameworkID{Value: f.id}, Timestamp: *timeInfo(ma.m.now)})
		if r := refuseFor(filters); r != noFilter {
			f.inverseFilters[o.slave.id] = ma.m.now.Add(time.Duration(r))
		}
		ma.removeInverseOffer(o, false)
		ma.alloc.soon(ma.m.now)
	}
}
