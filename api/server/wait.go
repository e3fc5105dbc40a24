package server

import (
	"context"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Waiting is what reads take that answer when something is over.
type Waiting struct {
	Wait string `query:"wait" maxLength:"32" doc:"Answer when it is over, or after this long: 30s, at most 5m"`
}

func (in Waiting) duration() (time.Duration, error) {
	return lasting("query.wait", in.Wait, api.MaxWait)
}

// lasting reads a duration of at most that much; "" is 0.
func lasting(where, text string, most time.Duration) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	var d api.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return 0, wrongInput(where, text, "%v", err)
	}
	if d < 0 || d.Std() > most {
		return 0, wrongInput(where, text, "is %s: it must be from 0s to %s", d, api.Duration(most))
	}
	return d.Std(), nil
}

// lookPause is the least time between two looks at a state that changes often.
const lookPause = 50 * time.Millisecond

// await looks at the state as it is in v, and whenever it has changed, until
// done says so, the wait is over, or the server stops. It returns the state that
// it looked at last, and an error when who asks may look no more.
func (s *Server) await(ctx context.Context, v *engine.View, wait time.Duration, done func(*engine.View) bool) (*engine.View, error) {
	if wait == 0 || done(v) {
		return v, nil
	}
	w := responseOf(ctx)
	defer s.metrics.streaming(w, "waits")()
	defer extend(w)
	deadline(w, time.Time{}, time.Time{})
	ctx, cancel := s.whileValid(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		err := s.nextView(ctx, &v, lookPause)
		if p := ended(ctx); p != nil {
			return v, p
		}
		if err != nil || done(v) {
			w.setIndex(v)
			return v, nil
		}
	}
}

// nextView waits until the state has changed, but a while at least.
func (s *Server) nextView(ctx context.Context, v **engine.View, pause time.Duration) error {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		*v = s.Scheduler.View()
		return ctx.Err()
	}
	next, err := s.Scheduler.WaitIndex(ctx, (*v).Index+1)
	if next != nil {
		*v = next
	}
	return err
}
