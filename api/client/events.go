package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// EventFilter chooses events; what is empty does not matter.
type EventFilter struct {
	Team string
	Job  string // a glob over team/stage/name: web/prod/*
	Type string // globs without the prefix dev.perigee., separated by commas: task.*,run.failed
	// After is the id of the last event seen. Events begin after it; with ""
	// they begin now.
	After string
}

// Events is a stream of events that survives lost connections and failovers.
// It is for one goroutine.
type Events struct {
	client *Client
	filter EventFilter
	stream *stream // nil when not connected
	opened time.Time
}

// Events opens the stream. Events that happen after it returned are in it.
// The caller closes it.
func (c *Client) Events(ctx context.Context, f EventFilter) (*Events, error) {
	e := &Events{client: c, filter: f}
	if err := e.connect(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Events) connect(ctx context.Context) error {
	e.Close()
	r := request{path: "/v1/events", query: url.Values{}, header: http.Header{}}
	set(r.query, "team", e.filter.Team)
	set(r.query, "job", e.filter.Job)
	set(r.query, "type", e.filter.Type)
	if e.filter.After != "" {
		r.header.Set("Last-Event-ID", e.filter.After)
	}
	var err error
	e.opened = time.Now()
	e.stream, err = e.client.open(ctx, r)
	return err
}

// Close ends the stream.
func (e *Events) Close() {
	if e.stream != nil {
		e.stream.close()
		e.stream = nil
	}
}

// LastID is what EventFilter.After takes to go on after the last event.
func (e *Events) LastID() string { return e.filter.After }

// Next waits for the next event. When the connection is lost it connects again
// and goes on where it was. It fails with ctx's error, and with an *api.Problem
// that will not go away, such as 410 when events were missed for good.
func (e *Events) Next(ctx context.Context) (api.Event, error) {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		if e.stream != nil {
			event, err := e.next(ctx)
			if err == nil {
				return event, nil
			}
			e.Close()
			if time.Since(e.opened) > maxPause { // else it is one that ends again and again
				pause = minPause
			}
		}
		err := e.connect(ctx)
		switch {
		case err == nil && pause == minPause:
			continue
		case err == nil:
		case ctx.Err() != nil:
			return api.Event{}, ctx.Err()
		case forGood(err):
			return api.Event{}, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return api.Event{}, ctx.Err()
		}
	}
}

// All yields events until Next fails; the error is yielded last.
func (e *Events) All(ctx context.Context) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		for {
			event, err := e.Next(ctx)
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// next reads one event of the connection. It keeps the id also of what has no
// data: the server tells how far it got past events that the filter refused.
func (e *Events) next(ctx context.Context) (event api.Event, err error) {
	for {
		m, err := e.stream.next(ctx)
		if err != nil {
			return api.Event{}, err
		}
		if m.data != "" {
			if err := json.Unmarshal([]byte(m.data), &event); err != nil {
				return api.Event{}, fmt.Errorf("read event %s: %w", m.id, err)
			}
		}
		if m.id != "" {
			e.filter.After = m.id
		}
		if m.data != "" {
			return event, nil
		}
	}
}
