package server

import (
	"context"
	"net/http"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

type testOutput struct {
	Body api.WebhookTest
}

// testWebhook sends a test event now, and answers with what came of it.
func (s *Server) testWebhook(ctx context.Context, in *WebhookPath) (*testOutput, error) {
	v, err := s.view(ctx, Reading{})
	if err != nil {
		return nil, err
	}
	r, err := in.in(v)
	if err != nil {
		return nil, err
	}
	if s.Webhooks == nil {
		return nil, noDeliveries()
	}
	return &testOutput{s.Webhooks.Test(ctx, r, writingOf(ctx).actor)}, nil
}

func noDeliveries() *problem {
	return newProblem(http.StatusServiceUnavailable, "this scheduler does not deliver events yet").kind("unavailable").retryAfter(1)
}

type deliveriesOutput struct {
	Body api.WebhookDeliveries
}

// getDeliveries tells what only the leader knows.
func (s *Server) getDeliveries(ctx context.Context, in *webhookInput) (*deliveriesOutput, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	r, err := in.in(v)
	if err != nil {
		return nil, err
	}
	if s.Webhooks == nil {
		return nil, noDeliveries()
	}
	d, ok := s.Webhooks.Deliveries(ctx, r.Id)
	if !ok {
		return nil, noDeliveries()
	}
	return &deliveriesOutput{d}, nil
}

type deadLettersInput struct {
	WebhookPath
	Reading
	Paging
}

func (s *Server) listDeadLetters(ctx context.Context, in *deadLettersInput) (*listed[api.DeadLetter], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	r, err := in.in(v)
	if err != nil {
		return nil, err
	}
	p := newPager[api.DeadLetter](in.limit())
	v.DeadLetters(r.Id, after, func(d *record.DeadLetter) bool {
		key := record.DeadLetterKey(d.Webhook, d.At)
		if key == after {
			return true
		}
		if !p.see(key) {
			return false
		}
		p.add(deadLetter(d))
		return true
	})
	return p.answer(), nil
}

func deadLetter(d *record.DeadLetter) api.DeadLetter {
	return api.DeadLetter{Event: engine.IDAt(d.At).String(), Type: api.EventPrefix + d.Type, Job: d.Job, Time: millis(d.EventAt),
		Attempts: int(d.Attempts), FirstAt: millis(d.FirstAt), LastAt: millis(d.LastAt), Error: d.Error, Redelivering: moment(d.RedeliverAt)}
}

type writtenDeadLetters struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true when this is the kept answer of an earlier request with the same key"`
	Body     api.WrittenDeadLetters
}

func (s *Server) writeDeadLetters(ctx context.Context, op core.Op) (*writtenDeadLetters, error) {
	result, _, err := s.execute(ctx, op)
	if err != nil {
		return nil, err
	}
	out := &writtenDeadLetters{Body: api.WrittenDeadLetters{Webhook: result.Webhook, Changed: result.Changed, Count: result.Count}}
	_, out.Replayed = marks(result)
	return out, nil
}

func (s *Server) redeliver(ctx context.Context, in *WebhookPath) (*writtenDeadLetters, error) {
	events, err := eventsNamed(writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	return s.writeDeadLetters(ctx, core.Redeliver{ID: in.Webhook, Events: events})
}

func (s *Server) dropDeadLetters(ctx context.Context, in *WebhookPath) (*writtenDeadLetters, error) {
	events, err := eventsNamed(writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	return s.writeDeadLetters(ctx, core.DropDeadLetters{ID: in.Webhook, Events: events})
}

// eventsNamed reads which dead letters are meant; nil are all.
func eventsNamed(body []byte) ([]*record.Position, error) {
	var req api.DeadLettersRequest
	if err := optional(body, &req); err != nil {
		return nil, err
	}
	if req.Events == nil {
		return nil, nil
	}
	var r reading
	if n := len(req.Events); n == 0 || n > api.MaxEventsNamed {
		return nil, wrongInput("body.events", n, "has %d events: name 1 to %d, or leave it out for all", n, api.MaxEventsNamed)
	}
	named := make([]*record.Position, 0, len(req.Events))
	for i, text := range req.Events {
		id, err := engine.ParseEventID(text)
		if err != nil {
			r.field(strict.Index("events", i), api.ProblemField{Message: "is not the id of an event, as the list of dead letters has it", Value: strict.Shorten(text)})
			continue
		}
		named = append(named, id.Position())
	}
	return named, r.err()
}
