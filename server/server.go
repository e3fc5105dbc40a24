// Package server is a scheduler process: the journal, the engine, the Mesos
// driver and the HTTP API put together. It is the only place that names
// adapters.
//
// It owns in what order parts start and end, which values of the configuration
// go where, and the metrics of what is not the API. Each part's work is its own
// package's.
package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	apiserver "github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal/file"
	"github.com/perigee-sched/perigee/scheduler/mesos"
)

// Version of this program; the build sets it.
var Version = "dev"

// Options of Run.
type Options struct {
	Config *config.Server
	Log    *slog.Logger
	// Listening, when not nil, is told the API's URL as soon as it is known.
	Listening func(url string)
	// Abandon, when not nil, asks for a new framework id; see abandonFramework.
	Abandon func(Abandoned) error
}

// Run runs a scheduler until ctx ends, and returns nil then, or until one of
// its parts fails. The API is there from the start, before the journal is
// loaded and Mesos found.
func Run(ctx context.Context, o Options) (err error) {
	p := &process{Options: o}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.open(); err != nil {
		return err
	}
	if o.Abandon != nil {
		if err := p.abandonFramework(ctx); err != nil {
			return err
		}
	}
	return p.run(ctx)
}

// process is what a scheduler consists of. It is filled by open.
type process struct {
	Options
	listener net.Listener
	url      string
	binary   *os.File // perigee-executor
	journal  *file.Journal
	engine   *engine.Engine
	driver   *mesos.Driver
	api      *apiserver.Server
}

// open takes everything that can be refused: ports, files, locks.
func (p *process) open() error {
	binary, err := p.Config.Executor.Binary()
	if err != nil {
		return fmt.Errorf("find perigee-executor: %w", err)
	}
	if p.binary, err = os.Open(binary); err != nil {
		return fmt.Errorf("the executor that agents are to run: %w; build it beside this program, or set executor.path", err)
	}
	sum, err := checksum(p.binary)
	if err != nil {
		return fmt.Errorf("read the executor that agents are to run: %w", err)
	}
	if p.listener, err = net.Listen("tcp", p.Config.API.Listen); err != nil {
		return fmt.Errorf("listen on api.listen: %w; if another scheduler runs there, choose another address", err)
	}
	p.url = p.Config.API.URL(p.listener.Addr())
	if p.journal, err = file.Open(p.Config.Journal.Dir(), file.Options{Logger: p.Log.With("part", "journal")}); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	caller := &lateCaller{}
	executors := p.executors(sum)
	p.engine = engine.New(p.engineOptions(caller, executors))
	p.driver = mesos.New(mesos.Options{
		Master: p.Config.Mesos.Master,
		Framework: mesos.FrameworkOptions{
			Name: p.Config.Mesos.FrameworkName, User: executorUser(p.Config), Role: p.Config.Mesos.Role,
			FailoverTimeout: p.Config.Mesos.FailoverTimeout.Std(), WebUI: p.url,
		},
		Executor: executors, Deliver: p.engine.Deliver, Logger: p.Log.With("part", "mesos"),
	})
	caller.driver = p.driver
	if err := registerMetrics(registry, p.engine, p.driver, p.journal); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	p.api, err = apiserver.New(apiserver.Options{
		Scheduler: p.engine, Cluster: p.Config.Cluster, Version: Version,
		// Not by its name: what is built or installed later has another checksum.
		Executor: fmt.Sprintf("/proc/self/fd/%d", p.binary.Fd()),
		Metrics:  registry, Log: p.Log.With("part", "api"),
	})
	return err
}

func (p *process) engineOptions(caller engine.Caller, executors mesos.ExecutorOptions) engine.Options {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return engine.Options{
		Core: core.Config{
			Overhead: executors.Overhead(), DefaultUser: p.Config.Defaults.User,
			ReplaceAfter: p.Config.Defaults.UnreachableReplaceAfter.Millis(), FinishedKeep: p.Config.Finished.Keep,
			InstancesMost: p.Config.Limits.Instances, PendingMost: p.Config.Limits.Pending,
		},
		Journal: p.journal, Caller: caller, Logger: p.Log.With("part", "engine"), EventsKeep: p.Config.Events.Keep,
		Elected: core.Elected{
			Scheduler: fmt.Sprintf("%s/%d", host, os.Getpid()), Address: p.url, Version: Version,
			Incarnation: strings.ToLower(rand.Text()[:4]),
		},
	}
}

func (p *process) executors(sum string) mesos.ExecutorOptions {
	e := p.Config.Executor
	environment := map[string]string{
		"PERIGEE_CACHE":      e.CacheDir,
		"PERIGEE_CACHE_SIZE": fmt.Sprint(int64(e.CacheSize)),
	}
	if e.AllowRoot {
		environment["PERIGEE_ALLOW_ROOT"] = "1"
	}
	return mesos.ExecutorOptions{
		URL: e.Source(p.url), SHA256: sum, CPUs: e.CPUs, Memory: e.Memory.Mebi(), Environment: environment,
	}
}

// run runs the parts. What stops first is what others wait on: the API, whose
// requests need the engine, then Mesos, whose events do, then the engine.
func (p *process) run(ctx context.Context) error {
	if p.Listening != nil {
		p.Listening(p.url)
	}
	listener := p.listener
	p.listener = nil // Run closes it
	return RunParts(ctx, []Part{
		{"engine", p.engine.Run},
		{"mesos", p.driver.Run},
		{"api", func(ctx context.Context) error { return p.api.Run(ctx, listener) }},
	})
}

// close gives up what open took and run did not.
func (p *process) close() error {
	var errs []error
	if p.listener != nil {
		errs = append(errs, p.listener.Close())
	}
	if p.binary != nil {
		errs = append(errs, p.binary.Close())
	}
	if p.journal != nil {
		errs = append(errs, p.journal.Close())
	}
	return errors.Join(errs...)
}

// lateCaller closes the circle of the engine, which calls Mesos, and the
// driver, which delivers to the engine. It is set before either runs.
type lateCaller struct{ driver *mesos.Driver }

func (c *lateCaller) Perform(calls []core.Call) { c.driver.Perform(calls) }

// executorUser is whom executors run as.
func executorUser(c *config.Server) string {
	if c.Mesos.User != "" {
		return c.Mesos.User
	}
	if self, err := user.Current(); err == nil {
		return self.Username
	}
	return "root"
}

// checksum returns a file's SHA-256 in hexadecimal.
func checksum(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
