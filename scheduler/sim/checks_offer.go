package sim

import (
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// offerChecks see that nothing is hoarded.
type offerChecks struct {
	held     map[string]time.Time // by id: when an offer came that was not answered yet
	calmFrom time.Time            // since when there are no more faults
}

func newOfferChecks() offerChecks { return offerChecks{held: map[string]time.Time{}} }

// heard notes an event of Mesos, as it arrives at a scheduler.
func (c *checks) heard(s *schedulerProcess, e core.Event) {
	switch e := e.(type) {
	case core.Offers:
		for _, o := range e.Offers {
			c.offers.held[o.ID] = c.w.now
		}
	case core.Rescinded:
		delete(c.offers.held, e.Offer)
		c.w.sees("offer rescinded")
		if s.acceptWaits(e.Offer) {
			c.w.sees("offer rescinded with its ACCEPT under way")
			c.w.trace("offer %s is rescinded, and scheduler %d is about to use it", e.Offer, s.number)
		}
	case core.Update:
		c.tasks.updates[string(e.UUID)] = e.State
		if len(e.UUID) > 0 {
			c.tasks.lastUpdate[e.Task] = string(e.UUID)
		}
		c.w.trace("update %s %s %s %s", e.Task, e.State, e.Reason, e.Message)
		if e.Reason == "INVALID_OFFERS" {
			c.w.sees("launch dropped, its offer is gone")
		}
	}
}

// called notes an answer to offers.
func (c *checks) called(call core.Call) {
	switch call := call.(type) {
	case core.Accept:
		c.answer(call.Offers)
	case core.Decline:
		c.w.sees("offers declined")
		c.answer(call.Offers)
	case core.Suppress:
		c.w.sees("offers suppressed")
	}
}

func (c *checks) answer(offers []string) {
	for _, id := range offers {
		delete(c.offers.held, id)
	}
}

// holdMost is how long an offer is held: 30 s, 2 s more when there is no demand
// any more by then, and one for the way.
const holdMost = 33 * time.Second

// hoarded: no offer is held for too long. While faults go on, time passes
// without the scheduler.
func (c *checks) hoarded() {
	if s := c.w.leader(); !c.w.calm || s == nil || s.behind > 0 {
		c.offers.calmFrom = time.Time{}
		return
	}
	if c.offers.calmFrom.IsZero() {
		c.offers.calmFrom = c.w.now
	}
	for id, since := range c.offers.held {
		if held := c.w.now.Sub(since); since.After(c.offers.calmFrom) && held > holdMost {
			c.fail("never hoards: offer %s is held for %v", id, held)
		}
	}
}
