package agent

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Environment is what a Mesos agent tells an executor in its environment.
type Environment struct {
	Endpoint  string // host:port of the agent
	Framework string
	Executor  string
	Sandbox   string
	Token     string // to authenticate with; "" is none
	// Checkpoint says whether executors survive a restart of the agent, which
	// is waited for at most RecoveryTimeout.
	Checkpoint      bool
	RecoveryTimeout time.Duration
	// BackoffMax is how long a restarted agent waits for its executors.
	BackoffMax time.Duration
	// Secure says that the agent speaks TLS; Roots are the certificates to trust
	// then, the system's when nil.
	Secure bool
	Roots  *x509.CertPool
	// ShutdownGrace is how long after SHUTDOWN the agent kills what is left.
	ShutdownGrace time.Duration
}

// ReadEnvironment reads the environment and reports all that is wrong with it.
// The variables are documented at
// https://mesos.apache.org/documentation/latest/executor-http-api/.
func ReadEnvironment(getenv func(string) string) (Environment, error) {
	var errs []error
	required := func(name string) string {
		v := getenv(name)
		if v == "" {
			errs = append(errs, fmt.Errorf("%s is not set: perigee-executor is started by a Mesos agent", name))
		}
		return v
	}
	duration := func(name string, byDefault time.Duration) time.Duration {
		v := getenv(name)
		if v == "" {
			return byDefault
		}
		d, err := parseDuration(v)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		return d
	}
	e := Environment{
		Endpoint:  required("MESOS_AGENT_ENDPOINT"),
		Framework: required("MESOS_FRAMEWORK_ID"),
		Executor:  required("MESOS_EXECUTOR_ID"),
		Sandbox:   getenv("MESOS_SANDBOX"),
		Token:     getenv("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"),

		Checkpoint:      getenv("MESOS_CHECKPOINT") == "1",
		RecoveryTimeout: duration("MESOS_RECOVERY_TIMEOUT", 15*time.Minute),
		BackoffMax:      duration("MESOS_SUBSCRIPTION_BACKOFF_MAX", 2*time.Second),
		ShutdownGrace:   duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", 5*time.Second),
	}
	// As Mesos's own executors do (libprocess's flags); the names without
	// LIBPROCESS_ are of old versions.
	for _, prefix := range []string{"LIBPROCESS_", ""} {
		if v := getenv(prefix + "SSL_ENABLED"); v == "1" || v == "true" {
			e.Secure = true
			if file := getenv(prefix + "SSL_CA_FILE"); file != "" && e.Roots == nil {
				var err error
				if e.Roots, err = roots(file); err != nil {
					errs = append(errs, fmt.Errorf("%sSSL_CA_FILE: %w", prefix, err))
				}
			}
		}
	}
	if e.Sandbox == "" {
		e.Sandbox = required("MESOS_DIRECTORY")
	}
	return e, errors.Join(errs...)
}

// roots reads certificates to trust.
func roots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM format", file)
	}
	return pool, nil
}

// units of durations as Mesos writes them (stout's duration.hpp).
var units = []struct {
	suffix string
	unit   time.Duration
}{
	{"weeks", 7 * 24 * time.Hour}, {"days", 24 * time.Hour}, {"hrs", time.Hour}, {"mins", time.Minute},
	{"secs", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond}, {"ns", time.Nanosecond},
}

// parseDuration reads "20secs" or "1.5hrs".
func parseDuration(s string) (time.Duration, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		d := n * float64(u.unit)
		if err != nil || !(d >= 0 && d < 1<<62) {
			break
		}
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("%q is not a duration such as 20secs", s)
}
