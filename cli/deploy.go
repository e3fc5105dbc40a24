package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/config"
)

// deployFlags are those of `deploy`.
type deployFlags struct {
	file    fileFlags
	only    []string
	notes   noteFlags
	replace bool
	resume  bool
	yes     bool
	key     string
	wait    waitFlags
}

// noteFlags are what is kept with a deploy for people.
type noteFlags struct {
	message, author string
	links           []string
}

func (f *noteFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.message, "message", "m", "", "why, kept with the deploy")
	c.Flags().StringVar(&f.author, "author", "", "whose deploy it is (default: you)")
	c.Flags().StringArrayVar(&f.links, "link", nil, "an address that is kept with it, NAME=URL: commit=https://…; may be repeated")
}

func (f *noteFlags) notes() (api.DeployNotes, error) {
	n := api.DeployNotes{Author: f.author, Message: f.message}
	for _, link := range f.links {
		name, url, ok := strings.Cut(link, "=")
		if !ok || name == "" || url == "" {
			return n, usage("--link %q is not NAME=URL", link)
		}
		if n.Links == nil {
			n.Links = map[string]string{}
		}
		if _, twice := n.Links[name]; twice {
			return n, usage("--link %s is given twice", name)
		}
		n.Links[name] = url
	}
	return n, nil
}

// waitFlags say whether, and how long, a command waits for a deploy's end.
type waitFlags struct {
	wait, detach bool
	timeout      time.Duration
}

func (f *waitFlags) add(c *cobra.Command) {
	c.Flags().BoolVarP(&f.wait, "wait", "w", true, "wait until the deploy is over; the exit status tells how it ended")
	c.Flags().BoolVarP(&f.detach, "detach", "d", false, "do not wait")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "wait at most so long; the deploy goes on")
	c.MarkFlagsMutuallyExclusive("wait", "detach")
	c.MarkFlagsMutuallyExclusive("timeout", "detach")
}

func (f *waitFlags) detached() bool { return f.detach || !f.wait }

func (a *app) deployCommand() *cobra.Command {
	var f deployFlags
	c := &cobra.Command{
		Use: "deploy FILE", Short: "Create the job of a file, or move it to the file's spec", Args: cobra.ExactArgs(1),
		Long: `Sends the job of a file to the scheduler and shows how its instances move to the
new spec, until the deploy is over. Several jobs in a file are deployed one after
the other, in that order; if one fails, those before it are rolled back.

The exit status tells how it ended: 0 succeeded, 10 failed, 11 rolled back,
12 cancelled, 13 superseded, 14 failed and standing still until somebody decides
(update.on_failure: pause), 124 not over after --timeout. Ctrl-C ends the
watching, not the deploy.`,
		Example: `  perigee deploy checkout.yaml --stage prod --set githash=9f86d08 --message 'build 811'
  perigee deploy checkout.yaml --stage prod --set githash=9f86d08 --yes --timeout 30m --idempotency-key build-811`,
		ValidArgsFunction: completeFiles,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.deployFile(cmd.Context(), args[0], f) },
	}
	f.file.add(c)
	c.Flags().StringArrayVar(&f.only, "only", nil, "of a file with several jobs, deploy only this one; NAME or team/stage/name; may be repeated")
	f.notes.add(c)
	c.Flags().BoolVar(&f.replace, "replace", false, "end a deploy that is in progress, instead of being refused because of it")
	c.Flags().BoolVar(&f.replace, "supersede", false, "the same as --replace")
	check(c.Flags().MarkHidden("supersede"))
	c.Flags().BoolVar(&f.resume, "resume", false, "resume a paused job with this deploy; if it fails, the job is paused again")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask before deploying to production")
	c.Flags().StringVar(&f.key, "idempotency-key", "", "name of this request: sent again with the same one, it is not executed again")
	f.wait.add(c)
	return c
}

