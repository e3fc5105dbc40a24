package devcluster

import (
	"fmt"
	"log/slog"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// flags are those of Command.
type flags struct {
	dir        string
	listen     string
	standby    string
	agents     int
	resources  []string
	attributes []string
	simulate   time.Duration
	interval   time.Duration
	ephemeral  bool
}

// Command is `perigee devcluster`: a cluster in the foreground, until it is
// interrupted.
func Command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "devcluster",
		Short: "Run a Mesos cluster of agents on this machine, for development and tests",
		Long: `Run a stand-in for Apache Mesos on this machine: a master and agents with the v1
scheduler, executor and operator HTTP APIs, which really run executors as processes.

--resources and --attributes are those of mesos-agent. Given once they hold for all
agents, given several times for the first, the second and so on; {n} is the agent's
number, counted from 1. Executors go on when the command ends, and are found again
when it is started with the same --dir.`,
		Example: `  perigee devcluster --agents 3 --resources 'cpus:4;mem:8192;ports:[31000-31999]' --attributes 'rack:r{n};zone:z1'`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := f.options()
			if err != nil {
				return err
			}
			opts.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			c, err := Open(opts)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "master http://%s\n", c.MasterAddr())
			return c.Run(ctx)
		},
	}
	s := cmd.Flags()
	s.StringVar(&f.dir, "dir", "devcluster", "directory for sandboxes and for what outlives the process")
	s.StringVar(&f.listen, "listen", "127.0.0.1:5050", "address of the master")
	s.StringVar(&f.standby, "standby", "", "address of a second master, which does not lead")
	s.IntVar(&f.agents, "agents", 1, "number of agents")
	s.StringArrayVar(&f.resources, "resources", []string{DefaultResources}, "resources of an agent; may be repeated")
	s.StringArrayVar(&f.attributes, "attributes", nil, "attributes of an agent; may be repeated")
	s.DurationVar(&f.interval, "allocation-interval", time.Second, "how often resources that were given back are offered")
	s.DurationVar(&f.simulate, "simulate", 0, "run no processes: every task runs for this long and finishes")
	s.BoolVar(&f.ephemeral, "ephemeral", false, "kill all executors when the command ends")
	return cmd
}

func (f flags) options() (Options, error) {
	opts := Options{Dir: f.dir, Listen: f.listen, Standby: f.standby, Ephemeral: f.ephemeral,
		AllocationInterval: f.interval}
	if f.agents < 1 {
		return opts, fmt.Errorf("--agents is %d; a cluster has at least 1", f.agents)
	}
	for n := range f.agents {
		a := AgentOptions{Resources: pick(f.resources, n), Attributes: pick(f.attributes, n)}
		if f.simulate > 0 {
			a.Simulated = &Simulation{Duration: f.simulate}
		}
		opts.Agents = append(opts.Agents, a)
	}
	return opts, nil
}

// pick is the value for an agent: its own, or the last that was given.
func pick(values []string, n int) string {
	if len(values) == 0 {
		return ""
	}
	return strings.ReplaceAll(values[min(n, len(values)-1)], "{n}", strconv.Itoa(n+1))
}
