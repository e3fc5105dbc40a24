package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) deploysCommand() *cobra.Command {
	var most int
	var wide, watching bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "deploys JOB [NUMBER]", Short: "List a job's deploys, or show or watch one", Args: cobra.RangeArgs(1, 2),
		Long: `Lists a job's deploys, newest first, or shows one with each of its instances. With
--watch it goes on until the deploy is over, the latest one without a number, and
exits as ` + "`perigee deploy`" + ` does.`,
		Example:           "  perigee deploys web/prod/checkout --wide\n  perigee deploys web/prod/checkout 12 --watch",
		ValidArgsFunction: a.completeDeploys(),
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
			switch {
			case watching:
				return a.watchDeploy(cmd.Context(), c, args[0], number, timeout)
			case number != 0:
				return a.showDeploy(cmd.Context(), c, args[0], number)
			}
			page, err := c.Deploys(cmd.Context(), args[0], most, "")
			if err != nil {
				return err
			}
			return a.printDeploys(page.Items, wide)
		},
	}
	c.Flags().IntVarP(&most, "limit", "n", 20, "list at most this many")
	c.Flags().BoolVar(&wide, "wide", false, "list specs, links and reasons, too")
	c.Flags().BoolVarP(&watching, "watch", "w", false, "go on until the deploy is over")
	c.Flags().DurationVar(&timeout, "timeout", 0, "watch at most so long")
	return c
}

// deployNumber reads an optional argument; 0 when it is absent.
func deployNumber(args []string) (uint32, error) {
	if len(args) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(args[0], "#"), 10, 32)
	if err != nil || n == 0 {
		return 0, usage("%q is not the number of a deploy: `perigee deploys JOB` lists them", args[0])
	}
	return uint32(n), nil
}

func (a *app) watchDeploy(ctx context.Context, c *client.Client, job string, number uint32, timeout time.Duration) error {
	if number == 0 {
		page, err := c.Deploys(ctx, job, 1, "")
		switch {
		case err != nil:
			return err
		case len(page.Items) == 0:
			return notFound("%s has no deploy", job)
		}
		number = page.Items[0].Number
	}
	ctx, cancel := within(ctx, timeout)
	defer cancel()
	d, err := c.Deploy(ctx, job, number)
	if err != nil {
		return err
	}
	return a.await(ctx, c, d, timeout, api.DeploySucceeded)
}

func (a *app) printDeploys(deploys []api.Deploy, wide bool) error {
	header := []string{"DEPLOY", "STATE", "KIND", "BY", "BEGAN", "TOOK", "MESSAGE"}
	if wide {
		header = []string{"DEPLOY", "STATE", "KIND", "BY", "BEGAN", "TOOK", "SPEC", "GROUP", "LINKS", "MESSAGE", "REASON"}
	}
	return list(a, deploys, "There is no deploy.", header, func(d api.Deploy) []string {
		row := []string{fmt.Sprint(d.Number), a.state(string(d.State)), kindOf(&d), oneLine(d.Author), a.ago(d.CreatedAt) + " ago",
			a.took(&d.CreatedAt, d.EndedAt)}
		if wide {
			return append(row, d.Digest[:min(12, len(d.Digest))], d.Group, links(d.Links), oneLine(d.Message), oneLine(d.Reason))
		}
		return append(row, oneLine(joined("; ", d.Message, d.Reason)))
	})
}

func kindOf(d *api.Deploy) string {
	switch d.Kind {
	case api.DeployOfRollback:
		return fmt.Sprintf("rollback to %d", d.Of)
	case api.DeployInPlace:
		return "in place"
	}
	return string(d.Kind)
}

// joined are those of some texts that are not empty.
func joined(separator string, texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), separator)
}

func links(l map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		parts = append(parts, name+"="+l[name])
	}
	return strings.Join(parts, " ")
}

func (a *app) printLinks(l map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(l)) {
		fmt.Fprintf(a.Out, "  %s %s\n", a.paint(dim, oneLine(name)), oneLine(l[name]))
	}
}

func (a *app) showDeploy(ctx context.Context, c *client.Client, job string, number uint32) error {
	d, err := c.Deploy(ctx, job, number)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(d)
	}
	return a.printDeployInFull(d)
}

