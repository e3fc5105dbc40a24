package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// changing is a scheduler whose journal grows all the time.
type changing struct {
	Scheduler
	began time.Time
	every time.Duration
}

func (c changing) View() *engine.View {
	return &engine.View{Index: uint64(time.Since(c.began) / c.every)}
}

func (c changing) WaitIndex(ctx context.Context, index uint64) (*engine.View, error) {
	for c.View().Index < index {
		select {
		case <-time.After(c.every):
		case <-ctx.Done():
			return c.View(), ctx.Err()
		}
	}
	return c.View(), nil
}

// However often a state changes, it is told so often and no more; and what does
// not change is not told, but that the stream lives.
func TestStatesAreToldAtMostSoOften(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		every, pause, look time.Duration
		changes            bool
		events, heartbeats int // in 10 s
	}{
		"always changes":    {every: time.Millisecond, pause: 200 * time.Millisecond, changes: true, events: 51},
		"changes at times":  {every: 2500 * time.Millisecond, pause: 200 * time.Millisecond, changes: true, events: 5, heartbeats: 5},
		"others' changes":   {every: time.Millisecond, pause: 50 * time.Millisecond, events: 1, heartbeats: 10},
		"nothing goes on":   {every: time.Hour, pause: 50 * time.Millisecond, events: 1, heartbeats: 10},
		"changes with time": {every: time.Hour, pause: 50 * time.Millisecond, look: 500 * time.Millisecond, changes: true, events: 21},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{Options: Options{Scheduler: changing{began: time.Now(), every: c.every}, Heartbeat: time.Second}}
				recorder := httptest.NewRecorder()
				w := &response{ResponseWriter: recorder}
				events := 0
				stream := &stateStream{s: s, pause: c.pause, look: c.look, w: w, control: http.NewResponseController(w)}
				seen := uint64(0)
				stream.tell = func(v *engine.View) told {
					if events > 0 && (!c.changes || v.Index == seen && c.look == 0) {
						return told{}
					}
					seen = v.Index
					events++
					return told{event: "state", state: events}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
				defer cancel()
				stream.run(ctx, s.Scheduler.View())
				require.InDelta(t, c.events, strings.Count(recorder.Body.String(), "event: state\n"), 1)
				require.InDelta(t, c.heartbeats, strings.Count(recorder.Body.String(), ": heartbeat\n"), 1)
			})
		})
	}
}
