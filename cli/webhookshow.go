package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
)

func (a *app) webhookShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show WEBHOOK", Short: "Show a webhook, and how far its deliveries are", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			w, err := c.Webhook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			d, err := c.Deliveries(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(struct {
					*api.Webhook
					Deliveries *api.WebhookDeliveries `json:"deliveries"`
				}{w, d})
			}
			return a.printWebhook(w, d)
		},
	}
}

func (a *app) printWebhook(w *api.Webhook, d *api.WebhookDeliveries) error {
	fmt.Fprintf(a.Out, "%s is %s: it tells %s to %s.\n", w.ID, a.paint(hookPaints[w.State], w.State), hookEvents(*w), w.URL)
	if w.Description != "" {
		fmt.Fprintln(a.Out, w.Description)
	}
	if note := a.hookNote(*w); note != "" {
		fmt.Fprintf(a.Out, "It is %s %s\n", w.State, note)
	}
	fmt.Fprintf(a.Out, "Made by %s %s ago, revision %d; %s.\n", w.CreatedBy, span(a.now().Sub(w.CreatedAt)), w.Revision, secrets(w.Secrets))
	fmt.Fprintf(a.Out, "Delivered %d, failed %s; %s, of which %d under way; %s.\n", d.Delivered, plural(int(d.Failed), "attempt"),
		plural(d.Waiting, "event")+" waiting", d.UnderWay, plural(w.DeadLetters, "dead letter"))
	a.printBehind(w, d)
	if err := a.printHeld(d); err != nil {
		return err
	}
	return a.printAttempts(d)
}

func secrets(list []api.WebhookSecret) string {
	s := plural(len(list), "valid secret")
	if n := len(list); n > 1 && list[n-1].ExpiresAt != nil {
		s += ", the oldest until " + list[n-1].ExpiresAt.Local().Format("2006-01-02 15:04")
	}
	return s
}

// printBehind says what a webhook is not told yet, or will never be.
func (a *app) printBehind(w *api.Webhook, d *api.WebhookDeliveries) {
	if d.Reading != "" {
		fmt.Fprintf(a.Out, "It is behind, and reads from the %s: through %s of %s.\n", d.Reading, d.Through, d.Newest)
	}
	if d.NotRead != "" {
		fmt.Fprintf(a.Out, "%s %s\n", a.paint(yellow, "warning:"), d.NotRead)
	}
	for _, g := range d.Gaps {
		fmt.Fprintf(a.Out, "%s events after %s, through %s, were no longer kept when it came to them, and are not told\n", a.paint(yellow, "warning:"), g.After, g.Through)
	}
	if d.Untold > 0 {
		fmt.Fprintf(a.Out, "%s %s no longer kept when it came to them, and not told\n", a.paint(yellow, "warning:"), plural(int(d.Untold), "event"))
	}
	if w.DeadLettersDropped > 0 {
		fmt.Fprintf(a.Out, "%s %s dropped, since there were too many\n", a.paint(yellow, "warning:"), plural(int(w.DeadLettersDropped), "dead letter"))
	}
}

func (a *app) printHeld(d *api.WebhookDeliveries) error {
	if len(d.Held) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	t := a.table("HELD UP", "EVENTS", "ATTEMPTS", "NEXT", "BECAUSE")
	for _, h := range d.Held {
		t.add(cmp.Or(h.Job, "(no job)"), fmt.Sprint(h.Waiting), fmt.Sprint(h.Attempts), "in "+span(max(0, h.RetryAt.Sub(a.now()))), h.Error)
	}
	return t.print(a.Out)
}

func (a *app) printAttempts(d *api.WebhookDeliveries) error {
	if len(d.Attempts) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	t := a.table("WHEN", "EVENT", "TYPE", "JOB", "TOOK", "ANSWER")
	for _, at := range d.Attempts {
		answer := a.paint(green, fmt.Sprint(at.Status))
		if !at.Delivered {
			answer = a.paint(red, at.Error)
		}
		t.add(a.clock(at.At), at.Event, strings.TrimPrefix(at.Type, api.EventPrefix), at.Job, at.Took.Std().Round(time.Millisecond).String(), answer)
	}
	return t.print(a.Out)
}

func (a *app) webhookTestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test WEBHOOK", Short: "Send a test event now, and show what the consumer said", Args: cobra.ExactArgs(1),
		Long: `Sends a test event of the type dev.perigee.webhook.test, signed as any other, also
when the webhook is disabled, and shows what the consumer said. Exits with 1 when
it did not take it. When it did, what waits for the consumer is tried at once.`,
		ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.TestWebhook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json() {
				if err := a.printJSON(t); err != nil || t.Delivered {
					return err
				}
				return &exitError{code: codeFailed, err: fmt.Errorf("%s", t.Error), quiet: true}
			}
			took := t.Took.Std().Round(time.Millisecond)
			if !t.Delivered {
				return failed("the consumer did not take %s, in %s: %s", t.Event, took, t.Error)
			}
			fmt.Fprintf(a.Out, "The consumer took %s: it answered %d in %s.\n", t.Event, t.Status, took)
			if t.Body != "" {
				fmt.Fprintln(a.Out, "It said:", t.Body)
			}
			return nil
		},
	}
}
