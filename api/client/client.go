// Package client speaks Perigee's HTTP API: one typed method for each of its
// operations, resumable events, and logs as they grow. Package cli prints what
// it returns.
//
// It owns how requests are sent: paths, repetition of writes under one
// idempotency key, errors as *api.Problem. What requests mean is package api's
// and the server's. It imports nothing of the scheduler.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// Client of one Perigee scheduler. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	http  *http.Client
	actor string
	token string
	agent string
	// patience is how long a write is repeated.
	patience time.Duration
	lost     func(error)
	// authorities that are trusted; the system's when nil
	authorities *x509.CertPool
}

// Option changes a Client.
type Option func(*Client)

// WithActor names who asks, for events and audit.
func WithActor(actor string) Option { return func(c *Client) { c.actor = actor } }

// WithToken shows a token, or what an OIDC issuer has signed, with each request.
func WithToken(token string) Option { return func(c *Client) { c.token = token } }

// WithHTTPClient replaces the HTTP client, which must not have a Timeout if
// events or logs are followed.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithPatience is for how long a write that was answered 503, or that may not
// have reached the scheduler, is repeated: 3 s by default, 0 is never. A request
// that there are too many of is repeated for a minute at least, but never with 0.
func WithPatience(d time.Duration) Option { return func(c *Client) { c.patience = d } }

// WithUserAgent names the program, perigee-client by default.
func WithUserAgent(agent string) Option { return func(c *Client) { c.agent = agent } }

// WithLost has lost called whenever the stream of FollowDeploy or
// FollowEndpoints is gone and an attempt to open it again failed. It may be
// called by several goroutines at a time.
func WithLost(lost func(error)) Option { return func(c *Client) { c.lost = lost } }

// New returns a client of the scheduler at base, http://HOST:PORT. It does not
// connect.
func New(base string, options ...Option) (*Client, error) {
	u, err := url.Parse(base)
	if !strings.Contains(base, "://") {
		u, err = url.Parse("http://" + base)
	}
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%q is not the address of a scheduler: write it as http://HOST:PORT", base)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawQuery, u.Fragment = "", ""
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	c := &Client{
		base: u, http: &http.Client{Transport: transport}, agent: "perigee-client", patience: 3 * time.Second,
		lost: func(error) {},
	}
	for _, o := range options {
		o(c)
	}
	c.trust(transport)
	return c, nil
}

// Base returns the scheduler's address.
func (c *Client) Base() string { return c.base.String() }

// request is one request, which may be sent several times.
type request struct {
	method string
	path   string // escaped, below the base
	query  url.Values
	header http.Header
	body   []byte
}

// send performs a request. Answers other than 2xx are *api.Problem. One that
// there were too many of, 429, was not looked at, and is sent again when the
// scheduler says so.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	over := time.Now().Add(c.limitPatience())
	for {
		resp, err := c.sendOnce(ctx, r)
		var p *tooMany
		if !errors.As(err, &p) {
			return resp, err
		}
		// Others wait, too: so that not all come back at once.
		wait := p.after + rand.N(p.after/4+time.Millisecond)
		if until, bounded := ctx.Deadline(); bounded && until.Before(over) {
			over = until
		}
		if time.Now().Add(wait).After(over) {
			return nil, p.Problem
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, p.Problem // says more than that the time is up
		}
	}
}

// limitPatience is for how long a request is repeated that there are too many of.
func (c *Client) limitPatience() time.Duration {
	if c.patience == 0 {
		return 0
	}
	return max(time.Minute, c.patience)
}

// tooMany is 429.
type tooMany struct {
	*api.Problem
	after time.Duration
}

func (p *tooMany) Unwrap() error { return p.Problem }

// sendOnce is send without waiting.
func (c *Client) sendOnce(ctx context.Context, r request) (*http.Response, error) {
	address := c.base.String() + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.agent)
	if c.actor != "" {
		req.Header.Set(api.HeaderActor, c.actor)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, cmp.Or(c.otherScheme(err), err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, limited(resp, c.problem(resp))
	}
	return resp, nil
}

// limited is a *tooMany where err is a problem of that kind. A scheduler says when
// to ask again in seconds; a proxy may not say it, or in another way.
func limited(resp *http.Response, err error) error {
	var p *api.Problem
	if resp.StatusCode != http.StatusTooManyRequests || !errors.As(err, &p) {
		return err
	}
	seconds, wrong := strconv.Atoi(resp.Header.Get("Retry-After"))
	if wrong != nil || seconds < 0 || seconds > 3600 {
		seconds = 1
	}
	return &tooMany{p, time.Duration(seconds) * time.Second}
}

// read performs a GET and decodes its answer.
func (c *Client) read(ctx context.Context, path string, query url.Values, into any) error {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return err
	}
	return decode(resp, into)
}

func decode(resp *http.Response, into any) error {
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer of %s %s: %w", resp.Request.Method, resp.Request.URL.Path, err)
	}
	return nil
}

// problem reads an error's answer. Something else than Perigee may have given
// it, a proxy say.
func (c *Client) problem(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if wantsTLS(resp, body) {
		return &SchemeError{c.base.String(), "https"}
	}
	p := new(api.Problem)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(body, p) == nil {
		p.Status = resp.StatusCode
		return p
	}
	text := strings.TrimSpace(string(body))
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return &api.Problem{Title: http.StatusText(resp.StatusCode), Status: resp.StatusCode,
		Detail: strings.TrimSpace(fmt.Sprintf("%s was answered %s: %s", resp.Request.URL, resp.Status, text))}
}
