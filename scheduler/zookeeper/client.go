// Package zookeeper is the one place that talks to ZooKeeper's client library.
//
// It owns connections and sessions: which servers, which path everything is under, which
// credentials; what a lost connection and an expired session look like to whoever keeps something in
// ZooKeeper; and until when a session surely lives. What is kept there is package journal/zk's and
// lease/zk's, which share one Client and so one session: the lease ends exactly when the journal's
// session does.
//
// The library reconnects by itself and silently begins another session when its own has expired, on
// which requests that were queued before would then be sent. Here a Session is exactly one session of
// ZooKeeper's: once expired it does nothing any more, and its owner decides what to do.
package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

var (
	// ErrConnectionLost means that the connection broke, or there was none, before the answer came: a
	// write may have happened or not.
	ErrConnectionLost = errors.New("connection to zookeeper lost")

	// ErrSessionExpired means that ZooKeeper has ended the session, and with it the lease. It is
	// final for the Session; the Client gives another.
	ErrSessionExpired = errors.New("zookeeper session expired")

	// ErrNotPermitted means that a znode's access list does not let these credentials do that.
	ErrNotPermitted = errors.New("not permitted: the znode belongs to other credentials than these")

	// ErrClosed means that the Client was closed.
	ErrClosed = errors.New("zookeeper client is closed")
)

// DefaultSessionTimeout is how long a scheduler may be out of contact before another leads.
const DefaultSessionTimeout = 6 * time.Second

// Options say where and how to connect.
type Options struct {
	Servers        []string      // host:port, the port 2181 if left out
	Chroot         string        // absolute path that everything is under, such as /perigee/prod
	Credentials    string        // user:password for digest authentication; "" uses none
	SessionTimeout time.Duration // asked for, the server may change it; 0 is DefaultSessionTimeout
	Logger         *slog.Logger  // nil says nothing
}

func (o *Options) check() error {
	var problems []error
	if len(o.Servers) == 0 {
		problems = append(problems, errors.New("no servers given: want host:port of each"))
	}
	for i, s := range o.Servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			s = net.JoinHostPort(strings.Trim(s, "[]"), "2181")
		}
		if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" {
			problems = append(problems, fmt.Errorf("server %q: want host:port", o.Servers[i]))
		}
		o.Servers[i] = s
	}
	if !strings.HasPrefix(o.Chroot, "/") || o.Chroot == "/" || path.Clean(o.Chroot) != o.Chroot {
		problems = append(problems, fmt.Errorf("path %q: want an absolute path of its own, such as /perigee/prod", o.Chroot))
	}
	if user, password, ok := strings.Cut(o.Credentials, ":"); o.Credentials != "" && (!ok || user == "" || password == "") {
		problems = append(problems, errors.New("credentials: want user:password"))
	}
	if o.SessionTimeout == 0 {
		o.SessionTimeout = DefaultSessionTimeout
	}
	if o.SessionTimeout < time.Second {
		problems = append(problems, fmt.Errorf("session timeout %v: want at least 1s", o.SessionTimeout))
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(problems...)
}

// Client gives sessions, one at a time. It is safe for concurrent use.
type Client struct {
	options Options
	acl     []zk.ACL

	mu      sync.Mutex
	session *Session // the current one, perhaps expired
	closed  bool
}

// Connect checks the options and connects. It waits for a server until ctx ends, and then says what
// stood in the way. Whether the chroot exists is not looked at.
func Connect(ctx context.Context, o Options) (*Client, error) {
	o.Servers = append([]string(nil), o.Servers...)
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("zookeeper: %w", err)
	}
	c := &Client{options: o, acl: zk.WorldACL(zk.PermAll)}
	if user, password, ok := strings.Cut(o.Credentials, ":"); ok {
		c.acl = zk.DigestACL(zk.PermAll, user, password)
	}
	if _, err := c.Session(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Servers names the servers, for messages.
func (c *Client) Servers() string { return strings.Join(c.options.Servers, ",") }

// Chroot returns the path that everything is under.
func (c *Client) Chroot() string { return c.options.Chroot }

// Session returns the current session, or a new one when that has expired. It waits for a server
// until ctx ends, and then says what stood in the way.
func (c *Client) Session(ctx context.Context) (*Session, error) {
	for {
		s, err := c.current()
		if err != nil {
			return nil, err
		}
		if err := s.Ready(ctx); !errors.Is(err, ErrSessionExpired) {
			return s, err
		}
	}
}

func (c *Client) current() (*Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.session != nil && !c.session.hasExpired() {
		return c.session, nil
	}
	if c.session != nil {
		c.options.Logger.Warn("zookeeper session expired: another begins")
		c.session.wire.close() // the rest of it ends by itself
	}
	var err error
	c.session, err = newSession(c)
	return c.session, err
}

// Close ends the session, and with it everything ephemeral, at once.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.session != nil {
		c.session.close()
	}
}
