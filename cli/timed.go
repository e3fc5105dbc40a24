package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// forFlag adds --for: how long a change lasts that is taken back then.
func forFlag(c *cobra.Command, d *time.Duration, what string) {
	c.Flags().DurationVar(d, "for", 0, what+", such as 90m; at most 720h")
}

// lasting says until when a change lasts, after its text.
func (a *app) lasting(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(" until %s, in %s", a.clock(a.now().Add(d)), span(d))
}

// checkFor refuses times that cannot be meant.
func checkFor(cmd *cobra.Command, d time.Duration) error {
	if cmd.Flags().Changed("for") && (d <= 0 || d > api.MaxTimed) {
		return usage("--for %s: it must be more than 0 and at most %s", d, api.MaxTimed)
	}
	return nil
}

func (a *app) scaleCommand() *cobra.Command {
	var last time.Duration
	c := &cobra.Command{
		Use: "scale JOB INSTANCES", Short: "Set how many instances of a service run", Args: cobra.ExactArgs(2),
		Example:           "  perigee scale web/prod/checkout 40\n  perigee scale web/prod/checkout 60 --for 2h",
		ValidArgsFunction: a.completeJobs(api.KindService),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 0 {
				return usage("%q is not a number of instances", args[1])
			}
			c, err := a.clientFor(args[0])
			if err != nil {
				return err
			}
			if err := checkFor(cmd, last); err != nil {
				return err
			}
			var w *api.Written
			if last != 0 {
				w, err = c.ScaleJobFor(cmd.Context(), args[0], n, last, client.WriteOptions{})
			} else {
				w, err = c.ScaleJob(cmd.Context(), args[0], n, client.WriteOptions{})
			}
			if err != nil {
				return err
			}
			return a.written(w, fmt.Sprintf("%s is to have %s%s. `perigee status %s` shows how far that is.",
				args[0], plural(n, "instance"), a.lasting(last), args[0]), fmt.Sprintf("%s has %s already.", args[0], plural(n, "instance")))
		},
	}
	forFlag(c, &last, "take it back after so long")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		// -1 looks like a flag.
		if digit := regexp.MustCompile(`^unknown shorthand flag: '\d' in (-\d+)$`).FindStringSubmatch(err.Error()); digit != nil {
			return usage("%q is not a number of instances: it must be 0 or more", digit[1])
		}
		return usage("%w", err)
	})
	return c
}

func (a *app) skipHealthCommand() *cobra.Command {
	var last time.Duration
	var off bool
	c := &cobra.Command{
		Use: "skip-health JOB --for TIME", Short: "Have a service's health checks count for nothing for a time", Args: cobra.ExactArgs(1),
		Long: `Has the health checks of a service count for nothing for a time: instances that
run count as ready, and tasks that start meanwhile have no check, also later. A task
that runs already has the check that it was started with: fails that too often in a
row, its executor ends it as ever, once, and the one that follows has none. --off ends
that.`,
		Example:           "  perigee skip-health web/prod/checkout --for 30m\n  perigee skip-health web/prod/checkout --off",
		ValidArgsFunction: a.completeJobs(api.KindService),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clientFor(args[0])
			if err != nil {
				return err
			}
			if err := checkFor(cmd, last); err != nil {
				return err
			}
			if off {
				w, err := c.HeedHealth(cmd.Context(), args[0], client.WriteOptions{})
				if err != nil {
					return err
				}
				return a.written(w, "The health checks of "+args[0]+" count again.", "The health checks of "+args[0]+" count already.")
			}
			w, err := c.SkipHealth(cmd.Context(), args[0], last, client.WriteOptions{})
			if err != nil {
				return err
			}
			said := "The health checks of " + args[0] + " count for nothing" + a.lasting(last) + "."
			return a.written(w, said, said)
		},
	}
	forFlag(c, &last, "how long")
	c.Flags().BoolVar(&off, "off", false, "have them count again")
	c.MarkFlagsMutuallyExclusive("for", "off")
	c.MarkFlagsOneRequired("for", "off")
	return c
}

// clientFor is a client for a command about a job, whose name it checks.
func (a *app) clientFor(job string) (*client.Client, error) {
	if err := checkJob(job); err != nil {
		return nil, err
	}
	return a.client()
}
