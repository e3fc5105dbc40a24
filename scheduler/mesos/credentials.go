package mesos

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/http"
	"time"
)

// Credentials are what a framework authenticates with, by HTTP's basic
// authentication; none when Principal is empty.
type Credentials struct{ Principal, Secret string }

// header is the value of Authorization, "" without credentials.
func (c Credentials) header() string {
	if c.Principal == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Principal+":"+c.Secret))
}

// Transport carries requests to masters and agents, which speak TLS when config
// is not nil, and shows them the credentials. It does not use a proxy.
func (c Credentials) Transport(config *tls.Config) http.RoundTripper {
	return c.over(&http.Transport{
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:       config,
		ResponseHeaderTimeout: 10 * time.Second,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       30 * time.Second,
		DisableCompression:    true,
	})
}

func (c Credentials) over(t http.RoundTripper) http.RoundTripper {
	if c.Principal == "" {
		return t
	}
	return authorized{t, c.header()}
}

// authorized adds Authorization to requests that have none.
type authorized struct {
	http.RoundTripper
	header string
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", a.header)
	}
	return a.RoundTripper.RoundTrip(r)
}

// CloseIdleConnections is for http.Client.
func (a authorized) CloseIdleConnections() {
	if t, ok := a.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// overTLS has what dial connects to speak TLS.
func overTLS(dial func(context.Context, string) (net.Conn, error), config *tls.Config) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		named := config.Clone()
		if host, _, err := net.SplitHostPort(address); err == nil && named.ServerName == "" {
			named.ServerName = host
		}
		secure := tls.Client(conn, named)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	}
}
