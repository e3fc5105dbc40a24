package webhook

import (
	"container/heap"
	"context"
	"time"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// add begins the deliveries of a webhook where they ended.
func (l *leading) add(v *engine.View, w *record.Webhook) {
	s := newSubscription(&l.policy, w)
	s.part.at = -1
	s.part.life, s.part.end = context.WithCancel(l.life)
	c := v.WebhookCursor(w.Id)
	through := engine.IDAt(w.From)
	switch {
	case c.GetAtTail():
		through = engine.IDAt(v.WebhookTail().GetThrough())
	case c != nil:
		through = engine.IDAt(c.Through)
	}
	s.awaits = c == nil
	if through.Incarnation != l.policy.incarnation {
		// The state was restored from a backup: all that happened since is of interest,
		// and that it was made is not told again.
		through, s.awaits = engine.EventID{Incarnation: l.policy.incarnation}, false
	}
	if c != nil {
		s.restore(c, through)
	}
	s.through = through
	if s.tail = len(s.reader.pending) == 0 && through == l.at && !s.awaits; !s.tail {
		s.reader.from = fromLog
		if c.GetAtTail() { // which goes on without it
			s.saver.changed()
		}
	}
	l.subs[w.Id] = s
	l.mark(v, s)
	l.see(s)
}

// mark takes up the dead letters that are to be delivered once more, and lets go of
// those that are not any more.
func (l *leading) mark(v *engine.View, s *subscription) {
	s.dead = len(s.saver.news.Dead) + len(s.saver.sent.Dead)
	wanted := map[engine.EventID]bool{}
	v.DeadLetters(s.hook.Id, "", func(d *record.DeadLetter) bool {
		s.dead++
		if id := engine.IDAt(d.At); d.RedeliverAt != 0 {
			wanted[id] = true
			if s.again[id] == nil {
				s.again[id] = d
				s.reader.marked = append(s.reader.marked, d)
			}
		}
		return true
	})
	for id := range s.again {
		if !wanted[id] {
			s.release(id)
		}
	}
}

// see has a subscription looked at before the loop waits again.
func (l *leading) see(s *subscription) {
	if !s.part.looked && !s.part.gone {
		s.part.looked = true
		l.look = append(l.look, s)
		if l.countAt == 0 {
			l.countAt = time.Now().UnixMilli() + countEvery
		}
	}
}

// reload takes up what webhooks there are now, and what they want.
func (l *leading) reload() {
	v := l.Engine.View()
	seen := map[string]bool{}
	v.Webhooks("", func(w *record.Webhook) bool {
		if w.Disabled {
			return true
		}
		seen[w.Id] = true
		switch s := l.subs[w.Id]; {
		case s == nil:
			l.add(v, w)
		case s.hook.Revision != w.Revision:
			s.become(w)
			fallthrough
		default:
			l.mark(v, s)
			l.see(s)
		}
		return true
	})
	for id, s := range l.subs {
		if !seen[id] {
			l.remove(s)
		}
	}
	l.index = newIndex(l.subs)
}

// remove ends the deliveries of a webhook.
func (l *leading) remove(s *subscription) {
	s.part.gone = true
	s.part.end()
	if s.part.at >= 0 {
		heap.Remove(&l.wakes, s.part.at)
	}
	l.policy.held -= s.bytes
	delete(l.subs, s.hook.Id)
}
