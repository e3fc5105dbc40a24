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
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// Options say whose journal it is.
type Options struct {
	Cluster string       // its name; a path that holds another's journal is refused
	Logger  *slog.Logger // nil says nothing
}

// Journal implements journal.Follower in ZooKeeper.
type Journal struct {
	sessions sessions
	log      *slog.Logger
	stat     atomic.Pointer[journal.Stat]

	mu     sync.Mutex
	closed bool
}

type sessions interface {
	Session(ctx context.Context) (*zookeeper.Session, error)
}

// Open opens the journal at the client's path, or makes one where nothing is. The client stays the
// caller's to close.
func Open(ctx context.Context, client *zookeeper.Client, o Options) (*Journal, error) {
	j := &Journal{sessions: client, log: o.Logger}
	j.stat.Store(new(journal.Stat))
	return j, errors.ErrUnsupported
}

// Lead implements journal.Journal.
func (j *Journal) Lead(ctx context.Context, apply journal.Applier) (journal.Position, error) {
	return journal.Position{}, errors.ErrUnsupported
}

// Follow implements journal.Follower.
func (j *Journal) Follow(ctx context.Context, apply journal.Applier) error {
	return errors.ErrUnsupported
}

// Append implements journal.Journal.
func (j *Journal) Append(ctx context.Context, group []*record.Entry) error {
	return errors.ErrUnsupported
}

// Resolve implements journal.Journal.
func (j *Journal) Resolve(ctx context.Context) error { return errors.ErrUnsupported }

// Compact implements journal.Journal.
func (j *Journal) Compact(ctx context.Context, src journal.Source) error {
	return errors.ErrUnsupported
}

// Stat implements journal.Journal.
func (j *Journal) Stat() journal.Stat { return *j.stat.Load() }

// Close implements journal.Journal.
func (j *Journal) Close() error { return nil }
