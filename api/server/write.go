package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Sizes of bodies, in bytes. A spec's canonical form is at most 128 KiB; what
// is sent may be indented.
const (
	maxSpecBody   = 256 << 10
	maxDeployBody = maxSpecBody + maxNotesBody
	maxNotesBody  = 128 << 10
	maxRunsBody   = 8 << 20
	maxGroupBody  = maxRunsBody
	maxSmallBody  = 4 << 10
)

// maxText bounds a key, an actor, a group, in bytes.
const maxText = 255

// writing is a write being asked for: who, under which key, and the body.
type writing struct {
	body   []byte
	key    string
	keyOf  string // whose key it is
	digest string
	actor  string
	by     core.By
}

type writingKey struct{}

// writingOf returns the write that ctx belongs to.
func writingOf(ctx context.Context) *writing {
	return ctx.Value(writingKey{}).(*writing)
}

// asWrite reads what all writes have, before huma looks at the request. The
// body is read here and not by huma, whose read deadline would end the handler
// that waits for the journal, and whose decoder does not name the nearest field.
func (s *Server) asWrite(maxBody int64) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humamux.Unwrap(ctx)
		in, err := readWriting(w, r, maxBody, ctx.Operation().OperationID)
		if err != nil {
			problemOf(err).write(w)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), writingKey{}, in))
		r.Body = http.NoBody
		next(humamux.NewContext(ctx.Operation(), r, w))
	}
}

func readWriting(w http.ResponseWriter, r *http.Request, maxBody int64, operation string) (*writing, error) {
	c, said := callerOf(r.Context()), r.Header.Get(api.HeaderActor)
	in := &writing{key: r.Header.Get(api.HeaderIdempotencyKey), keyOf: c.scope(), actor: c.actor(said),
		by: core.By{Operation: operation, Token: c.ID, From: c.from}}
	if err := plain("header."+api.HeaderIdempotencyKey, in.key); err != nil {
		return nil, err
	}
	if err := plain("header."+api.HeaderActor, said); err != nil {
		return nil, err
	}
	var err error
	if in.body, err = readBody(w, r, maxBody); err != nil {
		return nil, err
	}
	if err := sentAsJSON(r); len(in.body) > 0 && err != nil {
		return nil, err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s?%s\n", r.Method, r.URL.EscapedPath(), r.URL.RawQuery)
	sum.Write(in.body)
	in.digest = hex.EncodeToString(sum.Sum(nil))
	return in, nil
}

// sentAsJSON also takes what curl -d says of anything. That no page of another
// site sends it is seen to before.
func sentAsJSON(r *http.Request) error {
	given := r.Header.Get("Content-Type")
	if given == "" {
		return nil
	}
	switch t, _, err := mime.ParseMediaType(given); {
	case err == nil && (t == "application/json" || t == "application/x-www-form-urlencoded"):
		return nil
	}
	return newProblem(http.StatusUnsupportedMediaType, "Content-Type is %q: send application/json", given)
}

// plain wants a header's value that may be kept and shown.
func plain(where, s string) error {
	if len(s) > maxText {
		return wrongInput(where, nil, "is %d bytes long: at most %d are allowed", len(s), maxText)
	}
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return wrongInput(where, nil, "has a character that is not printable ASCII")
		}
	}
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	// The deadline is taken back: one that passes while the handler waits would
	// cancel the request.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // recorders in tests have none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	_ = control.SetReadDeadline(time.Time{})
	var (
		tooLong *http.MaxBytesError
		network net.Error
	)
	switch {
	case errors.As(err, &tooLong):
		of := ""
		if r.ContentLength > most {
			of = fmt.Sprintf(" of %d bytes", r.ContentLength)
		}
		return nil, newProblem(http.StatusRequestEntityTooLarge, "the body%s is longer than the %d bytes that are allowed here", of, most)
	case errors.As(err, &network) && network.Timeout():
		return nil, newProblem(http.StatusRequestTimeout, "the body did not come within %s", bodyTimeout)
	case err != nil:
		return nil, newProblem(http.StatusBadRequest, "the body cannot be read: %v", err)
	}
	return body, nil
}

// written answers a write.
type written struct {
	Status   int
	ETag     string `header:"ETag" doc:"Revision of the job afterwards: what If-Match takes"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when this is the kept answer of an earlier request with the same key"`
	Body     api.Written
}

// execute performs a write and returns once it is durable, with a view that
// includes it. Where a deploy is in the way, the problem tells it.
func (s *Server) execute(ctx context.Context, op core.Op) (core.Result, *engine.View, error) {
	in := writingOf(ctx)
	waiting, cancel := context.WithTimeout(ctx, doTimeout)
	defer cancel()
	result, view, err := s.Scheduler.Do(waiting, core.Request{
		Actor: in.actor, IdempotencyKey: in.key, KeyOf: in.keyOf, Digest: in.digest, By: in.by, Op: op,
	})
	if view == nil {
		view = s.Scheduler.View()
	}
	if err != nil {
		p := problemOf(err)
		var refused *core.Error
		if errors.As(err, &refused) && refused.Deploy != 0 {
			p.Deploy = s.inTheWay(view, op, refused.Deploy)
		}
		return result, nil, p
	}
	responseOf(ctx).setIndex(view)
	return result, view, nil
}

// do performs a write of which api.Written tells all.
func (s *Server) do(ctx context.Context, op core.Op) (*written, error) {
	result, _, err := s.execute(ctx, op)
	if err != nil {
		return nil, err
	}
	out := &written{Status: http.StatusOK, Body: api.Written{
		Job: result.Job, Revision: result.Revision, Deploy: result.Deploy, Created: result.Created,
		Changed: result.Changed, Runs: result.Runs, Task: result.Task, Warnings: result.Warnings,
	}}
	if result.Created {
		out.Status = http.StatusCreated
	}
	out.ETag, out.Replayed = marks(result)
	return out, nil
}

// marks are the headers of an answer to a write.
func marks(result core.Result) (tag, replayed string) {
	if result.Revision > 0 {
		tag = etag(result.Revision)
	}
	if result.Repeated {
		replayed = "true"
	}
	return tag, replayed
}

func etag(revision uint64) string { return strconv.Quote(strconv.FormatUint(revision, 10)) }

// Match is the precondition that writes on a job take.
type Match struct {
	IfMatch string `header:"If-Match" doc:"Write only if the job still has this revision: an ETag as it was answered" example:"\"12\""`
}

// revision is what If-Match asks for, nil when nothing.
func (m Match) revision() (*uint64, error) {
	if m.IfMatch == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(m.IfMatch), `"`), 10, 64)
	if err != nil {
		return nil, wrongInput("header.If-Match", m.IfMatch, `is not a revision: it takes one ETag as it was answered, for example "12"`)
	}
	return &n, nil
}
