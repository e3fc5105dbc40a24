package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) deadLettersCommand() *cobra.Command {
	var drop, yes bool
	c := &cobra.Command{
		Use: "dead-letters WEBHOOK [EVENT...]", Short: "List the events that could not be delivered, or drop them", Args: cobra.MinimumNArgs(1),
		Example:           "  perigee webhook dead-letters 6f1c-00000a\n  perigee webhook dead-letters 6f1c-00000a --drop 6f1c-1042-0",
		ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if drop {
				return a.dropDeadLetters(cmd.Context(), c, args[0], args[1:], yes)
			}
			if len(args) > 1 {
				return usage("all dead letters are listed: name events with --drop, or to `perigee webhook redeliver`")
			}
			letters, err := all(func(cursor string) (*api.Page[api.DeadLetter], error) {
				return c.DeadLetters(cmd.Context(), args[0], 0, cursor)
			})
			if err != nil {
				return err
			}
			return list(a, letters, "There are none: all was delivered, or is still tried.",
				[]string{"EVENT", "TYPE", "JOB", "HAPPENED", "ATTEMPTS", "LAST", "NOTE"}, func(d api.DeadLetter) []string {
					note := d.Error
					if d.Redelivering != nil {
						note = "is being delivered once more; before: " + note
					}
					return []string{d.Event, strings.TrimPrefix(d.Type, api.EventPrefix), d.Job, a.clock(d.Time), fmt.Sprint(d.Attempts), a.ago(d.LastAt), note}
				})
		},
	}
	c.Flags().BoolVar(&drop, "drop", false, "forget them: those of the events named, or all")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "with --drop: do not ask")
	return c
}

func (a *app) dropDeadLetters(ctx context.Context, c *client.Client, id string, events []string, yes bool) error {
	if len(events) == 0 {
		if err := a.confirm(yes, fmt.Sprintf("Drop all dead letters of webhook %s?", id)); err != nil {
			return err
		}
	}
	w, err := c.DropDeadLetters(ctx, id, events, client.WriteOptions{})
	if err != nil {
		return err
	}
	return a.wroteDeadLetters(w, "%s dropped.")
}

func (a *app) wroteDeadLetters(w *api.WrittenDeadLetters, said string) error {
	if a.json() {
		return a.printJSON(w)
	}
	if !w.Changed {
		_, err := fmt.Fprintln(a.Out, "There was nothing to do.")
		return err
	}
	verb := " are"
	if w.Count == 1 {
		verb = " is"
	}
	_, err := fmt.Fprintf(a.Out, said+"\n", plural(w.Count, "dead letter")+verb)
	return err
}

func (a *app) redeliverCommand() *cobra.Command {
	return &cobra.Command{
		Use: "redeliver WEBHOOK [EVENT...]", Short: "Deliver dead letters once more: those of some events, or all", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			w, err := c.Redeliver(cmd.Context(), args[0], args[1:], client.WriteOptions{})
			if err != nil {
				return err
			}
			return a.wroteDeadLetters(w, "%s to be delivered once more: `perigee webhook dead-letters "+args[0]+"` shows what is left.")
		},
	}
}
