package model

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// allocator decides who is offered what: the free resources of an agent go, as
// one offer, to the role with the smallest dominant share and in it to the
// framework with the smallest, unless filters forbid. It runs at once when
// demand or agents come, and at the next multiple of the allocation interval
// when resources are given back or a filter ends.
type allocator struct {
	ma         *master
	due        bool      // at the end of this step
	batch      time.Time // the next run by the clock; zero when nothing would change
	candidates *ordered[string, *slave]
	shares     map[shareOf]*share
	total      bag // of scalars of registered agents
}

type shareOf struct{ role, framework string }

// share is what one framework has in one role, offers included.
type share struct {
	used  bag
	count int // offers and tasks, which breaks ties
}

func (al *allocator) init(ma *master) {
	*al = allocator{ma: ma, candidates: newOrdered[string, *slave](), shares: map[shareOf]*share{}}
}

// now asks for a run at the end of this step.
func (al *allocator) now() { al.due = true }

// soon asks for a run at the first interval after at.
func (al *allocator) soon(at time.Time) {
	interval := al.ma.m.opts.AllocationInterval
	next := al.ma.started.Add(at.Sub(al.ma.started)/interval*interval + interval)
	if al.batch.IsZero() || next.Before(al.batch) {
		al.batch = next
	}
}

// touch makes an agent with free resources known to the next run.
func (al *allocator) touch(s *slave) {
	if len(s.free) > 0 {
		al.candidates.set(s.id, s)
	}
}

func (al *allocator) addTotal(s *slave)    { al.total = al.total.add(s.total) }
func (al *allocator) removeTotal(s *slave) { al.total = al.total.sub(s.total) }

func (al *allocator) share(role, framework string) *share {
	key := shareOf{role, framework}
	s := al.shares[key]
	if s == nil {
		s = &share{}
		al.shares[key] = s
	}
	return s
}

func (al *allocator) acquire(f *framework, role string, plain bag) {
	s := al.share(role, f.id)
	s.used, s.count = s.used.add(plain), s.count+1
}

func (al *allocator) release(f *framework, role string, plain bag) {
	s := al.share(role, f.id)
	s.used = s.used.sub(plain)
}

func (al *allocator) forget(f *framework) {
	for key := range al.shares {
		if key.framework == f.id {
			delete(al.shares, key)
		}
	}
}

// dominant is the largest part of any of the cluster's scalars.
func (al *allocator) dominant(used bag) float64 {
	most := 0.0
	for i := range used {
		if used[i].kind != mesos.SCALAR {
			continue
		}
		if total := al.total.scalar(used[i].name); total > 0 {
			most = max(most, float64(used[i].milli)/float64(total))
		}
	}
	return most
}

// client is a framework in a role that could be offered something.
type client struct {
	framework *framework
	role      string
	offers    []mesos.Offer
}

// clients are all that could be offered something, in the order in which they
// subscribed.
func (al *allocator) clients() []*client {
	var out []*client
	for _, f := range al.ma.frameworks.all() {
		if !f.active || f.state != connected {
			continue
		}
		for _, role := range f.roles {
			if !f.suppressed[role] {
				out = append(out, &client{framework: f, role: role})
			}
		}
	}
	return out
}

// before is the order of the sorters: roles by share, then frameworks.
func (al *allocator) before(a, b *client) bool {
	roleShare := func(role string) (float64, int) {
		var used bag
		count := 0
		for _, f := range al.ma.frameworks.all() {
			if s := al.shares[shareOf{role, f.id}]; s != nil {
				used, count = used.add(s.used), count+s.count
			}
		}
		return al.dominant(used), count
	}
	if a.role != b.role {
		x, n := roleShare(a.role)
		y, k := roleShare(b.role)
		if x != y {
			return x < y
		}
		if n != k {
			return n < k
		}
		return a.role < b.role
	}
	s, t := al.share(a.role, a.framework.id), al.share(b.role, b.framework.id)
	if x, y := al.dominant(s.used), al.dominant(t.used); x != y {
		return x < y
	}
	return s.count < t.count
}

