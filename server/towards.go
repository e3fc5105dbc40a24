package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/mesos"
)

// mesosTLS is what masters and agents are spoken to with, nil without TLS.
func mesosTLS(c config.Mesos) (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA == "" {
		return out, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("mesos.ca: %w", err)
	}
	out.RootCAs = x509.NewCertPool()
	if !out.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("mesos.ca: %s has no certificate in PEM format", c.CA)
	}
	return out, nil
}

func credentials(c config.Mesos) mesos.Credentials {
	return mesos.Credentials{Principal: c.Principal, Secret: c.Secret}
}
