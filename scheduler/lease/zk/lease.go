// Package zk elects one of the schedulers that share a ZooKeeper.
//
// It owns the znodes of the election: each scheduler that stands has an ephemeral sequential one with
// its address, and the lowest leads. A scheduler that waits watches only the one before its own, so
// that an end wakes one of them. It also owns those of the members: each scheduler that lives has an
// ephemeral one with what it tells of itself, its version and the features it knows, how far it is and
// what its clock says. Schedulers of older versions have none, so they are known by their candidacy
// alone. Sessions and connections are package zookeeper's. That a leader whose
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

const (
	electionNode = "election"
	membersNode  = "members"
)

// Options of a candidacy.
type Options struct {
	Address  string       // of this scheduler, as others reach it
	Version  string       // of the program
	Features []string     // that it knows; see lease.Member
	Logger   *slog.Logger // nil says nothing

	// Saw returns index and epoch of the last journal entry that this scheduler shows; nil tells 0.
	Saw func() (index, epoch uint64)
	// Recorded returns the index up to which this scheduler's history has everything, nil while it keeps
	// none; nil never tells.
	Recorded func() *uint64
	// Now is the wall clock; time.Now when nil.
	Now func() time.Time
	// TellEvery is how often it tells others how far it is, and looks at them; 10 s when 0.
	TellEvery time.Duration
}

// Lease implements lease.Lease.
type Lease struct {
	client  *zookeeper.Client
	o       Options
	id      string // names our znodes, by which one whose creation was not answered is found
	log     *slog.Logger
	stop    context.CancelFunc
	running errgroup.Group
	joining sync.Mutex // held while our member znode is made

	attending string // why our member znode cannot be written; of the goroutine that observes

	mu      sync.Mutex
	leader  string
	members []lease.Member // in their order, as last observed
	changed chan struct{}  // closed when those change
	problem string         // why they cannot be told
	joined  *zookeeper.Session
	clock   skew
	serving *term
}

// New begins to watch who leads. It returns at once, also while ZooKeeper is away.
func New(client *zookeeper.Client, o Options) (*Lease, error) {
	if o.Address == "" {
		return nil, errors.New("lease: the address of this scheduler is not given")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Saw == nil {
		o.Saw = func() (uint64, uint64) { return 0, 0 }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TellEvery == 0 {
		o.TellEvery = 10 * time.Second
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	ctx, stop := context.WithCancel(context.Background())
	l := &Lease{client: client, o: o, id: hex.EncodeToString(id[:]), log: o.Logger, stop: stop, changed: make(chan struct{})}
	l.running.Go(func() error { l.observe(ctx); return nil })
	return l, nil
}

// Leader implements lease.Lease.
func (l *Lease) Leader() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leader
}

// Members implements lease.Roll.
func (l *Lease) Members() ([]lease.Member, <-chan struct{}) {
	own := decodeMember(l.encodeMember())
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.members)
	for i := range all {
		if all[i].Address == l.o.Address { // it is known better
			own.Stands = all[i].Stands
			all[i] = own
		}
	}
	return all, l.changed
}

// Problem says why the members cannot be told, "" when they can.
func (l *Lease) Problem() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.problem
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
	if err := ensure(s, electionNode); err != nil {
		return nil, err
	}
	if err := l.join(s); err != nil { // before it stands: who stands and tells nothing is taken for an older version
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

func ensure(s *zookeeper.Session, node string) error {
	stat, err := s.Exists(node)
	if err != nil || stat != nil {
		return err
	}
	if _, err = s.Create(node, nil, 0); errors.Is(err, zk.ErrNodeExists) {
		err = nil
	}
	return err
}

// create returns our candidate's znode on this session.
func (l *Lease) create(s *zookeeper.Session) (string, error) {
	names, err := s.Children(electionNode)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if idOf(n) != l.id {
			continue
		}
		// Another session's, not yet expired, would end under us; one of this session was not answered.
		if err := s.Delete(electionNode+"/"+n, -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return "", err
		}
	}
	return s.Create(electionNode+"/"+l.id+"-", []byte(l.o.Address), zk.FlagEphemeral|zk.FlagSequence)
}

// idOf is a candidate's id, by which its member znode is found.
func idOf(candidate string) string {
	id, _, _ := strings.Cut(candidate, "-")
	return id
}

// sequence is what ZooKeeper has appended to a name.
func sequence(name string) string { return name[max(0, len(name)-10):] }

func sorted(names []string) []string {
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(sequence(a), sequence(b)) })
	return names
}

// predecessor returns the znode before own, "" when own is the lowest.
func predecessor(s *zookeeper.Session, own string) (string, error) {
	names, err := s.Children(electionNode)
	if err != nil {
		return "", err
	}
	before := ""
	for _, n := range sorted(names) {
		if electionNode+"/"+n == own {
			return before, nil
		}
		before = electionNode + "/" + n
	}
	return "", fmt.Errorf("%w: %s was deleted by somebody", zookeeper.ErrSessionExpired, s.Path(own))
}
