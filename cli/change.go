package cli

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// written prints the answer of a write: said when it had an effect, else same.
func (a *app) written(w *api.Written, said, same string) error {
	for _, warning := range w.Warnings {
		fmt.Fprintln(a.Err, a.paint(yellow, "warning:"), warning)
	}
	if a.json() {
		return a.printJSON(w)
	}
	if !w.Changed {
		said = same
	}
	_, err := fmt.Fprintln(a.Out, said)
	return err
}

// change is a command that writes to one job.
func (a *app) change(use, short string, do func(ctx context.Context, c *client.Client, args []string) (*api.Written, error),
	said, same string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(len(strings.Fields(use)) - 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkJob(args[0]); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			w, err := do(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			fill := func(text string) string {
				return strings.NewReplacer("JOB", args[0], "LAST", args[len(args)-1]).Replace(text)
			}
			return a.written(w, fill(said), fill(same))
		},
	}
}

func checkJob(job string) error {
	if _, _, _, err := api.ParseJobKey(job); err != nil {
		return usage("%w", err)
	}
	return nil
}

func (a *app) scaleCommand() *cobra.Command {
	c := a.change("scale JOB INSTANCES", "Set how many instances of a service run",
		func(ctx context.Context, c *client.Client, args []string) (*api.Written, error) {
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 0 {
				return nil, usage("%q is not a number of instances", args[1])
			}
			return c.ScaleJob(ctx, args[0], n, client.WriteOptions{})
		}, "JOB is to have LAST instances. `perigee status JOB` shows how far that is.", "JOB has LAST instances already.")
	c.ValidArgsFunction = a.completeJobs(api.KindService)
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		// -1 looks like a flag.
		if digit := regexp.MustCompile(`^unknown shorthand flag: '\d' in (-\d+)$`).FindStringSubmatch(err.Error()); digit != nil {
			return usage("%q is not a number of instances: it must be 0 or more", digit[1])
		}
		return usage("%w", err)
	})
	return c
}

func (a *app) pauseCommand() *cobra.Command {
	var reason string
	c := a.change("pause JOB", "Stop a job's tasks and keep its definition",
		func(ctx context.Context, c *client.Client, args []string) (*api.Written, error) {
			return c.PauseJob(ctx, args[0], reason, client.WriteOptions{})
		}, "JOB is paused: its tasks are being stopped. `perigee resume JOB` starts it again.", "JOB is paused already.")
	c.Flags().StringVar(&reason, "reason", "", "why, for others who see it paused")
	c.ValidArgsFunction = a.completeJobs()
	return c
}

func (a *app) resumeCommand() *cobra.Command {
	c := a.change("resume JOB", "End a pause",
		func(ctx context.Context, c *client.Client, args []string) (*api.Written, error) {
			return c.ResumeJob(ctx, args[0], client.WriteOptions{})
		}, "JOB is resumed.", "JOB is not paused.")
	c.ValidArgsFunction = a.completeJobs()
	return c
}

func (a *app) removeCommand() *cobra.Command {
	var yes bool
	c := a.change("remove JOB", "Stop a job's tasks and forget it",
		func(ctx context.Context, c *client.Client, args []string) (*api.Written, error) {
			job, err := c.Job(ctx, args[0])
			if err != nil {
				return nil, err
			}
			live := job.Tasks.Starting + job.Tasks.Running + job.Tasks.Stopping + job.Tasks.Unreachable
			if err := a.confirm(yes, fmt.Sprintf("Remove %s, a %s with %s on agents?", args[0], job.Kind, plural(live, "task"))); err != nil {
				return nil, err
			}
			return c.RemoveJob(ctx, args[0], client.WriteOptions{IfMatch: &job.Revision})
		}, "JOB is being removed: it is gone when its tasks have stopped.", "JOB is being removed already.")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.ValidArgsFunction = a.completeJobs()
	return c
}

func (a *app) killCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "kill TASK|JOB/INSTANCE|JOB/RUN", Short: "Kill a task, an instance's task, or a run", Args: cobra.ExactArgs(1),
		Long: `Kills a task. A service starts another in its place, without waiting; a run that
is named by its task is retried by its policy, one that is named by its job and
id is cancelled.`,
		Example:           "  perigee kill web/devel/hello/0 --reason 'hangs'",
		ValidArgsFunction: a.completeTasks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if t.job != "" && t.rest == "" {
				return usage("%s is a job: name one of its instances (%s/0) or runs, or a task; `perigee pause %s` stops all", t.job, t.job, t.job)
			}
			if t.run() {
				w, err := c.CancelRun(cmd.Context(), t.job, t.rest, client.WriteOptions{})
				if err != nil {
					return err
				}
				return a.written(w, "Run "+t.rest+" is being cancelled.", "Run "+t.rest+" is being cancelled already.")
			}
			id := t.task
			if id == "" {
				task, err := instanceTask(cmd.Context(), c, t, false)
				if err != nil {
					return err
				}
				id = task.ID
			}
			w, err := c.KillTask(cmd.Context(), id, reason, client.WriteOptions{})
			if err != nil {
				return err
			}
			return a.written(w, "Task "+id+" is being killed.", "Task "+id+" is being killed already.")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, kept with the task")
	return c
}
