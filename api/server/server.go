// Package server is the HTTP API: its routes, what they accept, and how records
// are told.
//
// It owns the translation between HTTP and the scheduler: bodies to core's
// operations, the read view's records to package api's types, errors to statuses
// (problemOf alone), events and states to streams, and a task's sandbox through
// its agent. Before a rollback it looks whether the artifacts are still there,
// which core, being pure, cannot.
// It decides nothing: what a write does is core's, what a spec may be package
// api's, when a write is durable the engine's.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Scheduler is what the API reads and writes through: *engine.Engine.
type Scheduler interface {
	// Do executes a write and returns once it is durable.
	Do(ctx context.Context, r core.Request) (core.Result, *engine.View, error)
	// View is the newest durable state.
	View() *engine.View
	// WaitIndex waits until the view includes a journal index.
	WaitIndex(ctx context.Context, index uint64) (*engine.View, error)
	// Follow follows the events after one; those to come when after is "".
	Follow(after string) (*engine.Follower, error)
	// Recent returns the events after an entry of the journal that are in memory.
	Recent(index uint64) []engine.Published
	// Standby says whether another scheduler may lead instead of this one.
	Standby() bool
	// Leads says whether this scheduler leads, and knows that no other does.
	Leads() bool
	// Leader is the address of the scheduler that leads, "" when unknown.
	Leader() string
	// Status says what part this scheduler has.
	Status() engine.Status
	// StepDown hands over to another scheduler.
	StepDown(ctx context.Context) error
}

// Options of a Server. Scheduler is required.
type Options struct {
	Scheduler Scheduler
	// Cluster names the cluster in the source of events; "default" when empty.
	Cluster string
	// Version is told in the OpenAPI description.
	Version string
	// History has what left the live state; nil when none is kept.
	History History
	// Executor is the path of the perigee-executor binary that is served to
	// Mesos's fetcher; "" serves none.
	Executor string
	// Metrics are served at /metrics, the server's own among them; a registry of
	// its own when nil.
	Metrics *prometheus.Registry
	// Log gets what a user is not told; slog's default when nil.
	Log *slog.Logger
	// Webhooks delivers events. Without it they are not delivered.
	Webhooks Webhooks
	// Agents carries requests to Mesos's agents; a transport without credentials
	// when nil.
	Agents http.RoundTripper
	// Stores carries requests to where artifacts are; a transport of its own when
	// nil.
	Stores http.RoundTripper
	// TLS is what the API is served with; plain HTTP when nil.
	TLS *tls.Config
	// PeerTLS is what other schedulers are spoken to with where their addresses are
	// https; it is asked for each connection. The system's authorities are trusted
	// when nil.
	PeerTLS func() *tls.Config
	// Heartbeat of event streams, 15 s when 0.
	Heartbeat time.Duration
	// Access says how callers are known; everybody may do everything when nil.
	Access *Access
	// Limits of requests; none when zero.
	Limits Limits
	// InitCode is what the first token takes; it is not to be had when "".
	InitCode string
}

// Server is the HTTP API of one scheduler.
type Server struct {
	Options
	handler  http.Handler
	router   *mux.Router
	openAPI  []byte // the description
	unnamed  []byte // the same without the version, for strangers
	specs    *specs
	agents   *agents
	metrics  *metrics
	binary   binary
	peers    *http.Transport // to the leader
	stores   stores
	backups  chan struct{} // has one for each that is being made
	refusals *refusedLately
	limits   *limits
	uses     tokenUses
	streams  openStreams
	// protected are the permissions of all routes, by method and path; unprotected
	// says which lack one.
	protected   map[string]protected
	unprotected []error

	// life ends when the server stops: streams end with it.
	life context.Context
	end  context.CancelFunc
}

// New builds the API. It fails when metrics of its names are registered already.
func New(o Options) (*Server, error) {
	if o.Scheduler == nil {
		return nil, errors.New("the API needs a scheduler")
	}
	if o.Cluster == "" {
		o.Cluster = "default"
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 15 * time.Second
	}
	s := &Server{Options: o, router: mux.NewRouter(), specs: newSpecs(), agents: newAgents(o.Agents), peers: newPeers(o.PeerTLS),
		limits: newLimits(o.Limits), protected: map[string]protected{}, refusals: newRefusals()}
	s.backups = make(chan struct{}, backupsMost)
	if o.Stores == nil {
		o.Stores = http.DefaultTransport.(*http.Transport).Clone()
	}
	s.stores = newStores(o.Stores)
	s.life, s.end = context.WithCancel(context.Background())
	var err error
	if s.metrics, err = newMetrics(o.Metrics); err != nil {
		return nil, fmt.Errorf("register the API's metrics: %w", err)
	}
	if err := s.route(); err != nil {
		return nil, err
	}
	s.handler = s.around(s.router)
	return s, nil
}

// Handler serves the whole API.
func (s *Server) Handler() http.Handler { return s.handler }

const (
	// shutdownGrace is how long requests under way may take when the server
	// stops.
	shutdownGrace = 10 * time.Second
	// answerTimeout bounds a request that is not a stream, the wait for the
	// journal included.
	answerTimeout = 60 * time.Second
	// doTimeout is how long a write waits to be durable.
	doTimeout = 30 * time.Second
	// bodyTimeout is how long a request's body may take to come.
	bodyTimeout = 30 * time.Second
)

// Run serves on l, which it closes, until ctx ends; then streams end and
// requests under way are finished. It returns nil after that.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	s.warnOf(l.Addr())
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		TLSConfig:         s.TLS,
	}
	served := make(chan error, 1)
	go func() {
		if s.TLS != nil {
			served <- server.ServeTLS(l, "", "") // the certificate is in TLSConfig
		} else {
			served <- server.Serve(l)
		}
	}()
	var telling sync.WaitGroup
	defer s.streams.work.Wait()
	defer telling.Wait()
	telling.Go(s.tellInitCode)
	select {
	case err := <-served:
		s.end()
		return fmt.Errorf("serve the API on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.end()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		server.Close() // those who are left are cut off
	}
	<-served
	s.peers.CloseIdleConnections()
	s.stores.client.CloseIdleConnections()
	return nil
}

// warnOf says what others can do on the network to an API that listens on an
// address.
func (s *Server) warnOf(address net.Addr) {
	tcp, ok := address.(*net.TCPAddr)
	switch {
	case !ok || tcp.IP.IsLoopback():
	case s.Access == nil:
		s.Log.Warn("the API asks nobody who they are, and listens on an address that other machines reach: "+
			"whoever reaches it may run anything on the cluster", "address", address.String())
	case s.TLS == nil:
		s.Log.Warn("the API speaks plain HTTP on an address that other machines reach: whoever is on the way reads tokens; "+
			"set api.tls.cert, unless a proxy in front speaks TLS", "address", address.String())
	}
}

// apiConfig is huma's, without its own documentation pages, which load scripts
// from elsewhere, and without the $schema links that it adds to answers.
func (s *Server) apiConfig() huma.Config {
	version := s.Version
	if version == "" {
		version = "dev"
	}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Perigee", Version: version,
				Description: "Services, crons and batch jobs on Apache Mesos. Errors are problem details (RFC 9457)."},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}
