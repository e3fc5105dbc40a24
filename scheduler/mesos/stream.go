package mesos

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// stream turns events into core's until the stream ends; the error says why.
func (s *session) stream(ctx context.Context, records *recordReader) error {
	for {
		e, err := s.event(records)
		if err != nil {
			return err
		}
		if err := s.handle(ctx, e); err != nil {
			return err
		}
	}
}

// event reads the next event. One that cannot be decoded is left out: Mesos
// repeats updates, and the stream that follows would bring it again.
func (s *session) event(records *recordReader) (*scheduler.Event, error) {
	for {
		record, err := records.next()
		var timeout net.Error
		switch {
		case errors.Is(err, io.EOF):
			return nil, endf("the master closed the stream")
		case errors.As(err, &timeout) && timeout.Timeout():
			return nil, endf("the master was silent for too long: no heartbeat, no event")
		case err != nil:
			return nil, endf("read events: %v", err)
		}
		e := new(scheduler.Event)
		if err := e.Unmarshal(record); err != nil {
			s.driver.stats.malformed.Add(1)
			s.driver.log.Error("event of mesos is malformed", "error", err, "bytes", len(record))
			continue
		}
		count(&s.driver.stats.events, int32(e.Type))
		return e, nil
	}
}

// handle takes one event.
func (s *session) handle(ctx context.Context, e *scheduler.Event) error {
	switch e.Type {
	case scheduler.Event_HEARTBEAT:
		s.heartbeats++
	case scheduler.Event_ERROR:
		return refused(e.GetError().GetMessage())
	}
	if event := s.translate(e); event != nil {
		return s.driver.outbox.offer(ctx, event)
	}
	return nil
}

// translate returns what core is told of an event: nil for types that core has
// no use for, and for one without the field of its type.
func (s *session) translate(e *scheduler.Event) core.Event {
	switch {
	case e.Type == scheduler.Event_OFFERS && e.Offers != nil:
		return s.offers(e.Offers)
	case e.Type == scheduler.Event_RESCIND && e.Rescind != nil:
		id := e.Rescind.OfferID.Value
		s.driver.offers.take([]string{id})
		return core.Rescinded{Offer: id}
	case e.Type == scheduler.Event_UPDATE && e.Update != nil:
		u, err := update(&e.Update.Status)
		if err != nil {
			s.driver.log.Warn("report of an executor is malformed", "error", err)
		}
		return u
	case e.Type == scheduler.Event_FAILURE && e.Failure != nil:
		return s.failure(e.Failure)
	}
	return nil
}

func (s *session) offers(e *scheduler.Event_Offers) core.Offers {
	s.driver.offers.put(e.Offers)
	out := core.Offers{Offers: make([]core.Offer, len(e.Offers))}
	for i := range e.Offers {
		out.Offers[i] = coreOffer(&e.Offers[i], s.driver.o.Framework.Role)
		if agent := out.Offers[i].Agent; !s.asked[agent] {
			s.asked[agent] = true
			signal(s.agentsDue)
		}
	}
	return out
}

// failure of an agent, or of an executor: of that, the task's update tells more.
func (s *session) failure(e *scheduler.Event_Failure) core.Event {
	if e.AgentID == nil {
		return nil
	}
	if e.ExecutorID != nil {
		s.driver.log.Info("executor ended", "executor", e.ExecutorID.Value, "agent", e.AgentID.Value, "wait_status", e.GetStatus())
		return nil
	}
	delete(s.asked, e.AgentID.Value)
	signal(s.agentsDue)
	return core.AgentRemoved{Agent: e.AgentID.Value}
}
