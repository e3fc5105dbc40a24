package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/perigee-sched/perigee/scheduler/journal/file"
	journalzk "github.com/perigee-sched/perigee/scheduler/journal/zk"
	"github.com/perigee-sched/perigee/scheduler/lease/static"
	leasezk "github.com/perigee-sched/perigee/scheduler/lease/zk"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// zooKeeperPatience is how long a scheduler that starts waits for ZooKeeper
// before it says what is wrong, and ends.
const zooKeeperPatience = 20 * time.Second

// openJournal opens the journal that the configuration names.
func (p *process) openJournal(ctx context.Context) error {
	c, log := p.Config.Journal, p.Log.With("part", "journal")
	servers, path, ok := c.ZooKeeper()
	if !ok {
		j, err := file.Open(c.Dir(), file.Options{Logger: log})
		if err != nil {
			return err
		}
		p.journal = j
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, zooKeeperPatience)
	defer cancel()
	var err error
	p.zk, err = zookeeper.Connect(ctx, zookeeper.Options{Servers: servers, Chroot: path, Credentials: c.Credentials,
		SessionTimeout: c.SessionTimeout.Std(), Logger: p.Log.With("part", "zookeeper")})
	if err != nil {
		return fmt.Errorf("journal.url %s: %w", c.URL, err)
	}
	j, err := journalzk.Open(ctx, p.zk, journalzk.Options{Cluster: p.Config.Cluster, Create: p.NewCluster, Logger: log})
	var missing *journalzk.MissingError
	if errors.As(err, &missing) && len(missing.Holds) == 0 {
		return fmt.Errorf("journal.url %s: %w. Correct the path if it is mistyped; to begin a new cluster there, start one scheduler with --new-cluster, once", c.URL, err)
	}
	if err != nil {
		return fmt.Errorf("journal.url %s: %w", c.URL, err)
	}
	p.journal = j
	return nil
}

// openLease begins to look who leads: by ZooKeeper, or this scheduler alone where
// the journal is its own. Others are told of this scheduler from here on, so that
// what they are told of is opened before.
func (p *process) openLease() error {
	if p.zk == nil {
		p.lease = static.New(p.url)
		return nil
	}
	l, err := leasezk.New(p.zk, leasezk.Options{Address: p.url, Version: Version, Features: p.features(),
		Saw: p.saw, Recorded: p.recorded, TellEvery: tellEvery, Now: p.Now, Logger: p.Log.With("part", "lease")})
	if err != nil {
		return err
	}
	p.lease = l
	return nil
}

// tellEvery is how often schedulers tell each other how far they are: what is
// finished stays in the journal until that is known of all histories.
const tellEvery = 3 * time.Second

// recorded is how far this scheduler's own history is, nil when it keeps none.
func (p *process) recorded() *uint64 {
	if p.history == nil {
		return nil
	}
	through, shared := p.history.Through()
	if shared {
		return nil
	}
	return &through
}

// saw is how far this scheduler is, which others are told.
func (p *process) saw() (index, epoch uint64) {
	e := p.made.Load()
	if e == nil {
		return 0, 0
	}
	v := e.View()
	return v.Index, v.Epoch
}
