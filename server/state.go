package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/journal/file"
	journalzk "github.com/perigee-sched/perigee/scheduler/journal/zk"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// ReadState reads the journal that the configuration names, and changes nothing.
// It returns the name of the cluster that it is of: what a journal in ZooKeeper
// says, or else what the configuration does.
func ReadState(ctx context.Context, c *config.Server, log *slog.Logger) (state *backup.State, cluster string, err error) {
	s := new(backup.State)
	cluster = c.Cluster
	if servers, path, ok := c.Journal.ZooKeeper(); ok {
		cluster, err = readZooKeeper(ctx, c, servers, path, log, s)
	} else {
		err = file.Read(ctx, c.Journal.Dir(), file.Options{Logger: log}, s)
	}
	var used *file.InUseError
	switch {
	case errors.As(err, &used):
		return nil, "", fmt.Errorf("%w. While its scheduler lives, ask that: without --journal", err)
	case err != nil:
		return nil, "", err
	case s.Len() == 0:
		return nil, "", fmt.Errorf("journal.url %s: the journal is empty: no scheduler ever led with it", c.Journal.URL)
	}
	return s, cluster, nil
}

func readZooKeeper(ctx context.Context, c *config.Server, servers []string, path string, log *slog.Logger, s *backup.State) (cluster string, err error) {
	client, err := connectZooKeeper(ctx, c.Journal, servers, path, log)
	if err != nil {
		return "", err
	}
	defer client.Close()
	opening, cancel := context.WithTimeout(ctx, zooKeeperPatience)
	defer cancel()
	j, err := journalzk.Open(opening, client, journalzk.Options{ReadOnly: true, Logger: log})
	if err != nil {
		return "", fmt.Errorf("journal.url %s: %w", c.Journal.URL, err)
	}
	defer j.Close()
	return j.Read(ctx, s)
}

func connectZooKeeper(ctx context.Context, c config.Journal, servers []string, path string, log *slog.Logger) (*zookeeper.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, zooKeeperPatience)
	defer cancel()
	client, err := zookeeper.Connect(ctx, zookeeper.Options{Servers: servers, Chroot: path, Credentials: c.Credentials,
		SessionTimeout: c.SessionTimeout.Std(), Logger: log})
	if err != nil {
		return nil, fmt.Errorf("journal.url %s: %w", c.URL, err)
	}
	return client, nil
}
