package devcluster

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
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

	credentials     string
	tlsCert, tlsKey string
	tlsCA           string
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
			scheme := "http"
			if opts.TLS != nil {
				scheme = "https"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "master %s://%s\n", scheme, c.MasterAddr())
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
	s.StringVar(&f.credentials, "credentials", "", "file with the credentials that frameworks and operators must have, as mesos-master's in JSON")
	s.StringVar(&f.tlsCert, "tls-cert", "", "certificate of master and agents, which speak TLS then")
	s.StringVar(&f.tlsKey, "tls-key", "", "its key")
	s.StringVar(&f.tlsCA, "tls-ca", "", "certificates that executors trust; the certificate itself when absent")
	return cmd
}

func (f flags) options() (Options, error) {
	opts := Options{Dir: f.dir, Listen: f.listen, Standby: f.standby, Ephemeral: f.ephemeral,
		AllocationInterval: f.interval}
	if f.agents < 1 {
		return opts, fmt.Errorf("--agents is %d; a cluster has at least 1", f.agents)
	}
	if err := f.secure(&opts); err != nil {
		return opts, err
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

// secure reads credentials and certificates.
func (f flags) secure(opts *Options) error {
	if f.credentials != "" {
		text, err := os.ReadFile(f.credentials)
		if err != nil {
			return fmt.Errorf("--credentials: %w", err)
		}
		var file struct {
			Credentials []struct{ Principal, Secret string }
		}
		if err := json.Unmarshal(text, &file); err != nil || len(file.Credentials) == 0 {
			return fmt.Errorf(`--credentials: %s is not {"credentials": [{"principal": "…", "secret": "…"}]}`, f.credentials)
		}
		opts.Credentials = map[string]string{}
		for _, c := range file.Credentials {
			opts.Credentials[c.Principal] = c.Secret
		}
	}
	if f.tlsCert == "" && f.tlsKey == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.tlsCert, f.tlsKey)
	if err != nil {
		return fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	opts.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	opts.CA, err = filepath.Abs(cmp.Or(f.tlsCA, f.tlsCert))
	return err
}

// pick is the value for an agent: its own, or the last that was given.
func pick(values []string, n int) string {
	if len(values) == 0 {
		return ""
	}
	return strings.ReplaceAll(values[min(n, len(values)-1)], "{n}", strconv.Itoa(n+1))
}
