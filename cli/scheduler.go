package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/mesos"
	"github.com/perigee-sched/perigee/server"
)

func (a *app) schedulerCommand() *cobra.Command {
	var file string
	var print, newCluster, newFramework, yes bool
	c := &cobra.Command{
		Use: "scheduler", Short: "Run a scheduler", Args: cobra.NoArgs,
		Long: `Runs a scheduler until SIGTERM. Settings come from flags, the environment
(PERIGEE_MESOS_MASTER for --mesos-master), the file of --config or
PERIGEE_CONFIG, or else ` + config.DefaultServerFile + `, in this order; --print-config shows them.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, origins, err := config.LoadServer(config.ServerFile(file, a.Environ), a.Environ, cmd.Flags())
			if err != nil {
				return err
			}
			for _, w := range origins.Warnings {
				fmt.Fprintln(a.Err, a.paint(yellow, "warning:"), w)
			}
			if print {
				return s.Print(a.Out, origins)
			}
			o := server.Options{Config: s, Log: logger(a.Err, s.Log), NewCluster: newCluster, Listening: func(url string) {
				fmt.Fprintf(a.Out, "perigee %s answers at %s\n", server.Version, url)
			}}
			if newFramework {
				o.Abandon = func(x server.Abandoned) error { return a.confirmAbandon(x, yes) }
			}
			return a.removed(server.Run(cmd.Context(), o))
		},
	}
	config.AddServerFlags(c.Flags())
	c.Flags().StringVar(&file, "config", "", "the configuration's file")
	c.Flags().BoolVar(&print, "print-config", false, "print every setting and where it came from, and end")
	c.Flags().BoolVar(&newCluster, "new-cluster", false, "begin a new cluster in ZooKeeper where journal.url names a path that holds none; for the first start of its first scheduler")
	c.Flags().BoolVar(&newFramework, "new-framework", false, "register as a new framework, after Mesos removed the old one; lists what is abandoned, and asks")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "with --new-framework: do not ask")
	check(c.MarkFlagFilename("config", "yaml", "yml"))
	c.AddCommand(a.stepDownCommand(), a.showSchedulerCommand(), a.listSchedulersCommand())
	return c
}

func (a *app) stepDownCommand() *cobra.Command {
	return &cobra.Command{
		Use: "step-down", Short: "Have the leading scheduler hand over to another", Args: cobra.NoArgs,
		Long: `Has the scheduler that leads hand over to another at once. Any scheduler may be
asked. The one that led stands by afterwards; it leads again when there is no other.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			was, err := c.StepDown(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(was)
			}
			_, err = fmt.Fprintf(a.Out, "%s has stepped down.\n", was.Address)
			return err
		},
	}
}

func (a *app) showSchedulerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Say which schedulers there are, and which one leads", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			s, err := c.Scheduler(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(s)
			}
			return a.printScheduler(s)
		},
	}
}

func (a *app) listSchedulersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the schedulers with their versions, how far they are and what they know", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all, err := c.Schedulers(cmd.Context())
			if err != nil {
				return err
			}
			return list(a, all, "", []string{"ADDRESS", "ROLE", "VERSION", "ENTRY", "BEHIND", "CLOCK", "FEATURES", "NOTE"},
				func(s api.Scheduler) []string {
					lag, clock := "", ""
					if s.Lag != nil {
						lag = fmt.Sprint(*s.Lag)
					}
					if s.ClockAhead != nil {
						clock = fmt.Sprintf("%+.3fs", s.ClockAhead.Std().Seconds())
					}
					return []string{s.Address, s.Role, s.Version, fmt.Sprint(s.Index), lag, clock,
						strings.Join(s.Features, " "), cmp.Or(s.Unreachable, s.NotWritable)}
				})
		},
	}
}

func (a *app) printScheduler(s *api.Scheduler) error {
	fmt.Fprintf(a.Out, "%s is %s of %s, version %s, at entry %d of epoch %d", s.Address, s.Role, s.Cluster, s.Version, s.Index, s.Epoch)
	if s.Lag != nil {
		fmt.Fprintf(a.Out, ", %d behind its leader", *s.Lag)
	}
	fmt.Fprintln(a.Out)
	switch {
	case s.Leader == "":
		fmt.Fprintln(a.Out, "Nobody leads now.")
	case s.Role == api.RoleStandby:
		fmt.Fprintf(a.Out, "%s leads.\n", s.Leader)
	}
	if s.NotWritable != "" && s.Leader != "" {
		fmt.Fprintf(a.Out, "Nothing can be written: %s.\n", s.NotWritable)
	}
	for _, other := range s.Schedulers {
		if other != s.Leader && other != s.Address {
			fmt.Fprintf(a.Out, "%s stands by.\n", other)
		}
	}
	return nil
}

func (a *app) confirmAbandon(x server.Abandoned, yes bool) error {
	if x.Framework == "" {
		fmt.Fprintln(a.Err, "There is no framework id yet: nothing is abandoned.")
		return nil
	}
	fmt.Fprintf(a.Err, "The framework %s is abandoned, and with it %s:\n", x.Framework, plural(len(x.Tasks), "task"))
	for _, t := range x.Tasks {
		fmt.Fprintln(a.Err, " ", t)
	}
	fmt.Fprintln(a.Err, "If Mesos still runs them, nobody will stop them; they are started again under the new framework.")
	return a.confirm(yes, "Abandon them?")
}

// removed says what to do when Mesos refuses the framework for good.
func (a *app) removed(err error) error {
	var fatal *mesos.FatalError
	if errors.As(err, &fatal) {
		return failed("mesos refuses this framework: %s\nWhat to do: %s", fatal.Mesos, fatal.Advice)
	}
	return err
}

// logger writes as the configuration says.
func logger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	check(level.UnmarshalText([]byte(c.Level)))
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
