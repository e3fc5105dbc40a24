package zookeeper

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// wire makes the library's connections, and learns from them what the library does not tell.
type wire struct {
	patience time.Duration // of a server that answers nothing when a connection begins

	mu       sync.Mutex
	timeout  time.Duration // granted
	failed   error         // of the last attempt to connect
	accepted string        // the server that accepted the last connection, until it gave a session
	last     net.Conn
	closed   bool
}

func newWire(timeout time.Duration) *wire {
	return &wire{timeout: timeout, patience: timeout / 3}
}

func (w *wire) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, timeout)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed, w.accepted = err, ""
	if err != nil {
		return nil, err
	}
	if w.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	w.accepted, w.last = address, c
	return &conn{Conn: c, wire: w, begun: time.Now()}, nil
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

func (w *wire) problem() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.failed != nil:
		return w.failed.Error()
	case w.accepted != "":
		return fmt.Sprintf("%s accepts connections and answers nothing (not ZooKeeper, or one without a quorum or read-only?)", w.accepted)
	}
	return "no server was reached yet"
}

// connected notes a connect response: a length, a protocol version, the timeout, the session.
func (w *wire) connected(head []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ms := binary.BigEndian.Uint32(head[8:]); ms > 0 {
		w.timeout = time.Duration(ms) * time.Millisecond
	}
	w.accepted = ""
}

const headBytes = 12

// conn is a connection whose begin is bounded: the library would wait for an answer to its connect
// request for almost seven session timeouts.
type conn struct {
	net.Conn
	wire  *wire
	begun time.Time
	head  []byte // the first bytes read; used by the library's reader only
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if len(c.head) < headBytes {
		c.head = append(c.head, b[:min(n, headBytes-len(c.head))]...)
		if len(c.head) == headBytes {
			c.wire.connected(c.head)
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
