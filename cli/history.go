package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) historyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "history", Short: "Look at what is finished and left the live state", Args: cobra.NoArgs,
		Long: `Lists finished tasks, runs and deploys, and events, newest first, also those that
left the live state long ago. Alone it says how far history is.

Times are RFC 3339 or local: 2026-11-21, '2026-11-21 02:00'. What is listed for --from
and --to took place at some time between them.`,
		Example: "  perigee history tasks --agent host17 --from '2026-11-21 02:00' --to '2026-11-21 04:00'\n" +
			"  perigee history tasks --job 'web/prod/*' --state failed --text 'connection refused' --since 3d\n" +
			"  perigee history runs --param day=2026-11-20\n  perigee history deploys --team web --by anna\n" +
			"  perigee history events --type 'token.*,webhook.*' --since 90d",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			state, err := c.History(cmd.Context())
			if err != nil {
				return err
			}
			return a.printHistory(state)
		},
	}
	c.AddCommand(a.pastTasksCommand(), a.pastRunsCommand(), a.pastDeploysCommand(), a.pastEventsCommand(),
		a.pastTaskCommand(), a.pastRunCommand(), a.pastDeployCommand(), a.pastEventCommand())
	return c
}

// pastFlags are what the lists have in common.
type pastFlags struct {
	f               api.HistoryFilter
	from, to, since string
	states, types   string
	parameters      []string
}

func (p *pastFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&p.f.Job, "job", "", "only of jobs that match a pattern: web/prod/*")
	c.Flags().StringVar(&p.f.Team, "team", "", "only this team's")
	c.Flags().StringVar(&p.f.Stage, "stage", "", "only this stage's")
	c.Flags().StringVar(&p.from, "from", "", "only what ended at this time or later")
	c.Flags().StringVar(&p.to, "to", "", "only what began before this time")
	c.Flags().StringVar(&p.since, "since", "", "only what ended so long ago at the most: 30m, 3h, 7d")
	c.Flags().IntVarP(&p.f.Limit, "limit", "n", 20, "list at most this many")
}

// filter is what the flags say.
func (p *pastFlags) filter(now time.Time) (api.HistoryFilter, error) {
	f := p.f
	var err error
	if f.From, err = parseTime("--from", p.from); err != nil {
		return f, err
	}
	if f.To, err = parseTime("--to", p.to); err != nil {
		return f, err
	}
	if p.since != "" {
		ago, err := parseAgo(p.since)
		if err != nil {
			return f, err
		}
		if p.from != "" {
			return f, usage("--since and --from say the same: give one of them")
		}
		f.From = now.Add(-ago)
	}
	if f.Limit < 1 {
		return f, usage("-n must be at least 1")
	}
	if p.states != "" {
		f.States = strings.Split(p.states, ",")
	}
	if p.types != "" {
		f.Types = strings.Split(p.types, ",")
	}
	for _, text := range p.parameters {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return f, usage("--param %q is not NAME=VALUE", text)
		}
		if f.Parameters == nil {
			f.Parameters = map[string]string{}
		}
		f.Parameters[name] = value
	}
	return f, nil
}

// parseTime reads a time as people write it.
func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("%s %q is not a time: write it as 2026-11-21T02:00:00Z, '2026-11-21 02:00' or 2026-11-21", flag, text)
}

// parseAgo reads a duration, also of days.
func parseAgo(text string) (time.Duration, error) {
	var days int
	if n, err := fmt.Sscanf(text, "%dd", &days); err == nil && n == 1 && days > 0 && text == fmt.Sprintf("%dd", days) {
		return time.Duration(days) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, usage("--since %q is not a duration: write it as 30m, 3h or 7d", text)
	}
	return d, nil
}

// past reads pages until there are as many items as were asked for.
func past[T any](ctx context.Context, f api.HistoryFilter, get func(context.Context, api.HistoryFilter) (*api.HistoryPage[T], error)) ([]T, *api.HistoryPage[T], error) {
	items, want := []T{}, f.Limit
	for {
		f.Limit = min(want-len(items), 1000)
		page, err := get(ctx, f)
		if err != nil {
			return nil, nil, err
		}
		items = append(items, page.Items...)
		if f.Cursor = page.Next; f.Cursor == "" || len(items) >= want {
			return items, page, nil
		}
	}
}

