package sim

import (
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// limits: a launch exceeds no limit per host, whatever deploys the tasks are of.
func (c *checks) limits(launched *record.Task) {
	d, ok := c.w.journal.decoded[record.DeployKey(launched.Job, launched.Deploy)].(*record.Deploy)
	if !ok {
		c.fail("task %s is launched of deploy %d of %s, which is not kept", launched.Id, launched.Deploy, launched.Job)
	}
	spec, err := api.ParseSpec(d.Spec)
	if err != nil {
		c.fail("%v", err)
	}
	most, limited := spec.Limits["host"]
	if !limited {
		return
	}
	n := 0
	for _, t := range c.w.journal.live {
		if t.Job != launched.Job || t.Host != launched.Host || t.State.Terminal() {
			continue
		}
		if t.Deploy == launched.Deploy || t.LaunchedAt < launched.LaunchedAt { // others of this step may have had no limit
			n++
		}
	}
	if n > most {
		c.fail("at most %d tasks of %s per host: %s is launched on %s, which has %d with it", most, launched.Job, launched.Id, launched.Host, n)
	}
}

// offered and called keep track of the offers that are held.
func (c *checks) offered(e core.Event) {
	switch e := e.(type) {
	case core.Offers:
		for _, o := range e.Offers {
			c.held[o.ID] = c.w.now
		}
	case core.Rescinded:
		delete(c.held, e.Offer)
	}
}

func (c *checks) called(call core.Call) {
	var ids []string
	switch call := call.(type) {
	case core.Accept:
		ids = call.Offers
	case core.Decline:
		ids = call.Offers
	}
	for _, id := range ids {
		delete(c.held, id)
	}
}

// hoarded: no offer is held for longer than 30 s, and 2 s more when there is no
// demand any more by then. While faults go on, time
// passes without the scheduler.
func (c *checks) hoarded() {
	if s := c.w.leader(); !c.w.calm || s == nil || s.clock > s.now() {
		c.calmFrom = time.Time{}
		return
	}
	if c.calmFrom.IsZero() {
		c.calmFrom = c.w.now
	}
	for id, since := range c.held {
		if held := c.w.now.Sub(since); since.After(c.calmFrom) && held > 33*time.Second {
			c.fail("never hoards: offer %s is held for %v", id, held)
		}
	}
}
