// Package server is a scheduler process: the journal, the engine, the Mesos
// driver and the HTTP API put together. It is the only place that names
// adapters.
//
// It owns in what order parts start and end, which values of the configuration
// go where, and the metrics of what is not the API. Each part's work is its own
// package's.
package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	apiserver "github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/gate"
	"github.com/perigee-sched/perigee/scheduler/history"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/mesos"
	"github.com/perigee-sched/perigee/scheduler/webhook"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// Version of this program; the build sets it.
var Version = "dev"

// Options of Run.
type Options struct {
	Config *config.Server
	Log    *slog.Logger
	// Listening, when not nil, is told the API's URL as soon as it is known.
	Listening func(url string)
	// NewCluster begins a cluster where journal.url names a path in ZooKeeper
	// that holds none, which is refused otherwise.
	NewCluster bool
	// Now is the wall clock; time.Now when nil.
	Now func() time.Time
	// Features that this scheduler says it knows; core's when nil.
	Features []string
	// Abandon, when not nil, asks for a new framework id; see abandonFramework.
	Abandon func(Abandoned) error
}

// Run runs a scheduler until ctx ends, and returns nil then, or until one of
// its parts fails. The API is there from the start, before the journal is
// loaded and Mesos found.
func Run(ctx context.Context, o Options) (err error) {
	p := &process{Options: o}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.open(ctx); err != nil {
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
	mesosTLS *tls.Config
	// certificate of the API; nil when it speaks plain HTTP
	certificate *watched[*tls.Certificate]
	journal     journal.Journal
	lease       lease.Lease
	zk          *zookeeper.Client // nil for a journal elsewhere
	engine      *engine.Engine
	made        atomic.Pointer[engine.Engine] // the same, for who may ask before
	gates       *gate.Runner
	webhooks    *webhook.Runner
	driver      atomic.Pointer[mesos.Driver] // of the last leadership
	history     *history.History             // nil when none is kept
	api         *apiserver.Server
}

// open takes everything that can be refused: ports, files, locks.
func (p *process) open(ctx context.Context) error {
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
	if p.mesosTLS, err = mesosTLS(p.Config.Mesos); err != nil {
		return err
	}
	if p.listener, err = net.Listen("tcp", p.Config.API.Listen); err != nil {
		return fmt.Errorf("listen on api.listen: %w; if another scheduler runs there, choose another address", err)
	}
	p.url = p.Config.API.URL(p.listener.Addr())
	apiTLS, err := p.apiTLS()
	if err != nil {
		return err
	}
	peerTLS, err := p.peerTLS()
	if err != nil {
		return err
	}
	if err := p.openJournal(ctx); err != nil {
		return err
	}
	if err := p.openHistory(ctx); err != nil {
		return err
	}
	if err := p.openLease(); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	executors := p.executors(sum)
	p.connect(executors, nil) // for its figures, which are all 0
	asked := newGateMetrics()
	p.gates = gate.New(gate.Options{Deliver: p.deliver, Leads: p.leads, Transport: p.outward(), OnAnswer: asked.observe, Log: p.Log.With("part", "gate")})
	p.engine = engine.New(p.engineOptions(executors))
	p.made.Store(p.engine)
	if err := registerMetrics(registry, p.engine, p.driver.Load, p.journal, p.lease); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	if err := errors.Join(registry.Register(asked), p.certificateMetrics(registry)); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	if p.history != nil {
		if err := registry.Register(historyCollector{p.history}); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	if err := p.openWebhooks(registry); err != nil {
		return err
	}
	p.api, err = apiserver.New(apiserver.Options{
		Scheduler: p.engine, History: p.past(), Webhooks: p.webhooks,
		Cluster: p.Config.Cluster, Version: Version,
		// Not by its name: what is built or installed later has another checksum.
		Executor: fmt.Sprintf("/proc/self/fd/%d", p.binary.Fd()),
		Metrics:  registry, Log: p.Log.With("part", "api"),
		Agents: credentials(p.Config.Mesos).Transport(p.mesosTLS),
		Stores: p.outward(),
		TLS:    apiTLS, PeerTLS: peerTLS, Access: p.access(), Limits: p.limits(), InitCode: cmp.Or(p.Config.Access.InitCode, rand.Text()),
	})
	return err
}

// connect makes the driver of a leadership.
func (p *process) connect(executors mesos.ExecutorOptions, deliver engine.Deliver) engine.Driver {
	d := mesos.New(mesos.Options{
		Master: p.Config.Mesos.Master,
		Framework: mesos.FrameworkOptions{
			Name: p.Config.Mesos.FrameworkName, User: executorUser(p.Config), Role: p.Config.Mesos.Role,
			FailoverTimeout: p.Config.Mesos.FailoverTimeout.Std(), WebUI: p.url,
		},
		Credentials: credentials(p.Config.Mesos), TLS: p.mesosTLS,
		Executor: executors, Deliver: deliver, Leads: p.leads, Logger: p.Log.With("part", "mesos"),
	})
	p.driver.Store(d)
	return d
}

func (p *process) features() []string {
	if p.Features != nil {
		return p.Features
	}
	return core.KnownFeatures()
}

func (p *process) leads() bool { return p.engine.Leads() }

func (p *process) deliver(ctx context.Context, events ...core.Event) error {
	return p.engine.Deliver(ctx, events...)
}

func (p *process) engineOptions(executors mesos.ExecutorOptions) engine.Options {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return engine.Options{
		Core: core.Config{
			Overhead: executors.Overhead(), DefaultUser: p.Config.Defaults.User,
			ReplaceAfter: p.Config.Defaults.UnreachableReplaceAfter.Millis(), FinishedKeep: p.Config.Finished.Keep,
			InstancesMost: p.Config.Limits.Instances, PendingMost: p.Config.Limits.Pending,
			WebhooksPerTeam: p.Config.Webhooks.PerTeam, WebhooksMost: p.Config.Webhooks.Most,
			History: p.history != nil, FinishedFor: p.Config.Finished.KeepFor.Millis(),
		},
		History: p.recorder(), Journal: p.journal, Lease: p.lease, Logger: p.Log.With("part", "engine"), EventsKeep: p.Config.Events.Keep,
		Features: p.features(), Now: p.Now,
		Ask:     p.gates.Ask,
		Leaving: func(ctx context.Context) { p.webhooks.Leave(ctx); p.api.SaveTokenUses(ctx) },
		Connect: func(deliver engine.Deliver) engine.Driver { return p.connect(executors, deliver) },
		Elected: core.Elected{
			Scheduler: fmt.Sprintf("%s/%d", host, os.Getpid()), Address: p.url, Version: Version,
			Incarnation: newIncarnation(), Secret: secret(),
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
		URL: e.Source(p.url), SHA256: sum, Key: p.executorKey(sum), CPUs: e.CPUs, Memory: e.Memory.Mebi(), Environment: environment,
	}
}

// run runs the parts. What stops first is the API, whose requests need the
// engine; but where another scheduler can lead, it is the engine, which hands
// over at once, while the API passes requests on.
func (p *process) run(ctx context.Context) error {
	if p.Listening != nil {
		p.Listening(p.url)
	}
	listener := p.listener
	p.listener = nil // Run closes it
	api := Part{"api", func(ctx context.Context) error { return p.api.Run(ctx, listener) }}
	// Webhooks end before the engine, through which they save how far they are, and so
	// does what notes the use of tokens.
	parts := []Part{{"gates", p.gates.Run}, {"engine", p.engine.Run}, {"webhooks", p.webhooks.Run}, {"token uses", p.api.KeepTokenUses}}
	if p.engine.Standby() {
		parts = append([]Part{api}, parts...)
	} else {
		parts = append(parts, api)
	}
	if p.history != nil { // the last to end, so that it has what the others did
		parts = append([]Part{{"history", p.history.Run}}, parts...)
	}
	return RunParts(ctx, parts)
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
	if p.history != nil {
		p.history.Close() // if Run did not
	}
	if p.journal != nil {
		errs = append(errs, p.journal.Close())
	}
	if p.lease != nil {
		errs = append(errs, p.lease.Close())
	}
	if p.zk != nil {
		p.zk.Close()
	}
	return errors.Join(errs...)
}

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

// secret is what the first leader of a cluster gives it.
func secret() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}

// checksum returns a file's SHA-256 in hexadecimal.
func checksum(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
