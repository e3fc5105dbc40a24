package client

import (
	"context"
	"iter"

	"github.com/perigee-sched/perigee/api"
)

// Endpoints returns the instances of a job that serve.
func (c *Client) Endpoints(ctx context.Context, job string) (*api.Endpoints, error) {
	return getOfJob[api.Endpoints](ctx, c, job, "/endpoints", nil)
}

// FollowEndpoints yields all instances of a job that serve, now and whenever
// they change. It survives lost connections and failovers, after which they are
// yielded again. It ends with an error: ctx's, or an *api.Problem that will not
// go away, such as 404 once the job is gone.
func (c *Client) FollowEndpoints(ctx context.Context, job string) iter.Seq2[*api.Endpoints, error] {
	return follow(ctx, c, job, "/endpoints/watch", func(*api.Endpoints) bool { return false })
}
