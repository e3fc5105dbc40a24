package zk

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// term is one leadership: that of one znode on one session.
type term struct {
	lease   *Lease
	session *zookeeper.Session
	own     string

	lost     chan struct{}
	lostOnce sync.Once
	stop     context.CancelFunc
	done     chan struct{} // closed when nothing renews any more
}

// begin leads: the first renewal proves that the session lives, however long ago its znode was made.
func (l *Lease) begin(s *zookeeper.Session, own string) (*term, error) {
	if err := l.renew(s, own); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	t := &term{lease: l, session: s, own: own, lost: make(chan struct{}), stop: stop, done: make(chan struct{})}
	l.mu.Lock()
	l.serving, l.leader = t, l.o.Address
	l.mu.Unlock()
	l.running.Go(func() error { defer close(t.done); t.run(ctx); return nil })
	return t, nil
}

// renew writes to our znode: that ZooKeeper accepts it proves the session.
func (l *Lease) renew(s *zookeeper.Session, own string) error {
	return l.write(s, own, []byte(l.o.Address))
}

// run renews until the term ends.
func (t *term) run(ctx context.Context) {
	defer t.end()
	every := time.NewTicker(t.session.Timeout() / 6)
	defer every.Stop()
	for {
		stat, changed, err := t.session.Watch(t.own)
		switch {
		case err == nil && stat == nil, errors.Is(err, zookeeper.ErrSessionExpired):
			return
		case err != nil:
			changed = nil
		}
		for again := false; !again; {
			select {
			case <-changed: // by our own renewal, too
				again = true
			case <-every.C:
				again = true
				if err := t.lease.renew(t.session, t.own); errors.Is(err, zk.ErrNoNode) || errors.Is(err, zookeeper.ErrSessionExpired) {
					return
				}
			case <-t.session.Expired():
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

func (t *term) end() {
	t.lostOnce.Do(func() {
		close(t.lost)
		t.lease.mu.Lock()
		defer t.lease.mu.Unlock()
		if t.lease.serving == t {
			t.lease.serving = nil
		}
	})
}

// Deadline implements lease.Term.
func (t *term) Deadline() time.Time {
	select {
	case <-t.lost:
		return time.Time{}
	default:
		return t.session.Deadline()
	}
}

// Lost implements lease.Term.
func (t *term) Lost() <-chan struct{} { return t.lost }

// Release implements lease.Term. An error says that the others must wait for the session to expire.
func (t *term) Release(ctx context.Context) error {
	t.stop()
	t.end()
	<-t.done
	for {
		err := t.session.Delete(t.own, -1)
		if err == nil || errors.Is(err, zk.ErrNoNode) || errors.Is(err, zookeeper.ErrSessionExpired) {
			return nil
		}
		if !zookeeper.Lost(err) {
			return err
		}
		if err := t.session.Ready(ctx); errors.Is(err, zookeeper.ErrSessionExpired) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
