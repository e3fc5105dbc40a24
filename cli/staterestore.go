package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/restore"
	"github.com/perigee-sched/perigee/server"
)

// restoreFlags are those of state restore.
type restoreFlags struct {
	journalFlags
	cluster                                        string
	replace, newFramework, offline, dryRun, yes, v bool
}

func (a *app) restoreCommand() *cobra.Command {
	var f restoreFlags
	c := &cobra.Command{
		Use: "restore FILE", Short: "Begin a new life of the cluster with the state of a backup", Args: cobra.ExactArgs(1),
		Long: `Writes the state of a backup into the journal that --journal, or the scheduler's
configuration, names. No scheduler may live there. A new incarnation begins: ids of
tasks and events begin with another name, and consumers of events are told to begin
anew (410).

First it asks the Mesos master what it runs and says what the first scheduler would
do: which tasks go on, which it would kill since the backup does not know them, which
it would start; and what becomes of crons, deploys and timed actions. Then it asks.
A restore that is interrupted has to be repeated: no scheduler starts with half of a
state.`,
		Example: "  perigee state restore perigee.backup --dry-run\n  perigee state restore perigee.backup --journal zk://z1:2181/perigee --replace",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.journalConfig(f.journalFlags, cmd)
			if err != nil {
				return err
			}
			return a.restoreState(cmd, s, f, args[0])
		},
	}
	f.add(c, "mesos", "defaults")
	c.Flags().BoolVar(&f.replace, "replace", false, "put the backup in the place of what the journal holds, which is saved to a backup first")
	c.Flags().StringVar(&f.cluster, "as-cluster", "", "restore another cluster's backup as that of this one")
	c.Flags().BoolVar(&f.newFramework, "new-framework", false, "forget the framework id, and with it what Mesos runs")
	c.Flags().BoolVar(&f.offline, "offline", false, "do not ask Mesos, and restore without a preview of what would be killed or started")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "only say what would happen")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVarP(&f.v, "verbose", "v", false, "list all tasks, not only the first of each kind")
	return c
}

func (a *app) restoreState(cmd *cobra.Command, c *config.Server, f restoreFlags, path string) error {
	state, h, _, err := a.readBackup(path)
	if err != nil {
		return err
	}
	if f.cluster != "" {
		c.Cluster = f.cluster
	}
	o := server.RestoreOptions{
		Config: c, Log: logger(a.Err, c.Log), State: state, Header: h, By: actor(), Replace: f.replace, SaveTo: server.SaveDir(path),
		AsCluster: f.cluster != "", NewFramework: f.newFramework, Offline: f.offline, DryRun: f.dryRun,
		Confirm: func(p *server.RestorePlan) error {
			if !a.json() {
				a.printRestore(a.Err, p, f.v)
			}
			if f.dryRun {
				return nil
			}
			return a.confirm(f.yes, "Restore it?")
		},
	}
	plan, err := server.RestoreState(cmd.Context(), o)
	var refused *server.RefusedError
	if errors.As(err, &refused) {
		return &exitError{code: codeConflict, err: err}
	}
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(plan)
	}
	if f.dryRun {
		_, err = fmt.Fprintln(a.Out, "Nothing was changed.")
		return err
	}
	_, err = fmt.Fprintf(a.Out, "Restored: %s is incarnation %s of cluster %s now. Start its schedulers.\n", c.Journal.URL, plan.Incarnation, plan.Cluster)
	return err
}

// shownMost is how many tasks of a kind are listed, unless all are asked for.
const shownMost = 20

// printRestore tells what a restore comes to.
func (a *app) printRestore(out io.Writer, p *server.RestorePlan, all bool) {
	h := p.Backup
	fmt.Fprintf(out, "Backup     %s of cluster %s, incarnation %s, entry %d, %s ago, by perigee %s\n",
		stamp(h.At), orUnknown(h.Cluster), h.Incarnation, h.Index, a.ago(h.At), h.Program)
	fmt.Fprintf(out, "Into       %s, cluster %s, as incarnation %s\n", p.Journal, p.Cluster, p.Incarnation)
	switch {
	case p.Replaces != nil:
		fmt.Fprintf(out, "Replaces   incarnation %s, entry %d, which is saved to %s\n", p.Replaces.Incarnation, p.Replaces.Index, p.SavedTo)
	case p.Unfinished:
		fmt.Fprintln(out, "Replaces   what an interrupted restore has left")
	}
	if p.Framework != "" {
		fmt.Fprintf(out, "Framework  %s\n", p.Framework)
	}
	for _, w := range p.Warnings {
		fmt.Fprintln(out, a.paint(yellow, "warning:"), w)
	}
	fmt.Fprintln(out)
	a.printOutlook(out, p, all)
}

func orUnknown(name string) string {
	if name == "" {
		return "(not told)"
	}
	return name
}

func (a *app) printOutlook(out io.Writer, p *server.RestorePlan, all bool) {
	o := p.Outlook
	if p.Master != "" {
		fmt.Fprintf(out, "%s kept: in the backup, and Mesos (%s) runs them.\n", plural(o.Kept, "task"), p.Master)
	}
	a.printOutlookTasks(out, o.Killed, "would be killed: Mesos runs them, and the backup does not know them", all)
	a.printOutlookTasks(out, o.Missing, "in the backup as alive, and not in Mesos", all)
	a.printOutlookTasks(out, o.Started, "would be started, once what is killed has ended", all)
	a.printOutlookTasks(out, o.Stopped, "would be stopped", all)
	for _, c := range o.Crons {
		fmt.Fprintf(out, "cron %s: of the instants since the backup %s\n", c.Job, cronOutlook(c))
	}
	for _, d := range o.Deploys {
		fmt.Fprintf(out, "deploy %d of %s would go on (%s)\n", d.Deploy, d.Job, d.Phase)
	}
	for i, c := range o.Changes {
		if i == shownMost && !all {
			fmt.Fprintf(out, "and %d more changes: -v lists them\n", len(o.Changes)-i)
			break
		}
		fmt.Fprintf(out, "at once: %s %s%s\n", c.Job, c.Type, prefixed(": ", c.What))
	}
	if o.Webhooks > 0 {
		fmt.Fprintf(out, "%s would be told of events from the new life's first on.\n", plural(o.Webhooks, "webhook"))
	}
}

func (a *app) printOutlookTasks(out io.Writer, tasks []restore.Task, what string, all bool) {
	if len(tasks) == 0 {
		return
	}
	fmt.Fprintf(out, "%s %s:\n", plural(len(tasks), "task"), what)
	for i, t := range tasks {
		if i == shownMost && !all {
			fmt.Fprintf(out, "  and %d more: -v lists them\n", len(tasks)-i)
			return
		}
		fmt.Fprintf(out, "  %s %s%s%s\n", t.ID, t.Name, prefixed(" on ", t.Host), prefixed(": ", t.Note))
	}
}

func cronOutlook(c restore.Cron) string {
	var parts []string
	for _, of := range []struct {
		n    int
		what string
	}{{c.Run, "would run"}, {c.Missed, "would be recorded as missed"}, {c.Skipped, "would be skipped"}} {
		if of.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", of.n, of.what))
		}
	}
	return strings.Join(parts, ", ")
}
