package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// WriteOptions of any write.
type WriteOptions struct {
	// IfMatch: write only if the job still has this revision.
	IfMatch *uint64
	// IdempotencyKey of the write; a random one when empty.
	IdempotencyKey string
}

// write performs a write of which api.Written tells all.
func (c *Client) write(ctx context.Context, r request, o WriteOptions) (*api.Written, error) {
	return writeAs[api.Written](ctx, c, r, o)
}

// writeAs performs a write, again and again under one idempotency key while it is
// answered 503 or the connection fails, for as long as the client is patient.
func writeAs[T any](ctx context.Context, c *Client, r request, o WriteOptions) (*T, error) {
	if r.header == nil {
		r.header = http.Header{}
	}
	if o.IdempotencyKey == "" {
		o.IdempotencyKey = rand.Text()
	}
	r.header.Set(api.HeaderIdempotencyKey, o.IdempotencyKey)
	if o.IfMatch != nil {
		r.header.Set("If-Match", strconv.Quote(strconv.FormatUint(*o.IfMatch, 10)))
	}
	over := time.Now().Add(c.patience)
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		written := new(T)
		err := c.writeOnce(ctx, r, written)
		if err == nil {
			return written, nil
		}
		if !worthRepeating(err) || ctx.Err() != nil || time.Now().Add(pause).After(over) {
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err // says more than that the time is up
		}
	}
}

func (c *Client) writeOnce(ctx context.Context, r request, into any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	if err := decode(resp, into); err != nil {
		return err
	}
	if d, is := into.(*api.WrittenDeploy); is {
		d.Began = resp.StatusCode == http.StatusCreated
	}
	return nil
}

// worthRepeating says whether the same request may well be answered otherwise:
// any failure on the way that may pass, and 503.
func worthRepeating(err error) bool {
	var p *api.Problem
	if !errors.As(err, &p) {
		return !hopeless(err)
	}
	return p.Status == http.StatusServiceUnavailable
}

// PutOptions of PutJob.
type PutOptions struct {
	WriteOptions
	// Create: refuse when the job exists.
	Create bool
	// Supersede an unfinished deploy instead of being refused because of it.
	Supersede bool
	// Message is kept with the deploy.
	Message string
}

// PutJob creates a job, or deploys a new spec of it.
func (c *Client) PutJob(ctx context.Context, spec *api.Spec, o PutOptions) (*api.Written, error) {
	path, err := jobPath(spec.Job)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode the spec of %s: %w", spec.Job, err)
	}
	r := request{method: http.MethodPut, path: path, query: url.Values{}, header: http.Header{}, body: body}
	if o.Create {
		r.header.Set("If-None-Match", "*")
	}
	if o.Supersede {
		r.query.Set("supersede", "true")
	}
	set(r.query, "message", o.Message)
	return c.write(ctx, r, o.WriteOptions)
}

// RemoveJob stops a job's tasks and forgets it.
func (c *Client) RemoveJob(ctx context.Context, job string, o WriteOptions) (*api.Written, error) {
	return c.writeJob(ctx, jobWrite{method: http.MethodDelete, job: job}, o)
}

// PauseJob stops a job's tasks and keeps its definition.
func (c *Client) PauseJob(ctx context.Context, job, reason string, o WriteOptions) (*api.Written, error) {
	w := jobWrite{method: http.MethodPost, job: job, rest: "/pause", query: url.Values{}}
	set(w.query, "reason", reason)
	return c.writeJob(ctx, w, o)
}

// ResumeJob ends a pause.
func (c *Client) ResumeJob(ctx context.Context, job string, o WriteOptions) (*api.Written, error) {
	return c.writeJob(ctx, jobWrite{method: http.MethodPost, job: job, rest: "/resume"}, o)
}

// ScaleJob sets how many instances of a service run.
func (c *Client) ScaleJob(ctx context.Context, job string, instances int, o WriteOptions) (*api.Written, error) {
	return c.writeJob(ctx, jobWrite{method: http.MethodPut, job: job, rest: "/instances",
		body: api.Scale{Instances: &instances}}, o)
}

// StartRuns starts runs of a batch or cron job, all or none; at most
// api.MaxRunsPerCall.
func (c *Client) StartRuns(ctx context.Context, job string, runs []api.NewRun, o WriteOptions) (*api.Written, error) {
	return c.writeJob(ctx, jobWrite{method: http.MethodPost, job: job, rest: "/runs",
		body: api.StartRuns{Runs: runs}}, o)
}

// CancelRun ends a run.
func (c *Client) CancelRun(ctx context.Context, job, id string, o WriteOptions) (*api.Written, error) {
	return c.writeJob(ctx, jobWrite{method: http.MethodDelete, job: job, rest: "/runs/" + url.PathEscape(id)}, o)
}

// KillTask ends a task. An instance of a service starts again; a run is retried
// by its policy as if it had failed.
func (c *Client) KillTask(ctx context.Context, id, reason string, o WriteOptions) (*api.Written, error) {
	r := request{method: http.MethodDelete, path: "/v1/tasks/" + url.PathEscape(id), query: url.Values{}}
	set(r.query, "reason", reason)
	return c.write(ctx, r, o)
}

// jobWrite is a write below a job's path.
type jobWrite struct {
	method, job, rest string
	query             url.Values
	body              any
}

func (c *Client) writeJob(ctx context.Context, w jobWrite, o WriteOptions) (*api.Written, error) {
	return writeJobAs[api.Written](ctx, c, w, o)
}

func writeJobAs[T any](ctx context.Context, c *Client, w jobWrite, o WriteOptions) (*T, error) {
	path, err := jobPath(w.job)
	if err != nil {
		return nil, err
	}
	r := request{method: w.method, path: path + w.rest, query: w.query}
	if r.body, err = encode(w.body); err != nil {
		return nil, err
	}
	return writeAs[T](ctx, c, r, o)
}

// encode returns the body of a request, nil for nil.
func encode(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return b, nil
}

// StepDown has the scheduler that leads hand over to another, and returns what
// part it has once it did. It is asked once: repeated, the next leader would
// step down too.
func (c *Client) StepDown(ctx context.Context) (*api.Scheduler, error) {
	resp, err := c.send(ctx, request{method: http.MethodPost, path: "/v1/scheduler/step-down"})
	if err != nil {
		return nil, err
	}
	out := new(api.Scheduler)
	return out, decode(resp, out)
}
