package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) rollbackCommand() *cobra.Command {
	var to uint
	var r api.RollbackRequest
	var notes noteFlags
	var wait waitFlags
	var yes bool
	var key string
	c := &cobra.Command{
		Use: "rollback JOB", Short: "Return a job to an earlier deploy", Args: cobra.ExactArgs(1),
		Long: `Undoes the deploy that is in progress, or whose old set is kept, at once. Without
one, the job is deployed anew with the spec of an earlier deploy: the last one that
succeeded before the current one, or --to. It is refused before anything is touched
when an artifact of that spec is gone, unless --unchecked says not to look.

The exit status is 0 once the instances are back; else it is as of a deploy.`,
		Example:           "  perigee rollback web/prod/checkout\n  perigee rollback web/prod/checkout --to 12 --yes",
		ValidArgsFunction: a.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clientFor(args[0])
			if err != nil {
				return err
			}
			if r.DeployNotes, err = notes.notes(); err != nil {
				return err
			}
			if cmd.Flags().Changed("to") && to == 0 {
				return usage("--to 0: `perigee deploys %s` lists the deploys there are", args[0])
			}
			r.To = uint32(to)
			if err := a.confirmRollback(cmd.Context(), c, args[0], r, yes); err != nil {
				return err
			}
			ctx, cancel := within(cmd.Context(), wait.timeout)
			defer cancel()
			w, err := c.Rollback(ctx, args[0], r, client.WriteOptions{IdempotencyKey: key})
			if err != nil {
				return a.inTheWay(err)
			}
			return a.undone(ctx, c, w, wait)
		},
	}
	c.Flags().UintVar(&to, "to", 0, "the number of the deploy to return to")
	check(c.RegisterFlagCompletionFunc("to", a.completeNumber))
	notes.add(c)
	c.Flags().BoolVar(&r.Replace, "replace", false, "with --to: end a deploy that is in progress, instead of being refused because of it")
	c.Flags().BoolVar(&r.Unchecked, "unchecked", false, "do not look whether the artifacts are still there")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().StringVar(&key, "idempotency-key", "", "name of this request: sent again with the same one, it is not executed again")
	wait.add(c)
	return c
}

// confirmRollback asks, with what the job would return to as far as that can be
// told before.
func (a *app) confirmRollback(ctx context.Context, c *client.Client, job string, r api.RollbackRequest, yes bool) error {
	if yes {
		return nil
	}
	question := fmt.Sprintf("Roll %s back?", job)
	switch d, err := inProgress(ctx, c, job); {
	case err != nil:
		return err
	case d != nil && r.To == 0:
		question = fmt.Sprintf("Undo deploy %d of %s (%s), which is in progress?", d.Number, job, joined(", ", noted(d), "began "+a.ago(d.CreatedAt)+" ago"))
	case r.To != 0:
		to, err := c.Deploy(ctx, job, r.To)
		if err != nil {
			return err
		}
		question = fmt.Sprintf("Return %s to deploy %d (%s)?", job, r.To, joined(", ", noted(to), ended(string(to.State))+" "+a.ago(to.CreatedAt)+" ago"))
	default:
		j, err := c.Job(ctx, job)
		if err != nil {
			return err
		}
		if d := j.LatestDeploy; d != nil && d.From != 0 {
			question = fmt.Sprintf("Roll %s back from deploy %d (%s)?", job, d.Number, joined(", ", noted(d), ended(string(d.State))+" "+a.ago(d.CreatedAt)+" ago"))
		}
	}
	return a.confirm(false, question)
}

// undone goes on after a write that undoes a deploy, or begins one that does.
func (a *app) undone(ctx context.Context, c *client.Client, w *api.WrittenDeploy, f waitFlags) error {
	if w.Kind == api.DeployOfRollback && w.State != api.DeployRollingBack {
		return a.begun(ctx, c, w, f)
	}
	a.warn(w.Warnings)
	if f.detached() {
		return a.steered(w, nil, "Deploy NUMBER of JOB is being undone: `perigee deploys JOB NUMBER --watch` shows it.", "Deploy NUMBER of JOB is being undone already.")
	}
	return a.await(ctx, c, &w.Deploy, f.timeout, api.DeployRolledBack, api.DeployCancelled)
}