// allocateIfDue runs the allocator when demand changed in this step or the
// interval is over.
func (ma *master) allocateIfDue() {
	al := &ma.alloc
	if !al.batch.IsZero() && !al.batch.After(ma.m.now) {
		al.batch, al.due = time.Time{}, true
	}
	if al.due {
		al.due = false
		ma.allocate()
		ma.offerInverse()
	}
}

func (ma *master) allocate() {
	al := &ma.alloc
	clients := al.clients()
	if len(clients) == 0 {
		return
	}
	var ends time.Time // of the first filter that forbade something
	for _, s := range al.candidates.all() {
		if len(s.free) == 0 {
			al.candidates.delete(s.id)
			continue
		}
		if !s.active || !s.connected || !s.free.allocatable() {
			continue
		}
		chosen, until := al.choose(clients, s)
		if chosen == nil {
			if !until.IsZero() && (ends.IsZero() || until.Before(ends)) {
				ends = until
			}
			continue
		}
		chosen.offers = append(chosen.offers, ma.offer(chosen, s).proto())
		al.candidates.delete(s.id)
	}
	if !ends.IsZero() {
		al.soon(ends)
	}
	ma.sendOffers(clients)
}

// choose returns whom to offer an agent's resources, or nil and when the first
// filter that stands against it ends.
func (al *allocator) choose(clients []*client, s *slave) (*client, time.Time) {
	var best *client
	var ends time.Time
	for _, c := range clients {
		if best != nil && !al.before(c, best) || !capable(c.framework, s) {
			continue
		}
		if no, until := c.framework.filtered(al.ma.m.now, roleOn{c.role, s.id}, s.free); no {
			if ends.IsZero() || until.Before(ends) {
				ends = until
			}
			continue
		}
		best = c
	}
	return best, ends
}

// capable keeps agents with GPUs for frameworks that say they use them.
func capable(f *framework, s *slave) bool {
	return s.total.scalar("gpus") == 0 || hasCapability(f.info, mesos.FrameworkInfo_Capability_GPU_RESOURCES)
}

// offer takes all that is free on an agent.
func (ma *master) offer(c *client, s *slave) *offer {
	plain := s.free.arranged(s.total)
	ma.alloc.acquire(c.framework, c.role, plain)
	o := &offer{id: ma.newOfferID(), framework: c.framework, slave: s, role: c.role, bag: plain.allocated(c.role)}
	s.free = nil
	ma.offers[o.id] = o
	s.offers.set(o.id, o)
	c.framework.offers.set(o.id, o)
	return o
}

// sendOffers sends each framework one event with the offers of all its roles.
func (ma *master) sendOffers(clients []*client) {
	for i, c := range clients {
		if i > 0 && clients[i-1].framework == c.framework {
			continue
		}
		var offers []mesos.Offer
		for _, d := range clients[i:] {
			if d.framework == c.framework {
				offers = append(offers, d.offers...)
			}
		}
		if len(offers) > 0 {
			ma.send(c.framework, &scheduler.Event{Type: scheduler.Event_OFFERS,
				Offers: &scheduler.Event_Offers{Offers: offers}})
		}
	}
}

// offerInverse asks the frameworks that have something on a machine that is to
// go for it back.
func (ma *master) offerInverse() {
	if len(ma.schedule.Windows) == 0 {
		return
	}
	for _, f := range ma.frameworks.all() {
		if !f.active || f.state != connected {
			continue
		}
		var offers []mesos.InverseOffer
		for _, s := range ma.slaves.all() {
			if s.machine.unavailability == nil || !s.active || !s.uses(f) || s.asks(f) {
				continue
			}
			if until, ok := f.inverseFilters[s.id]; ok && until.After(ma.m.now) {
				ma.alloc.soon(until)
				continue
			}
			delete(f.inverseFilters, s.id)
			o := &inverseOffer{id: ma.newOfferID(), framework: f, slave: s}
			ma.inverseOffers[o.id] = o
			s.inverse.set(o.id, o)
			f.inverse.set(o.id, o)
			offers = append(offers, o.proto())
		}
		if len(offers) > 0 {
			ma.send(f, &scheduler.Event{Type: scheduler.Event_INVERSE_OFFERS,
				InverseOffers: &scheduler.Event_InverseOffers{InverseOffers: offers}})
		}
	}
}
