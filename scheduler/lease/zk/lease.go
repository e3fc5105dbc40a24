// Package zk elects one of the schedulers that share a ZooKeeper.
//
// It owns the znodes of the election: each scheduler that stands has an ephemeral sequential one with
// its address, and the lowest leads. A scheduler that waits watches only the one before its own, so
// that an end wakes one of them. Sessions and connections are package zookeeper's. That a leader whose
// lease has ended can do no harm is the journal's doing.
package zk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

const election = "election"

// Options of a candidacy.
type Options struct {
	Address string       // of this scheduler, as others reach it
	Logger  *slog.Logger // nil says nothing
}

// Lease implements lease.Lease.
type Lease struct {
	client  *zookeeper.Client
	address string
	name    string // prefix of our znodes, by which one whose creation was not answered is found
	log     *slog.Logger
	stop    context.CancelFunc
	running errgroup.Group

	mu         sync.Mutex
	leader     string
	candidates []string // in their order, as last observed
	skew       time.Duration
	skewed     bool
	serving    *term
}

// New begins to watch who leads. It returns at once, also while ZooKeeper is away.
func New(client *zookeeper.Client, o Options) (*Lease, error) {
	if o.Address == "" {
		return nil, errors.New("lease: the address of this scheduler is not given")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	ctx, stop := context.WithCancel(context.Background())
	l := &Lease{client: client, address: o.Address, log: o.Logger, stop: stop, name: hex.EncodeToString(id[:]) + "-"}
	l.running.Go(func() error { l.observe(ctx); return nil })
	return l, nil
}

// Leader implements lease.Lease.
func (l *Lease) Leader() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leader
}

// Candidates returns the addresses of all that stand for election, the leader first; nil while that
// cannot be told.
func (l *Lease) Candidates() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.candidates)
}

// Skew is how far ZooKeeper's clock is ahead of this machine's, to within the time of one request;
// false when it was not measured yet. It is measured whenever this scheduler stands or renews.
func (l *Lease) Skew() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.skew, l.skewed
}

// Close implements lease.Lease. A term that was not released ends.
func (l *Lease) Close() error {
	l.mu.Lock()
	serving := l.serving
	l.mu.Unlock()
	var err error
	if serving != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err = serving.Release(ctx)
	}
	l.stop()
	_ = l.running.Wait()
	return err
}

// Acquire implements lease.Lease. It outlives lost connections and expired sessions; it fails when ctx
// ends or when ZooKeeper refuses.
func (l *Lease) Acquire(ctx context.Context) (lease.Term, error) {
	for {
		t, err := l.stand(ctx)
		switch {
		case err == nil:
			return t, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !zookeeper.Passing(err):
			return nil, fmt.Errorf("stand for election: %w", err)
		}
		l.log.Info("standing for election again", "error", err)
	}
}

// stand stands for election once, on one session.
func (l *Lease) stand(ctx context.Context) (_ *term, err error) {
	s, err := l.client.Session(ctx)
	if err != nil {
		return nil, err
	}
	if err := ensure(s); err != nil {
		return nil, err
	}
	own, err := l.create(s)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil { // the next attempt finds it when this does not reach ZooKeeper
			_ = s.Delete(own, -1)
		}
	}()
	for {
		before, err := predecessor(s, own)
		if err != nil {
			return nil, err
		}
		if before == "" {
			return l.begin(s, own)
		}
		stat, gone, err := s.Watch(before)
		if err != nil {
			return nil, err
		}
		if stat == nil {
			continue
		}
		select {
		case <-gone:
		case <-s.Expired():
			return nil, zookeeper.ErrSessionExpired
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func ensure(s *zookeeper.Session) error {
	stat, err := s.Exists(election)
	if err != nil || stat != nil {
		return err
	}
	if _, err = s.Create(election, nil, 0); errors.Is(err, zk.ErrNodeExists) {
		err = nil
	}
	return err
}

// create returns our znode on this session, an earlier one if its creation was not answered.
func (l *Lease) create(s *zookeeper.Session) (string, error) {
	names, err := s.Children(election)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if !strings.HasPrefix(n, l.name) {
			continue
		}
		// Another session's, not yet expired, would end under us.
		if err := s.Delete(election+"/"+n, -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return "", err
		}
	}
	own, err := s.Create(election+"/"+l.name, []byte(l.address), zk.FlagEphemeral|zk.FlagSequence)
	if err != nil {
		return "", err
	}
	return own, nil
}

// sequence is what ZooKeeper has appended to a name.
func sequence(name string) string { return name[max(0, len(name)-10):] }

func sorted(names []string) []string {
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(sequence(a), sequence(b)) })
	return names
}

// predecessor returns the znode before own, "" when own is the lowest.
func predecessor(s *zookeeper.Session, own string) (string, error) {
	names, err := s.Children(election)
	if err != nil {
		return "", err
	}
	before := ""
	for _, n := range sorted(names) {
		if election+"/"+n == own {
			return before, nil
		}
		before = election + "/" + n
	}
	return "", fmt.Errorf("%w: %s was deleted by somebody", zookeeper.ErrSessionExpired, s.Path(own))
}

// observe keeps leader up to date.
func (l *Lease) observe(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := l.client.Session(ctx)
		if err == nil {
			err = l.observeOn(ctx, s)
		}
		if ctx.Err() != nil || errors.Is(err, zookeeper.ErrClosed) {
			return
		}
		l.setCandidates(nil)
		if !zookeeper.Passing(err) {
			l.log.Error("who leads cannot be told", "error", err)
		}
		select { // a lost connection is waited for above, anything else should not spin
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (l *Lease) observeOn(ctx context.Context, s *zookeeper.Session) error {
	if err := ensure(s); err != nil {
		return err
	}
	for {
		connection := s.Reconnected()
		names, changed, err := s.WatchChildren(election)
		if err != nil {
			return err
		}
		all, err := addresses(s, names)
		if errors.Is(err, zk.ErrNoNode) {
			continue
		}
		if err != nil {
			return err
		}
		l.setCandidates(all)
		select {
		case <-changed:
		case <-connection:
			if err := l.reconnected(ctx, s); err != nil {
				return err
			}
		case <-s.Expired():
			return zookeeper.ErrSessionExpired
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reconnected waits until there is a connection, but not for longer than a leader's lease lasts: then
// another may lead than the last that was seen.
func (l *Lease) reconnected(ctx context.Context, s *zookeeper.Session) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout())
	defer cancel()
	return s.Ready(ctx)
}

// addresses returns those of the candidates, the leader's first.
func addresses(s *zookeeper.Session, names []string) ([]string, error) {
	var all []string
	for _, n := range sorted(names) {
		b, _, err := s.Get(election + "/" + n)
		if err != nil {
			return nil, err
		}
		all = append(all, string(b))
	}
	return all, nil
}

func (l *Lease) setCandidates(all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.candidates, l.leader = all, ""
	if len(all) > 0 {
		l.leader = all[0]
	}
}
