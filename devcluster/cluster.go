package devcluster

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/devcluster/model"
)

// Cluster is a master with its agents. Its mutex guards the model and all that
// mirrors it; nothing slow is done while it is held but appending to records.
type Cluster struct {
	opts     Options
	master   net.Listener
	standby  net.Listener // nil without one
	registry *records
	agents   []*agentProcess
	alarm    chan struct{} // the model wants to be woken at another time
	work     sync.WaitGroup
	ctx      context.Context // of Run
	failed   chan error      // something that ends Run

	mu      sync.Mutex
	model   *model.Model
	streams map[model.StreamID]*stream
	byName  map[string]*agentProcess
}

// Open prepares a cluster: it opens what is on disk and the ports, so that the
// addresses are known. Run must follow, or Close.
func Open(opts Options) (*Cluster, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, fmt.Errorf("open cluster: %w", err)
	}
	c := &Cluster{opts: opts, alarm: make(chan struct{}, 1), failed: make(chan error, 1),
		streams: map[model.StreamID]*stream{}, byName: map[string]*agentProcess{}}
	if err := c.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open cluster: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) open() (err error) {
	if c.registry, err = openRecords(filepath.Join(c.opts.Dir, "master", "registry")); err != nil {
		return err
	}
	if c.master, err = c.listen(c.opts.Listen, "port"); err != nil {
		return err
	}
	if c.opts.Standby != "" {
		if c.standby, err = c.listen(c.opts.Standby, "standby-port"); err != nil {
			return err
		}
	}
	host, port := splitAddr(c.master.Addr())
	c.model = model.New(model.Options{
		UUID: newUUID, Hostname: host, IP: host, Port: port,
		AllocationInterval: c.opts.AllocationInterval, AgentPingTimeout: c.opts.AgentPingTimeout,
		MaxAgentPingTimeouts: c.opts.MaxAgentPingTimeouts, AgentReregisterTimeout: c.opts.AgentReregisterTimeout,
		Secure: c.opts.TLS != nil,
	})
	for i, o := range c.opts.Agents {
		a, err := newAgentProcess(c, i, o)
		if err != nil {
			return fmt.Errorf("agent %d: %w", i+1, err)
		}
		c.agents = append(c.agents, a)
		c.byName[a.name] = a
	}
	return nil
}

// listen opens a port of the master. A port that was chosen is kept.
func (c *Cluster) listen(addr, key string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", addr, err)
	}
	if port != "0" {
		return net.Listen("tcp", addr)
	}
	if kept := c.registry.values[key]; kept != nil {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, string(kept))); err == nil {
			return l, nil
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	_, n := splitAddr(l.Addr())
	return l, c.registry.write([]put{{key, []byte(strconv.Itoa(n))}})
}

// splitAddr says how a listener is reached from this machine.
func splitAddr(a net.Addr) (host string, port int) {
	t := a.(*net.TCPAddr)
	if t.IP.IsUnspecified() {
		return "127.0.0.1", t.Port
	}
	return t.IP.String(), t.Port
}

func addrOf(l net.Listener) string {
	host, port := splitAddr(l.Addr())
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func newUUID() (b [16]byte) {
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return b
}

// Close gives up what Open took. Run does it by itself.
func (c *Cluster) Close() error {
	var errs []error
	for _, l := range []net.Listener{c.master, c.standby} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	for _, a := range c.agents {
		errs = append(errs, a.release())
	}
	if c.registry != nil {
		errs = append(errs, c.registry.close())
		c.registry = nil
	}
	return errors.Join(errs...)
}

// MasterAddr is host:port of the leading master.
func (c *Cluster) MasterAddr() string { return addrOf(c.master) }

// StandbyAddr is host:port of the master that does not lead, "" without one.
func (c *Cluster) StandbyAddr() string {
	if c.standby == nil {
		return ""
	}
	return addrOf(c.standby)
}

// AgentAddr is host:port of an agent, "" if there is none of that name.
func (c *Cluster) AgentAddr(name string) string {
	if a := c.byName[name]; a != nil {
		return a.addr()
	}
	return ""
}

// Agents are the names of the agents, for StopAgent and its like.
func (c *Cluster) Agents() []string {
	var names []string
	for _, a := range c.agents {
		names = append(names, a.name)
	}
	return names
}

// Run runs the cluster until ctx ends, and returns nil then. Executors go on,
// unless the cluster is Ephemeral. It can be called once.
func (c *Cluster) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.ctx = ctx
	c.do(func(now time.Time) { c.model.StartMaster(now, c.registry.values) })
	servers := []*http.Server{c.serve(c.master, c.authenticated(masterRealm, c.serveMaster))}
	if c.standby != nil {
		servers = append(servers, c.serve(c.standby, http.HandlerFunc(c.serveStandby)))
	}
	var err error
	for _, a := range c.agents {
		if err = a.start(); err != nil {
			break
		}
	}
	if err == nil {
		c.opts.Logger.Info("cluster runs", "master", c.MasterAddr(), "agents", len(c.agents))
		err = c.tick(ctx)
	}
	for _, a := range c.agents {
		err = errors.Join(err, a.kill())
	}
	for _, s := range servers {
		err = errors.Join(err, s.Close())
	}
	cancel()
	c.work.Wait()
	if c.opts.Ephemeral { // now that nobody launches any more
		for _, a := range c.agents {
			err = errors.Join(err, a.destroyLeft())
		}
	}
	return errors.Join(err, c.Close())
}

