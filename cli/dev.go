package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/cli/dev"
)

func (a *app) devCommand() *cobra.Command {
	var o dev.Options
	var noExamples bool
	c := &cobra.Command{
		Use: "dev", Short: "Run a cluster, a scheduler and three example jobs on this machine", Args: cobra.NoArgs,
		Long: `Runs a Mesos cluster of three agents, a scheduler and three example jobs in one
process, and tells what happens. State is kept in --dir: started again, it goes on
with the same jobs. Ctrl-C ends tasks too; after a kill -9 they go on, and are
found again by the next start.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Agents < 1 || o.Agents > 3 {
				return usage("--agents %d: it must be from 1 to 3", o.Agents)
			}
			if o.FirstPort < 1024 || o.FirstPort > 60000 {
				return usage("--first-port %d: it must be from 1024 to 60000", o.FirstPort)
			}
			o.Command = commandName()
			if !noExamples && o.Examples == "" {
				o.Examples = findExamples()
			}
			if noExamples {
				o.Examples = ""
			}
			if o.Examples != "" {
				var err error
				if o.Examples, err = filepath.Abs(o.Examples); err != nil {
					return err
				}
			}
			o.Tell = func(line string) { fmt.Fprintln(a.Out, line) }
			o.TellEvent = func(e *api.Event) { fmt.Fprintln(a.Out, a.eventLine(e, true)) }
			err := dev.Run(cmd.Context(), o)
			if err == nil {
				o.Tell("Everything is stopped.")
			}
			return a.removed(err)
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", ".perigee/dev", "directory of all state")
	c.Flags().StringVar(&o.Listen, "api-listen", "127.0.0.1:7300", "address of the API; port 0 is any that is free")
	c.Flags().StringVar(&o.Master, "mesos-listen", "127.0.0.1:0", "address of the Mesos master; port 0 is one that is free, and the same after a restart")
	c.Flags().IntVar(&o.Agents, "agents", 3, "number of agents, at most 3")
	// By default below those that the kernel gives out by itself.
	c.Flags().IntVar(&o.FirstPort, "first-port", 31000, "first of the ports that tasks are given, 500 for each agent")
	c.Flags().BoolVar(&o.Fresh, "fresh", false, "begin with nothing: end the tasks of an earlier life, and forget its state")
	c.Flags().StringVar(&o.Examples, "examples", "", "directory of the example jobs (default examples, here or beside the directory of this program)")
	c.Flags().BoolVar(&noExamples, "no-examples", false, "deploy no example jobs")
	c.Flags().StringVar(&o.User, "user", "", "user of tasks whose job names none (default nobody for root, else this user)")
	return c
}

// findExamples looks where a checkout has them; "" when there are none.
func findExamples() string {
	places := []string{"examples"}
	if self, err := os.Executable(); err == nil {
		places = append(places, filepath.Join(filepath.Dir(self), "..", "examples"))
	}
	for _, p := range places {
		if _, err := os.Stat(filepath.Join(p, "hello.yaml")); err == nil {
			return p
		}
	}
	return ""
}

// commandName is how this program was called, as a user would repeat it.
func commandName() string {
	if len(os.Args) > 0 && !strings.HasPrefix(os.Args[0], "/") {
		return os.Args[0]
	}
	return "perigee"
}
