package webhook

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Backlog has the events that the engine no longer keeps: *history.Store.
type Backlog interface {
	// Events returns the events after one, oldest first, at most limit; none when
	// it has not got further yet. Where it lacks events that came next, it fails
	// with an *engine.GoneError that says after which one it has them.
	Events(ctx context.Context, after engine.EventID, limit int) ([]engine.Published, error)
}

const (
	// readMost events are read at a time, and fetchMost fetched by their ids.
	readMost  = 1_000
	fetchMost = 100
	// readAgain is how long to wait before history is asked again that had nothing,
	// or failed; in ms.
	readAgain = 1_000
	// awaitAgain is how soon to look again for the event that a subscription begins
	// with, in ms.
	awaitAgain = 20
	// readersMost subscriptions read history at a time.
	readersMost = 4
)

// Where events are read from, as users see it.
const (
	fromLog     = "log"
	fromHistory = "history"
)

// reader knows what a subscription has to read.
type reader struct {
	pending []pending            // events to fetch before any other is read, in their order
	marked  []*record.DeadLetter // to fetch, and deliver once more
	busy    bool                 // it is read
	from    string               // where from, last
	problem string               // why it cannot be read
	until   int64                // nothing is read before
	later   int64                // nothing of marked is fetched before
}

// pending is an event that an earlier leader had taken up.
type pending struct {
	id       engine.EventID
	attempts uint32
	first    int64
	retryAt  int64
}

// push takes up an event that was pending.
func (s *subscription) resume(p pending, event *record.Event) {
	key := lane{job: event.Job}
	if s.lanes[key] == nil && p.attempts > 0 {
		s.lanes[key] = &queue{lane: key, at: -1, failures: p.attempts, since: p.first, until: p.retryAt, err: s.err}
	}
	s.push(&entry{id: p.id, event: event, attempts: p.attempts, first: p.first})
}

// take takes up those of some events that a subscription is told of, as far as
// there is room, and none after last. It says whether it got to the end of them.
func (s *subscription) take(events []engine.Published, last engine.EventID) (all bool) {
	for _, p := range events {
		if p.ID.Compare(last) > 0 {
			return true
		}
		if s.awaits {
			s.awaits = p.Event.Object != s.hook.Id || !strings.HasPrefix(p.Event.Type, "webhook.")
			s.through = p.ID
			continue
		}
		if s.wants.matches(p.Event.Job, p.Event.Type) {
			if !s.room() {
				return false
			}
			s.push(&entry{id: p.ID, event: p.Event})
		}
		s.through = p.ID
	}
	s.saver.changed()
	return true
}

// behind has a subscription read for itself, since it has no room for an event.
func (s *subscription) behind(at engine.EventID) {
	s.tail, s.through = false, at.Before()
	s.saver.changed()
}

// gap notes that events could not be told.
func (s *subscription) gap(through engine.EventID, now int64) {
	g := &record.WebhookGap{After: s.through.Position(), Through: through.Position(), At: now}
	s.counts.gaps = append(s.counts.gaps[max(0, len(s.counts.gaps)-gapsKept+1):len(s.counts.gaps):len(s.counts.gaps)], g)
	s.through, s.awaits = through, false
	s.saver.changed()
}

// fetch is what came of fetching events by their ids.
type fetch struct {
	events []*record.Event // in the order of the ids; nil for one that nobody has any more
	err    error           // why the rest was not fetched
}

// fetchAll fetches events, from the engine where it still keeps them.
func (r *Runner) fetchAll(ctx context.Context, ids []engine.EventID) fetch {
	var f fetch
	for _, id := range ids {
		e, err := r.fetchOne(ctx, id)
		if err != nil {
			f.err = err
			break
		}
		f.events = append(f.events, e)
	}
	return f
}

var errBehind = errors.New("history has not got that far yet")

func (r *Runner) fetchOne(ctx context.Context, id engine.EventID) (*record.Event, error) {
	found, err := r.Engine.After(id.Before(), 1)
	var gone *engine.GoneError
	if errors.As(err, &gone) {
		if r.Backlog == nil {
			return nil, nil
		}
		found, err = r.history(ctx, id.Before(), 1)
		if errors.As(err, &gone) {
			return nil, nil
		}
	}
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, errBehind
	case found[0].ID != id:
		return nil, nil
	}
	return found[0].Event, nil
}

// historyTimeout bounds one read of history.
const historyTimeout = 30 * time.Second

func (r *Runner) history(ctx context.Context, after engine.EventID, limit int) ([]engine.Published, error) {
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	return r.Backlog.Events(ctx, after, limit)
}
