package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/perigee-sched/perigee/api"
)

// WebhookFilter chooses webhooks; what is empty does not matter.
type WebhookFilter struct {
	Team   string // or api.AllTeams: those that are told of all
	State  string
	URL    string // a part of it
	Limit  int
	Cursor string
}

func webhookPath(id string) string { return "/v1/webhooks/" + url.PathEscape(id) }

// Webhooks returns one page of webhooks, the oldest first.
func (c *Client) Webhooks(ctx context.Context, f WebhookFilter) (*api.Page[api.Webhook], error) {
	q := page(f.Limit, f.Cursor)
	set(q, "team", f.Team)
	set(q, "state", f.State)
	set(q, "url", f.URL)
	return get[api.Page[api.Webhook]](ctx, c, "/v1/webhooks", q)
}

// Webhook returns one webhook.
func (c *Client) Webhook(ctx context.Context, id string) (*api.Webhook, error) {
	return get[api.Webhook](ctx, c, webhookPath(id), nil)
}

// CreateWebhook has events told to a URL. The answer has the secret, which is not
// told again.
func (c *Client) CreateWebhook(ctx context.Context, r api.WebhookRequest, o WriteOptions) (*api.WrittenWebhook, error) {
	return c.writeWebhook(ctx, http.MethodPost, "/v1/webhooks", r, o)
}

// UpdateWebhook changes which events a webhook is told of, and where.
func (c *Client) UpdateWebhook(ctx context.Context, id string, r api.WebhookRequest, o WriteOptions) (*api.WrittenWebhook, error) {
	return c.writeWebhook(ctx, http.MethodPut, webhookPath(id), r, o)
}

// RemoveWebhook forgets a webhook with its dead letters.
func (c *Client) RemoveWebhook(ctx context.Context, id string, o WriteOptions) (*api.WrittenWebhook, error) {
	return c.writeWebhook(ctx, http.MethodDelete, webhookPath(id), nil, o)
}

// RotateSecret has deliveries signed with another secret, which the answer has
// and which is not told again.
func (c *Client) RotateSecret(ctx context.Context, id string, r api.RotateSecretRequest, o WriteOptions) (*api.WrittenWebhook, error) {
	return c.writeWebhook(ctx, http.MethodPost, webhookPath(id)+"/rotate-secret", r, o)
}

// EnableWebhook has a disabled webhook deliver again: what happens from now on,
// with replay also what happened since it was disabled.
func (c *Client) EnableWebhook(ctx context.Context, id string, replay bool, o WriteOptions) (*api.WrittenWebhook, error) {
	return c.writeWebhook(ctx, http.MethodPost, webhookPath(id)+"/enable", api.EnableWebhookRequest{Replay: replay}, o)
}

// DisableWebhook has a webhook deliver nothing.
func (c *Client) DisableWebhook(ctx context.Context, id, reason string, o WriteOptions) (*api.WrittenWebhook, error) {
	return c.writeWebhook(ctx, http.MethodPost, webhookPath(id)+"/disable", api.SteerRequest{Reason: reason}, o)
}

func (c *Client) writeWebhook(ctx context.Context, method, path string, body any, o WriteOptions) (*api.WrittenWebhook, error) {
	return writeTo[api.WrittenWebhook](ctx, c, method, path, body, o)
}

func writeTo[T any](ctx context.Context, c *Client, method, path string, body any, o WriteOptions) (*T, error) {
	r := request{method: method, path: path}
	var err error
	if r.body, err = encode(body); err != nil {
		return nil, err
	}
	return writeAs[T](ctx, c, r, o)
}

// TestWebhook sends a test event, and returns what came of it. It is sent once.
func (c *Client) TestWebhook(ctx context.Context, id string) (*api.WebhookTest, error) {
	resp, err := c.send(ctx, request{method: http.MethodPost, path: webhookPath(id) + "/test"})
	if err != nil {
		return nil, err
	}
	out := new(api.WebhookTest)
	return out, decode(resp, out)
}

// Deliveries returns how far a webhook's deliveries are.
func (c *Client) Deliveries(ctx context.Context, id string) (*api.WebhookDeliveries, error) {
	return get[api.WebhookDeliveries](ctx, c, webhookPath(id)+"/deliveries", nil)
}

// DeadLetters returns one page of the events that a webhook could not be told of,
// in the order of the events.
func (c *Client) DeadLetters(ctx context.Context, id string, limit int, cursor string) (*api.Page[api.DeadLetter], error) {
	return get[api.Page[api.DeadLetter]](ctx, c, webhookPath(id)+"/dead-letters", page(limit, cursor))
}

// Redeliver has dead letters delivered once more: those of some events, or all
// when none is named.
func (c *Client) Redeliver(ctx context.Context, id string, events []string, o WriteOptions) (*api.WrittenDeadLetters, error) {
	return writeTo[api.WrittenDeadLetters](ctx, c, http.MethodPost, webhookPath(id)+"/dead-letters/redeliver", api.DeadLettersRequest{Events: events}, o)
}

// DropDeadLetters forgets dead letters: those of some events, or all when none is
// named.
func (c *Client) DropDeadLetters(ctx context.Context, id string, events []string, o WriteOptions) (*api.WrittenDeadLetters, error) {
	return writeTo[api.WrittenDeadLetters](ctx, c, http.MethodDelete, webhookPath(id)+"/dead-letters", api.DeadLettersRequest{Events: events}, o)
}
