package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) auditCommand() *cobra.Command {
	p := new(pastFlags)
	c := &cobra.Command{
		Use: "audit", Short: "Say who changed what",
		Long: `Lists writes that changed something, newest first: who, when, from where, with which
token and Idempotency-Key, and what each changed.`,
		Example: "  perigee audit --job 'payments/prod/*' --since 24h\n  perigee audit --token-id 435namd367 -o json\n  perigee audit refused",
	}
	c.Flags().StringVar(&p.f.Actor, "by", "", "only by somebody, the whole name")
	c.Flags().StringVar(&p.f.Token, "token-id", "", "only with a token, by its id")
	c.Flags().StringVar(&p.f.Operation, "operation", "", "only one operation: scale-job")
	c.Flags().StringVar(&p.f.Object, "object", "", "only about a webhook, a token or a deploy group, by its id")
	pastList(a, c, p, func(c *client.Client) func(context.Context, api.HistoryFilter) (*api.HistoryPage[api.AuditEntry], error) {
		return c.Audit
	}, a.printAudit)
	c.AddCommand(a.refusedCommand())
	return c
}

func (a *app) printAudit(entries []api.AuditEntry) error {
	return list(a, entries, "Nothing of that kind was changed.", []string{"TIME", "WHO", "FROM", "OPERATION", "OF", "CHANGED"},
		func(e api.AuditEntry) []string {
			return []string{a.clock(e.Time), oneLine(e.Actor), e.From, e.Operation, oneLine(auditedOf(&e)), oneLine(auditedChange(e.Before, e.After))}
		})
}

// auditedOf is what a write was about.
func auditedOf(e *api.AuditEntry) string {
	switch {
	case e.Run != "":
		return e.Job + "/" + e.Run
	case e.Task != "":
		return joined(" ", e.Job, e.Task)
	case e.Job != "":
		return e.Job
	case e.Team == "*" || e.Team == "":
		return e.Object
	}
	return joined(" of ", e.Object, e.Team)
}

// auditedChange tells what differs: instances 2 -> 3, paused false -> true.
func auditedChange(before, after json.RawMessage) string {
	was, is := aspects(before), aspects(after)
	names := slices.Collect(maps.Keys(was))
	for name := range is {
		if _, also := was[name]; !also {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for i, name := range names {
		old, wasThere := was[name]
		now, isThere := is[name]
		switch {
		case wasThere && isThere:
			names[i] = name + " " + old + " -> " + now
		case isThere:
			names[i] = name + " " + now
		case len(after) > 0:
			names[i] = name + " " + old + " -> gone"
		default:
			names[i] = name + " " + old
		}
	}
	change := strings.Join(names, ", ")
	switch {
	case len(before) > 0 && len(after) == 0:
		return joined(": ", "removed", change)
	case len(before) == 0 && len(after) > 0:
		return joined(": ", "new", change)
	}
	return change
}

// aspects are the values of what was changed, as people read them.
func aspects(text json.RawMessage) map[string]string {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var all map[string]any
	if err := d.Decode(&all); err != nil {
		return nil // of a newer version, and in no form that is known
	}
	out := make(map[string]string, len(all))
	for name, value := range all {
		s := fmt.Sprint(value)
		switch {
		case name == "digest" && len(s) > 12:
			s = s[:12] + "…"
		case s == "" || strings.ContainsAny(s, " ,"):
			s = fmt.Sprintf("%q", s)
		}
		out[name] = s
	}
	return out
}

func (a *app) refusedCommand() *cobra.Command {
	return &cobra.Command{
		Use: "refused", Short: "List requests that the scheduler refused lately for who they were from", Args: cobra.NoArgs,
		Long: `Lists the latest 500 requests that the scheduler that is asked refused for who they
were from: who showed no token or a wrong one, and who may not do what they asked for.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all, err := c.Refusals(cmd.Context())
			if err != nil {
				return err
			}
			return list(a, all, "This scheduler has refused nobody since it runs.", []string{"TIME", "STATUS", "FROM", "WHO", "OPERATION", "PATH", "WHY"},
				func(r api.RefusedRequest) []string {
					return []string{a.clock(r.Time), fmt.Sprint(r.Status), r.From, oneLine(r.Caller), r.Operation, oneLine(r.Path), oneLine(r.Detail)}
				})
		},
	}
}
