package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/config"
)

func (a *app) deployGroup(ctx context.Context, c *client.Client, jobs []config.Job, notes api.DeployNotes, f deployFlags) error {
	r := api.DeployGroupRequest{DeployNotes: notes, Replace: f.replace}
	for _, j := range jobs {
		r.Specs = append(r.Specs, j.Spec)
	}
	w, err := c.StartGroup(ctx, &r, client.WriteOptions{IdempotencyKey: f.key})
	if err != nil {
		return a.inTheWay(err)
	}
	a.warn(w.Warnings)
	if !w.Changed && w.State.Over() || f.wait.detached() {
		if a.json() {
			return a.printJSON(w)
		}
		said := fmt.Sprintf("Group %s of %d jobs has begun: `perigee groups %s --watch` shows it.", w.ID, len(jobs), w.ID)
		if w.State.Over() {
			said = fmt.Sprintf("Nothing to change: the %d jobs have these specs.", len(jobs))
		}
		_, err := fmt.Fprintln(a.Out, said)
		return err
	}
	return a.awaitGroup(ctx, c, &w.DeployGroup, f.wait.timeout, api.DeploySucceeded)
}

func (a *app) groupsCommand() *cobra.Command {
	var most int
	var watching bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "groups [GROUP]", Short: "List deploy groups, or show one", Args: cobra.MaximumNArgs(1),
		Long: `Lists the deploys of several jobs at once, newest first, or shows one. With
--watch it goes on until the group is over, and exits as ` + "`perigee deploy`" + ` does.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.groups(cmd.Context(), c, most)
			}
			g, err := c.Group(cmd.Context(), args[0])
			switch {
			case err != nil:
				return err
			case watching:
				ctx, cancel := within(cmd.Context(), timeout)
				defer cancel()
				return a.awaitGroup(ctx, c, g, timeout, api.DeploySucceeded)
			case a.json():
				return a.printJSON(g)
			}
			return a.printGroup(g)
		},
	}
	c.ValidArgsFunction = a.completeFirst(groupNames)
	c.Flags().IntVarP(&most, "limit", "n", 20, "list at most this many")
	c.Flags().BoolVarP(&watching, "watch", "w", false, "go on until the group is over")
	c.Flags().DurationVar(&timeout, "timeout", 0, "watch at most so long")
	return c
}

func groupNames(ctx context.Context, c *client.Client) []string {
	page, err := c.Groups(ctx, 50, "")
	if err != nil {
		return nil
	}
	var names []string
	for _, g := range page.Items {
		names = append(names, fmt.Sprintf("%s\t%s, %s", g.ID, plural(len(g.Members), "job"), g.State))
	}
	return names
}

func (a *app) groups(ctx context.Context, c *client.Client, most int) error {
	page, err := c.Groups(ctx, most, "")
	if err != nil {
		return err
	}
	return list(a, page.Items, "There is no deploy group. `perigee deploy` of a file with several jobs begins one.",
		[]string{"GROUP", "STATE", "JOBS", "BY", "BEGAN", "TOOK", "NOTE"}, func(g api.DeployGroup) []string {
			return []string{g.ID, a.state(string(g.State)), fmt.Sprint(len(g.Members)), oneLine(g.Author), a.ago(g.CreatedAt) + " ago",
				a.took(&g.CreatedAt, g.EndedAt), oneLine(joined("; ", g.Message, g.Reason))}
		})
}

func (a *app) printGroup(g *api.DeployGroup) error {
	fmt.Fprintf(a.Out, "%s  %s, began %s ago%s\n", a.paint(bold, "group "+g.ID), a.state(string(g.State)), a.ago(g.CreatedAt),
		prefixed(", ", noted(&api.Deploy{Author: g.Author, Message: g.Message})))
	if g.Reason != "" {
		fmt.Fprintln(a.Out, "  "+oneLine(g.Reason))
	}
	a.printLinks(g.Links)
	fmt.Fprintln(a.Out)
	return list(a, g.Members, "", []string{"JOB", "DEPLOY", "STATE", "UNDONE BY", "NOTE"}, func(m api.DeployGroupEntry) []string {
		return []string{m.Job, numbered(m.Deploy), a.state(string(m.State)), numbered(m.Rollback), oneLine(m.Reason)}
	})
}

func numbered(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// groupWatch shows a group, one deploy after the other.
type groupWatch struct {
	*app
	client *client.Client
	group  *api.DeployGroup
	told   map[string]string // state of members that was told, by job
	worded bool
}

// groupPause is how long a group is waited for at a time that has no deploy in
// progress: between two.
const groupPause = time.Second

func (a *app) awaitGroup(ctx context.Context, c *client.Client, g *api.DeployGroup, timeout time.Duration, wanted api.DeployState) error {
	w := &groupWatch{app: a, client: c, group: g, told: map[string]string{}}
	if err := w.run(ctx); err != nil {
		return a.unwatched(ctx, err, "group "+g.ID, fmt.Sprintf("`perigee groups %s --watch` shows it, `perigee cancel %s` ends it", g.ID, g.ID), timeout)
	}
	end := w.group
	if a.json() {
		if err := a.printJSON(end); err != nil {
			return err
		}
	}
	if end.State == wanted {
		if a.json() {
			return nil
		}
		_, err := fmt.Fprintf(a.Out, "Group %s %s: %s, in %s.\n", end.ID, a.state(ended(string(end.State))), plural(len(end.Members), "job"), a.took(&end.CreatedAt, end.EndedAt))
		return err
	}
	text := fmt.Sprintf("group %s %s%s", end.ID, ended(string(end.State)), prefixed(": ", oneLine(end.Reason)))
	if !w.worded {
		for _, m := range end.Members {
			if m.State != api.DeployRolledBack && m.State != api.DeployFailed {
				continue
			}
			for _, line := range a.lastWords(ctx, c, &api.Deploy{Job: m.Job, Number: m.Deploy, Reason: end.Reason}) {
				text += "\n" + line
			}
		}
	}
	return &exitError{code: codeOfDeploy(end.State), err: errors.New(text + fmt.Sprintf("\n`perigee groups %s` shows more", end.ID))}
}

func (w *groupWatch) run(ctx context.Context) error {
	for {
		w.tell()
		if w.group.State.Over() {
			return nil
		}
		d, err := w.current(ctx)
		if err != nil {
			return err
		}
		if d != nil {
			// What follows a deploy's end is decided along with it.
			if err = w.watch(ctx, d); err == nil {
				w.group, err = w.client.Group(ctx, w.group.ID)
			}
		} else {
			w.group, err = w.client.AwaitGroup(ctx, w.group.ID, groupPause)
		}
		if err != nil {
			return err
		}
	}
}

// current is the deploy of the group that is in progress, nil when none is.
func (w *groupWatch) current(ctx context.Context) (*api.Deploy, error) {
	for _, m := range w.group.Members {
		for _, number := range []uint32{m.Rollback, m.Deploy} {
			if number == 0 {
				continue
			}
			d, err := w.client.Deploy(ctx, m.Job, number)
			switch {
			case err != nil:
				return nil, err
			case !d.State.Over():
				return d, nil
			}
		}
	}
	return nil, nil
}

func (w *groupWatch) watch(ctx context.Context, d *api.Deploy) error {
	watch := w.newDeployWatch(w.client, d, w.members(d.Job)...)
	end, err := watch.run(ctx)
	if err != nil {
		return err
	}
	if standsStill(end) {
		return w.undecided(ctx, w.client, end)
	}
	w.worded = w.worded || watch.worded
	w.say(fmt.Sprintf("deploy %d of %s %s%s", end.Number, end.Job, w.state(ended(string(end.State))), prefixed(": ", oneLine(end.Reason))))
	return nil
}

// members are a line for the group, and one for each job in it but the current.
func (w *groupWatch) members(current string) []string {
	lines := []string{fmt.Sprintf("%s, %s%s", w.paint(bold, "group "+w.group.ID), plural(len(w.group.Members), "job"),
		prefixed(", ", noted(&api.Deploy{Author: w.group.Author, Message: w.group.Message})))}
	for _, m := range w.group.Members {
		switch {
		case m.Job == current:
			lines = append(lines, w.paint(bold, "▸ ")+m.Job)
		case m.State == "":
			lines = append(lines, w.paint(dim, "· "+m.Job))
		case m.State == api.DeploySucceeded && m.Rollback == 0:
			lines = append(lines, w.paint(green, "✓ ")+w.paint(dim, m.Job))
		default:
			lines = append(lines, w.paint(yellow, "↩ ")+m.Job)
		}
	}
	return append(lines, "")
}

// tell says which jobs had nothing to change, or cannot be undone.
func (w *groupWatch) tell() {
	for _, m := range w.group.Members {
		if m.Reason != "" && w.told[m.Job] != m.Reason {
			w.told[m.Job] = m.Reason
			w.say(m.Job + ": " + oneLine(m.Reason))
		}
	}
}

func (w *groupWatch) say(text string) {
	if !w.json() {
		fmt.Fprintln(w.Out, w.clock(w.now())+"  "+text)
	}
}
