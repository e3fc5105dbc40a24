package devcluster

import (
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// Exchange is one thing that a scheduler and the leading master told each
// other: a call with its answer, or an event. It is for those who want to know
// afterwards what a scheduler did, and when, by somebody else's word than its
// own. Messages are shared with the cluster, and must not be changed.
type Exchange struct {
	At     time.Time
	Stream string          // Mesos-Stream-Id as the scheduler gave it; of SUBSCRIBE, that it was given
	Call   *scheduler.Call // nil when this is an event
	Status int             // the answer's
	Event  *scheduler.Event
}

// tell tells Options.Exchanges of a call. It is called with the lock held,
// between the call and what follows from it.
func (c *Cluster) tell(now time.Time, stream string, call *scheduler.Call, status int) {
	if c.opts.Exchanges != nil {
		c.opts.Exchanges(Exchange{At: now, Stream: stream, Call: call, Status: status})
	}
}

func (c *Cluster) tellEvent(s *stream, event *scheduler.Event) {
	if c.opts.Exchanges != nil {
		c.opts.Exchanges(Exchange{At: time.Now(), Stream: s.uuid, Event: event})
	}
}