func (a *app) printDeployInFull(d *api.Deploy) error {
	a.printDeployHead(d, true)
	v := &rolloutView{app: a, deploy: d, spec: d.Spec}
	about := a.table()
	row := func(name, value string) {
		if value != "" {
			about.add("  "+a.paint(dim, name), value)
		}
	}
	row("from", numbered(d.From))
	row("spec", d.Digest)
	row("group", d.Group)
	if d.Instances > 0 {
		row("ready", fmt.Sprintf("%d of %d instances", d.Updated, d.Instances))
	}
	row("began", a.clock(d.CreatedAt))
	if d.EndedAt != nil {
		row("ended", a.clock(*d.EndedAt))
	}
	row("took", a.took(&d.CreatedAt, d.EndedAt))
	for _, name := range slices.Sorted(maps.Keys(d.Links)) {
		row(oneLine(name), oneLine(d.Links[name]))
	}
	if err := about.print(a.Out); err != nil || d.Rollout == nil {
		return err
	}
	for _, line := range slices.Concat([]string{""}, v.steps(), v.foot(a.width())) {
		fmt.Fprintln(a.Out, line)
	}
	if len(d.Rollout.Progress) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	t := a.table("INSTANCE", "STATE", "TASK", "DEPLOY", "READY", "HOST", "FAILURES", "NOTE")
	for _, p := range d.Rollout.Progress {
		note := oneLine(p.Message)
		if p.Old != "" {
			note = joined("; ", "beside "+p.Old, note)
		}
		t.add(fmt.Sprint(p.Instance), a.state(stateOfInstance(d, p)), p.Task, numbered(p.Deploy),
			a.state(map[bool]string{true: "yes", false: "no"}[p.Ready]), p.Host, fmt.Sprint(p.Failures), note)
	}
	return t.print(a.Out)
}

// printDeployHead says in a line or two what became of a deploy, or how long it
// has been going on.
func (a *app) printDeployHead(d *api.Deploy, withJob bool) {
	line := fmt.Sprintf("deploy %d%s %s", d.Number, ofKind(d), a.state(string(d.State)))
	if withJob {
		line = a.paint(bold, d.Job) + "  " + line
	}
	if d.EndedAt == nil {
		line += fmt.Sprintf(", %d of %d instances ready on it, began %s ago", d.Updated, d.Instances, a.ago(d.CreatedAt))
	} else {
		line += fmt.Sprintf(" %s ago", a.since(d.EndedAt))
	}
	fmt.Fprintln(a.Out, line+prefixed(", ", noted(d)))
	if d.Reason != "" {
		fmt.Fprintln(a.Out, "  "+oneLine(d.Reason))
	}
}

// printDeploy is a job's latest deploy; current is the same with its spec while
// it goes on, and nil otherwise.
func (a *app) printDeploy(j *api.Job, current *api.Deploy) {
	d := j.LatestDeploy
	if d == nil {
		return
	}
	a.printDeployHead(d, false)
	if current != nil && current.Rollout != nil {
		v := &rolloutView{app: a, deploy: current, spec: current.Spec}
		for _, line := range append(v.steps(), v.foot(a.width()-2)...) {
			fmt.Fprintln(a.Out, "  "+line)
		}
	}
	if j.Deploy != d.Number && d.State != api.DeployRollingBack && d.State != api.DeployRolledBack && d.State != api.DeployCancelled {
		fmt.Fprintf(a.Out, "  instances are to run deploy %d\n", j.Deploy)
	}
}

// printTimed says what will be taken back, and when.
func (a *app) printTimed(j *api.Job) {
	for _, t := range j.Timed {
		fmt.Fprintf(a.Out, "%s for %s more%s\n", map[api.TimedKind]string{api.TimedScale: "scaled", api.TimedPause: "paused",
			api.TimedSkipHealth: "health checks count for nothing"}[t.Action], span(t.Until.Sub(a.now())),
			prefixed(", then: ", t.Revert)+prefixed("; by ", oneLine(t.By)))
	}
}

// completeDeploys completes a job, and then the number of one of its deploys.
func (a *app) completeDeploys(kinds ...api.Kind) completion {
	jobs := a.completeJobs(kinds...)
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return jobs(cmd, args, begun)
		}
		if len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeNumber(cmd, args, begun)
	}
}

// completeNumber completes the number of a deploy of the job that is the first
// argument.
func (a *app) completeNumber(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	const order = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder // newest first
	if len(args) == 0 {
		return nil, order
	}
	c, err := a.client()
	if err != nil {
		return nil, order
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeFor)
	defer cancel()
	page, err := c.Deploys(ctx, args[0], 50, "")
	if err != nil {
		return nil, order
	}
	var fit []string
	for _, d := range page.Items {
		if n := fmt.Sprint(d.Number); strings.HasPrefix(n, begun) {
			fit = append(fit, n+"\t"+joined(", ", kindOf(&d), ended(string(d.State)), oneLine(d.Message)))
		}
	}
	return fit, order
}
