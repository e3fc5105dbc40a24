package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// problem is an answer that says what is wrong. It is an error, so that
// handlers return it, and huma writes it.
type problem struct {
	api.Problem
	header http.Header
}

func (p *problem) Error() string           { return p.Problem.Error() }
func (p *problem) GetStatus() int          { return p.Status }
func (p *problem) GetHeaders() http.Header { return p.header }
func (p *problem) ContentType(string) string {
	return "application/problem+json"
}

func newProblem(status int, format string, args ...any) *problem {
	return &problem{Problem: api.Problem{Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}}
}

// wrongInput is a problem with one value: where is "query.limit", "path.task".
func wrongInput(where string, value any, format string, args ...any) *problem {
	p := newProblem(http.StatusUnprocessableEntity, "the request is not valid")
	p.Errors = []api.ProblemField{{Location: where, Message: fmt.Sprintf(format, args...), Value: value}}
	return p
}

func (p *problem) kind(name string) *problem {
	p.Type = "urn:perigee:" + name
	return p
}

func (p *problem) retryAfter(seconds int) *problem {
	p.header = http.Header{"Retry-After": {strconv.Itoa(seconds)}}
	return p
}

// problemOf is the one place where errors become statuses. What is not known
// here is a fault of ours: 500.
func problemOf(err error) *problem {
	var (
		done    *problem
		refused *core.Error
		gone    *engine.GoneError
		tooBig  *engine.TooBigError
		invalid api.Invalid
	)
	switch {
	case errors.As(err, &done):
		return done
	case errors.As(err, &refused):
		return refusal(refused)
	case errors.As(err, &invalid):
		p := newProblem(http.StatusUnprocessableEntity, "the spec is not valid").kind("invalid")
		p.Errors = inBody(invalid)
		return p
	case errors.As(err, &gone):
		p := newProblem(http.StatusGone, "%v", gone).kind("gone")
		p.Errors = []api.ProblemField{{Location: "query.after", Message: "is too old", Value: gone.Oldest}}
		return p
	case errors.As(err, &tooBig):
		return newProblem(http.StatusUnprocessableEntity, "%v", tooBig).kind("too-big")
	case errors.Is(err, engine.ErrUnknownOutcome):
		return unknownOutcome()
	case errors.Is(err, engine.ErrUnavailable):
		return newProblem(http.StatusServiceUnavailable, "%v", err).kind("unavailable").retryAfter(1)
	case errors.Is(err, engine.ErrAlone):
		return newProblem(http.StatusConflict, "%v", err).kind("conflict")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unknownOutcome()
	}
	return newProblem(http.StatusInternalServerError, "this is a fault of the scheduler: %v", err)
}

func unknownOutcome() *problem {
	return newProblem(http.StatusServiceUnavailable,
		"outcome unknown: the write may or may not happen. Retry with the same Idempotency-Key").kind("outcome-unknown").retryAfter(1)
}

// refusals are the statuses of what core refused.
var refusals = map[core.ErrorKind]struct {
	status int
	kind   string
}{
	core.NotFound: {http.StatusNotFound, "not-found"},
	core.Conflict: {http.StatusConflict, "conflict"},
	core.Invalid:  {http.StatusUnprocessableEntity, "invalid"},
	core.Stale:    {http.StatusPreconditionFailed, "stale"},
	core.Mismatch: {http.StatusConflict, "idempotency-key-reused"},
}

func refusal(e *core.Error) *problem {
	as, ok := refusals[e.Kind]
	if !ok {
		return newProblem(http.StatusInternalServerError, "this is a fault of the scheduler: %v", e)
	}
	p := newProblem(as.status, "%s", e.Detail).kind(as.kind)
	p.Errors = inBody(e.Fields)
	return p
}

// inBody puts "body" before locations in the body, which are all that do not
// say otherwise.
func inBody(fields []api.ProblemField) []api.ProblemField {
	out := make([]api.ProblemField, len(fields))
	for i, f := range fields {
		head, _, _ := strings.Cut(f.Location, ".")
		switch {
		case head == "body" || head == "query" || head == "path" || head == "header":
		case f.Location == "":
			f.Location = "body"
		case strings.HasPrefix(f.Location, "["):
			f.Location = "body" + f.Location
		default:
			f.Location = "body." + f.Location
		}
		out[i] = f
	}
	return out
}

// write answers with the problem, where huma does not do it.
func (p *problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // a value that JSON does not have
		p.Errors = nil
		body, _ = json.Marshal(p)
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n')) // a client that has gone is not our matter
}
