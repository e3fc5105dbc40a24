package zookeeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// Session is one session of ZooKeeper's. It survives lost connections until it expires. It is safe for
// concurrent use.
type Session struct {
	client *Client
	conn   *zk.Conn
	wire   *wire

	expired     chan struct{}
	expiredOnce sync.Once

	mu       sync.Mutex
	state    zk.State
	ready    bool          // connected, and authenticated once
	authed   bool          // credentials were sent once; the library repeats them
	changed  chan struct{} // closed at the next change of state
	contact  time.Time     // when the last write that was answered was sent
	assigned chan struct{} // closed once conn is set
}

func newSession(c *Client) (*Session, error) {
	s := &Session{
		client: c, wire: newWire(c.options.SessionTimeout),
		expired: make(chan struct{}), changed: make(chan struct{}), assigned: make(chan struct{}),
		authed: c.options.Credentials == "",
	}
	conn, _, err := zk.Connect(c.options.Servers, c.options.SessionTimeout,
		zk.WithLogInfo(false), zk.WithLogger(logger{c.options.Logger}),
		zk.WithDialer(s.wire.dial), zk.WithHostProvider(new(hosts)), zk.WithEventCallback(s.observe))
	if err != nil {
		return nil, fmt.Errorf("zookeeper: %w", err)
	}
	s.conn = conn
	close(s.assigned)
	return s, nil
}

// observe is called by the library, between whose steps it stands: when it returns from an expiry
// the library must not begin another session.
func (s *Session) observe(e zk.Event) {
	if e.Type != zk.EventSession {
		return
	}
	s.mu.Lock()
	s.state = e.State
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if e.State == zk.StateExpired {
		s.expire()
		<-s.assigned
		s.conn.Close()
	}
}

func (s *Session) expire() { s.expiredOnce.Do(func() { close(s.expired) }) }

// Expired is closed when the session is known to have ended.
func (s *Session) Expired() <-chan struct{} { return s.expired }

func (s *Session) hasExpired() bool {
	select {
	case <-s.expired:
		return true
	default:
		return false
	}
}

// Ready waits until the session is connected. It fails with ErrSessionExpired, or when ctx ends,
// with what stands in the way.
func (s *Session) Ready(ctx context.Context) error {
	for {
		s.mu.Lock()
		connected, authed, changed := s.state == zk.StateHasSession, s.authed, s.changed
		s.mu.Unlock()
		if s.hasExpired() {
			return ErrSessionExpired
		}
		if connected && authed {
			return nil
		}
		if connected {
			if err := s.conn.AddAuth("digest", []byte(s.client.options.Credentials)); err == nil {
				s.mu.Lock()
				s.authed = true
				s.mu.Unlock()
				continue
			}
		}
		select {
		case <-changed:
		case <-s.expired:
		case <-ctx.Done():
			return fmt.Errorf("zookeeper %s gives no session: %s: %w", s.client.Servers(),
				cmp.Or(s.wire.problem(), "no server was reached yet"), ctx.Err())
		}
	}
}

// Reconnected returns a channel that is closed when the state of the connection next changes. Watches
// survive that, but what was created and deleted in between is not told.
func (s *Session) Reconnected() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Timeout is the session timeout that the server has granted.
func (s *Session) Timeout() time.Duration { return s.wire.granted() }

// Contact is when the last write that was answered was sent: ZooKeeper knew the session then. Reads
// prove nothing, since a server that the others have given up on still answers them.
func (s *Session) Contact() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contact
}

// Deadline is until when, by this machine's clock, the session cannot have expired. A server tells
// the leading one which sessions it heard from every half tick (one second by default), so a write
// may have refreshed the session that much earlier than it was sent: the margin is a sixth.
func (s *Session) Deadline() time.Time {
	contact := s.Contact()
	if contact.IsZero() || s.hasExpired() {
		return time.Time{}
	}
	return contact.Add(s.Timeout() - s.Timeout()/6)
}

func (s *Session) wrote(sent time.Time, err error) error {
	if err != nil {
		return s.explain(err)
	}
	s.mu.Lock()
	if sent.After(s.contact) {
		s.contact = sent
	}
	s.mu.Unlock()
	return nil
}

// close ends the session at the server too, if that can be reached.
func (s *Session) close() {
	s.expire()
	s.conn.Close()
	s.wire.close()
}

// explain turns the library's errors into this package's.
func (s *Session) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case s.hasExpired(), errors.Is(err, zk.ErrSessionExpired):
		return ErrSessionExpired
	case Lost(err):
		return fmt.Errorf("%w: %s", ErrConnectionLost, cmp.Or(s.wire.problem(), err.Error()))
	case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrAuthFailed):
		return fmt.Errorf("%w: %w", ErrNotPermitted, err)
	}
	return err
}

// Lost reports whether err says that the answer of a request was not received.
func Lost(err error) bool {
	for _, e := range []error{ErrConnectionLost, zk.ErrConnectionClosed, zk.ErrNoServer, zk.ErrClosing, zk.ErrSessionMoved} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Passing reports whether err may be gone once there is a connection, or another session.
func Passing(err error) bool { return Lost(err) || errors.Is(err, ErrSessionExpired) }
