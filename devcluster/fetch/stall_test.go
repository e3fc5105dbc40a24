package fetch

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/require"
)

// A server that stalls, before its answer or within, does not hold up a launch
// for ever; one that is merely slow is waited for.
func TestStall(t *testing.T) {
	t.Parallel()
	yes := true
	for name, c := range map[string]struct {
		cache  *bool
		server http.HandlerFunc
		want   string
	}{
		"before the answer":         {nil, stall, "error downloading resource: nothing came for 1m0s"},
		"within":                    {nil, func(w http.ResponseWriter, r *http.Request) { trickle(w, 3); stall(w, r) }, "error downloading resource: nothing came for 1m0s"},
		"before the answer, cached": {&yes, stall, "error downloading resource: nothing came for 1m0s"},
		"within, cached":            {&yes, headThen(func(w http.ResponseWriter, r *http.Request) { trickle(w, 3); stall(w, r) }), "error downloading resource: nothing came for 1m0s"},
		"slow":                      {nil, func(w http.ResponseWriter, _ *http.Request) { trickle(w, 10) }, ""},
		"slow, cached":              {&yes, headThen(func(w http.ResponseWriter, _ *http.Request) { trickle(w, 10) }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFetcher(Request{Sandbox: t.TempDir(), CacheDir: t.TempDir()}, nil, io.Discard)
				f.client.Transport.(*http.Transport).DialContext = inMemory(t, c.server)
				err := f.fetch(context.Background(), mesos.CommandInfo_URI{Value: "http://server/file", Cache: c.cache})
				if c.want == "" {
					require.NoError(t, err)
					require.FileExists(t, filepath.Join(f.sandbox, "file"))
					return
				}
				require.EqualError(t, err, c.want)
				left, err := filepath.Glob(filepath.Join(f.cacheDir, "*"))
				require.NoError(t, err)
				require.Empty(t, left)
			})
		})
	}
}

func stall(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// trickle writes n bytes, one every 40 seconds.
func trickle(w http.ResponseWriter, n int) {
	for range n {
		w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		time.Sleep(40 * time.Second) // of the bubble
	}
}

func headThen(get http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", "10")
			return
		}
		get(w, r)
	}
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// inMemory serves without the network, which has no place in a bubble.
func inMemory(t *testing.T, handler http.HandlerFunc) dialer {
	l := listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		<-ended
	})
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case l.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error {
	close(l.closed)
	return nil
}

func (l listener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }
