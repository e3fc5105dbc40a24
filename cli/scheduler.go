package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/mesos"
	"github.com/perigee-sched/perigee/server"
)

func (a *app) schedulerCommand() *cobra.Command {
	var file string
	var print, newFramework, yes bool
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
			o := server.Options{Config: s, Log: logger(a.Err, s.Log), Listening: func(url string) {
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
	c.Flags().BoolVar(&newFramework, "new-framework", false, "register as a new framework, after Mesos removed the old one; lists what is abandoned, and asks")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "with --new-framework: do not ask")
	check(c.MarkFlagFilename("config", "yaml", "yml"))
	return c
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
