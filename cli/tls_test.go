package cli_test

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/cli"
	"github.com/perigee-sched/perigee/server/tlstest"
)

// What people read who speak to a scheduler in another way than it does, or do
// not trust it.
func TestTLS_WhatPeopleRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := tlstest.NewAuthority(t, dir)
	other := tlstest.NewAuthority(t, t.TempDir())
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"items":[]}`))
	})
	serve := func(expires time.Time) *httptest.Server {
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		authority.IssueUntil(cert, key, expires)
		pair, err := tls.LoadX509KeyPair(cert, key)
		require.NoError(t, err)
		s := httptest.NewUnstartedServer(answer)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.Config.ErrorLog = nil
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	secure, expired := serve(time.Now().Add(time.Hour)), serve(time.Now().Add(-time.Hour))
	plain := httptest.NewServer(answer)
	t.Cleanup(plain.Close)
	bad := filepath.Join(dir, "bad.pem")
	require.NoError(t, os.WriteFile(bad, []byte("nothing"), 0o600))
	host := strings.TrimPrefix(secure.URL, "https://")

	run := func(environ []string, args ...string) (string, int) {
		var out bytes.Buffer
		code := cli.Run(t.Context(), append(args, "jobs"), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Environ: environ})
		return out.String(), code
	}
	said, code := run(nil, "--api", secure.URL, "--ca", authority.File)
	require.Zero(t, code, said)
	said, code = run([]string{"PERIGEE_API=" + secure.URL, "PERIGEE_CA=" + authority.File})
	require.Zero(t, code, said)

	const own = "If an authority of your own has signed it, name the file with that authority's certificate: --ca or PERIGEE_CA.\n"
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--api", secure.URL}, 6, "error: the certificate of the scheduler at " + secure.URL + " is not trusted: x509: certificate signed by unknown authority\n" + own},
		{[]string{"--api", secure.URL, "--ca", other.File}, 6, "is not trusted: x509: certificate signed by unknown authority"},
		{[]string{"--api", expired.URL, "--ca", authority.File}, 6, "whoever runs the scheduler must renew it"},
		{[]string{"--api", strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), "--ca", authority.File}, 6, "Use an address that it is for"},
		{[]string{"--api", "http://" + host}, 6, "error: http://" + host + " is not answered: this is an https server: use https://" + host + "\n"},
		{[]string{"--api", host}, 6, "this is an https server: use https://" + host + "\n"},
		{[]string{"--api", strings.Replace(plain.URL, "http://", "https://", 1)}, 6, "this is an http server: use " + plain.URL + "\n"},
		{[]string{"--api", secure.URL, "--ca", filepath.Join(dir, "none")}, 3, "read the authorities of --ca or PERIGEE_CA: open"},
		{[]string{"--api", secure.URL, "--ca", bad}, 3, bad + ", of --ca or PERIGEE_CA, has no certificate in PEM format\n"},
	} {
		said, code := run(nil, c.args...)
		require.Equal(t, c.code, code, said)
		require.Contains(t, said, c.says)
	}
	// What is followed does not go on for ever, either.
	for _, address := range []string{secure.URL, "http://" + host} {
		var out bytes.Buffer
		require.Equal(t, 6, cli.Run(t.Context(), []string{"--api", address, "events", "-f"}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out}), out.String())
	}
}
