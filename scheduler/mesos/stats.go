package mesos

import (
	"sync/atomic"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// Stats are counters since the driver was made, and gauges. Names are Mesos's.
type Stats struct {
	// Calls that were written, by type; Failures those not answered 202 (or,
	// SUBSCRIBE, 200); Dropped those whose subscription ended first.
	Calls, Failures map[string]uint64
	Dropped         uint64
	// Events that were read, by type; Malformed those that could not be.
	Events    map[string]uint64
	Malformed uint64
	// Subscriptions that Mesos granted, Disconnects that were delivered.
	Subscriptions, Disconnects uint64
	// Queued calls wait to be written, Unanswered ones for an answer.
	Queued, Unanswered int
	// OffersHeld are outstanding.
	OffersHeld int
	Subscribed bool
}

const typesOfMesos = 32

type stats struct {
	calls, failures, events    [typesOfMesos]atomic.Uint64
	dropped, malformed         atomic.Uint64
	subscriptions, disconnects atomic.Uint64
	subscribed                 atomic.Bool
}

// Stats returns the current figures. It may be called at any time.
func (d *Driver) Stats() Stats {
	queued, unanswered := d.queue.depth()
	return Stats{
		Calls:         byType(&d.stats.calls, scheduler.Call_Type_name),
		Failures:      byType(&d.stats.failures, scheduler.Call_Type_name),
		Dropped:       d.stats.dropped.Load(),
		Events:        byType(&d.stats.events, scheduler.Event_Type_name),
		Malformed:     d.stats.malformed.Load(),
		Subscriptions: d.stats.subscriptions.Load(),
		Disconnects:   d.stats.disconnects.Load(),
		Queued:        queued,
		Unanswered:    unanswered,
		OffersHeld:    d.offers.len(),
		Subscribed:    d.stats.subscribed.Load(),
	}
}

func byType(counters *[typesOfMesos]atomic.Uint64, names map[int32]string) map[string]uint64 {
	all := make(map[string]uint64)
	for number, name := range names {
		if n := counters[number].Load(); n > 0 {
			all[name] = n
		}
	}
	return all
}

// count adds one; a type that a newer Mesos has counts as UNKNOWN.
func count(counters *[typesOfMesos]atomic.Uint64, number int32) {
	if number < 0 || number >= typesOfMesos {
		number = 0
	}
	counters[number].Add(1)
}
