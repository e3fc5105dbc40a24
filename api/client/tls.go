package client

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
)

// SchemeError says that a scheduler is spoken to over http that speaks https, or
// the other way round.
type SchemeError struct {
	Address string // as it was given
	Speaks  string // "http" or "https"
}

func (e *SchemeError) Error() string {
	u, err := url.Parse(e.Address)
	if err != nil {
		return "this is an " + e.Speaks + " server"
	}
	u.Scheme = e.Speaks
	return "this is an " + e.Speaks + " server: use " + u.String()
}

// WithAuthorities has only schedulers trusted over https whose certificates
// these have signed; those that the system trusts, otherwise.
func WithAuthorities(pool *x509.CertPool) Option { return func(c *Client) { c.authorities = pool } }

// trust has the transport trust c's authorities.
func (c *Client) trust(transport *http.Transport) {
	if c.authorities != nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.authorities}
	}
}

// otherScheme is what a failed request says of the scheme, nil when it is about
// something else.
func (c *Client) otherScheme(err error) error {
	if errors.Is(err, http.ErrSchemeMismatch) {
		return &SchemeError{c.base.String(), "http"}
	}
	return nil
}

// wantsTLS says whether an answer in plain text is a TLS server's: Go's, and
// those that usually stand in front.
func wantsTLS(resp *http.Response, body []byte) bool {
	return resp.StatusCode == http.StatusBadRequest && resp.TLS == nil &&
		(bytes.Contains(body, []byte("HTTP request to an HTTPS server")) || bytes.Contains(body, []byte("HTTP request was sent to HTTPS port")))
}

// hopeless says whether a request that was not answered will not be, either,
// when it is repeated.
func hopeless(err error) bool {
	var (
		scheme    *SchemeError
		untrusted *tls.CertificateVerificationError
	)
	return errors.As(err, &scheme) || errors.As(err, &untrusted)
}