// serve runs a server until it is closed.
func (c *Cluster) serve(l net.Listener, h http.Handler) *http.Server {
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return c.ctx }}
	if c.opts.TLS != nil {
		l = tls.NewListener(l, c.opts.TLS)
	}
	c.work.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.fail(err)
		}
	})
	return s
}

// fail ends Run.
func (c *Cluster) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// tick wakes the model when it wants to be woken.
func (c *Cluster) tick(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.mu.Lock()
		at := c.model.Wake()
		c.mu.Unlock()
		if at.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-c.failed:
			return err
		case <-c.alarm:
		case <-timer.C:
			c.do(func(now time.Time) { c.model.Tick(now) })
		}
	}
}

// do gives the model an input and performs what follows from it.
func (c *Cluster) do(input func(now time.Time)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doLocked(input)
}

func (c *Cluster) doLocked(input func(now time.Time)) {
	before := c.model.Wake()
	input(time.Now())
	c.perform()
	if at := c.model.Wake(); !at.IsZero() && (before.IsZero() || at.Before(before)) {
		select {
		case c.alarm <- struct{}{}:
		default:
		}
	}
}

// perform carries out effects until there are none left: simulated executors
// answer at once.
func (c *Cluster) perform() {
	for {
		effects := c.model.Effects()
		if len(effects) == 0 {
			return
		}
		c.store(effects)
		for _, e := range effects {
			c.performOne(e)
		}
	}
}

// store makes all that is to be durable so, before anything else is done.
func (c *Cluster) store(effects []model.Effect) {
	var puts map[string][]put
	for _, e := range effects {
		if s, ok := e.(model.Store); ok {
			if puts == nil {
				puts = map[string][]put{}
			}
			puts[s.Agent] = append(puts[s.Agent], put{s.Key, s.Value})
		}
	}
	for agent, list := range puts {
		r := c.registry
		if agent != "" {
			r = c.byName[agent].records
		}
		if err := r.write(list); err != nil {
			c.fail(err)
		}
	}
}

func (c *Cluster) performOne(e model.Effect) {
	switch e := e.(type) {
	case model.SchedulerEvent:
		if s := c.streams[e.Stream]; s != nil {
			c.tellEvent(s, e.Event)
			s.push(e.Event)
		}
	case model.ExecutorEvent:
		if s := c.streams[e.Stream]; s != nil {
			s.push(e.Event)
		} else if a := c.byName[e.Agent]; a.simulator != nil {
			a.simulator.event(e)
		}
	case model.OperatorEvent:
		if s := c.streams[e.Stream]; s != nil {
			s.push(e.Event)
		}
	case model.CloseStream:
		if s := c.streams[e.Stream]; s != nil {
			s.close()
			delete(c.streams, e.Stream)
		}
	case model.LaunchContainer:
		c.byName[e.Agent].launch(e)
	case model.DestroyContainer:
		c.byName[e.Agent].destroy(e.Container)
	case model.AgentExits:
		c.opts.Logger.Warn("agent exits", "agent", e.Agent, "why", e.Why)
		c.byName[e.Agent].exited()
	}
}

// subscribe opens the stream of an answer: before its first event is performed.
func (c *Cluster) subscribe(ask func(now time.Time) model.Answer) (model.Answer, *stream) {
	var a model.Answer
	var s *stream
	c.do(func(now time.Time) {
		a = ask(now)
		if a.Code == http.StatusOK && a.Stream != 0 {
			s = newStream()
			s.uuid = a.StreamUUID
			c.streams[a.Stream] = s
		}
	})
	return a, s
}

// stream serves the stream of an answer, and tells the model when the client
// ends it.
func (c *Cluster) stream(w http.ResponseWriter, r *http.Request, a model.Answer, s *stream, format string) {
	if !s.serve(r.Context(), w, format) {
		c.do(func(now time.Time) {
			delete(c.streams, a.Stream)
			c.model.Closed(now, a.Stream)
		})
	}
}
