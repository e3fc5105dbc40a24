package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// EventFilter chooses events; what is empty does not matter.
type EventFilter struct {
	Team string
	Job  string // a glob over team/stage/name: web/prod/*
	Type string // a glob without the prefix dev.perigee.: task.*
	// After is the id of the last event seen. Events begin after it; with ""
	// they begin now.
	After string
}

// Events is a stream of events that survives lost connections and failovers.
// It is for one goroutine.
type Events struct {
	client *Client
	filter EventFilter
	body   io.ReadCloser // nil when not connected
	lines  *bufio.Reader
	stop   context.CancelFunc
	quiet  *time.Timer
}

const (
	// maxQuiet is how long a connection may be silent: the server sends a
	// heartbeat every 15 s.
	maxQuiet = 45 * time.Second
	// maxEvent bounds one line of the stream, in bytes.
	maxEvent = 1 << 20
)

// Events opens the stream. Events that happen after it returned are in it.
// The caller closes it.
func (c *Client) Events(ctx context.Context, f EventFilter) (*Events, error) {
	e := &Events{client: c, filter: f}
	if err := e.connect(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// connect opens a connection that lives on after ctx has ended, since ctx is
// that of one call.
func (e *Events) connect(ctx context.Context) error {
	e.Close()
	q := url.Values{}
	set(q, "team", e.filter.Team)
	set(q, "job", e.filter.Job)
	set(q, "type", e.filter.Type)
	header := http.Header{"Accept": {"text/event-stream"}}
	if e.filter.After != "" {
		header.Set("Last-Event-ID", e.filter.After)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	opening := context.AfterFunc(ctx, stop)
	resp, err := e.client.send(life, request{method: http.MethodGet, path: "/v1/events", query: q, header: header})
	if err == nil && !opening() {
		resp.Body.Close()
		err = ctx.Err()
	}
	if err != nil {
		stop()
		return err
	}
	e.body, e.stop = resp.Body, stop
	e.lines = bufio.NewReader(resp.Body)
	e.quiet = time.AfterFunc(maxQuiet, stop)
	return nil
}

// Close ends the stream.
func (e *Events) Close() {
	if e.body != nil {
		e.quiet.Stop()
		e.stop()
		e.body.Close()
		e.body = nil
	}
}

// LastID is what EventFilter.After takes to go on after the last event.
func (e *Events) LastID() string { return e.filter.After }

// Next waits for the next event. When the connection is lost it connects again
// and goes on where it was. It fails with ctx's error, and with an *api.Problem
// that will not go away, such as 410 when events were missed for good.
func (e *Events) Next(ctx context.Context) (api.Event, error) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		if e.body != nil {
			event, err := e.next(ctx)
			if err == nil {
				return event, nil
			}
			e.Close()
		}
		err := e.connect(ctx)
		var p *api.Problem
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return api.Event{}, ctx.Err()
		case errors.As(err, &p) && p.Status < 500:
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
func (e *Events) next(ctx context.Context) (api.Event, error) {
	defer context.AfterFunc(ctx, e.stop)()
	var id, data string
	for {
		line, err := readLine(e.lines)
		if err != nil {
			return api.Event{}, err
		}
		e.quiet.Reset(maxQuiet)
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && data == "":
			e.keep(id)
		case line == "":
			var event api.Event
			if err := json.Unmarshal([]byte(data), &event); err != nil {
				return api.Event{}, fmt.Errorf("read event %s: %w", id, err)
			}
			e.keep(id)
			return event, nil
		case name == "id":
			id = value
		case name == "data":
			data += value
		}
	}
}

func (e *Events) keep(id string) {
	if id != "" {
		e.filter.After = id
	}
}

func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxEvent {
			return "", err
		}
	}
}
