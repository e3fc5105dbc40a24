package server

import (
	"crypto/tls"

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
	var err error
	out.RootCAs, err = authoritiesIn("mesos.ca", c.CA)
	return out, err
}

func credentials(c config.Mesos) mesos.Credentials {
	return mesos.Credentials{Principal: c.Principal, Secret: c.Secret}
}
