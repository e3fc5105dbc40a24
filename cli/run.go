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

type runFlags struct {
	parameters []string
	group      string
	count      int
	priority   int
	retries    int
	wait       bool
	logs       bool
	timeout    time.Duration
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run JOB", Short: "Start runs of a batch or cron job", Args: cobra.ExactArgs(1),
		Example:           "  perigee run web/devel/sum --param to=1000 --wait\n  perigee run web/devel/sum --param to=9 --logs",
		ValidArgsFunction: a.completeJobs(api.KindBatch, api.KindCron),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkJob(args[0]); err != nil {
				return err
			}
			run, err := f.newRun(cmd)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.run(cmd.Context(), c, args[0], run, f)
		},
	}
	c.Flags().StringArrayVarP(&f.parameters, "param", "p", nil, "a parameter, NAME=VALUE; may be repeated")
	c.Flags().StringVar(&f.group, "group", "", "build or batch that the runs belong to: groups share the cluster fairly")
	c.Flags().IntVar(&f.count, "count", 1, "how many runs to start")
	c.Flags().IntVar(&f.priority, "priority", 0, "priority instead of the job's")
	c.Flags().IntVar(&f.retries, "retries", 0, "retries instead of the job's")
	c.Flags().BoolVarP(&f.wait, "wait", "w", false, "wait for the end; the exit status is 0 if all runs succeeded")
	c.Flags().BoolVar(&f.logs, "logs", false, "wait, and print what the run writes to stdout; for one run")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "wait at most so long; the runs go on")
	check(c.RegisterFlagCompletionFunc("param", a.completeParameters))
	return c
}

// completeParameters completes the names of the job's parameters.
func (a *app) completeParameters(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	const nothing = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	c, err := a.client()
	if err != nil || len(args) == 0 {
		return nil, nothing
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeFor)
	defer cancel()
	job, err := c.Job(ctx, args[0])
	if err != nil || job.Spec == nil {
		return nil, nothing
	}
	var names []string
	for name, p := range job.Spec.Parameters {
		if strings.HasPrefix(name, begun) {
			names = append(names, name+"=\t"+p.Description)
		}
	}
	slices.Sort(names)
	return names, nothing
}

func (f runFlags) newRun(cmd *cobra.Command) (api.NewRun, error) {
	run := api.NewRun{Group: f.group}
	for _, p := range f.parameters {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return run, usage("--param %q is not NAME=VALUE", p)
		}
		if run.Parameters == nil {
			run.Parameters = map[string]string{}
		}
		if _, twice := run.Parameters[name]; twice {
			return run, usage("--param %s is given twice", name)
		}
		run.Parameters[name] = value
	}
	if cmd.Flags().Changed("priority") {
		run.Priority = &f.priority
	}
	if cmd.Flags().Changed("retries") {
		run.Retries = &f.retries
	}
	switch {
	case f.count < 1 || f.count > api.MaxRunsPerCall:
		return run, usage("--count %d: it must be from 1 to %d", f.count, api.MaxRunsPerCall)
	case f.logs && f.count > 1:
		return run, usage("--logs is for one run: leave out --count, or read them with `perigee logs JOB/RUN`")
	}
	return run, nil
}

func (a *app) run(ctx context.Context, c *client.Client, job string, run api.NewRun, f runFlags) error {
	ctx, cancel := within(ctx, f.timeout)
	defer cancel()
	var w *watch
	if f.wait || f.logs {
		var err error
		if w, err = openWatch(ctx, c, client.EventFilter{Job: job}); err != nil {
			return err
		}
		defer w.close()
	}
	written, err := c.StartRuns(ctx, job, slices.Repeat([]api.NewRun{run}, f.count), client.WriteOptions{})
	if err != nil {
		return err
	}
	if w == nil {
		said := fmt.Sprintf("Started run %s of %s.", strings.Join(written.Runs, ""), job)
		if f.count > 1 {
			said = fmt.Sprintf("Started %d runs of %s, %s to %s.", f.count, job, written.Runs[0], written.Runs[len(written.Runs)-1])
		}
		return a.written(written, said, said)
	}
	r := &runWatch{app: a, client: c, watch: w, job: job, show: progress{app: a}, began: a.now(),
		left: map[string]bool{}, quiet: f.logs || a.json(), ids: written.Runs}
	for _, id := range written.Runs {
		r.left[id] = true
	}
	logs := &logReader{app: a, client: c, file: stdoutFile, lines: -1, follow: true}
	defer logs.wait()
	if f.logs {
		r.onTask = func(e *api.Event) { logs.followTask(ctx, logs.writer(e.Data.Task, job+"/"+e.Data.Run, false)) }
	}
	if err := r.run(ctx); err != nil {
		return late(err, ctx, "%s of %s not over after %s; they go on", plural(len(r.left), "run"), job, f.timeout)
	}
	logs.wait() // what was written comes before what became of it
	return r.verdict(ctx)
}

