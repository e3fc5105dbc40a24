package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// written prints the answer of a write: said when it had an effect, else same.
func (a *app) written(w *api.Written, said, same string) error {
	a.warn(w.Warnings)
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
				return a.cancelRun(cmd.Context(), c, t)
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
