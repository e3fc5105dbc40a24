package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
)

// haproxyProgram is Debian's.
const haproxyProgram = "/usr/sbin/haproxy"

// haproxyConfig is all but the backend: a listener that it inherits, so that its
// port is any that is free, and no surprise when it reloads.
const haproxyConfig = `
global
    maxconn 500
    hard-stop-after 30s
    log stdout format raw local0
defaults
    log global
    mode http
    option httplog
    option dontlog-normal
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    retries 3
    option redispatch
    option idle-close-on-response
frontend shop
    bind fd@3
    default_backend %s
`

// balance starts a HAProxy in front of a job whose instances serve, and returns
// its URL. Its servers are those that `perigee endpoints --watch` writes.
func (w *world) balance(job string) string {
	w.Helper()
	if _, err := os.Stat(haproxyProgram); err != nil {
		w.Skipf("there is no HAProxy (Debian's package haproxy): %v", err)
	}
	dir := w.TempDir()
	config, backends := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "backends.cfg")
	backend := strings.ReplaceAll(job, "/", "_") + "_http"
	require.NoError(w, os.WriteFile(config, fmt.Appendf(nil, haproxyConfig, backend), 0o644))
	w.must("endpoints", job, "--template", "haproxy-servers", "--file", backends)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w, err)
	f, err := l.(*net.TCPListener).File()
	require.NoError(w, err)
	master := filepath.Join(dir, "master.sock")
	c := exec.Command(haproxyProgram, "-W", "-S", master, "-f", config, "-f", backends)
	c.ExtraFiles = []*os.File{f}
	p, err := program.StartWith(dir, "haproxy", c)
	require.NoError(w, err)
	require.NoError(w, f.Close())
	require.NoError(w, l.Close())
	var keeper *program.Lines
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(w, p.End(ctx, syscall.SIGTERM))
		if w.Failed() {
			w.Logf("HAProxy wrote:\n%s%s\nand perigee endpoints:\n%s", p.Stdout, p.Stderr, keeper)
		}
	})
	keeper = w.following("endpoints", job, "--watch", "--template", "haproxy-servers", "--file", backends,
		"--exec", filepath.Join(built.examples, "haproxy/reload")+" "+master)
	return "http://" + l.Addr().String()
}
