package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/nearest"
)

func shortType(e *api.Event) string { return strings.TrimPrefix(e.Type, api.EventPrefix) }

func (a *app) eventsCommand() *cobra.Command {
	var f client.EventFilter
	var follow bool
	var last int
	c := &cobra.Command{
		Use: "events", Short: "Show what happened, or happens", Args: cobra.NoArgs,
		Example: "  perigee events -f --job 'web/devel/*'\n  perigee events --type 'task.*' -n 20",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			a.warnOfTypes(f.Type)
			if follow && !cmd.Flags().Changed("last") {
				last = 0
			}
			return a.events(cmd.Context(), c, f, last, follow)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens from now on")
	c.Flags().IntVarP(&last, "last", "n", 50, "begin with this many of the events that are kept; 0 with -f")
	c.Flags().StringVar(&f.Team, "team", "", "only this team's")
	c.Flags().StringVar(&f.Job, "job", "", "only of jobs that match a pattern: web/devel/*")
	c.Flags().StringVar(&f.Type, "type", "", "only types that match patterns: task.*,deploy.failed")
	c.Flags().StringVar(&f.After, "after", "", "only after the event with this id, which -o json shows")
	return c
}

func (a *app) events(ctx context.Context, c *client.Client, f client.EventFilter, last int, follow bool) error {
	if f.After == "" && last > 0 {
		var err error
		if f.After, err = oldestEvent(ctx, c); err != nil {
			return err
		}
	} else if f.After != "" {
		last = 1 << 30
	}
	stream, err := c.Events(ctx, f)
	if err != nil {
		return err
	}
	defer func() { stream.Close() }()
	if f.After != "" {
		kept, err := backlog(ctx, stream)
		if err != nil {
			return err
		}
		for i := max(0, len(kept)-last); i < len(kept); i++ {
			if err := a.printEvent(&kept[i]); err != nil {
				return err
			}
		}
	}
	for follow {
		e, err := stream.Next(ctx)
		if oldest := oldestOf(err); oldest != "" {
			if stream, err = a.goOn(ctx, c, stream, f, oldest); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := a.printEvent(&e); err != nil {
			return err
		}
	}
	return nil
}

// goOn follows events from the oldest that is kept on: those before were missed
// while no scheduler could be reached, or since they came too fast.
func (a *app) goOn(ctx context.Context, c *client.Client, stream *client.Events, f client.EventFilter, oldest string) (*client.Events, error) {
	fmt.Fprintf(a.Err, "warning: the events after %s up to %s are no longer kept, and are left out here\n", stream.LastID(), oldest)
	f.After = oldest
	next, err := c.Events(ctx, f)
	if err != nil {
		return stream, err
	}
	stream.Close()
	return next, nil
}

// warnOfTypes says so where patterns match no type that this version knows: a
// newer scheduler may.
func (a *app) warnOfTypes(patterns string) {
	if patterns == "" {
		return
	}
	types := slices.Sorted(maps.Keys(api.EventTypes()))
	for _, pattern := range strings.Split(patterns, ",") {
		pattern = strings.TrimPrefix(strings.TrimSpace(pattern), api.EventPrefix)
		known := slices.ContainsFunc(types, func(t string) bool { ok, _ := path.Match(pattern, t); return ok })
		if known {
			continue
		}
		text := fmt.Sprintf("warning: no type of events that is known here matches %q", pattern)
		if like := nearest.Name(pattern, types); like != "" {
			text += "; did you mean " + like + "?"
		}
		fmt.Fprintln(a.Err, text)
	}
}

// oldestEvent is the id to begin after for all that is kept: a scheduler that
// is asked for what cannot be says it.
func oldestEvent(ctx context.Context, c *client.Client) (string, error) {
	s, err := c.Events(ctx, client.EventFilter{After: "none-0-0"})
	if id := oldestOf(err); id != "" {
		return id, nil
	}
	if err == nil {
		s.Close()
	}
	return "", err
}

// oldestOf is the id that a refusal says is the oldest to resume after, "" when
// err is none.
func oldestOf(err error) string {
	var p *api.Problem
	if errors.As(err, &p) && p.Status == http.StatusGone && len(p.Errors) > 0 {
		id, _ := p.Errors[0].Value.(string)
		return id
	}
	return ""
}

// backlogPause without an event is the end of those that are kept: the server
// sends them without one.
const backlogPause = 400 * time.Millisecond

func backlog(ctx context.Context, stream *client.Events) ([]api.Event, error) {
	var kept []api.Event
	for {
		waiting, cancel := context.WithTimeout(ctx, backlogPause)
		e, err := stream.Next(waiting)
		over := waiting.Err() != nil
		cancel()
		switch {
		case err == nil:
			kept = append(kept, e)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case over:
			return kept, nil
		default:
			return nil, err
		}
	}
}

func (a *app) printEvent(e *api.Event) error {
	if a.json() {
		return json.NewEncoder(a.Out).Encode(e) // one a line
	}
	_, err := fmt.Fprintln(a.Out, a.eventLine(e, true))
	return err
}

// eventLine tells an event in one line; withJob says whether what it is about
// names the job.
func (a *app) eventLine(e *api.Event, withJob bool) string {
	d := e.Data
	kind, what, _ := strings.Cut(shortType(e), ".")
	if d.Audit != nil && d.Audit.Operation != "" {
		what = d.Audit.Operation
	}
	about := cmp.Or(d.Job, d.Object, d.Host)
	switch {
	case d.Run != "":
		about += "/" + d.Run
	case d.Instance != nil:
		about += fmt.Sprintf("/%d", *d.Instance)
	}
	if !withJob {
		about = strings.TrimPrefix(strings.TrimPrefix(about, d.Job), "/")
		switch {
		case d.Instance != nil && d.Run == "":
			about = "instance " + about
		case d.Run != "":
			about = "run " + about
		default:
			about = kind
		}
	}
	if about == "" {
		about = kind
	}
	if d.Job == "" {
		d.Host = "" // it is about that
	}
	line := fmt.Sprintf("%s  %s  %s", a.clock(e.Time), about, strings.ReplaceAll(kind, "_", " ")+" "+a.state(what))
	if !withJob {
		line = fmt.Sprintf("%s  %s  %s", a.clock(e.Time), about, a.state(what))
	}
	if strings.HasPrefix(kind, "deploy") && what != "started" {
		d.Actor, d.Message = "", "" // said when it was started
	}
	return line + eventDetail(kind, &d)
}

func eventDetail(kind string, d *api.EventData) string {
	var parts []string
	if kind == "deploy" {
		parts = append(parts, fmt.Sprintf("deploy %d", d.Deploy))
	}
	if d.Task != "" {
		parts = append(parts, d.Task)
	}
	if d.Host != "" {
		parts = append(parts, "on "+d.Host)
	}
	if d.Actor != "" {
		parts = append(parts, "by "+d.Actor)
	}
	text := d.Message
	switch {
	case text == "":
		text = d.Reason
	case kind != "task" && d.Reason != "": // of a task that is Mesos's, in capitals
		text += ": " + d.Reason
	}
	s := ""
	if len(parts) > 0 {
		s = "  " + strings.Join(parts, " ")
	}
	return s + prefixed(": ", strings.ReplaceAll(text, "\n", " "))
}
