package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status [JOB]", Short: "Show how everything, or one job, is doing", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.overview(cmd.Context(), c)
			}
			if err := checkJob(args[0]); err != nil {
				return err
			}
			return a.jobStatus(cmd.Context(), c, args[0])
		},
	}
}

// overview is what `status` tells without a job.
type overview struct {
	API string `json:"api"`
	// NotReady says why the scheduler cannot do its work, "" when it can.
	NotReady string      `json:"not_ready,omitempty"`
	Agents   []api.Agent `json:"agents"`
	Jobs     []api.Job   `json:"jobs"`
}

func (a *app) overview(ctx context.Context, c *client.Client) error {
	o := overview{API: c.Base()}
	var err error
	if o.Jobs, err = all(func(cursor string) (*api.Page[api.Job], error) {
		return c.Jobs(ctx, client.JobFilter{Cursor: cursor, Limit: 1000})
	}); err != nil {
		return err
	}
	if o.Agents, err = c.Agents(ctx); err != nil {
		return err
	}
	if err := c.Ready(ctx); err != nil {
		o.NotReady = err.Error()
	}
	if a.json() {
		return a.printJSON(o)
	}
	ready := a.paint(green, "ready")
	if o.NotReady != "" {
		ready = a.paint(red, o.NotReady)
	}
	tasks := 0
	for _, g := range o.Agents {
		tasks += g.Tasks
	}
	fmt.Fprintf(a.Out, "%s  %s, %s, %s on agents\n\n", o.API, ready, plural(len(o.Agents), "agent"), plural(tasks, "task"))
	return a.printJobs(o.Jobs)
}

// jobStatus is what `status JOB` tells.
type jobStatus struct {
	Job      *api.Job   `json:"job"`
	Tasks    []api.Task `json:"tasks"`
	Failures []api.Task `json:"failures"`       // the last ones, newest first
	Runs     []api.Run  `json:"runs,omitempty"` // the last ones, newest first
	// Deploy in progress, with its spec.
	Deploy *api.Deploy `json:"deploy,omitempty"`
}

const (
	failuresShown = 3
	runsShown     = 5
)

func (a *app) jobStatus(ctx context.Context, c *client.Client, job string) error {
	s := jobStatus{Tasks: []api.Task{}, Failures: []api.Task{}}
	var err error
	if s.Job, err = c.Job(ctx, job); err != nil {
		return err
	}
	if d := s.Job.LatestDeploy; d != nil && (!d.State.Over() || d.Rollout != nil) {
		if s.Deploy, err = c.Deploy(ctx, job, d.Number); err != nil {
			return err
		}
	}
	tasks, err := tasksOfJob(ctx, c, job, true)
	if err != nil {
		return err
	}
	for _, t := range slices.Backward(tasks) {
		switch {
		case t.EndedAt == nil:
			s.Tasks = append(s.Tasks, t)
		case (t.State == "failed" || t.State == "lost") && len(s.Failures) < failuresShown:
			s.Failures = append(s.Failures, t)
		}
	}
	slices.SortStableFunc(s.Tasks, func(x, y api.Task) int { return strings.Compare(order(&x), order(&y)) })
	if s.Job.Kind != api.KindService {
		page, err := c.Runs(ctx, job, client.RunFilter{Limit: runsShown})
		if err != nil {
			return err
		}
		s.Runs = page.Items
	}
	if a.json() {
		return a.printJSON(s)
	}
	return a.printStatus(s)
}

// order sorts tasks by instance, then run, then age.
func order(t *api.Task) string {
	n := 0
	if t.Instance != nil {
		n = *t.Instance
	}
	return fmt.Sprintf("%08d %s %s", n, t.Run, t.ID)
}

func (a *app) printStatus(s jobStatus) error {
	j := s.Job
	what := []string{string(j.Kind), a.state(j.State)}
	if j.Kind == api.KindService {
		what = append(what, tasksOf(*j))
	}
	fmt.Fprintf(a.Out, "%s  %s\n", a.paint(bold, j.Job), strings.Join(what, ", "))
	if j.Paused {
		fmt.Fprintf(a.Out, "paused%s; `perigee resume %s` ends that\n", prefixed(": ", j.PauseReason), j.Job)
	}
	a.printTimed(j)
	a.printDeploy(j, s.Deploy)
	if sch := j.Spec; sch != nil && sch.Schedule != nil {
		next := "never again"
		if j.NextRun != nil {
			next = "next run " + a.clock(*j.NextRun) + ", in " + short(j.NextRun.Sub(a.now()))
		}
		fmt.Fprintf(a.Out, "schedule %s (%s), %s\n", sch.Schedule.Cron, sch.Schedule.Zone, next)
	}
	if len(s.Tasks) > 0 {
		fmt.Fprintln(a.Out)
		if err := a.printTasks(s.Tasks); err != nil {
			return err
		}
	}
	for _, p := range j.Pending {
		fmt.Fprintf(a.Out, "\n%s of deploy %d %s: %s\n", plural(p.Tasks, "task"), p.Deploy, waits(p.Tasks), p.Summary)
	}
	if len(s.Runs) > 0 {
		fmt.Fprintln(a.Out)
		if err := a.printRuns(s.Runs); err != nil {
			return err
		}
	}
	if len(s.Failures) > 0 {
		fmt.Fprintln(a.Out, "\nlast failures:")
		for _, t := range s.Failures {
			fmt.Fprintf(a.Out, "  %s ago  %s  %s %s: %s\n", a.since(t.EndedAt), t.ID, nameOf(&t), a.state(t.State), said(&t))
		}
	}
	return nil
}

func waits(n int) string {
	if n == 1 {
		return "waits"
	}
	return "wait"
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func (a *app) printTasks(tasks []api.Task) error {
	t := a.table("WHAT", "TASK", "STATE", "READY", "HOST", "PORTS", "SINCE", "NOTE")
	for _, task := range tasks {
		ready := ""
		if task.Instance != nil {
			ready = a.state(map[bool]string{true: "yes", false: "no"}[task.Ready])
		}
		t.add(nameOf(&task), task.ID, a.state(task.State), ready, task.Host, ports(&task), a.ago(sinceOf(&task)), a.noteOfTask(&task))
	}
	return t.print(a.Out)
}

// sinceOf is since when a task does what it does.
func sinceOf(t *api.Task) time.Time {
	for _, at := range []*time.Time{t.EndedAt, t.RunningAt} {
		if at != nil {
			return *at
		}
	}
	return t.CreatedAt
}

func ports(t *api.Task) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.Ports)) {
		parts = append(parts, fmt.Sprintf("%s=%d", name, t.Ports[name]))
	}
	return strings.Join(parts, " ")
}

// noteOfTask is what else there is to say of a task, in a few words.
func (a *app) noteOfTask(t *api.Task) string {
	switch {
	case t.Stopping != "":
		return "stopping: " + t.Stopping
	case t.NotBefore != nil && t.NotBefore.After(a.now()):
		return "failed before; starts again in " + short(t.NotBefore.Sub(a.now())+time.Second)
	case t.Healthy != nil && !*t.Healthy:
		return "unhealthy: " + t.Message
	case t.Attempt > 1:
		return fmt.Sprintf("attempt %d", t.Attempt)
	}
	return ""
}

// said is what is known about a task's end.
func said(t *api.Task) string {
	text := t.Message
	if text == "" {
		text = strings.ToLower(strings.ReplaceAll(t.Reason, "_", " "))
	}
	if text == "" {
		text = "no reason was given"
	}
	return text
}
