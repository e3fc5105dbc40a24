package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/perigee-sched/perigee/api"
)

const tokensPath = "/v1/tokens"

// TokenFilter chooses tokens.
type TokenFilter struct {
	Team   string // "*": those of all teams
	State  string // active, expired or revoked
	Limit  int
	Cursor string
}

// Tokens returns one page of the tokens that the caller may revoke, by id.
func (c *Client) Tokens(ctx context.Context, f TokenFilter) (*api.Page[api.Token], error) {
	q := page(f.Limit, f.Cursor)
	set(q, "team", f.Team)
	set(q, "state", f.State)
	return get[api.Page[api.Token]](ctx, c, tokensPath, q)
}

// CreateToken makes a token. Its text is told once: when the answer was lost on
// its way, what is returned has none.
func (c *Client) CreateToken(ctx context.Context, r api.TokenRequest, o WriteOptions) (*api.WrittenToken, error) {
	return c.writeToken(ctx, http.MethodPost, tokensPath, r, o)
}

// InitToken makes the first token, with the code that the leading scheduler has
// logged.
func (c *Client) InitToken(ctx context.Context, r api.InitRequest, o WriteOptions) (*api.WrittenToken, error) {
	return c.writeToken(ctx, http.MethodPost, tokensPath+"/init", r, o)
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string, o WriteOptions) (*api.WrittenToken, error) {
	return c.writeToken(ctx, http.MethodDelete, tokensPath+"/"+url.PathEscape(id), nil, o)
}

func (c *Client) writeToken(ctx context.Context, method, path string, body any, o WriteOptions) (*api.WrittenToken, error) {
	b, err := encode(body)
	if err != nil {
		return nil, err
	}
	return writeAs[api.WrittenToken](ctx, c, request{method: method, path: path, body: b}, o)
}

// Caller says who the scheduler takes this client for.
func (c *Client) Caller(ctx context.Context) (*api.Caller, error) {
	return get[api.Caller](ctx, c, "/v1/whoami", nil)
}
