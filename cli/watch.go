package cli

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// idle is after how long without an event a command looks how things are.
const idle = 2 * time.Second

// watch yields the events of a stream to a command that waits for something.
type watch struct {
	client *client.Client
	filter client.EventFilter
	events *client.Events
}

// openWatch begins to watch: what happens after it returned is seen.
func openWatch(ctx context.Context, c *client.Client, f client.EventFilter) (*watch, error) {
	w := &watch{client: c, filter: f}
	var err error
	w.events, err = c.Events(ctx, f)
	return w, err
}

func (w *watch) close() { w.events.Close() }

// next waits at most so long for an event. It returns nil when none came, and
// missed when some may have passed unseen: then the command looks for itself.
func (w *watch) next(ctx context.Context, most time.Duration) (e *api.Event, missed bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	event, err := w.events.Next(waiting)
	var p *api.Problem
	switch {
	case err == nil:
		return &event, false, nil
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	case waiting.Err() != nil:
		return nil, false, nil
	case errors.As(err, &p) && p.Status == http.StatusGone:
		w.events.Close()
		w.events, err = w.client.Events(ctx, w.filter)
		return nil, true, err
	}
	return nil, false, err
}

// within bounds ctx by a --timeout, if there is one.
func within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// late turns the end of a --timeout into the error that says so.
func late(err error, ctx context.Context, format string, args ...any) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return timedOut(format, args...)
	}
	return err
}