// runWatch shows runs until all have ended.
type runWatch struct {
	*app
	client *client.Client
	watch  *watch
	job    string
	ids    []string
	left   map[string]bool
	bad    []string // ids of those that did not succeed
	show   progress
	quiet  bool
	began  time.Time
	onTask func(*api.Event) // told of every event with a task; may be nil
}

func (r *runWatch) run(ctx context.Context) error {
	defer r.show.end()
	for len(r.left) > 0 {
		if !r.quiet {
			r.show.state(fmt.Sprintf("%d of %d runs over, %s", len(r.ids)-len(r.left), len(r.ids), short(r.now().Sub(r.began))))
		}
		event, missed, err := r.watch.next(ctx, idle)
		switch {
		case err != nil:
			return err
		case missed:
			if err := r.lookAll(ctx); err != nil {
				return err
			}
		case event != nil && r.left[event.Data.Run]:
			r.see(event)
		}
	}
	return nil
}

func (r *runWatch) see(e *api.Event) {
	if r.onTask != nil && e.Data.Task != "" {
		r.onTask(e)
	}
	// Of many runs, only how each ends is of interest.
	over := strings.HasPrefix(shortType(e), "run.") && overStates[e.Data.State]
	if !r.quiet && (over || len(r.ids) <= 3) {
		r.show.line("%s", r.eventLine(e, false))
	}
	if over {
		r.over(e.Data.Run, e.Data.State)
	}
}

var overStates = map[string]bool{"succeeded": true, "failed": true, "cancelled": true, "skipped": true, "missed": true}

func (r *runWatch) over(id, state string) {
	delete(r.left, id)
	if state != "succeeded" {
		r.bad = append(r.bad, id)
	}
}

// lookAll asks for every run, after events were missed.
func (r *runWatch) lookAll(ctx context.Context) error {
	for id := range r.left {
		run, err := r.client.Run(ctx, r.job, id)
		if err != nil {
			return err
		}
		if overStates[run.State] {
			r.over(id, run.State)
		}
	}
	return nil
}

// verdict is how the runs ended, as an error unless all succeeded.
func (r *runWatch) verdict(ctx context.Context) error {
	if r.json() {
		runs := []*api.Run{}
		for _, id := range r.ids {
			run, err := r.client.Run(ctx, r.job, id)
			if err != nil {
				return err
			}
			runs = append(runs, run)
		}
		if err := r.printJSON(runs); err != nil {
			return err
		}
	}
	if len(r.bad) == 0 {
		return nil
	}
	first, err := r.client.Run(ctx, r.job, r.bad[0])
	if err != nil {
		return err
	}
	text := fmt.Sprintf("run %s of %s %s%s", first.ID, r.job, ended(first.State), prefixed(": ", first.Reason))
	if first.Task != "" {
		if task, err := r.client.Task(ctx, first.Task); err == nil && task.Message != "" && task.Message != first.Reason {
			text += fmt.Sprintf("\n  task %s: %s", task.ID, task.Message)
		}
		text += fmt.Sprintf("\nperigee logs --stderr %s/%s shows what it wrote", r.job, first.ID)
	}
	if len(r.bad) > 1 {
		text = fmt.Sprintf("%d of %d runs did not succeed; the first: %s", len(r.bad), len(r.ids), text)
	}
	return failed("%s", text)
}
