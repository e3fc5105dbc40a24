// Package dev is `perigee dev`: a Mesos cluster, a scheduler and three example
// jobs in one process, for one machine.
//
// It owns where their state is and in which order they start and end. It tells
// what happens in lines; the cluster is package devcluster's, the scheduler
// package server's, and both are as they are elsewhere.
package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/devcluster"
	"github.com/perigee-sched/perigee/server"
)

// Options of Run.
type Options struct {
	// Dir holds all state; what is there from an earlier life goes on.
	Dir string
	// Listen is the address of the API, Master that of the Mesos master; port 0
	// is any that is free.
	Listen, Master string
	Agents         int
	// FirstPort of those that tasks are given; each agent has portsEach.
	FirstPort int
	// Fresh ends what an earlier life left running, and begins with nothing.
	Fresh bool
	// Examples is the directory of the example jobs, "" to deploy none. Command
	// is how this program is called, for what to try next.
	Examples, Command string
	// User runs tasks that name none; as root, nobody when empty.
	User string

	Tell      func(line string)
	TellEvent func(*api.Event)
}

// Run runs everything until ctx ends; then tasks are ended too. When the
// process is killed instead, tasks go on, and the next Run finds them.
func Run(ctx context.Context, o Options) error {
	if err := o.place(); err != nil {
		return err
	}
	lock, err := o.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if o.Fresh {
		if err := o.wipe(); err != nil {
			return err
		}
	}
	logFile, err := os.OpenFile(o.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logFile.Close()
	log := slog.New(slog.NewTextHandler(logFile, nil))
	cluster, err := devcluster.Open(o.cluster(log))
	if err != nil {
		return fmt.Errorf("start the cluster: %w", err)
	}
	scheduler, err := o.scheduler(cluster.MasterAddr())
	if err != nil {
		return errors.Join(err, cluster.Close())
	}
	url := make(chan string, 1)
	s := server.Options{Config: scheduler, Log: log, Listening: func(u string) { url <- u }}
	return server.RunParts(ctx, []server.Part{
		{Name: "cluster", Run: cluster.Run},
		{Name: "scheduler", Run: func(ctx context.Context) error { return server.Run(ctx, s) }},
		{Name: "account", Run: func(ctx context.Context) error {
			select {
			case u := <-url:
				return o.account(ctx, u, cluster.MasterAddr())
			case <-ctx.Done():
				return nil
			}
		}},
	})
}

func (o *Options) path(parts ...string) string {
	return filepath.Join(append([]string{o.Dir}, parts...)...)
}

// portsEach is how many ports each agent has to give.
const portsEach = 500

// cluster is hosts in racks of their own. Their ports are really this machine's,
// so no two have the same.
func (o *Options) cluster(log *slog.Logger) devcluster.Options {
	c := devcluster.Options{Dir: o.path("mesos"), Listen: o.Master, Ephemeral: true, Logger: log.With("part", "devcluster")}
	for n := range o.Agents {
		begin := o.FirstPort + n*portsEach
		c.Agents = append(c.Agents, devcluster.AgentOptions{
			Resources:  fmt.Sprintf("cpus:4;mem:8192;disk:20480;ports:[%d-%d]", begin, begin+portsEach-1),
			Attributes: fmt.Sprintf("rack:r%d", n+1),
		})
	}
	return c
}

func (o *Options) scheduler(master string) (*config.Server, error) {
	c, _, err := config.LoadServer("", []string{"PERIGEE_ACCESS_MODE=open"}, nil)
	if err != nil {
		return nil, err
	}
	c.Cluster = "dev"
	c.API.Listen = o.Listen
	c.Journal.URL = "file://" + o.path("journal")
	c.Mesos.Master = master
	c.Executor.CacheDir = o.path("cache")
	c.Defaults.User = o.User
	return c, nil
}

// wipe ends the tasks of an earlier life, which a kill -9 left running, and
// removes its state.
func (o *Options) wipe() error {
	if _, err := os.Stat(o.path("mesos")); err == nil {
		cluster, err := devcluster.Open(o.cluster(slog.New(slog.DiscardHandler)))
		if err != nil {
			return fmt.Errorf("end the tasks of the earlier life in %s: %w", o.Dir, err)
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := cluster.Run(ended); err != nil {
			return fmt.Errorf("end the tasks of the earlier life in %s: %w", o.Dir, err)
		}
	}
	entries, err := os.ReadDir(o.Dir)
	for _, e := range entries {
		if e.Name() != lockFile {
			err = errors.Join(err, os.RemoveAll(o.path(e.Name())))
		}
	}
	return err
}
