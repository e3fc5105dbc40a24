package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/journal/file"
	journalzk "github.com/perigee-sched/perigee/scheduler/journal/zk"
	"github.com/perigee-sched/perigee/scheduler/lease"
	leasezk "github.com/perigee-sched/perigee/scheduler/lease/zk"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// target is the journal that a backup is restored into.
type target interface {
	// read returns what it holds, nil when it holds nothing, and changes nothing. It
	// fails while a scheduler lives there.
	read(ctx context.Context) (*backup.State, error)
	// open takes it for this process alone, if it still holds what was read; what a
	// restore left unfinished may be anything.
	open(ctx context.Context, held *backup.State, unfinished bool) (journal.Restorer, func() error, error)
}

func newTarget(c *config.Server, log *slog.Logger) target {
	if servers, path, ok := c.Journal.ZooKeeper(); ok {
		return &zkTarget{config: c, servers: servers, path: path, log: log}
	}
	return &fileTarget{dir: c.Journal.Dir(), log: log}
}

// unchanged compares what a journal holds with what was read before.
func unchanged(held, now *backup.State) error {
	before, after := uint64(0), uint64(0)
	if held != nil {
		before = held.Index
	}
	if now != nil {
		after = now.Index
	}
	if before != after {
		return refuse("the journal was at entry %d, and is at %d now: a scheduler was started meanwhile; stop it, and try again", before, after)
	}
	return nil
}

type fileTarget struct {
	dir string
	log *slog.Logger
}

func (t *fileTarget) read(ctx context.Context) (*backup.State, error) {
	s := new(backup.State)
	err := file.Read(ctx, t.dir, file.Options{Logger: t.log}, s)
	switch {
	case errors.Is(err, file.ErrNoJournal), errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.As(err, new(*file.InUseError)):
		return nil, refuse("%v", err)
	case err != nil:
		return nil, err
	}
	return s, nil
}

func (t *fileTarget) open(ctx context.Context, held *backup.State, unfinished bool) (journal.Restorer, func() error, error) {
	j, err := file.Open(t.dir, file.Options{Logger: t.log, Restore: true})
	if err != nil {
		if errors.As(err, new(*file.InUseError)) {
			err = refuse("%v", err)
		}
		return nil, nil, err
	}
	if !unfinished {
		now := new(backup.State)
		if err := j.Read(ctx, now); err != nil && !errors.Is(err, file.ErrNoJournal) {
			return nil, nil, errors.Join(err, j.Close())
		}
		if err := unchanged(held, now); err != nil {
			return nil, nil, errors.Join(err, j.Close())
		}
	}
	return j, j.Close, nil
}

type zkTarget struct {
	config  *config.Server
	servers []string
	path    string
	log     *slog.Logger
}

func (t *zkTarget) read(ctx context.Context) (*backup.State, error) {
	client, err := connectZooKeeper(ctx, t.config.Journal, t.servers, t.path, t.log)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := t.alone(ctx, client, ""); err != nil {
		return nil, err
	}
	opening, cancel := context.WithTimeout(ctx, zooKeeperPatience)
	defer cancel()
	j, err := journalzk.Open(opening, client, journalzk.Options{Cluster: t.config.Cluster, ReadOnly: true, Logger: t.log})
	var missing *journalzk.MissingError
	if errors.As(err, &missing) && len(missing.Holds) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal.url %s: %w", t.config.Journal.URL, err)
	}
	defer j.Close()
	s := new(backup.State)
	if _, err := j.Read(ctx, s); err != nil {
		return nil, err
	}
	return s, nil
}

// alone waits for a while until no scheduler lives there: one that was killed is
// known to be dead when its session has expired.
func (t *zkTarget) alone(ctx context.Context, client *zookeeper.Client, self string) error {
	waiting, cancel := context.WithTimeout(ctx, max(electionPatience, 2*t.config.Journal.SessionTimeout.Std()))
	defer cancel()
	for {
		members, err := leasezk.Living(waiting, client)
		if err != nil && waiting.Err() == nil {
			return fmt.Errorf("journal.url %s: which schedulers live: %w", t.config.Journal.URL, err)
		}
		others := addresses(members, self)
		if err == nil && len(others) == 0 {
			return nil
		}
		select {
		case <-time.After(aloneEvery):
		case <-waiting.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return refuse("schedulers live with this journal (%s): stop them all first", strings.Join(others, ", "))
		}
	}
}

// aloneEvery is how often it is looked who lives.
const aloneEvery = 200 * time.Millisecond

func addresses(members []lease.Member, self string) []string {
	var all []string
	for _, m := range members {
		if m.Address != self {
			all = append(all, m.Address)
		}
	}
	return all
}

// open leads, so that nobody else does, and looks once more who lives and what the
// journal holds.
func (t *zkTarget) open(ctx context.Context, held *backup.State, unfinished bool) (_ journal.Restorer, _ func() error, err error) {
	client, err := connectZooKeeper(ctx, t.config.Journal, t.servers, t.path, t.log)
	if err != nil {
		return nil, nil, err
	}
	release := client.Close
	defer func() {
		if err != nil {
			release()
		}
	}()
	opening, cancel := context.WithTimeout(ctx, zooKeeperPatience)
	defer cancel()
	j, err := journalzk.Open(opening, client, journalzk.Options{Cluster: t.config.Cluster, Create: true, Restore: true, Logger: t.log})
	if err != nil {
		return nil, nil, fmt.Errorf("journal.url %s: %w", t.config.Journal.URL, err)
	}
	l, err := leasezk.New(client, leasezk.Options{Address: restoreAddress, Version: Version, Logger: t.log})
	if err != nil {
		return nil, nil, err
	}
	release = func() {
		_ = l.Close()
		_ = j.Close()
		client.Close()
	}
	if _, err := l.Acquire(opening); err != nil {
		return nil, nil, refuse("another scheduler leads (%s): stop it first", l.Leader())
	}
	if err := t.alone(ctx, client, restoreAddress); err != nil || unfinished {
		return j, func() error { release(); return nil }, err
	}
	now := new(backup.State)
	if _, err := j.Read(ctx, now); err != nil {
		return nil, nil, err
	}
	if err := unchanged(held, now); err != nil {
		return nil, nil, err
	}
	return j, func() error { release(); return nil }, nil
}

// restoreAddress is told as the leader's while a restore leads.
const restoreAddress = "perigee state restore"
