package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/cloudevent"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// streamWriteTimeout is how long a stream's reader may take to read what was
// written before it is dropped. It resumes where it was.
const streamWriteTimeout = 20 * time.Second

type eventsInput struct {
	After       string `query:"after" maxLength:"255" doc:"Id of the last event that was seen; events begin after it. They begin now when it is absent"`
	LastEventID string `header:"Last-Event-ID" maxLength:"255" doc:"The same, as browsers send it when they connect again; it goes before after"`
	Team        string `query:"team"`
	Job         string `query:"job" doc:"A pattern of team/stage/name: web/prod/*"`
	Type        string `query:"type" doc:"Patterns of types, separated by commas: task.*,deploy.failed"`
}

func (s *Server) followEvents(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	wanted, err := in.wanted(callerOf(ctx))
	if err != nil {
		return nil, err
	}
	after := in.After
	if in.LastEventID != "" {
		after = in.LastEventID
	}
	if after != "" {
		if _, err := engine.ParseEventID(after); err != nil {
			return nil, newProblem(http.StatusBadRequest, "%v", err).kind("invalid")
		}
		if _, err := s.view(ctx, Reading{}); err != nil { // before the journal is read, no event is known
			return nil, err
		}
	}
	follower, err := s.Scheduler.Follow(after)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		r, _ := humamux.Unwrap(c)
		w := responseOf(r.Context())
		defer s.metrics.streaming(w, "events")()
		ctx, cancel := s.whileValid(r.Context())
		defer cancel()
		e := eventStream{s: s, w: w, control: http.NewResponseController(w), wanted: wanted}
		e.run(ctx, follower)
	}}, nil
}

// wanted says which events are in the stream: what its caller may see; with a
// team or a pattern of jobs, none that are about no job.
func (in *eventsInput) wanted(c *caller) (func(*record.Event) bool, error) {
	job, kinds, audit := func(string) bool { return true }, []func(string) bool{}, false
	var err error
	if _, _, _, err := api.ParseJobKey(in.Team + "/any/any"); in.Team != "" && err != nil {
		return nil, wrongInput("query.team", in.Team, "is not the name of a team: those are lower-case letters, digits and inner hyphens")
	}
	if in.Job != "" {
		if job, err = glob("query.job", in.Job); err != nil {
			return nil, err
		}
	}
	if in.Type != "" {
		for _, pattern := range strings.Split(in.Type, ",") {
			pattern = strings.TrimPrefix(strings.TrimSpace(pattern), cloudevent.Prefix)
			audit = audit || api.AsksForAudit(pattern)
			kind, err := glob("query.type", pattern)
			if err != nil {
				return nil, err
			}
			kinds = append(kinds, kind)
		}
	}
	return func(e *record.Event) bool {
		switch {
		case in.Team != "" && !strings.HasPrefix(e.Job, in.Team+"/"), !job(e.Job), !seesEvent(c, e):
			return false
		case in.Job != "" && e.Job == "", // which * matches
			e.Type == api.AuditType && !audit:
			return false
		}
		for _, kind := range kinds {
			if kind(e.Type) {
				return true
			}
		}
		return len(kinds) == 0
	}, nil
}

// eventStream writes events to one reader. What it holds is one batch: a reader
// that is slower than the events loses its place in the log, and is told so
// when it connects again.
type eventStream struct {
	s       *Server
	w       *response
	control *http.ResponseController
	wanted  func(*record.Event) bool
	out     bytes.Buffer
}

func (e *eventStream) run(ctx context.Context, follower *engine.Follower) {
	asEvents(e.w)
	at := follower.At()
	e.heartbeat(at)
	for e.flush() && !e.w.head {
		waiting, cancel := context.WithTimeout(ctx, e.s.Heartbeat)
		events, err := follower.Next(waiting)
		cancel()
		switch {
		case ctx.Err() != nil:
			if p := ended(ctx); p != nil {
				e.out.WriteString(endOf(p))
				e.flush()
			}
			return
		case errors.Is(err, context.DeadlineExceeded):
			e.heartbeat(at)
			continue
		case err != nil:
			return // too slow
		}
		for _, p := range events {
			at = p.ID
			if e.wanted(p.Event) {
				e.write(p)
			}
		}
	}
}

// heartbeat keeps the connection alive, and tells the reader how far the stream
// is, also past events that are not for it, so that it resumes there.
func (e *eventStream) heartbeat(at engine.EventID) {
	e.out.WriteString(": heartbeat\n")
	if at.Incarnation != "" {
		e.out.WriteString("id: " + at.String() + "\n")
	}
	e.out.WriteByte('\n')
}

func (e *eventStream) write(p engine.Published) {
	event := e.s.event(p)
	data, err := json.Marshal(event)
	if err != nil {
		e.s.Log.Error("an event cannot be told", "id", event.ID, "error", err)
		return
	}
	e.out.WriteString("id: " + event.ID + "\nevent: " + event.Type + "\ndata: ")
	e.out.Write(data)
	e.out.WriteString("\n\n")
}

// endOf is the end of a stream of server-sent events whose reader may read it no
// more: a comment, for people. Programs are told when they come again.
func endOf(p *problem) string { return ": " + p.Detail + "\n\n" }

// flush sends what was written; false when the reader is gone or too slow.
func (e *eventStream) flush() bool {
	extend(e.w)
	if _, err := e.w.Write(e.out.Bytes()); err != nil {
		return false
	}
	e.out.Reset()
	return e.control.Flush() == nil
}
