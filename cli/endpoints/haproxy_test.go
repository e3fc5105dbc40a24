package endpoints

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

const haproxy = "/usr/sbin/haproxy"

// TestHAProxy_Map: a real HAProxy sends requests to whom the map has, and takes a
// changed one without a reload and without losing a request.
func TestHAProxy_Map(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(haproxy); err != nil {
		t.Skipf("there is no HAProxy (Debian's package haproxy): %v", err)
	}
	examples, err := filepath.Abs("../../examples/haproxy")
	require.NoError(t, err)
	dir := t.TempDir()
	file, admin, front := filepath.Join(dir, "map"), filepath.Join(dir, "admin"), filepath.Join(dir, "front")
	config, err := os.ReadFile(filepath.Join(examples, "map.cfg"))
	require.NoError(t, err)
	text := strings.NewReplacer("/etc/haproxy/checkout.map", file, "/run/haproxy/admin.sock", admin, "bind :80", "bind unix@"+front).Replace(string(config))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cfg"), []byte(text), 0o600))

	first, second := answers(t, 0), answers(t, 1)
	keeper := Keeper{Template: builtin(t, "haproxy-map"), File: file}
	show := func(e ...api.Endpoint) {
		t.Helper()
		require.NoError(t, keeper.Once([]Service{NewService([]string{"http"}, &api.Endpoints{Job: "web/prod/checkout", Endpoints: e})}))
	}
	show()
	p := exec.Command(haproxy, "-db", "-f", filepath.Join(dir, "cfg"))
	var log bytes.Buffer
	p.Stdout, p.Stderr = &log, &log
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		_ = p.Process.Signal(syscall.SIGTERM)
		_ = p.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", front)
	}}}
	t.Cleanup(c.CloseIdleConnections)
	get := func() (int, string) {
		t.Helper()
		resp, err := c.Get("http://shop/")
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	require.Eventually(t, func() bool { _, err := os.Stat(front); return err == nil }, 30*time.Second, 5*time.Millisecond)
	code, _ := get()
	require.Equal(t, http.StatusServiceUnavailable, code, "nobody serves")

	keeper.Command, keeper.Output = fmt.Sprintf("%s/load-map %s %s", examples, admin, file), os.Stderr
	show(first, second)
	seen := map[string]int{}
	for range 60 {
		code, body := get()
		require.Equal(t, http.StatusOK, code)
		seen[body]++
	}
	require.Len(t, seen, 2, "both serve")
	show(second)
	for range 20 {
		code, body := get()
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, "instance 1", body, "the first is withdrawn")
	}
}

// answers is an instance that serves.
func answers(t *testing.T, n int) api.Endpoint {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "instance %d", n) }))
	t.Cleanup(s.Close)
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	number, err := strconv.ParseUint(port, 10, 32)
	require.NoError(t, err)
	return api.Endpoint{Instance: n, Task: fmt.Sprint("t-", n), Deploy: 1, Host: host, Ports: map[string]uint32{"http": uint32(number)}}
}
