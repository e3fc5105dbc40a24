package webhook

import (
	"errors"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// what a subscription has to read.
type what int

const (
	nothing what = iota
	pendings
	marks
	following
)

// toRead is what a subscription has to read next, and when. What was pending comes
// first, since it is before all else in its order; dead letters hold up nothing.
func (s *subscription) toRead(now int64) (what, int64) {
	switch r := &s.reader; {
	case r.busy || !s.hungry():
		return nothing, 0
	case len(r.pending) > 0:
		return pendings, r.until
	case len(r.marked) > 0 && (r.later <= now || s.tail):
		return marks, r.later
	case !s.tail:
		return following, r.until
	}
	return nothing, 0
}

// read reads on for a subscription that is behind.
func (l *leading) read(s *subscription, now int64) {
	for !s.part.unread {
		what, at := s.toRead(now)
		if what == nothing || at > now {
			return
		}
		switch what {
		case pendings:
			l.inBackground(s, l.fetchPending(s))
		case marks:
			l.inBackground(s, l.fetchMarked(s))
		case following:
			l.readLog(s, now)
		}
	}
}

// readLog reads what the engine keeps.
func (l *leading) readLog(s *subscription, now int64) {
	events, err := l.Engine.After(s.through, readMost)
	var gone *engine.GoneError
	switch {
	case errors.As(err, &gone) && l.Backlog != nil:
		l.inBackground(s, l.readHistory(s))
		return
	case errors.As(err, &gone):
		l.lack(s, gone, now)
		return
	case err != nil:
		s.reader.problem, s.reader.until = err.Error(), now+readAgain
		return
	}
	s.reader.from, s.reader.problem = fromLog, ""
	switch all := s.take(events, l.at) && (len(events) < readMost || events[len(events)-1].ID.Compare(l.at) > 0); {
	case all && s.awaits:
		s.reader.until = now + awaitAgain
	case all:
		s.tail, s.reader.from = true, "" // it has all up to where events are given
	}
}

// lack goes on after events that nobody has any more.
func (l *leading) lack(s *subscription, gone *engine.GoneError, now int64) {
	oldest, err := engine.ParseEventID(gone.Oldest)
	if err != nil || oldest.Incarnation != l.policy.incarnation || oldest.Compare(s.through) <= 0 {
		s.reader.problem, s.reader.until = gone.Error(), now+readAgain
		return
	}
	l.Log.Warn("a webhook cannot be told of events that are no longer kept", "webhook", s.hook.Id, "after", s.through.String(), "through", oldest.String())
	s.gap(oldest, now)
}

// inBackground runs what asks history, and then done in the loop; not too many at
// a time.
func (l *leading) inBackground(s *subscription, ask func() (done func())) {
	if l.readers >= readersMost {
		s.part.unread = true
		l.unread = append(l.unread, s)
		return
	}
	l.readers++
	s.reader.busy = true
	l.running.Go(func() {
		done := ask()
		l.tell(func() {
			l.readers--
			s.reader.busy = false
			if len(l.unread) > 0 {
				next := l.unread[0]
				l.unread = l.unread[1:]
				next.part.unread = false
				l.see(next)
			}
			if !s.part.gone {
				done()
				l.see(s)
			}
		})
	})
}

// readHistory reads what the engine no longer keeps.
func (l *leading) readHistory(s *subscription) func() (done func()) {
	after, life := s.through, s.part.life
	return func() func() {
		events, err := l.history(life, after, readMost)
		return func() { l.readOf(s, events, err) }
	}
}

// readOf takes up what history had.
func (l *leading) readOf(s *subscription, events []engine.Published, err error) {
	now := l.millis()
	var gone *engine.GoneError
	switch {
	case errors.As(err, &gone):
		l.lack(s, gone, now)
	case err != nil:
		s.reader.problem, s.reader.until = unread(err), now+readAgain
	case len(events) == 0:
		s.reader.problem, s.reader.until = unread(errBehind), now+readAgain
	default:
		s.reader.from, s.reader.problem = fromHistory, ""
		s.take(events, l.at)
	}
}

// fetchPending fetches what was pending when this leadership began.
func (l *leading) fetchPending(s *subscription) func() (done func()) {
	life := s.part.life
	var ids []engine.EventID
	for _, p := range s.reader.pending[:min(len(s.reader.pending), fetchMost)] {
		ids = append(ids, p.id)
	}
	return func() func() {
		f := l.fetchAll(life, ids)
		return func() {
			l.fetched(s, f)
			if s.reader.problem = ""; f.err != nil {
				s.reader.problem, s.reader.until = unread(f.err), l.millis()+readAgain
			}
		}
	}
}

// fetchMarked fetches the dead letters that are to be delivered once more.
func (l *leading) fetchMarked(s *subscription) func() (done func()) {
	life := s.part.life
	var ids []engine.EventID
	for _, d := range s.reader.marked[:min(len(s.reader.marked), fetchMost)] {
		ids = append(ids, engine.IDAt(d.At))
	}
	return func() func() {
		f := l.fetchAll(life, ids)
		return func() {
			l.fetchedMarked(s, ids, f)
			if f.err != nil {
				s.reader.problem, s.reader.later = unread(f.err), l.millis()+readAgain
			}
		}
	}
}

func unread(err error) string {
	if errors.Is(err, errBehind) {
		return err.Error()
	}
	return "history cannot be read: " + err.Error()
}

// fetched takes up the first of the events that were pending.
func (l *leading) fetched(s *subscription, f fetch) {
	for i, e := range f.events {
		p := s.reader.pending[i]
		switch {
		case e == nil:
			l.Log.Warn("a webhook cannot be told of an event that is no longer kept", "webhook", s.hook.Id, "event", p.id.String())
			s.counts.untold++
		case s.wants.matches(e.Job, e.Type):
			s.resume(p, e)
		}
	}
	s.reader.pending = s.reader.pending[len(f.events):]
	s.saver.changed()
}

// fetchedMarked takes up dead letters, unless they were let go meanwhile.
func (l *leading) fetchedMarked(s *subscription, ids []engine.EventID, f fetch) {
	for i, e := range f.events {
		d := s.again[ids[i]]
		if d == nil {
			continue
		}
		if e != nil {
			s.push(&entry{id: ids[i], event: e, dead: d})
			continue
		}
		lost := deadAgain(d, 0, l.millis(), "its content is no longer kept")
		s.saver.news.Failed = append(s.saver.news.Failed, lost)
	}
	taken := map[engine.EventID]bool{}
	for _, id := range ids[:len(f.events)] {
		taken[id] = true
	}
	kept := s.reader.marked[:0:0]
	for _, d := range s.reader.marked {
		if !taken[engine.IDAt(d.At)] {
			kept = append(kept, d)
		}
	}
	s.reader.marked = kept
	s.saver.changed()
}
