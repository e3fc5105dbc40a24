package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

const typePrefix = "dev.perigee."

func shortType(e *api.Event) string { return strings.TrimPrefix(e.Type, typePrefix) }

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
	defer stream.Close()
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
		if err != nil {
			return err
		}
		if err := a.printEvent(&e); err != nil {
			return err
		}
	}
	return nil
}

// oldestEvent is the id to begin after for all that is kept: a scheduler that
// is asked for what cannot be says it.
func oldestEvent(ctx context.Context, c *client.Client) (string, error) {
	s, err := c.Events(ctx, client.EventFilter{After: "none-0-0"})
	var p *api.Problem
	if errors.As(err, &p) && p.Status == http.StatusGone && len(p.Errors) > 0 {
		if id, ok := p.Errors[0].Value.(string); ok {
			return id, nil
		}
	}
	if err == nil {
		s.Close()
	}
	return "", err
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
	about := d.Job
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
	line := fmt.Sprintf("%s  %s  %s", a.clock(e.Time), about, kind+" "+a.state(what))
	if !withJob {
		line = fmt.Sprintf("%s  %s  %s", a.clock(e.Time), about, a.state(what))
	}
	if kind == "deploy" && what != "started" {
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
	if text == "" {
		text = d.Reason
	}
	s := ""
	if len(parts) > 0 {
		s = "  " + strings.Join(parts, " ")
	}
	return s + prefixed(": ", strings.ReplaceAll(text, "\n", " "))
}
