package webhook

import (
	"context"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// batch is events as they come, or from which on they come if those before it were
// too many.
type batch struct {
	events []engine.Published
	jump   engine.EventID
}

// feed gives events to those at the tail.
func (l *leading) feed(b batch) {
	if b.jump != (engine.EventID{}) {
		l.jump(b.jump)
	}
	for _, p := range b.events {
		if p.ID.Compare(l.at) <= 0 {
			continue
		}
		if strings.HasPrefix(p.Event.Type, "webhook.") {
			l.reload()
		}
		for _, s := range l.index.of(p.Event) {
			if s.tail {
				l.give(s, p)
			}
		}
		l.at = p.ID
	}
}

// give gives an event to a subscription, which reads it later if it has no room.
func (l *leading) give(s *subscription, p engine.Published) {
	if s.room() {
		s.push(&entry{id: p.ID, event: p.Event})
	} else {
		s.behind(p.ID)
	}
	l.see(s)
}

// follow gives the loop the events as they come.
func (l *leading) follow(at engine.EventID) {
	var b batch
	for l.life.Err() == nil {
		f, err := l.Engine.Follow(at.String())
		for err == nil {
			if b.events, err = f.Next(l.life); err == nil {
				l.hand(b)
				at, b = b.events[len(b.events)-1].ID, batch{}
			}
		}
		if l.life.Err() != nil {
			return
		}
		// Events between are no longer kept here: each reads them for itself.
		b = batch{jump: l.Engine.Newest()}
		l.Log.Warn("events came faster than webhooks could take them, and are read from history", "after", at.String(), "through", b.jump.String(), "reason", err)
		at = b.jump
		l.hand(b)
		b = batch{}
		pause(l.life, followAgain)
	}
}

// followAgain is how long to wait after events could not be followed.
const followAgain = 100 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (l *leading) hand(b batch) {
	select {
	case l.events <- b:
	case <-l.life.Done():
	}
}

// jump goes on with the events after one; those at the tail read what is between.
func (l *leading) jump(to engine.EventID) {
	for _, s := range l.subs {
		if s.tail {
			s.tail, s.through = false, l.at
			s.saver.changed()
			l.see(s)
		}
	}
	l.at = to
}
