package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/config"
)

func (a *app) planCommand() *cobra.Command {
	var f fileFlags
	var names []string
	c := &cobra.Command{
		Use: "plan FILE", Short: "Say what deploying a file would change, without doing it", Args: cobra.ExactArgs(1),
		Long: `Compares the jobs of a file with what is deployed: which fields differ, which
instances would restart and in which order, and whether the cluster has room for
that now. It changes nothing.

The exit status is 0 when there is nothing to change, 7 when there is, and 3 when
the file is not valid.`,
		Example:           "  perigee plan checkout.yaml --stage prod --set githash=9f86d08",
		ValidArgsFunction: completeFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			jobs, err := config.Load(args[0], f.options(a))
			if err != nil {
				return err
			}
			if jobs, err = only(jobs, names); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := a.readChecksums(cmd.Context(), jobs); err != nil {
				return err
			}
			plans := []*api.Plan{}
			for i := range jobs {
				p, err := c.Plan(cmd.Context(), &api.DeployRequest{Spec: &jobs[i].Spec})
				if err != nil {
					return err
				}
				plans = append(plans, p)
			}
			return a.printPlans(plans)
		},
	}
	f.add(c)
	c.Flags().StringArrayVar(&names, "only", nil, "of a file with several jobs, plan only this one; NAME or team/stage/name; may be repeated")
	return c
}

// printPlans prints plans; the error says whether there is something to change.
func (a *app) printPlans(plans []*api.Plan) error {
	if a.json() {
		if err := a.printJSON(plans); err != nil {
			return err
		}
	}
	changes := false
	for i, p := range plans {
		changes = changes || p.Action != api.PlanNone
		if a.json() {
			continue
		}
		if i > 0 {
			fmt.Fprintln(a.Out)
		}
		if err := a.printPlan(a.Out, p); err != nil {
			return err
		}
	}
	if changes {
		return &exitError{code: codeChanges, err: errors.New("there is something to change"), quiet: true}
	}
	return nil
}

// printPlan prints one plan, for a person.
func (a *app) printPlan(w io.Writer, p *api.Plan) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", a.paint(bold, p.Job), a.planned(p))
	t := a.table()
	for _, c := range p.Changes {
		t.add(a.changed(c)...)
	}
	if err := t.print(&b); err != nil {
		return err
	}
	if n := p.Starts; n > 0 && p.Action != api.PlanCreate {
		fmt.Fprintf(&b, "  adds %s\n", plural(n, "instance"))
	}
	if p.Stops > 0 {
		fmt.Fprintf(&b, "  removes %s\n", plural(p.Stops, "instance"))
	}
	a.printBatches(&b, p)
	if p.Fit.Summary != "" && p.Action != api.PlanNone {
		color := green
		if !p.Fit.Fits {
			color = red
		}
		fmt.Fprintf(&b, "  %s\n", a.paint(color, oneLine(p.Fit.Summary)))
	}
	if !p.Fit.Fits {
		for _, r := range p.Fit.Refused {
			fmt.Fprintf(&b, "    %s: %s (%d of %s)\n", r.Filter, r.Detail, r.Agents, plural(p.Fit.Agents, "agent"))
		}
	}
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "  %s %s\n", a.paint(yellow, "warning:"), oneLine(warning))
	}
	if p.Blocked != "" {
		fmt.Fprintf(&b, "  %s %s\n", a.paint(red, "would be refused now:"), oneLine(p.Blocked))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// planned says what a plan comes to.
func (a *app) planned(p *api.Plan) string {
	against := ""
	if p.From != 0 {
		against = fmt.Sprintf(" from deploy %d", p.From)
	}
	restarts := 0
	for _, batch := range p.Restarts {
		restarts += len(batch.Instances)
	}
	switch p.Action {
	case api.PlanNone:
		return "nothing to change" + against
	case api.PlanCreate:
		if p.Starts == 0 {
			return a.paint(green, "is new")
		}
		return a.paint(green, "is new") + ", with " + plural(p.Starts, "instance")
	case api.PlanScale:
		return a.paint(yellow, "changes the number of instances") + against + "; nothing restarts"
	case api.PlanInPlace:
		return a.paint(yellow, plural(len(p.Changes), "change")) + against + "; nothing restarts"
	}
	return a.paint(yellow, plural(len(p.Changes), "change")) + against + fmt.Sprintf("; %s %s", plural(restarts, "instance"), restart(restarts))
}

func restart(n int) string {
	if n == 1 {
		return "restarts"
	}
	return "restart"
}

// changed is a row for a field: what it was, and what it would be.
func (a *app) changed(c api.SpecChange) []string {
	sign, change := a.paint(yellow, "~"), a.paint(red, value(c.Old))+" → "+a.paint(green, value(c.New))
	switch {
	case c.Old == nil:
		sign, change = a.paint(green, "+"), a.paint(green, value(c.New))
	case c.New == nil:
		sign, change = a.paint(red, "-"), a.paint(red, value(c.Old))
	}
	if !c.Restart {
		change += a.paint(dim, "  (restarts nothing)")
	}
	return []string{"  " + sign, oneLine(c.Field), change}
}

// value is a value of a spec in one line: text as it is, all else as JSON.
func value(v any) string {
	if s, ok := v.(string); ok && s != "" {
		return oneLine(s)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// batchesShown one by one; of more than these, the first ones and the last.
const batchesShown = 6

func (a *app) printBatches(b *strings.Builder, p *api.Plan) {
	if len(p.Restarts) == 0 {
		return
	}
	fmt.Fprintf(b, "  in %s:\n", plural(len(p.Restarts), "step"))
	for i, batch := range p.Restarts {
		if skipped := len(p.Restarts) - batchesShown; skipped > 1 && i >= batchesShown-1 && i < len(p.Restarts)-1 {
			if i == batchesShown-1 {
				fmt.Fprintf(b, "    %s\n", a.paint(dim, fmt.Sprintf("… %d more", skipped)))
			}
			continue
		}
		name := batch.Step
		if name == "" {
			name = fmt.Sprintf("batch %d", i+1)
		}
		fmt.Fprintf(b, "    %s: %s%s", name, ofInstances(batch.Instances), prefixed(", bakes ", batch.Bake))
		if batch.Manual {
			b.WriteString(", waits to be promoted")
		}
		b.WriteByte('\n')
	}
}
