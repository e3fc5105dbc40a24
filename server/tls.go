package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-sched/perigee/config"
)

// apiTLS is what the API is served with: nil without a certificate.
func (p *process) apiTLS() (*tls.Config, error) {
	c := p.Config.API.TLS
	if c.Cert == "" {
		return nil, nil
	}
	p.certificate = &watched[*tls.Certificate]{what: "the API's certificate", paths: []string{c.Cert, c.Key},
		load: func() (*tls.Certificate, error) { return p.loadCertificate(c) }, now: p.now, log: p.Log.With("part", "tls")}
	if err := p.certificate.read(); err != nil {
		return nil, err
	}
	p.warnOfCertificate(p.certificate.get().Leaf)
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return p.certificate.get(), nil
	}}, nil
}

// loadCertificate reads the certificate and its key. In the place of one that is
// valid none is put that has expired.
func (p *process) loadCertificate(c config.TLS) (*tls.Certificate, error) {
	cert, err := os.ReadFile(c.Cert)
	if err != nil {
		return nil, fmt.Errorf("api.tls.cert: %w", err)
	}
	key, err := os.ReadFile(c.Key)
	if err != nil {
		return nil, fmt.Errorf("api.tls.key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("api.tls.cert %s, and api.tls.key %s: %w; they must be a certificate and its key without a passphrase, in PEM format", c.Cert, c.Key, err)
	}
	if now := p.now(); p.certificate.value != nil && pair.Leaf.NotAfter.Before(now) && p.certificate.value.Leaf.NotAfter.After(now) {
		return nil, fmt.Errorf("api.tls.cert: the certificate in %s has expired on %s", c.Cert, pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	return &pair, nil
}

// warnOfCertificate says what will have others not trust it, who say so in
// places where nobody may look.
func (p *process) warnOfCertificate(cert *x509.Certificate) {
	log := p.Log.With("part", "tls")
	if now := p.now(); cert.NotAfter.Before(now) || cert.NotBefore.After(now) {
		log.Warn("the API's certificate is not valid now", "from", cert.NotBefore, "to", cert.NotAfter)
	}
	if u, err := url.Parse(p.url); err == nil {
		if err := cert.VerifyHostname(u.Hostname()); err != nil {
			log.Warn("the API's certificate is not for the host of its own address: other schedulers will not trust it; see api.public_url", "url", p.url, "error", err)
		}
	}
}

// peerTLS is what other schedulers are spoken to with, nil when the system knows
// whom to trust.
func (p *process) peerTLS() (func() *tls.Config, error) {
	path := p.Config.API.TLS.CA
	if path == "" {
		return nil, nil
	}
	authorities := &watched[*x509.CertPool]{what: "api.tls.ca", paths: []string{path}, now: p.now, log: p.Log.With("part", "tls"),
		load: func() (*x509.CertPool, error) { return authoritiesIn("api.tls.ca", path) }}
	if err := authorities.read(); err != nil {
		return nil, err
	}
	return func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities.get()} }, nil
}

// authoritiesIn reads the certificates that a setting names.
func authoritiesIn(setting, path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %s has no certificate in PEM format", setting, path)
	}
	return pool, nil
}

func (p *process) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// certificateMetrics has the expiry watched.
func (p *process) certificateMetrics(r *prometheus.Registry) error {
	if p.certificate == nil {
		return nil
	}
	return r.Register(gauge("perigee_api_certificate_expires_timestamp_seconds", "When the certificate expires that the API shows, in Unix time.",
		func() float64 { return float64(p.certificate.get().Leaf.NotAfter.Unix()) }))
}
