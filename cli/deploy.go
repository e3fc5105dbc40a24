package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/config"
)

type deployFlags struct {
	message   string
	supersede bool
	detach    bool
	timeout   time.Duration
	file      fileFlags
	yes       bool
}

func (a *app) deployCommand() *cobra.Command {
	var f deployFlags
	c := &cobra.Command{
		Use: "deploy FILE", Short: "Create the job of a file, or move it to the file's spec", Args: cobra.ExactArgs(1),
		Long: `Sends the job of a file to the scheduler and shows how its instances move to the
new spec, until the deploy has ended. The exit status is 0 when it succeeded.
Ctrl-C ends the watching, not the deploy.`,
		Example:           "  perigee deploy hello.yaml --message 'more memory'",
		ValidArgsFunction: completeFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			jobs, err := config.Load(args[0], f.file.options(a))
			if err != nil {
				return err
			}
			if err := a.resolve(cmd.Context(), jobs, f.yes); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			for i := range jobs {
				if err := a.deploy(cmd.Context(), c, &jobs[i].Spec, f); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&f.message, "message", "m", "", "why, kept with the deploy")
	c.Flags().BoolVar(&f.supersede, "supersede", false, "end a deploy that is in progress, instead of being refused because of it")
	c.Flags().BoolVarP(&f.detach, "detach", "d", false, "do not wait for the deploy to end")
	f.file.add(c)
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask before deploying to a stage that asks")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "wait at most so long; the deploy goes on")
	return c
}

func (a *app) deploy(ctx context.Context, c *client.Client, spec *api.Spec, f deployFlags) error {
	ctx, cancel := within(ctx, f.timeout)
	defer cancel()
	w, err := openWatch(ctx, c, client.EventFilter{Job: spec.Job})
	if err != nil {
		return err
	}
	defer w.close()
	written, err := c.PutJob(ctx, spec, client.PutOptions{Supersede: f.supersede, Message: f.message})
	if err != nil {
		return err
	}
	for _, warning := range written.Warnings {
		fmt.Fprintln(a.Err, a.paint(yellow, "warning:"), warning)
	}
	if f.detach {
		return a.written(&api.Written{Changed: written.Changed, Job: written.Job, Deploy: written.Deploy,
			Revision: written.Revision, Created: written.Created},
			fmt.Sprintf("Deploy %d of %s has begun.", written.Deploy, spec.Job), a.nothingToDo(spec.Job, written))
	}
	d := &deployWatch{app: a, client: c, watch: w, job: spec.Job, number: written.Deploy, show: progress{app: a}, began: a.now()}
	if a.json() {
		d.silent = true
	} else if !written.Changed {
		d.show.line("%s", a.nothingToDo(spec.Job, written))
	}
	end, err := d.run(ctx)
	if err != nil {
		return late(err, ctx, "deploy %d of %s is still in progress after %s, and goes on", written.Deploy, spec.Job, f.timeout)
	}
	if a.json() {
		if err := a.printJSON(end); err != nil {
			return err
		}
	}
	return d.verdict(ctx, end, written.Changed)
}

func (a *app) nothingToDo(job string, w *api.Written) string {
	return fmt.Sprintf("Nothing to change: %s has this spec since deploy %d.", job, w.Deploy)
}

// deployWatch shows a deploy until it has ended.
type deployWatch struct {
	*app
	client *client.Client
	watch  *watch
	job    string
	number uint32
	show   progress
	silent bool
	began  time.Time
	waits  string // the last reason that was shown
}

// idle is after how long without an event the command looks why.
const idle = 2 * time.Second

func (d *deployWatch) run(ctx context.Context) (*api.Deploy, error) {
	defer d.show.end()
	for {
		deploy, err := d.client.Deploy(ctx, d.job, d.number)
		if err != nil {
			return nil, err
		}
		if deploy.EndedAt != nil {
			return deploy, nil
		}
		if err := d.look(ctx, deploy); err != nil {
			return nil, err
		}
	}
}

// look shows events until one says that the deploy has ended, or may have.
func (d *deployWatch) look(ctx context.Context, deploy *api.Deploy) error {
	updated := deploy.Updated
	for {
		d.status(updated, deploy.Instances)
		event, missed, err := d.watch.next(ctx, idle)
		switch {
		case err != nil || missed:
			return err
		case event == nil:
			if err := d.explain(ctx); err != nil {
				return err
			}
			if job, err := d.client.Job(ctx, d.job); err == nil && job.LatestDeploy != nil && job.LatestDeploy.Number == d.number {
				updated = job.LatestDeploy.Updated
			}
			continue
		}
		typ := shortType(event)
		switch {
		case typ == "deploy.started":
		case strings.HasPrefix(typ, "deploy."):
			return nil // look how far it is
		case strings.HasPrefix(typ, "task."):
			d.line(event)
		}
	}
}

func (d *deployWatch) status(updated, instances int) {
	if d.silent {
		return
	}
	d.show.state(fmt.Sprintf("%d of %d instances ready on deploy %d, %s", updated, instances, d.number, short(d.now().Sub(d.began))))
}

func (d *deployWatch) line(e *api.Event) {
	if !d.silent {
		d.show.line("%s", d.eventLine(e, false))
	}
}

// explain says why tasks wait, when that changed.
func (d *deployWatch) explain(ctx context.Context) error {
	pending, err := d.client.Pending(ctx, d.job)
	if err != nil {
		return err
	}
	for _, p := range pending {
		for _, r := range p.Reasons {
			if r.Deploy == d.number && r.Summary != d.waits && !d.silent {
				d.waits = r.Summary
				d.show.line("%s  %s %s: %s", d.clock(d.now()), plural(r.Tasks, "task"), waits(r.Tasks), r.Summary)
			}
		}
	}
	return nil
}

// verdict is how a deploy ended, as an error unless it succeeded.
func (d *deployWatch) verdict(ctx context.Context, end *api.Deploy, changed bool) error {
	if end.State == "succeeded" {
		if d.silent || !changed {
			return nil
		}
		text := fmt.Sprintf("Deploy %d of %s %s", end.Number, d.job, d.app.state("succeeded"))
		if end.Instances > 0 && end.Reason == "" {
			text += fmt.Sprintf(": %d of %d instances ready, in %s", end.Updated, end.Instances, d.took(&end.CreatedAt, end.EndedAt))
		}
		d.show.line("%s%s.", text, prefixed(": ", end.Reason))
		return nil
	}
	text := fmt.Sprintf("deploy %d of %s %s%s", end.Number, d.job, ended(string(end.State)), prefixed(": ", end.Reason))
	tasks, err := tasksOfJob(ctx, d.client, d.job, true)
	for i := len(tasks) - 1; err == nil && i >= 0; i-- {
		if t := &tasks[i]; t.Deploy == end.Number && t.State == "failed" {
			text += fmt.Sprintf("\n  %s, task %s: %s", nameOf(t), t.ID, said(t))
			break
		}
	}
	return failed("%s\nperigee status %s shows more", text, d.job)
}

// ended says how a deploy or run ended, after its name.
func ended(state string) string {
	switch state {
	case "superseded", "cancelled", "skipped", "missed":
		return "was " + state
	case "rolled_back":
		return "was rolled back"
	}
	return state
}
