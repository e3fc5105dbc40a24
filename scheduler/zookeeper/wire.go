package zookeeper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// wire makes the library's connections, and learns from them what the library does not tell.
type wire struct {
	patience time.Duration // of a server that answers nothing when a connection begins

	mu      sync.Mutex
	timeout time.Duration      // granted
	trouble map[string]trouble // by server, since there was a session last
	last    net.Conn
	opening string    // the server of last, until it answers
	opened  time.Time // when last was opened
	closed  bool
}

// trouble is why the last attempt to connect to a server failed.
type trouble struct {
	err   error // nil for one that accepted the connection and gave no session
	said  string
	asked time.Time // when it said that
}

func newWire(timeout time.Duration) *wire {
	return &wire{timeout: timeout, patience: timeout / 3, trouble: map[string]trouble{}}
}

func (w *wire) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, timeout)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.trouble[address] = trouble{err: err}
		return nil, err
	}
	if w.trouble[address].err != nil {
		delete(w.trouble, address)
	}
	if w.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	w.last, w.opening, w.opened = c, address, time.Now()
	return &conn{Conn: c, wire: w, server: address, begun: w.opened}, nil
}

// silent notes that a server gave no answer when a connection began.
func (w *wire) silent(server string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opening = ""
	w.noteSilence(server)
}

// noteSilence is called with mu held.
func (w *wire) noteSilence(server string) {
	if t, ok := w.trouble[server]; !ok || t.err != nil {
		w.trouble[server] = trouble{}
	}
}

func (w *wire) granted() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.timeout
}

// close closes the connection that the library leaves open after an expiry.
func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.last != nil {
		_ = w.last.Close()
	}
}

// problem says what stands in the way of each server that was tried since there was a session last; ""
// when none was. It may take a moment: servers that accept connections and give no session are asked
// why.
func (w *wire) problem() string {
	w.mu.Lock()
	if w.opening != "" && time.Since(w.opened) > askTimeout {
		w.noteSilence(w.opening)
	}
	servers := slices.Sorted(maps.Keys(w.trouble))
	w.mu.Unlock()
	var all []string
	for _, server := range servers {
		all = append(all, w.problemOf(server))
	}
	return strings.Join(all, "; ")
}

// askAgain is for how long what a server said of itself is believed.
const askAgain = 2 * time.Second

func (w *wire) problemOf(server string) string {
	w.mu.Lock()
	t := w.trouble[server]
	w.mu.Unlock()
	if t.err != nil {
		return server + ": " + innermost(t.err)
	}
	if time.Since(t.asked) > askAgain {
		t.said, t.asked = ask(server), time.Now()
		w.mu.Lock()
		if was, ok := w.trouble[server]; ok && was.err == nil {
			w.trouble[server] = t
		}
		w.mu.Unlock()
	}
	return server + " " + t.said
}

// innermost leaves out of an error what the caller has said already: dial, the network, the address.
func innermost(err error) string {
	var call *os.SyscallError
	var name *net.DNSError
	switch {
	case errors.As(err, &call):
		return call.Err.Error()
	case errors.As(err, &name):
		return name.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no connection in time"
	}
	return err.Error()
}

// connected notes a connect response: a length, a protocol version, the timeout, the session.
func (w *wire) connected(head []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ms := binary.BigEndian.Uint32(head[8:]); ms > 0 {
		w.timeout = time.Duration(ms) * time.Millisecond
	}
	clear(w.trouble)
	w.opening = ""
}

const headBytes = 12

// conn is a connection whose begin is bounded: the library would wait for an answer to its connect
// request for almost seven session timeouts.
type conn struct {
	net.Conn
	wire   *wire
	server string
	begun  time.Time
	head   []byte // the first bytes read; used by the library's reader only
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if len(c.head) < headBytes {
		c.head = append(c.head, b[:min(n, headBytes-len(c.head))]...)
		if len(c.head) == headBytes {
			c.wire.connected(c.head)
		} else if err != nil {
			c.wire.silent(c.server)
		}
	}
	return n, err
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if latest := c.begun.Add(c.wire.patience); len(c.head) < headBytes && (t.IsZero() || t.After(latest)) {
		t = latest
	}
	return c.Conn.SetReadDeadline(t)
}

// hosts gives the servers in turn. Unlike the library's it tries once without a pause after a
// connection is lost, and leaves names to be resolved at each attempt.
type hosts struct {
	mu      sync.Mutex
	servers []string
	next    int
	tried   int // since the last connection
}

func (h *hosts) Init(servers []string) error {
	h.servers = servers
	return nil
}

func (h *hosts) Len() int { return len(h.servers) }

func (h *hosts) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server = h.servers[h.next]
	h.next = (h.next + 1) % len(h.servers)
	h.tried++
	return server, h.tried > len(h.servers) && (h.tried-1)%len(h.servers) == 0
}

func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = 0
}

var _ zk.HostProvider = (*hosts)(nil)

// logger has the library's complaints at hand when somebody looks for them.
type logger struct{ log *slog.Logger }

func (l logger) Printf(format string, args ...any) {
	l.log.Debug("zookeeper: " + fmt.Sprintf(format, args...))
}