// pastList is a verb that lists something of history.
func pastList[T any](a *app, c *cobra.Command, p *pastFlags,
	get func(*client.Client) func(context.Context, api.HistoryFilter) (*api.HistoryPage[T], error), print func([]T) error) *cobra.Command {
	c.Args = cobra.NoArgs
	p.add(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := p.filter(a.now())
		if err != nil {
			return err
		}
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, last, err := past(cmd.Context(), f, get(cl))
		if err != nil {
			return err
		}
		if err := print(items); err != nil {
			return err
		}
		a.noteExtent(last.History, last.Next != "", f)
		if f.Agent != "" && c.Name() == "tasks" && !a.json() {
			return a.noteLive(cmd.Context(), cl, f)
		}
		return nil
	}
	return c
}

// noteExtent says what may be missing in a list.
func (a *app) noteExtent(h api.HistoryExtent, more bool, f api.HistoryFilter) {
	note := func(format string, args ...any) {
		fmt.Fprintf(a.Err, "note: "+format+"\n", args...)
	}
	if more && !a.json() {
		note("there is more: -n lists more than %d", f.Limit)
	}
	if h.Problem != "" {
		note("the history of this scheduler is not up to date: %s", h.Problem)
	} else if h.Behind.Std() > 10*time.Second {
		note("history is %s behind: what ended meanwhile is not listed", short(h.Behind.Std()))
	}
	for _, g := range h.Gaps {
		from := "before"
		if g.From != nil {
			from = "from " + a.clock(*g.From)
		}
		note("history has a gap %s to %s (after event %s, up to %s): the events between are missing, and what ended then may be", from, a.clock(g.To), g.After, g.Through)
	}
}

// liveNamed are the tasks that noteLive names.
const liveNamed = 10

// noteLive names what ran on an agent at a time and still does, which is not in
// history.
func (a *app) noteLive(ctx context.Context, c *client.Client, f api.HistoryFilter) error {
	var names []string
	count := 0
	for _, on := range []client.TaskFilter{{Host: f.Agent}, {Agent: f.Agent}} {
		for t, err := range client.All(func(cursor string) (*api.Page[api.Task], error) {
			on.Cursor, on.Limit = cursor, 1000
			return c.Tasks(ctx, on)
		}) {
			if err != nil {
				return err
			}
			if t.LaunchedAt == nil || !f.To.IsZero() && !t.LaunchedAt.Before(f.To) {
				continue
			}
			if count++; count <= liveNamed {
				names = append(names, fmt.Sprintf("%s (%s)", nameOf(&t), t.ID))
			}
		}
		if count > 0 {
			break
		}
	}
	if count == 0 || len(f.States) > 0 || f.Text != "" {
		return nil
	}
	if count > liveNamed {
		names = append(names, fmt.Sprintf("and %d more", count-liveNamed))
	}
	fmt.Fprintf(a.Err, "note: not over, and so not listed: %s\n", strings.Join(names, ", "))
	return nil
}

func (a *app) printHistory(h *api.HistoryState) error {
	if a.json() {
		return a.printJSON(h)
	}
	what := "a file of this scheduler's own"
	if h.Shared {
		what = "shared by all schedulers"
	}
	about := a.table()
	row := func(name, value string) { about.add(a.paint(dim, name), value) }
	row("kept in", h.Kind+", "+what)
	row("through", fmt.Sprintf("journal entry %d of %s", h.Through, h.Incarnation))
	if h.Waiting > 0 {
		row("waiting", fmt.Sprintf("%d, the oldest for %s", h.Waiting, short(h.Behind.Std())))
	}
	for _, kind := range []string{"tasks", "runs", "deploys", "events", "specs"} {
		if n := h.Rows[kind]; n > 0 && kind == "events" {
			row(kind, fmt.Sprintf("in %d blocks", n))
		} else if n > 0 {
			row(kind, fmt.Sprint(n))
		}
	}
	row("size", size(api.Bytes(h.Bytes)))
	if err := about.print(a.Out); err != nil {
		return err
	}
	a.noteExtent(h.HistoryExtent, false, api.HistoryFilter{})
	return nil
}