func (a *app) deployFile(ctx context.Context, path string, f deployFlags) error {
	notes, err := f.notes.notes()
	if err != nil {
		return err
	}
	jobs, err := config.Load(path, f.file.options(a))
	if err != nil {
		return err
	}
	if jobs, err = only(jobs, f.only); err != nil {
		return err
	}
	if len(jobs) > 1 && f.resume {
		return usage("--resume is for one job, and %s has %d: choose one with --only", path, len(jobs))
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := a.readChecksums(ctx, jobs); err != nil {
		return err
	}
	if err := a.confirmDeploy(ctx, c, jobs, f.yes); err != nil {
		return err
	}
	ctx, cancel := within(ctx, f.wait.timeout)
	defer cancel()
	if len(jobs) > 1 {
		return a.deployGroup(ctx, c, jobs, notes, f)
	}
	w, err := c.StartDeploy(ctx, &api.DeployRequest{Spec: &jobs[0].Spec, DeployNotes: notes, Replace: f.replace, Resume: f.resume},
		client.WriteOptions{IdempotencyKey: f.key})
	if err != nil {
		return a.inTheWay(err)
	}
	if w.Changed && !w.Began && w.State.Over() {
		return a.scaled(w)
	}
	return a.begun(ctx, c, w, f.wait)
}

// scaled tells of a spec that differs in nothing but the number of instances:
// that is no deploy.
func (a *app) scaled(w *api.WrittenDeploy) error {
	a.warn(w.Warnings)
	if a.json() {
		return a.printJSON(w)
	}
	_, err := fmt.Fprintf(a.Out, "Only the number of instances differs: %s is to have %s, without a deploy. `perigee status %s` shows how far that is.\n",
		w.Job, plural(w.Instances, "instance"), w.Job)
	return err
}

// only picks jobs by name; all when none is named.
func only(jobs []config.Job, names []string) ([]config.Job, error) {
	if len(names) == 0 {
		return jobs, nil
	}
	var all []string
	picked := slices.DeleteFunc(slices.Clone(jobs), func(j config.Job) bool {
		all = append(all, j.Spec.Job)
		return !slices.ContainsFunc(names, func(name string) bool { return isNamed(j.Spec.Job, name) })
	})
	for _, name := range names {
		if !slices.ContainsFunc(picked, func(j config.Job) bool { return isNamed(j.Spec.Job, name) }) {
			return nil, usage("--only %s: the file has no such job; it has %s", name, strings.Join(all, ", "))
		}
	}
	return picked, nil
}

// isNamed says whether a job is meant by its whole name, or by the last part.
func isNamed(job, name string) bool { return job == name || strings.HasSuffix(job, "/"+name) }

// readChecksums fills in those that the files say where to read.
func (a *app) readChecksums(ctx context.Context, jobs []config.Job) error {
	for i := range jobs {
		if err := config.Resolve(ctx, http.DefaultClient, &jobs[i]); err != nil {
			return err
		}
	}
	return nil
}

// confirmDeploy asks before jobs are deployed of which one wants that. Who is
// asked sees what the deploy would do.
func (a *app) confirmDeploy(ctx context.Context, c *client.Client, jobs []config.Job, yes bool) error {
	var asking []string
	for _, j := range jobs {
		if j.Confirm {
			asking = append(asking, j.Spec.Job)
		}
	}
	if len(asking) == 0 || yes {
		return nil
	}
	if isTerminal(a.In) && isTerminal(a.Err) {
		for i := range jobs {
			p, err := c.Plan(ctx, &api.DeployRequest{Spec: &jobs[i].Spec})
			if err != nil {
				return err
			}
			if err := a.printPlan(a.Err, p); err != nil {
				return err
			}
		}
	}
	if n := len(asking); n > 3 {
		asking = append(asking[:2], fmt.Sprintf("%d more jobs", n-2))
	}
	return a.confirm(false, fmt.Sprintf("Deploy %s?", strings.Join(asking, ", ")))
}

// inTheWay adds what to do to the refusal of a deploy because of another.
func (a *app) inTheWay(err error) error {
	var p *api.Problem
	if !errors.As(err, &p) || p.Deploy == nil {
		return err
	}
	d := p.Deploy
	told := *p
	told.Detail += fmt.Sprintf("\ndeploy %d began %s ago%s; `perigee deploys %s %d --watch` shows it, --replace ends it",
		d.Number, a.ago(d.CreatedAt), prefixed(", ", noted(d)), d.Job, d.Number)
	return &told
}

// warn prints warnings that came with an answer.
func (a *app) warn(warnings []string) {
	for _, warning := range warnings {
		fmt.Fprintln(a.Err, a.paint(yellow, "warning:"), warning)
	}
}

// begun goes on after a write has begun a deploy: waits for its end, or not.
func (a *app) begun(ctx context.Context, c *client.Client, w *api.WrittenDeploy, f waitFlags) error {
	a.warn(w.Warnings)
	if !w.Changed && w.State.Over() {
		if a.json() {
			return a.printJSON(w)
		}
		_, err := fmt.Fprintf(a.Out, "Nothing to change: %s has this spec since deploy %d.\n", w.Job, w.Number)
		return err
	}
	if w.State.Over() {
		if a.json() {
			if err := a.printJSON(w); err != nil {
				return err
			}
		}
		return a.verdict(ctx, c, &w.Deploy, false, api.DeploySucceeded)
	}
	if f.detached() {
		if a.json() {
			return a.printJSON(w)
		}
		said := fmt.Sprintf("Deploy %d of %s has begun: `perigee deploys %s %d --watch` shows it.", w.Number, w.Job, w.Job, w.Number)
		_, err := fmt.Fprintln(a.Out, said)
		return err
	}
	return a.await(ctx, c, &w.Deploy, f.timeout, api.DeploySucceeded)
}

// await watches a deploy until it is over, which is an error unless it is then
// in a state that is wanted.
func (a *app) await(ctx context.Context, c *client.Client, d *api.Deploy, timeout time.Duration, wanted ...api.DeployState) error {
	if full, err := c.Deploy(ctx, d.Job, d.Number); err == nil {
		d = full // has the spec
	}
	w := a.newDeployWatch(c, d)
	end, err := w.run(ctx)
	if err != nil {
		return a.unwatched(ctx, err, fmt.Sprintf("deploy %d of %s", d.Number, d.Job),
			fmt.Sprintf("`perigee deploys %s %d --watch` shows it, `perigee cancel %s` ends it", d.Job, d.Number, d.Job), timeout)
	}
	if a.json() {
		if err := a.printJSON(end); err != nil {
			return err
		}
	}
	return a.verdict(ctx, c, end, w.worded, wanted...)
}

// unwatched says that the watching ended before what was watched.
func (a *app) unwatched(ctx context.Context, err error, what, do string, timeout time.Duration) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return timedOut("%s is still in progress after %s, and goes on: %s", what, timeout, do)
	case errors.Is(ctx.Err(), context.Canceled):
		fmt.Fprintf(a.Err, "\n%s goes on: %s\n", what, do)
		return context.Canceled
	}
	return err
}
