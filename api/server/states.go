package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// told is what a stream of states tells next.
type told struct {
	event string
	state any  // nil: nothing has changed
	last  bool // nothing follows
}

// stateStream tells one reader a state as server-sent events: now, and whenever
// it has changed. Each event is the whole state, so that a reader that comes
// again needs to say nothing.
type stateStream struct {
	s    *Server
	kind string // for metrics
	// pause is the least time between two looks, and look the longest, where
	// something changes with time alone; 0 is as long as nothing changes.
	pause, look time.Duration
	// tell says what is new in a view.
	tell func(*engine.View) told

	w       *response
	control *http.ResponseController
	out     bytes.Buffer
}

// from answers with the stream, beginning with a view.
func (t *stateStream) from(v *engine.View) *huma.StreamResponse {
	return stream(func(ctx context.Context, w *response) {
		defer t.s.metrics.streaming(w, t.kind)()
		ctx, cancel := t.s.whileValid(ctx)
		defer cancel()
		t.w, t.control = w, http.NewResponseController(w)
		asEvents(w)
		t.run(ctx, v)
	})
}

// asEvents begins an answer of server-sent events.
func asEvents(w *response) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
}

func (t *stateStream) run(ctx context.Context, v *engine.View) {
	if t.w.head {
		return
	}
	wrote := time.Now()
	for {
		began := time.Now()
		news := t.tell(v)
		if news.state != nil {
			t.write(news)
		} else if time.Since(wrote) >= t.s.Heartbeat {
			t.out.WriteString(": heartbeat\n\n")
		}
		// A state that takes long to tell is told less often.
		pause := max(t.pause, 10*time.Since(began))
		if t.out.Len() > 0 {
			if !t.flush() {
				return
			}
			wrote = time.Now()
		}
		if news.last {
			return
		}
		again := wrote.Add(t.s.Heartbeat)
		if t.look > 0 && began.Add(t.look).Before(again) {
			again = began.Add(t.look)
		}
		waiting, cancel := context.WithDeadline(ctx, again)
		_ = t.s.nextView(waiting, &v, pause) // v is the newest in any case
		cancel()
		if ctx.Err() != nil {
			if p := ended(ctx); p != nil {
				t.out.WriteString(endOf(p))
				t.flush()
			}
			return
		}
	}
}

func (t *stateStream) write(news told) {
	data, err := json.Marshal(news.state)
	if err != nil {
		t.s.Log.Error("a state cannot be told", "event", news.event, "error", err)
		return
	}
	t.out.WriteString("event: " + news.event + "\ndata: ")
	t.out.Write(data)
	t.out.WriteString("\n\n")
}

// flush sends what was written; false when the reader is gone or too slow.
func (t *stateStream) flush() bool {
	extend(t.w)
	_, err := t.w.Write(t.out.Bytes())
	t.out.Reset()
	return err == nil && t.control.Flush() == nil
}
