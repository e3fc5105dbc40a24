// Package zk keeps a journal in ZooKeeper, where several schedulers share it: one leads and appends,
// the others follow.
//
// It owns the znodes of the journal and what each failure does to them; DESIGN.md describes both. The
// connection, its sessions and the path that everything is under are package zookeeper's; who leads is
// package lease/zk's, on the same session. The contract it keeps, and the suite that proves it, are
// package journal's and journaltest's.
package zk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	zklib "github.com/go-zookeeper/zk"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// Options say whose journal it is.
type Options struct {
	Cluster  string       // its name; a path that holds another's journal is refused
	Create   bool         // makes one where there is none, which is a *MissingError otherwise
	ReadOnly bool         // only Read will be called: any cluster's when no name is given
	Restore  bool         // it is to be erased and written anew, also where an earlier restore did not finish
	Logger   *slog.Logger // nil says nothing
}

// session is what a journal uses of a *zookeeper.Session; tests make some of it fail.
type session interface {
	Get(p string) ([]byte, *zklib.Stat, error)
	Exists(p string) (*zklib.Stat, error)
	Watch(p string) (*zklib.Stat, <-chan zklib.Event, error)
	Children(p string) ([]string, error)
	Sync(p string) error
	Set(p string, content []byte, version int32) (*zklib.Stat, error)
	Multi(ops ...zookeeper.Op) error
	Path(p string) string
	Expired() <-chan struct{}
	Reconnected() <-chan struct{}
}

// Journal implements journal.Follower in ZooKeeper.
type Journal struct {
	sessions func(ctx context.Context) (session, error)
	log      *slog.Logger
	restore  bool
	stat     atomic.Pointer[journal.Stat]
	attempt  atomic.Int64 // of writing a znode of a snapshot; part of its name

	// compacting is held by Compact from start to end, and by what must not run beside it. It is
	// taken before mu.
	compacting sync.Mutex

	// cursor says how far a Follow got. It belongs to the one goroutine that uses the journal.
	cursor *cursor

	// mu guards what follows, and is never held while ZooKeeper is asked.
	mu           sync.Mutex
	closed       bool
	leading      bool
	session      session // of this leadership
	epochVersion int32   // of the epoch znode in this leadership
	at           journal.Position
	snapshot     snapshotRef // the newest, zero when there is none
	damaged      map[string]bool
	size         logSize

	// pending is the encoded group of unknown outcome, from its first entry that is not known to be
	// durable on.
	pending *batch
}

// Open opens the journal at the client's path. The client stays the caller's to close.
func Open(ctx context.Context, client *zookeeper.Client, o Options) (*Journal, error) {
	if o.Create {
		if err := client.MakeChroot(ctx); err != nil {
			return nil, fmt.Errorf("open journal: %w", err)
		}
	}
	j, err := open(ctx, o, func(ctx context.Context) (session, error) { return client.Session(ctx) })
	var missing *MissingError
	if errors.As(err, &missing) {
		missing.Near, _ = client.Near(ctx, layoutNode, manifestNode) // what is missing is told all the same
		return nil, fmt.Errorf("open journal: %w", missing)
	}
	return j, err
}

func open(ctx context.Context, o Options, sessions func(context.Context) (session, error)) (*Journal, error) {
	j := &Journal{sessions: sessions, log: o.Logger, restore: o.Restore, damaged: map[string]bool{}}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	j.stat.Store(new(journal.Stat))
	s, err := j.sessions(ctx)
	made := false
	if err == nil {
		made, err = prepare(s, o)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if o.Create && !made {
		j.log.Warn("this was to begin a new cluster, and there is one already, which it joins: asked for at every start, "+
			"a mistyped path would not be noticed", "path", s.Path(""))
	}
	return j, nil
}

func (j *Journal) usable(ctx context.Context) error {
	if j.closed {
		return journal.ErrClosed
	}
	return ctx.Err()
}

// Stat implements journal.Journal. Each znode counts znodeBytes more than its content. It is valid
// while following too.
func (j *Journal) Stat() journal.Stat { return *j.stat.Load() }

// publishStat is called with mu held.
func (j *Journal) publishStat(last uint64) {
	j.stat.Store(&journal.Stat{
		Index: last, LogBytes: j.size.bytes(),
		Snapshot: j.snapshot.Index, SnapshotBytes: j.snapshot.Bytes,
	})
}

// Close implements journal.Journal. It waits for a Compact; end its context first.
func (j *Journal) Close() error {
	j.compacting.Lock()
	defer j.compacting.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed, j.leading = true, false
	return nil
}
