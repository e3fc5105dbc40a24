package server_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/server"
	"github.com/perigee-sched/perigee/server/tlstest"
)

// Three schedulers speak TLS to everybody, and to each other.
func TestThreeSchedulers_TLS(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 0)
	dir := t.TempDir()
	authority := tlstest.NewAuthority(t, dir)
	s.options = []client.Option{client.WithAuthorities(authority.Pool)}
	pair := func(p int) (cert, key string) {
		return filepath.Join(dir, fmt.Sprintf("cert-%d.pem", p)), filepath.Join(dir, fmt.Sprintf("key-%d.pem", p))
	}
	serials := make([]int64, 3)
	for i := range 3 {
		cert, key := pair(i)
		serials[i] = authority.Issue(cert, key)
		s.start(func(o *server.Options) {
			o.Config.API.TLS.Cert, o.Config.API.TLS.Key, o.Config.API.TLS.CA = cert, key, authority.File
		})
	}
	leader, standbys := s.leader(s.all...)
	ctx := context.Background()
	require.True(t, strings.HasPrefix(leader.Base(), "https://"), leader.Base())

	// What is written through a standby, and what only the leader knows.
	spec, err := api.DecodeSpec([]byte(`{"job":"etl/prod/load","kind":"batch","command":"./work","resources":{"cpus":0.1,"memory":"64MiB"}}`))
	require.NoError(t, err)
	_, err = standbys[0].PutJob(ctx, spec, client.PutOptions{})
	require.NoError(t, err)
	standbys[1].succeed(standbys[1].run(10))
	agents, err := standbys[1].Agents(ctx)
	require.NoError(t, err)
	require.Len(t, agents, 3)
	all, err := standbys[0].Schedulers(ctx)
	require.NoError(t, err)
	require.Len(t, all, 3)
	for _, one := range all {
		require.Empty(t, one.Unreachable)
		require.True(t, strings.HasPrefix(one.Address, "https://"), one.Address)
	}

	// Everything is there over TLS, over HTTP/2 too, and not below TLS 1.2.
	get := func(config *tls.Config, path string) (*http.Response, error) {
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(leader.Base() + path)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, resp.Body.Close())
		}
		return resp, err
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/v1/jobs", "/v1/executor/perigee-executor"} {
		resp, err := get(&tls.Config{RootCAs: authority.Pool}, path)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
		require.Equal(t, 2, resp.ProtoMajor)
	}
	_, err = get(&tls.Config{RootCAs: authority.Pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "/healthz")
	require.ErrorContains(t, err, "protocol version")
	events, err := standbys[0].Events(ctx, client.EventFilter{})
	require.NoError(t, err)
	defer events.Close()

	// Who does not know the authority is told, and so is who speaks HTTP.
	stranger, err := client.New(leader.Base())
	require.NoError(t, err)
	_, err = stranger.Job(ctx, "etl/prod/load")
	require.ErrorAs(t, err, new(*tls.CertificateVerificationError))
	plain, err := client.New(strings.Replace(leader.Base(), "https://", "http://", 1))
	require.NoError(t, err)
	_, err = plain.PauseJob(ctx, "etl/prod/load", "", client.WriteOptions{})
	require.EqualError(t, err, "this is an https server: use "+leader.Base())

	// A certificate that is renewed is shown from then on, to those who connect.
	for i, p := range s.all {
		if p == leader {
			cert, key := pair(i)
			serials[i] = authority.Issue(cert, key)
			s.eventually("the new certificate is shown", func() bool {
				resp, err := get(&tls.Config{RootCAs: authority.Pool}, "/healthz")
				require.NoError(t, err)
				return resp.TLS.PeerCertificates[0].SerialNumber.Int64() == serials[i]
			})
		}
	}
	standbys[1].succeed(standbys[0].run(1))
	_, err = leader.PauseJob(ctx, "etl/prod/load", "to be told of", client.WriteOptions{})
	require.NoError(t, err)
	told, err := events.Next(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, told.ID, "streams that were open go on")
}

// A standby that does not trust the leader's certificate passes nothing on, and
// says that nothing was changed.
func TestThreeSchedulers_OneThatDoesNotTrustTheOthers(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 0)
	dir := t.TempDir()
	authority := tlstest.NewAuthority(t, dir)
	s.options = []client.Option{client.WithAuthorities(authority.Pool)}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	authority.Issue(cert, key)
	for _, ca := range []string{authority.File, tlstest.NewAuthority(t, t.TempDir()).File} {
		s.start(func(o *server.Options) {
			o.Config.API.TLS.Cert, o.Config.API.TLS.Key, o.Config.API.TLS.CA = cert, key, ca
		})
	}
	impatient, err := client.New(s.all[1].Base(), append(s.options, client.WithPatience(0))...)
	require.NoError(t, err)
	_, err = impatient.PauseJob(context.Background(), "etl/prod/load", "", client.WriteOptions{})
	var p *api.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusServiceUnavailable, p.Status)
	require.Contains(t, p.Detail, "certificate signed by unknown authority")
	require.Contains(t, p.Detail, "nothing was changed")
}
