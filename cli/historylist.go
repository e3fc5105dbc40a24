package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

const nothingPast = "History has no such %s."

func (a *app) pastTasksCommand() *cobra.Command {
	p := new(pastFlags)
	c := &cobra.Command{Use: "tasks", Short: "List finished tasks"}
	c.Flags().StringVar(&p.f.Agent, "agent", "", "only those that ran on an agent, by its host or id")
	c.Flags().StringVar(&p.states, "state", "", "only finished, failed, killed or lost ones; several separated by commas")
	c.Flags().StringVar(&p.f.Text, "text", "", "only with all of these words in why they failed")
	c.Flags().StringVar(&p.f.Run, "run", "", "only those of a run of the job that --job names")
	return pastList(a, c, p, func(c *client.Client) func(context.Context, api.HistoryFilter) (*api.HistoryPage[api.Task], error) {
		return c.PastTasks
	}, func(tasks []api.Task) error {
		return list(a, tasks, fmt.Sprintf(nothingPast, "task"), []string{"TASK", "OF", "STATE", "HOST", "BEGAN", "ENDED", "TOOK", "WHY"}, func(t api.Task) []string {
			began := t.LaunchedAt
			if began == nil {
				began = &t.CreatedAt
			}
			return []string{t.ID, nameOf(&t), a.state(t.State), t.Host, a.clock(*began), a.ended(t.EndedAt), a.took(began, t.EndedAt), oneLine(t.Message)}
		})
	})
}

func (a *app) pastRunsCommand() *cobra.Command {
	p := new(pastFlags)
	c := &cobra.Command{Use: "runs", Short: "List runs that are over"}
	c.Flags().StringVar(&p.states, "state", "", "only succeeded, failed, cancelled, skipped or missed ones; several separated by commas")
	c.Flags().StringArrayVar(&p.parameters, "param", nil, "only with a parameter's value, NAME=VALUE; may be repeated")
	c.Flags().StringVar(&p.f.Text, "text", "", "only with all of these words in why they failed")
	c.Flags().StringVar(&p.f.Actor, "by", "", "only those that somebody asked for")
	c.Flags().StringVar(&p.f.Group, "group", "", "only those of a group")
	return pastList(a, c, p, func(c *client.Client) func(context.Context, api.HistoryFilter) (*api.HistoryPage[api.Run], error) {
		return c.PastRuns
	}, func(runs []api.Run) error {
		return list(a, runs, fmt.Sprintf(nothingPast, "run"), []string{"RUN", "STATE", "DEPLOY", "ATTEMPTS", "BEGAN", "ENDED", "TOOK", "BY", "PARAMETERS", "WHY"}, func(r api.Run) []string {
			return []string{r.Job + "/" + r.ID, a.state(r.State), fmt.Sprint(r.Deploy), fmt.Sprint(r.Attempts), a.clock(r.CreatedAt), a.ended(r.EndedAt),
				a.took(r.StartedAt, r.EndedAt), oneLine(r.RequestedBy), oneLine(links(r.Parameters)), oneLine(r.Reason)}
		})
	})
}

func (a *app) pastDeploysCommand() *cobra.Command {
	p := new(pastFlags)
	c := &cobra.Command{Use: "deploys", Short: "List deploys that are over"}
	c.Flags().StringVar(&p.states, "state", "", "only succeeded, failed, superseded, rolled_back or cancelled ones; several separated by commas")
	c.Flags().StringVar(&p.f.Text, "text", "", "only with all of these words in their message or reason")
	c.Flags().StringVar(&p.f.Actor, "by", "", "only those of an author")
	return pastList(a, c, p, func(c *client.Client) func(context.Context, api.HistoryFilter) (*api.HistoryPage[api.Deploy], error) {
		return c.PastDeploys
	}, func(deploys []api.Deploy) error {
		return list(a, deploys, fmt.Sprintf(nothingPast, "deploy"), []string{"JOB", "DEPLOY", "STATE", "KIND", "BY", "BEGAN", "ENDED", "MESSAGE"}, func(d api.Deploy) []string {
			return []string{d.Job, fmt.Sprint(d.Number), a.state(string(d.State)), kindOf(&d), oneLine(d.Author), a.clock(d.CreatedAt), a.ended(d.EndedAt),
				oneLine(joined("; ", d.Message, d.Reason))}
		})
	})
}

