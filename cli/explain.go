package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain JOB", Short: "Say why a job is not doing what it should", Args: cobra.ExactArgs(1),
		Long: `Says why tasks of a job wait, by filter and number of agents that each refused;
why instances are not ready; how long failing ones wait before they are started
again, and what they said last.`,
		ValidArgsFunction: a.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkJob(args[0]); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := explanationOf(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(e)
			}
			return a.printExplanation(e)
		},
	}
}

// explanation is what `explain` tells.
type explanation struct {
	Job     *api.Job            `json:"job"`
	Pending []api.PendingReason `json:"pending"`
	// Waiting tasks end a backoff; NotReady ones are on an agent.
	Waiting  []api.Task `json:"waiting"`
	NotReady []api.Task `json:"not_ready"`
	// LastFailure of each instance or run that is concerned, by its name.
	LastFailure map[string]api.Task `json:"last_failure,omitempty"`
	// LastRun of a cron or batch job that did not succeed.
	LastRun *api.Run `json:"last_run,omitempty"`
}

func explanationOf(ctx context.Context, c *client.Client, name string) (*explanation, error) {
	e := &explanation{Pending: []api.PendingReason{}, Waiting: []api.Task{}, NotReady: []api.Task{}, LastFailure: map[string]api.Task{}}
	var err error
	if e.Job, err = c.Job(ctx, name); err != nil {
		return nil, err
	}
	e.Pending = append(e.Pending, e.Job.Pending...)
	tasks, err := tasksOfJob(ctx, c, name, true)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, t := range tasks {
		switch {
		case t.EndedAt != nil:
			if t.State == "failed" || t.State == "lost" {
				e.LastFailure[nameOf(&t)] = t
			}
		case t.State == "pending":
			if t.NotBefore != nil && t.NotBefore.After(now) {
				e.Waiting = append(e.Waiting, t)
			}
		case t.Instance != nil && !t.Ready, t.Instance == nil && t.State != "running":
			e.NotReady = append(e.NotReady, t)
		}
	}
	if e.Job.Kind != api.KindService {
		page, err := c.Runs(ctx, name, client.RunFilter{Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(page.Items) > 0 && page.Items[0].State != "succeeded" {
			e.LastRun = &page.Items[0]
		}
	}
	return e, nil
}

func (a *app) printExplanation(e *explanation) error {
	j := e.Job
	say := func(format string, args ...any) { fmt.Fprintf(a.Out, format+"\n", args...) }
	what := ""
	if j.Kind == api.KindService {
		what = ", " + tasksOf(*j)
	}
	say("%s is %s%s.", a.paint(bold, j.Job), a.state(j.State), what)
	if j.Paused {
		say("It is paused%s. `perigee resume %s` ends that.", prefixed(": ", j.PauseReason), j.Job)
	}
	if d := j.LatestDeploy; d != nil && d.State != "succeeded" {
		say("Deploy %d %s%s.", d.Number, strings.ReplaceAll(string(d.State), "_", " "), prefixed(": ", strings.TrimSuffix(d.Reason, ".")))
	}
	if d := j.LatestDeploy; d != nil && d.Rollout != nil {
		told, rollout := *d, *d.Rollout
		if len(e.Pending) > 0 {
			rollout.Waits = "" // for that, which follows in full
		}
		told.Rollout = &rollout
		v := &rolloutView{app: a, deploy: &told}
		for _, line := range v.foot(a.width()) {
			say("  %s", line)
		}
	}
	for _, p := range e.Pending {
		if err := a.printPending(p); err != nil {
			return err
		}
	}
	for i := range e.Waiting {
		t := &e.Waiting[i]
		say("%s keeps failing: it is started again in %s, as attempt %d.", nameOf(t), short(t.NotBefore.Sub(a.now())+time.Second), t.Attempt)
		a.printLastFailure(e, t)
	}
	for i := range e.NotReady {
		t := &e.NotReady[i]
		say("%s is not ready: %s.", nameOf(t), a.whyNotReady(j, t))
		a.printLastFailure(e, t)
	}
	if r := e.LastRun; r != nil {
		say("The last run, %s, %s%s.", r.ID, runIs(r.State), prefixed(": ", strings.TrimSuffix(r.Reason, ".")))
		if t, ok := e.LastFailure[j.Job+"/"+r.ID]; ok {
			say("  task %s: %s", t.ID, said(&t))
		}
	}
	if len(e.Pending)+len(e.Waiting)+len(e.NotReady) == 0 && !j.Paused && e.LastRun == nil {
		say("Nothing waits, and nothing fails.")
		a.printOldFailures(e)
	}
	return nil
}

// printOldFailures tells what failed before, of those instances that are fine.
func (a *app) printOldFailures(e *explanation) {
	var old []api.Task
	for _, t := range e.LastFailure {
		old = append(old, t)
	}
	slices.SortFunc(old, func(x, y api.Task) int { return y.EndedAt.Compare(*x.EndedAt) })
	for i := range old[:min(len(old), failuresShown)] {
		fmt.Fprintf(a.Out, "The last failure of %s was %s ago: %s\n", nameOf(&old[i]), a.since(old[i].EndedAt), said(&old[i]))
	}
}

func (a *app) printPending(p api.PendingReason) error {
	fmt.Fprintf(a.Out, "%s of deploy %d %s: %s\n", plural(p.Tasks, "task"), p.Deploy, waits(p.Tasks), p.Summary)
	if len(p.Refused) == 0 {
		return nil
	}
	t := a.table("  FILTER", "REFUSED", "WHY")
	for _, r := range p.Refused {
		t.add("  "+r.Filter, fmt.Sprintf("%d of %d agents", r.Agents, p.Agents), r.Detail)
	}
	if err := t.print(a.Out); err != nil {
		return err
	}
	if p.Nearest != "" {
		fmt.Fprintln(a.Out, "  nearest:", p.Nearest)
	}
	return nil
}

func (a *app) printLastFailure(e *explanation, t *api.Task) {
	if f, ok := e.LastFailure[nameOf(t)]; ok {
		fmt.Fprintf(a.Out, "  %s ago task %s %s: %s\n", a.since(f.EndedAt), f.ID, f.State, said(&f))
	}
}

// whyNotReady is what a task that is on an agent still has to do.
func (a *app) whyNotReady(j *api.Job, t *api.Task) string {
	switch {
	case t.Stopping != "":
		return "it is being stopped: " + t.Stopping
	case t.State == "unreachable":
		return fmt.Sprintf("its agent %s does not answer", t.Host)
	case t.State == "launching", t.State == "staging":
		return fmt.Sprintf("it is launched on %s, and its executor has not answered yet", t.Host)
	case t.State != "running":
		return fmt.Sprintf("it is %s on %s%s", t.State, t.Host, prefixed(": ", t.Message))
	case t.Healthy != nil && !*t.Healthy:
		return "its health check fails: " + said(t)
	case j.Spec != nil && j.Spec.Health != nil && t.Healthy == nil:
		return "no health check has succeeded yet" + prefixed(": ", t.Message)
	}
	return fmt.Sprintf("it runs since %s, and has not proved itself for long enough", a.since(t.RunningAt))
}
