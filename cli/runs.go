package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) runsCommand() *cobra.Command {
	var f client.RunFilter
	c := &cobra.Command{
		Use: "runs JOB", Short: "List a cron's or batch job's runs, newest first", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeJobs(api.KindCron, api.KindBatch),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkJob(args[0]); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			page, err := c.Runs(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			if a.json() || len(page.Items) > 0 {
				return a.printRuns(page.Items)
			}
			_, err = fmt.Fprintf(a.Out, "There is no such run of %s. `perigee run %s` starts one.\n", args[0], args[0])
			return err
		},
	}
	c.Flags().StringVar(&f.State, "state", "", "only waiting, active, succeeded, failed, cancelled, skipped or missed ones")
	c.Flags().StringVar(&f.Group, "group", "", "only those of a group")
	c.Flags().IntVarP(&f.Limit, "limit", "n", 20, "list at most this many")
	return c
}

func (a *app) printRuns(runs []api.Run) error {
	return list(a, runs, "", []string{"RUN", "STATE", "DEPLOY", "ATTEMPTS", "BEGAN", "TOOK", "BY", "NOTE"}, func(r api.Run) []string {
		note := r.Reason
		if r.Missed > 1 {
			note = fmt.Sprintf("%d instants; %s", r.Missed, note)
		}
		return []string{r.ID, a.state(r.State), fmt.Sprint(r.Deploy), fmt.Sprint(r.Attempts), a.ago(r.CreatedAt) + " ago",
			a.took(r.StartedAt, r.EndedAt), r.RequestedBy, note}
	})
}

// runIs says what a run does or did, after "it".
func runIs(state string) string {
	switch state {
	case "waiting", "active":
		return "is " + state
	case "cancelled", "skipped", "missed":
		return "was " + state
	}
	return state
}
