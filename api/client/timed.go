package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// ScaleJobFor sets how many instances of a service run for a time, at most
// api.MaxTimed, and for good when that is 0.
func (c *Client) ScaleJobFor(ctx context.Context, job string, instances int, d time.Duration, o WriteOptions) (*api.Written, error) {
	return c.writeJob(ctx, jobWrite{method: http.MethodPost, job: job, rest: "/scale", query: lasting(d),
		body: api.Scale{Instances: &instances}}, o)
}

// PauseJobFor stops a job's tasks for a time, and for good when that is 0.
func (c *Client) PauseJobFor(ctx context.Context, job, reason string, d time.Duration, o WriteOptions) (*api.Written, error) {
	w := jobWrite{method: http.MethodPost, job: job, rest: "/pause", query: lasting(d)}
	set(w.query, "reason", reason)
	return c.writeJob(ctx, w, o)
}

// SkipHealth has a service's health checks count for nothing for a time.
func (c *Client) SkipHealth(ctx context.Context, job string, d time.Duration, o WriteOptions) (*api.Written, error) {
	return c.writeJob(ctx, jobWrite{method: http.MethodPost, job: job, rest: "/skip-health", query: lasting(d)}, o)
}

// HeedHealth ends SkipHealth before its time.
func (c *Client) HeedHealth(ctx context.Context, job string, o WriteOptions) (*api.Written, error) {
	return c.writeJob(ctx, jobWrite{method: http.MethodDelete, job: job, rest: "/skip-health"}, o)
}

func lasting(d time.Duration) url.Values {
	q := url.Values{}
	if d != 0 {
		q.Set("for", d.String())
	}
	return q
}
