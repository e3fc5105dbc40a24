package engine

import (
	"sync/atomic"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// Stats counts what the engine does, for metrics. Counters only grow.
type Stats struct {
	Inputs    atomic.Uint64 // events and requests taken in
	Launches  atomic.Uint64
	Kills     atomic.Uint64
	Acks      atomic.Uint64
	Declines  atomic.Uint64
	Revives   atomic.Uint64
	Asked     atomic.Uint64 // RECONCILE calls
	unknown   atomic.Uint64
	OnStep    func(time.Duration) // told each step's duration; may be nil
	OnAppend  func(time.Duration) // told each append's
	OnBatched func(steps int)     // told how many steps each append holds
	OnEvent   func(typ string)    // told each durable event's type
}

// UnknownOutcomes is how many appends had to be resolved.
func (s *Stats) UnknownOutcomes() uint64 { return s.unknown.Load() }

func (s *Stats) stepped(inputs int, took time.Duration) {
	s.Inputs.Add(uint64(inputs))
	if s.OnStep != nil {
		s.OnStep(took)
	}
}

func (s *Stats) appended(steps int, took time.Duration) {
	if s.OnAppend != nil {
		s.OnAppend(took)
	}
	if s.OnBatched != nil {
		s.OnBatched(steps)
	}
}

func (s *Stats) published(events []Published) {
	if s.OnEvent != nil {
		for _, p := range events {
			s.OnEvent(p.Event.Type)
		}
	}
}

func (s *Stats) calls(calls []core.Call) {
	for _, call := range calls {
		switch call := call.(type) {
		case core.Accept:
			s.Launches.Add(uint64(len(call.Launches)))
		case core.Kill:
			s.Kills.Add(1)
		case core.Acknowledge:
			s.Acks.Add(1)
		case core.Decline:
			s.Declines.Add(uint64(len(call.Offers)))
		case core.Revive:
			s.Revives.Add(1)
		case core.Reconcile:
			s.Asked.Add(1)
		}
	}
}
