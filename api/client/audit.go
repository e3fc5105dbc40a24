package client

import (
	"context"

	"github.com/perigee-sched/perigee/api"
)

// Audit returns one page of the audit trail, newest first. Of the filter it takes
// what is about events, but for their types.
func (c *Client) Audit(ctx context.Context, f api.HistoryFilter) (*api.HistoryPage[api.AuditEntry], error) {
	q := past(f)
	set(q, "actor", f.Actor)
	set(q, "token", f.Token)
	set(q, "operation", f.Operation)
	set(q, "object", f.Object)
	return get[api.HistoryPage[api.AuditEntry]](ctx, c, "/v1/audit", q)
}

// Refusals returns the requests that the scheduler refused lately for who they
// were from, the latest first.
func (c *Client) Refusals(ctx context.Context) ([]api.RefusedRequest, error) {
	page, err := get[api.Page[api.RefusedRequest]](ctx, c, "/v1/audit/refusals", nil)
	if err != nil {
		return nil, err
	}
	return page.Items, nil
}
