package devcluster

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/perigee-sched/perigee/devcluster/command"
)

// Options are what a cluster is made of. Zero durations mean Mesos's defaults.
type Options struct {
	Dir     string         // holds everything that outlives the process
	Listen  string         // host:port of the master, "127.0.0.1:5050" when empty; port 0 chooses one and keeps it
	Standby string         // host:port of a second master that does not lead, none when empty
	Agents  []AgentOptions // one agent with all defaults when empty
	Logger  *slog.Logger   // nothing is logged when nil

	// Ephemeral destroys all containers when Run ends. Otherwise executors go
	// on, to be found by the next Run.
	Ephemeral bool

	// Credentials, when not nil, are those by principal that master and agents
	// want to be shown, by HTTP's basic authentication. Executors need none.
	Credentials map[string]string
	// TLS, when not nil, is what master and agents speak. CA is the file with the
	// certificates that executors are to trust then.
	TLS *tls.Config
	CA  string

	// Exchanges, when not nil, is told all that passes between schedulers and
	// the leading master, in the order in which it takes effect. It must return
	// at once, and call nothing of the cluster.
	Exchanges func(Exchange)

	// CommandExecutor is the command line of the default executor, which runs
	// tasks that have a command and no executor. Default: this program with
	// command.Argument, which RunHidden knows.
	CommandExecutor []string

	AllocationInterval            time.Duration // 1 s
	AgentPingTimeout              time.Duration // 15 s
	MaxAgentPingTimeouts          int           // 5
	AgentReregisterTimeout        time.Duration // 10 min
	ExecutorRegistrationTimeout   time.Duration // 1 min
	ExecutorReregistrationTimeout time.Duration // 2 s
	ExecutorShutdownGracePeriod   time.Duration // 5 s
	RecoveryTimeout               time.Duration // 15 min, for which executors wait for their agent
}

// AgentOptions are one agent.
type AgentOptions struct {
	Resources  string // as of mesos-agent; DefaultResources when empty
	Attributes string // as of mesos-agent, such as "rack:r1;zone:z1"
	// Hostname is what the agent is called. An IP address is also where it
	// listens. Default: 127.0.0.1, 127.0.0.2 and so on, so that agents are
	// different hosts to a scheduler.
	Hostname string
	Port     int // 0 chooses one and keeps it

	// Simulated agents run no process: their tasks only seem to. See Simulation.
	Simulated *Simulation
}

// DefaultResources are an agent's when none are given.
const DefaultResources = "cpus:4;mem:8192;disk:20480;ports:[31000-31999]"

func (o *Options) setDefaults() error {
	if o.Dir == "" {
		return fmt.Errorf("no directory is given for the cluster")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	o.Dir = dir
	if o.Listen == "" {
		o.Listen = "127.0.0.1:5050"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(o.Agents) == 0 {
		o.Agents = []AgentOptions{{}}
	}
	if len(o.CommandExecutor) == 0 {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		o.CommandExecutor = []string{self, command.Argument}
	}
	for d, value := range map[*time.Duration]time.Duration{
		&o.ExecutorReregistrationTimeout: 2 * time.Second,
		&o.ExecutorShutdownGracePeriod:   5 * time.Second,
		&o.RecoveryTimeout:               15 * time.Minute,
	} {
		if *d == 0 {
			*d = value
		}
	}
	return nil
}
