package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) webhookCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "webhook", Short: "Have events told to a URL",
		Long: `Has events told to a URL: signed, in order per job, and again and again while the
consumer does not take them. docs/webhooks.md tells how a consumer verifies them.`,
	}
	c.AddCommand(a.webhookCreateCommand(), a.webhookListCommand(), a.webhookShowCommand(), a.webhookUpdateCommand(), a.webhookRemoveCommand(),
		a.webhookRotateCommand(), a.webhookTestCommand(), a.webhookEnableCommand(), a.webhookDisableCommand(),
		a.deadLettersCommand(), a.redeliverCommand())
	return c
}

// hookFlags say which events are told.
func hookFlags(c *cobra.Command, r *api.WebhookRequest) {
	c.Flags().StringVar(&r.Job, "job", "", "only of jobs that match a pattern: 'web/prod/*'")
	c.Flags().StringSliceVar(&r.Types, "type", nil, "only types that match patterns: 'task.*',deploy.failed; may be repeated")
	c.Flags().StringVarP(&r.Description, "description", "m", "", "what it is for, for people to read")
}

func (a *app) webhookCreateCommand() *cobra.Command {
	var r api.WebhookRequest
	c := &cobra.Command{
		Use: "create URL", Short: "Have events told to a URL", Args: cobra.ExactArgs(1),
		Long: `Has events told to a URL from now on, and prints the secret that deliveries are
signed with, once. The events are those of a team; --team '*' are those of all
teams and of none.`,
		Example: "  perigee webhook create https://bot.example.com/perigee --job 'web/prod/*' --type deploy.failed,'task.*'\n" +
			"  perigee webhook create https://billing.example.com/runs --team etl --type 'run.*' -m billing",
		RunE: func(cmd *cobra.Command, args []string) error {
			r.URL = args[0]
			c, err := a.client()
			if err != nil {
				return err
			}
			made, err := c.CreateWebhook(cmd.Context(), r, client.WriteOptions{})
			if err != nil {
				return err
			}
			a.warn(made.Warnings)
			if a.json() {
				return a.printJSON(made)
			}
			fmt.Fprintf(a.Out, "Webhook %s tells %s to %s.\n", made.ID, hookEvents(made.Webhook), made.URL)
			return a.printSecret(made, "Now: `perigee webhook test "+made.ID+"` sends a test event.")
		},
	}
	c.Flags().StringVar(&r.Team, "team", "", "whose events; those of the team that --job names when absent")
	c.Flags().StringVar(&r.Secret, "secret", "", "sign with this one, and not with a new one: whsec_ and base64")
	hookFlags(c, &r)
	return c
}

// printSecret prints a secret, once, with what to do.
func (a *app) printSecret(w *api.WrittenWebhook, then string) error {
	if w.Secret == "" {
		return failed("the answer that had the secret was lost: `perigee webhook rotate %s --keep 0s` makes another", w.ID)
	}
	_, err := fmt.Fprintf(a.Out, "Secret:  %s\nGive it to the consumer, which verifies deliveries with it. It is not told again.\n%s\n", w.Secret, then)
	return err
}

// hookEvents is which events a webhook tells, in words.
func hookEvents(w api.Webhook) string {
	s := "all events"
	if len(w.Types) > 0 {
		s = strings.Join(w.Types, ", ")
	}
	switch {
	case w.Job != "":
		return s + " of " + w.Job
	case w.Team == api.AllTeams:
		return s + " of all teams"
	}
	return s + " of team " + w.Team
}

func (a *app) webhookListCommand() *cobra.Command {
	var f client.WebhookFilter
	c := &cobra.Command{
		Use: "list", Short: "List webhooks", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			hooks, err := a.webhooks(cmd.Context(), c, f)
			if err != nil {
				return err
			}
			return list(a, hooks, "There is no such webhook. `perigee webhook create URL` makes one.",
				[]string{"WEBHOOK", "TEAM", "EVENTS", "STATE", "DEAD LETTERS", "URL", "NOTE"},
				func(w api.Webhook) []string {
					return []string{w.ID, w.Team, hookEvents(w), a.paint(hookPaints[w.State], w.State), fmt.Sprint(w.DeadLetters), w.URL,
						cmp.Or(a.hookNote(w), w.Description)}
				})
		},
	}
	c.Flags().StringVar(&f.Team, "team", "", "only this team's; '*' are those that tell of all teams")
	c.Flags().StringVar(&f.State, "state", "", "only those that are active, failing or disabled")
	c.Flags().StringVar(&f.URL, "url", "", "only those whose URL has this in it")
	return c
}

func (a *app) webhooks(ctx context.Context, c *client.Client, f client.WebhookFilter) ([]api.Webhook, error) {
	return all(func(cursor string) (*api.Page[api.Webhook], error) {
		f.Cursor = cursor
		return c.Webhooks(ctx, f)
	})
}

var hookPaints = map[string]paint{api.WebhookActive: green, api.WebhookFailing: red, api.WebhookDisabled: yellow}

// hookNote says why a webhook fails or is disabled.
func (a *app) hookNote(w api.Webhook) string {
	switch {
	case w.State == api.WebhookActive:
		return ""
	case w.Since == nil:
		return w.Reason
	case w.State == api.WebhookDisabled:
		return fmt.Sprintf("since %s ago: %s", span(a.now().Sub(*w.Since)), w.Reason)
	}
	note := fmt.Sprintf("for %s: %s", span(a.now().Sub(*w.Since)), w.Reason)
	if w.RetryAt != nil && w.RetryAt.After(a.now()) {
		note += fmt.Sprintf("; tried again in %s", span(w.RetryAt.Sub(a.now())))
	}
	return note
}