func (a *app) pastEventsCommand() *cobra.Command {
	p := new(pastFlags)
	c := &cobra.Command{Use: "events", Short: "List events"}
	c.Flags().StringVar(&p.types, "type", "", "only types that match patterns: deploy.*,task.failed")
	c.Flags().StringVar(&p.f.Agent, "agent", "", "only about an agent, by its host or id")
	c.Flags().StringVar(&p.f.Actor, "by", "", "only those that somebody caused")
	c.Flags().StringVar(&p.f.Task, "task", "", "only about a task")
	c.Flags().StringVar(&p.f.Run, "run", "", "only about a run")
	c.Flags().StringVar(&p.f.Object, "object", "", "only about a webhook, a token or a deploy group, by its id")
	return pastList(a, c, p, func(c *client.Client) func(context.Context, api.HistoryFilter) (*api.HistoryPage[api.Event], error) {
		return c.PastEvents
	}, func(events []api.Event) error {
		if len(events) == 0 && !a.json() {
			_, err := fmt.Fprintf(a.Out, nothingPast+"\n", "event")
			return err
		}
		for i := range events {
			if err := a.printEvent(&events[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) pastTaskCommand() *cobra.Command {
	return &cobra.Command{Use: "task TASK", Short: "Show a finished task with its whole timeline", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			task, err := c.PastTask(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(task)
			}
			return a.printTask(task)
		}}
}

func (a *app) pastRunCommand() *cobra.Command {
	return &cobra.Command{Use: "run JOB/RUN", Short: "Show a run that is over, and its tasks", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if t.rest == "" {
				return usage("%s is not a run: write it as team/stage/name/RUN", args[0])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			run, err := c.PastRun(cmd.Context(), t.job, t.rest)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(run)
			}
			return a.printPastRun(cmd.Context(), c, run)
		}}
}

func (a *app) printPastRun(ctx context.Context, c *client.Client, r *api.Run) error {
	fmt.Fprintf(a.Out, "%s  %s\n", a.paint(bold, r.Job+"/"+r.ID), a.state(r.State))
	about := a.table()
	for _, row := range [][2]string{{"deploy", fmt.Sprint(r.Deploy)}, {"by", oneLine(r.RequestedBy)}, {"parameters", oneLine(links(r.Parameters))},
		{"group", r.Group}, {"began", a.clock(r.CreatedAt)}, {"ended", a.ended(r.EndedAt)}, {"why", oneLine(r.Reason)}} {
		if row[1] != "" {
			about.add(a.paint(dim, row[0]), row[1])
		}
	}
	if err := about.print(a.Out); err != nil {
		return err
	}
	tasks, _, err := past(ctx, api.HistoryFilter{Job: r.Job, Run: r.ID, Limit: 1000}, c.PastTasks)
	if err != nil || len(tasks) == 0 {
		return err
	}
	fmt.Fprintln(a.Out)
	t := a.table("TASK", "ATTEMPT", "STATE", "HOST", "ENDED", "WHY")
	for _, task := range tasks {
		t.add(task.ID, fmt.Sprint(task.Attempt), a.state(task.State), task.Host, a.ended(task.EndedAt), oneLine(task.Message))
	}
	return t.print(a.Out)
}

func (a *app) pastDeployCommand() *cobra.Command {
	return &cobra.Command{Use: "deploy JOB NUMBER", Short: "Show a deploy that is over, with its spec", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkJob(args[0]); err != nil {
				return err
			}
			number, err := deployNumber(args[1:])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			d, err := c.PastDeploy(cmd.Context(), args[0], number)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(d)
			}
			return a.printPastDeploy(d)
		}}
}

func (a *app) printPastDeploy(d *api.Deploy) error {
	fmt.Fprintf(a.Out, "%s  %s\n", a.paint(bold, fmt.Sprintf("Deploy %d of %s", d.Number, d.Job)), a.state(string(d.State)))
	about := a.table()
	for _, row := range [][2]string{{"kind", kindOf(d)}, {"by", oneLine(d.Author)}, {"message", oneLine(d.Message)}, {"why", oneLine(d.Reason)},
		{"began", a.clock(d.CreatedAt)}, {"ended", a.ended(d.EndedAt)}, {"links", oneLine(links(d.Links))}, {"digest", d.Digest}} {
		if row[1] != "" {
			about.add(a.paint(dim, row[0]), row[1])
		}
	}
	if err := about.print(a.Out); err != nil {
		return err
	}
	if d.Spec == nil {
		_, err := fmt.Fprintln(a.Out, "\nIts spec is no longer kept.")
		return err
	}
	fmt.Fprintln(a.Out)
	return a.printJSON(d.Spec)
}

func (a *app) pastEventCommand() *cobra.Command {
	return &cobra.Command{Use: "event ID", Short: "Show an event as JSON", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := c.PastEvent(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			encoder := json.NewEncoder(a.Out)
			encoder.SetIndent("", "  ")
			return encoder.Encode(e)
		}}
}

// ended is when something ended.
func (a *app) ended(at *time.Time) string {
	if at == nil {
		return ""
	}
	return a.clock(*at)
}
