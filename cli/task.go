package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
)

func (a *app) taskCommand() *cobra.Command {
	return &cobra.Command{
		Use: "task TASK|JOB/INSTANCE", Short: "Show a task with its whole timeline", Args: cobra.ExactArgs(1),
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
			id := t.task
			switch _, instance := t.instance(); {
			case instance:
				task, err := instanceTask(cmd.Context(), c, t, true)
				if err != nil {
					return err
				}
				id = task.ID
			case t.run():
				run, err := c.Run(cmd.Context(), t.job, t.rest)
				if err != nil {
					return err
				}
				if id = run.Task; id == "" {
					return notFound("run %s of %s has no task: it %s", run.ID, t.job, runIs(run.State))
				}
			case id == "":
				return usage("%s is a job: name one of its instances, %s/0, or a task; `perigee status %s` lists them", t.job, t.job, t.job)
			}
			task, err := c.Task(cmd.Context(), id)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(task)
			}
			return a.printTask(task)
		},
	}
}

func (a *app) printTask(t *api.Task) error {
	fmt.Fprintf(a.Out, "%s  %s\n", a.paint(bold, t.ID), a.state(t.State))
	about := a.table()
	row := func(name, value string) {
		if value != "" {
			about.add(a.paint(dim, name), value)
		}
	}
	row("runs", fmt.Sprintf("%s, deploy %d, attempt %d", nameOf(t), t.Deploy, t.Attempt))
	row("host", t.Host)
	row("ports", ports(t))
	if t.Instance != nil && t.EndedAt == nil {
		row("ready", map[bool]string{true: "yes", false: "no"}[t.Ready])
	}
	if t.Healthy != nil {
		row("healthy", map[bool]string{true: "yes, by the last check", false: "no, by the last check"}[*t.Healthy])
	}
	if t.ExitCode != nil {
		row("exit code", fmt.Sprint(*t.ExitCode))
	}
	row("stopping", t.Stopping)
	if t.Pending != nil {
		row("waits", t.Pending.Summary)
	}
	row("ran for", a.took(t.RunningAt, t.EndedAt))
	row("message", t.Message)
	row("reason", t.Reason)
	row("sandbox", t.Sandbox)
	if err := about.print(a.Out); err != nil {
		return err
	}
	fmt.Fprintln(a.Out)
	history := a.table()
	for i, m := range t.Timeline {
		after := ""
		if i > 0 {
			after = "+" + a.took(&t.Timeline[i-1].At, &m.At)
		}
		text := m.Message
		if m.Reason != "" {
			text += prefixed(" ", "("+m.Reason+")")
		}
		history.add(a.clock(m.At), after, a.state(m.State), text)
	}
	return history.print(a.Out)
}
