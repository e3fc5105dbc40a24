package server

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// A scheduler says when others on the network could read tokens, or do everything.
func TestWarnOf_WhatOthersCanDo(t *testing.T) {
	t.Parallel()
	said := func(ip net.IP, o Options) string {
		var log bytes.Buffer
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		(&Server{Options: o}).warnOf(&net.TCPAddr{IP: ip, Port: 7300})
		return log.String()
	}
	outside, loopback := net.IPv4(10, 0, 0, 5), net.IPv6loopback
	require.Contains(t, said(outside, Options{}), "whoever reaches it may run anything on the cluster")
	require.Contains(t, said(outside, Options{Access: &Access{}}), "whoever is on the way reads tokens")
	require.Empty(t, said(outside, Options{Access: &Access{}, TLS: &tls.Config{}}))
	require.Empty(t, said(loopback, Options{}))
	require.Empty(t, said(loopback, Options{Access: &Access{}}))
}
