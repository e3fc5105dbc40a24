package devcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/devcluster/sandbox"
)

// agentProcess stands for the process of one agent, which can die and be
// started again without this process doing so. Its fields are guarded by the
// cluster's mutex, but for those that never change.
type agentProcess struct {
	c       *Cluster
	name    string
	dir     string // its work directory
	spec    model.AgentSpec
	options AgentOptions
	files   *sandbox.Files

	records    *records
	listener   net.Listener // from newAgentProcess until the first start
	up         bool
	server     *http.Server // nil while it is down
	life       context.Context
	endLife    context.CancelFunc
	containers map[string]*container
	simulator  *simulator // nil unless the agent is simulated
}

func newAgentProcess(c *Cluster, n int, o AgentOptions) (*agentProcess, error) {
	a := &agentProcess{c: c, name: fmt.Sprintf("agent%d", n+1), options: o, containers: map[string]*container{}}
	a.dir = filepath.Join(c.opts.Dir, "agents", a.name)
	a.files = sandbox.New(a.lookup)
	if o.Resources == "" {
		o.Resources = DefaultResources
	}
	resources, err := model.ParseResources(o.Resources)
	if err != nil {
		return nil, err
	}
	attributes, err := model.ParseAttributes(o.Attributes)
	if err != nil {
		return nil, err
	}
	if o.Simulated != nil {
		a.simulator = newSimulator(a, *o.Simulated)
	}
	if a.records, err = openRecords(filepath.Join(a.dir, "meta", "records")); err != nil {
		return nil, err
	}
	if err := a.listen(n); err != nil {
		return nil, errors.Join(err, a.records.close())
	}
	ip, port := splitAddr(a.listener.Addr())
	a.spec = model.AgentSpec{
		Name: a.name, Hostname: o.Hostname, IP: ip, Port: port, Resources: resources, Attributes: attributes,
		Durable:                       o.Simulated == nil,
		ExecutorRegistrationTimeout:   c.opts.ExecutorRegistrationTimeout,
		ExecutorReregistrationTimeout: c.opts.ExecutorReregistrationTimeout,
		ExecutorShutdownGracePeriod:   c.opts.ExecutorShutdownGracePeriod,
	}
	if a.spec.Hostname == "" {
		a.spec.Hostname = ip
	}
	c.model.AddAgent(a.spec)
	return a, nil
}

// listen opens the agent's port: the one given, the one it had, or any. The
// addresses 127.0.0.2 and so on, which every Linux has, make several agents
// several hosts.
func (a *agentProcess) listen(n int) error {
	host := a.options.Hostname
	if net.ParseIP(host) == nil {
		host = "127.0.0.1"
	}
	hosts := []string{host}
	if a.options.Hostname == "" {
		hosts = []string{fmt.Sprintf("127.0.%d.%d", n/250, n%250+1), host}
	}
	ports := []string{strconv.Itoa(a.options.Port)}
	if kept := a.records.values["port"]; a.options.Port == 0 && kept != nil {
		ports = []string{string(kept), "0"}
	}
	var err error
	for _, port := range ports {
		for _, h := range hosts {
			if a.listener, err = net.Listen("tcp", net.JoinHostPort(h, port)); err == nil {
				_, got := splitAddr(a.listener.Addr())
				return a.records.write([]put{{"port", []byte(strconv.Itoa(got))}})
			}
		}
	}
	return err
}

func (a *agentProcess) addr() string { return net.JoinHostPort(a.spec.IP, strconv.Itoa(a.spec.Port)) }

// start starts the agent, unless it runs.
func (a *agentProcess) start() error {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	if a.up {
		return nil
	}
	l := a.listener
	a.listener = nil
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", a.addr()); err != nil {
			return fmt.Errorf("start %s: %w", a.name, err)
		}
	}
	// The fetcher's cache does not outlive the agent.
	if err := os.RemoveAll(a.cacheDir()); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", a.name, err), l.Close())
	}
	a.up = true
	a.life, a.endLife = context.WithCancel(a.c.ctx)
	a.server = a.c.serve(l, a.c.authenticated(agentRealm, a.serve))
	a.c.doLocked(func(now time.Time) {
		a.c.model.StartAgent(now, a.name, a.records.values)
		a.readopt(now)
	})
	return nil
}

// kill ends the agent as SIGKILL does: its connections break, its executors go
// on.
func (a *agentProcess) kill() error {
	a.c.mu.Lock()
	server := a.server
	if a.up {
		a.down()
		a.c.doLocked(func(now time.Time) { a.c.model.StopAgent(now, a.name) })
	}
	a.c.mu.Unlock()
	if server == nil {
		return nil
	}
	return server.Close()
}

// down forgets what an agent has in memory.
func (a *agentProcess) down() {
	a.up, a.server = false, nil
	a.endLife()
	for _, x := range a.containers {
		x.leave()
	}
	a.containers = map[string]*container{}
}

// exited is kill for an agent that ends by itself, which takes its executors
// along. The model knows already.
func (a *agentProcess) exited() {
	server := a.server
	list := a.processes()
	a.down()
	a.c.work.Go(func() {
		a.destroyAll(list)
		if err := server.Close(); err != nil {
			a.c.opts.Logger.Warn("close agent's server", "agent", a.name, "error", err)
		}
	})
}

// release gives up what was opened.
func (a *agentProcess) release() error {
	var err error
	if a.listener != nil {
		err = a.listener.Close()
		a.listener = nil
	}
	if a.records != nil {
		err = errors.Join(err, a.records.close())
		a.records = nil
	}
	return err
}

// StopAgent kills an agent and leaves its executors running.
func (c *Cluster) StopAgent(name string) error {
	a, err := c.agent(name)
	if err != nil {
		return err
	}
	return a.kill()
}

// StartAgent starts an agent with its work directory, unless it runs. An agent
// that was marked gone ends again at once.
func (c *Cluster) StartAgent(name string) error {
	a, err := c.agent(name)
	if err != nil {
		return err
	}
	return a.start()
}

// NewAgent starts an agent that does not know its predecessor of that name,
// whose containers are destroyed. It must not run.
func (c *Cluster) NewAgent(name string) error {
	a, err := c.agent(name)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if a.up {
		c.mu.Unlock()
		return fmt.Errorf("%s runs; stop it first", name)
	}
	var puts []put
	for key := range a.records.values {
		if key != "port" {
			puts = append(puts, put{key: key})
		}
	}
	err = a.records.write(puts)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return a.start()
}

func (c *Cluster) agent(name string) (*agentProcess, error) {
	a := c.byName[name]
	if a == nil {
		return nil, fmt.Errorf("there is no agent %q", name)
	}
	return a, nil
}
