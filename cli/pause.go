package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// choice is what `pause` and `resume` are about, where both a job and its deploy
// could be meant.
type choice struct{ deploy, tasks bool }

func (f *choice) add(c *cobra.Command, deploy, tasks string) {
	c.Flags().BoolVar(&f.deploy, "deploy", false, deploy)
	c.Flags().BoolVar(&f.tasks, "tasks", false, tasks)
	c.MarkFlagsMutuallyExclusive("deploy", "tasks")
}

func (a *app) pauseCommand() *cobra.Command {
	var reason string
	var last time.Duration
	var f choice
	c := &cobra.Command{
		Use: "pause JOB", Short: "Stop a job's tasks and keep its definition, or have its deploy stand still", Args: cobra.ExactArgs(1),
		Long: `Stops a job's tasks and keeps its definition. While a deploy of the job is in
progress, say which of the two is meant: with --deploy the deploy stands still,
and no task is stopped; with --tasks the tasks are stopped.`,
		Example:           "  perigee pause web/prod/checkout --reason 'database is being moved' --for 2h\n  perigee pause web/prod/checkout --deploy",
		ValidArgsFunction: a.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clientFor(args[0])
			if err != nil {
				return err
			}
			if err := checkFor(cmd, last); err != nil {
				return err
			}
			return a.pause(cmd.Context(), c, args[0], reason, last, f)
		},
	}
	f.add(c, "have the deploy in progress stand still", "stop the job's tasks, also while a deploy is in progress")
	c.Flags().StringVar(&reason, "reason", "", "why, for others who see it paused")
	forFlag(c, &last, "resume the job after so long")
	c.MarkFlagsMutuallyExclusive("deploy", "for")
	return c
}

func (a *app) pause(ctx context.Context, c *client.Client, job, reason string, last time.Duration, f choice) error {
	if !f.deploy && !f.tasks {
		d, err := inProgress(ctx, c, job)
		switch {
		case err != nil:
			return err
		case d != nil:
			return usage("deploy %d of %s is in progress, so say what to pause:\n"+
				"  perigee pause %s --deploy  has the deploy stand still, and stops no task\n"+
				"  perigee pause %s --tasks   stops the job's tasks", d.Number, job, job, job)
		}
	}
	if f.deploy {
		w, err := c.PauseDeploy(ctx, job, 0, reason, client.WriteOptions{})
		return a.steered(w, err, "Deploy NUMBER of JOB stands still: `perigee resume JOB --deploy` has it go on, `perigee cancel JOB` ends it.",
			"Deploy NUMBER of JOB is paused already.")
	}
	var w *api.Written
	var err error
	if last != 0 {
		w, err = c.PauseJobFor(ctx, job, reason, last, client.WriteOptions{})
	} else {
		w, err = c.PauseJob(ctx, job, reason, client.WriteOptions{})
	}
	if err != nil {
		return err
	}
	return a.written(w, fmt.Sprintf("%s is paused%s: its tasks are being stopped. `perigee resume %s` starts it again.", job, a.lasting(last), job),
		job+" is paused already.")
}

// inProgress is a job's deploy in progress, nil when there is none.
func inProgress(ctx context.Context, c *client.Client, job string) (*api.Deploy, error) {
	j, err := c.Job(ctx, job)
	if err != nil || j.LatestDeploy == nil || j.LatestDeploy.State.Over() {
		return nil, err
	}
	return j.LatestDeploy, nil
}

func (a *app) resumeCommand() *cobra.Command {
	var f choice
	c := &cobra.Command{
		Use: "resume JOB", Short: "End a pause of a job, or of its deploy", Args: cobra.ExactArgs(1),
		Long: `Ends the pause of a job, or of its deploy, whichever is paused. When both are, say
which is meant: --deploy or --tasks.`,
		ValidArgsFunction: a.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clientFor(args[0])
			if err != nil {
				return err
			}
			return a.resume(cmd.Context(), c, args[0], f)
		},
	}
	f.add(c, "have the deploy in progress go on", "start the job's tasks again")
	return c
}

func (a *app) resume(ctx context.Context, c *client.Client, job string, f choice) error {
	if !f.deploy && !f.tasks {
		j, err := c.Job(ctx, job)
		if err != nil {
			return err
		}
		d := j.LatestDeploy
		f.deploy = d != nil && !d.State.Over() && d.Rollout != nil && d.Rollout.Paused
		if f.deploy && j.Paused {
			return usage("both %s and its deploy %d are paused, so say what to resume:\n"+
				"  perigee resume %s --deploy  has the deploy go on\n"+
				"  perigee resume %s --tasks   starts the job's tasks", job, d.Number, job, job)
		}
	}
	if f.deploy {
		w, err := c.ResumeDeploy(ctx, job, 0, "", client.WriteOptions{})
		return a.steered(w, err, "Deploy NUMBER of JOB goes on: `perigee deploys JOB NUMBER --watch` shows it.", "Deploy NUMBER of JOB is not paused.")
	}
	w, err := c.ResumeJob(ctx, job, client.WriteOptions{})
	if err != nil {
		return err
	}
	return a.written(w, job+" is resumed.", job+" is not paused.")
}