func (a *app) webhookUpdateCommand() *cobra.Command {
	var r api.WebhookRequest
	c := &cobra.Command{
		Use: "update WEBHOOK", Short: "Change which events a webhook tells, and where", Args: cobra.ExactArgs(1),
		Long:              "Changes what is given and leaves the rest. What waits for the consumer is tried at once.",
		Example:           "  perigee webhook update 6f1c-00000a --url https://new.example.com/perigee\n  perigee webhook update 6f1c-00000a --type ''   # all types",
		ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			is, err := c.Webhook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			given := cmd.Flags().Changed
			for name, keep := range map[string]func(){"job": func() { r.Job = is.Job }, "type": func() { r.Types = is.Types },
				"url": func() { r.URL = is.URL }, "description": func() { r.Description = is.Description }} {
				if !given(name) {
					keep()
				}
			}
			w, err := c.UpdateWebhook(cmd.Context(), args[0], r, client.WriteOptions{IfMatch: &is.Revision})
			if err != nil {
				return err
			}
			return a.wroteWebhook(w, fmt.Sprintf("Webhook %s tells %s to %s.", w.ID, hookEvents(w.Webhook), w.URL), "It is like that already.")
		},
	}
	c.Flags().StringVar(&r.URL, "url", "", "where events are told")
	hookFlags(c, &r)
	return c
}

// wroteWebhook prints the answer of a write of a webhook.
func (a *app) wroteWebhook(w *api.WrittenWebhook, said, same string) error {
	a.warn(w.Warnings)
	if a.json() {
		return a.printJSON(w)
	}
	if !w.Changed {
		said = same
	}
	_, err := fmt.Fprintln(a.Out, said)
	return err
}

func (a *app) webhookRemoveCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "remove WEBHOOK", Short: "Forget a webhook with its dead letters", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := a.confirm(yes, fmt.Sprintf("Remove webhook %s, and all that it was not told of yet?", args[0])); err != nil {
				return err
			}
			w, err := c.RemoveWebhook(cmd.Context(), args[0], client.WriteOptions{})
			if err != nil {
				return err
			}
			return a.wroteWebhook(w, fmt.Sprintf("Webhook %s is removed.", args[0]), "")
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) webhookRotateCommand() *cobra.Command {
	var r api.RotateSecretRequest
	var keep time.Duration
	c := &cobra.Command{
		Use: "rotate WEBHOOK", Short: "Sign with a new secret", Args: cobra.ExactArgs(1),
		Long: `Signs deliveries with a new secret, and prints it, once. For a while they are signed
with the one before, too, so that the consumer can take the new one when it likes.`,
		Example:           "  perigee webhook rotate 6f1c-00000a\n  perigee webhook rotate 6f1c-00000a --keep 0s   # the old one has leaked",
		ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if d := api.Duration(keep); cmd.Flags().Changed("keep") {
				r.Keep = &d
			}
			w, err := c.RotateSecret(cmd.Context(), args[0], r, client.WriteOptions{})
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(w)
			}
			then := "Those before are no longer valid."
			if n := len(w.Secrets); n > 1 && w.Secrets[1].ExpiresAt != nil {
				then = fmt.Sprintf("The one before stays valid beside it until %s.", w.Secrets[1].ExpiresAt.Local().Format("2006-01-02 15:04"))
			}
			return a.printSecret(w, then)
		},
	}
	c.Flags().DurationVar(&keep, "keep", api.DefaultSecretKeep.Std(), "how long the one before stays valid")
	c.Flags().StringVar(&r.Secret, "secret", "", "this one, and not a new one: whsec_ and base64")
	return c
}

func (a *app) webhookEnableCommand() *cobra.Command {
	var replay bool
	c := &cobra.Command{
		Use: "enable WEBHOOK", Short: "Have a disabled webhook deliver again", Args: cobra.ExactArgs(1),
		Long: `Has a disabled webhook deliver what happens from now on; with --replay also what
happened since it was disabled, as far as it is kept.`,
		ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			w, err := c.EnableWebhook(cmd.Context(), args[0], replay, client.WriteOptions{})
			if err != nil {
				return err
			}
			said := "Webhook %s delivers what happens from now on."
			if replay {
				said = "Webhook %s delivers again, from where it stopped."
			}
			return a.wroteWebhook(w, fmt.Sprintf(said, w.ID), "It is enabled already.")
		},
	}
	c.Flags().BoolVar(&replay, "replay", false, "also what happened since it was disabled")
	return c
}

func (a *app) webhookDisableCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "disable WEBHOOK", Short: "Have a webhook deliver nothing", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			w, err := c.DisableWebhook(cmd.Context(), args[0], reason, client.WriteOptions{})
			if err != nil {
				return err
			}
			return a.wroteWebhook(w, fmt.Sprintf("Webhook %s is disabled: `perigee webhook enable %s` has it deliver again.", w.ID, w.ID), "It is disabled already.")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, shown with it")
	return c
}

// completeWebhooks completes the ids of webhooks.
func (a *app) completeWebhooks(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	hooks, err := a.webhooks(ctx, c, client.WebhookFilter{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, w := range hooks {
		ids = append(ids, w.ID+"\t"+hookEvents(w)+" to "+w.URL)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
