package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// steered prints the answer of a write that acts on a deploy: said when it had
// an effect, else same, with the deploy's NUMBER and JOB filled in.
func (a *app) steered(w *api.WrittenDeploy, err error, said, same string) error {
	if err != nil {
		return err
	}
	a.warn(w.Warnings)
	if a.json() {
		return a.printJSON(w)
	}
	if !w.Changed {
		said = same
	}
	_, err = fmt.Fprintln(a.Out, strings.NewReplacer("NUMBER", fmt.Sprint(w.Number), "JOB", w.Job).Replace(said))
	return err
}

func (a *app) promoteCommand() *cobra.Command {
	var full bool
	c := &cobra.Command{
		Use: "promote JOB [NUMBER]", Short: "Let a deploy go on past its step", Args: cobra.RangeArgs(1, 2),
		Long: `Lets the deploy in progress go on: past a step that waits for it, or past the rest
of a bake. --full takes it to the end, past all steps that follow. With the number
of a deploy it is that one or none.`,
		Example:           "  perigee promote web/prod/checkout\n  perigee promote web/prod/checkout 12 --full",
		ValidArgsFunction: a.completeDeploys(api.KindService),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, number, err := a.steering(args)
			if err != nil {
				return err
			}
			w, err := c.PromoteDeploy(cmd.Context(), args[0], number, full, client.WriteOptions{})
			return a.steered(w, err, "Deploy NUMBER of JOB goes on: `perigee deploys JOB NUMBER --watch` shows it.", "Deploy NUMBER of JOB was promoted already.")
		},
	}
	c.Flags().BoolVar(&full, "full", false, "to the end, past all steps that follow")
	return c
}

// steering is what commands need that take a job and the number of a deploy.
func (a *app) steering(args []string) (*client.Client, uint32, error) {
	number, err := deployNumber(args[1:])
	if err != nil {
		return nil, 0, err
	}
	c, err := a.clientFor(args[0])
	return c, number, err
}

func (a *app) pulseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pulse JOB [NUMBER]", Short: "Say that a deploy with update.pulse may go on", Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeDeploys(api.KindService),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, number, err := a.steering(args)
			if err != nil {
				return err
			}
			w, err := c.PulseDeploy(cmd.Context(), args[0], number, client.WriteOptions{})
			said := "Deploy NUMBER of JOB may go on."
			if err == nil && w.Rollout != nil && w.Rollout.PulseUntil != nil {
				until := *w.Rollout.PulseUntil
				said = "Deploy NUMBER of JOB may go on until " + a.clock(until) + ", for " + span(until.Sub(a.now())) + "."
			}
			return a.steered(w, err, said, said)
		},
	}
}

func (a *app) cancelCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "cancel JOB [NUMBER]|JOB/RUN|GROUP", Short: "End a deploy in progress, a run, or a deploy group", Args: cobra.RangeArgs(1, 2),
		Long: `Ends the deploy of a job that is in progress: its instances return to what they ran
before. With the number of a deploy it is that one or none. A run is killed and not
tried again. Of a group all jobs return.`,
		Example:           "  perigee cancel web/prod/checkout --reason 'wrong branch'",
		ValidArgsFunction: a.completeDeploys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if len(args) > 1 && (t.task != "" || t.rest != "") {
				return usage("%s is not a job: only after a job comes the number of a deploy", args[0])
			}
			if _, instance := t.instance(); instance {
				return usage("%s is an instance: `perigee kill %s` ends its task", args[0], args[0])
			}
			c, err := a.client()
			switch {
			case err != nil:
				return err
			case t.run():
				return a.cancelRun(cmd.Context(), c, t)
			case t.task != "":
				return a.cancelGroup(cmd.Context(), c, t.task, reason)
			}
			number, err := deployNumber(args[1:])
			if err != nil {
				return err
			}
			w, err := c.CancelDeploy(cmd.Context(), t.job, number, reason, client.WriteOptions{})
			return a.steered(w, err, "Deploy NUMBER of JOB is being cancelled: `perigee deploys JOB NUMBER --watch` shows how its instances return.",
				"Deploy NUMBER of JOB is being cancelled already.")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, kept with the deploy")
	return c
}

func (a *app) cancelRun(ctx context.Context, c *client.Client, t target) error {
	w, err := c.CancelRun(ctx, t.job, t.rest, client.WriteOptions{})
	if err != nil {
		return err
	}
	return a.written(w, "Run "+t.rest+" is being cancelled.", "Run "+t.rest+" is being cancelled already.")
}

func (a *app) cancelGroup(ctx context.Context, c *client.Client, id, reason string) error {
	w, err := c.CancelGroup(ctx, id, reason, client.WriteOptions{})
	if err != nil {
		return err
	}
	a.warn(w.Warnings)
	if a.json() {
		return a.printJSON(w)
	}
	said := fmt.Sprintf("Group %s is being cancelled: `perigee groups %s --watch` shows how its jobs return.", id, id)
	if !w.Changed {
		said = fmt.Sprintf("Group %s is being cancelled already.", id)
	}
	_, err = fmt.Fprintln(a.Out, said)
	return err
}

func (a *app) bounceCommand() *cobra.Command {
	var r api.BounceRequest
	var notes noteFlags
	var wait waitFlags
	c := &cobra.Command{
		Use: "bounce JOB", Short: "Replace every task of a service, with the same spec", Args: cobra.ExactArgs(1),
		Long: `Replaces every task of a service: a new one starts for each, and the old one stops
once that is ready. --incremental replaces one instance after the other.`,
		ValidArgsFunction: a.completeJobs(api.KindService),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clientFor(args[0])
			if err != nil {
				return err
			}
			if r.DeployNotes, err = notes.notes(); err != nil {
				return err
			}
			ctx, cancel := within(cmd.Context(), wait.timeout)
			defer cancel()
			w, err := c.Bounce(ctx, args[0], r, client.WriteOptions{})
			if err != nil {
				return a.inTheWay(err)
			}
			return a.begun(ctx, c, w, wait)
		},
	}
	c.Flags().BoolVar(&r.Incremental, "incremental", false, "one instance after the other")
	notes.add(c)
	wait.add(c)
	return c
}

func (a *app) restartCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "restart JOB/INSTANCE", Short: "Replace the task of one instance", Args: cobra.ExactArgs(1),
		Long:    "Starts another task for an instance, and stops the one it has once that is ready.",
		Example: "  perigee restart web/prod/checkout/3 --reason 'leaks memory'",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			n, instance := t.instance()
			switch {
			case t.job != "" && t.rest == "":
				return usage("%s is a job: name one of its instances, %s/0; `perigee bounce %s` replaces all", t.job, t.job, t.job)
			case !instance:
				return usage("%q is not an instance: write it as team/stage/name/0", args[0])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			w, err := c.RestartInstance(cmd.Context(), t.job, n, reason, client.WriteOptions{})
			if err != nil {
				return err
			}
			return a.written(w, args[0]+" is being restarted: its task stops once the new one is ready.", args[0]+" is being restarted already.")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, kept with the task")
	return c
}
