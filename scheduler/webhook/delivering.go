package webhook

import (
	"time"

	"github.com/perigee-sched/perigee/scheduler/cloudevent"
)

// deliver starts what a subscription may have delivered now.
func (l *leading) deliver(s *subscription, now int64) {
	for {
		if l.underWay >= l.AtOnceMost && s.busy > 0 { // each may have one under way
			if !s.part.blocked {
				s.part.blocked = true
				l.blocked = append(l.blocked, s)
			}
			return
		}
		q := s.next(now)
		if q == nil {
			return
		}
		l.begin(s, q)
	}
}

// begin starts one delivery.
func (l *leading) begin(s *subscription, q *queue) {
	e, hook, life := q.head(), s.hook, s.part.life
	l.underWay++
	l.running.Go(func() {
		event := cloudevent.Of(l.Cluster, e.id.String(), e.event)
		a := attempt{at: time.Now(), event: e.id, typ: e.event.Type, job: e.event.Job}
		a.outcome = l.sender.send(life, hook, &event)
		l.tell(func() { l.settle(s, q, e, a) })
	})
}

// tell has the loop do something, unless it is over.
func (l *leading) tell(do func()) {
	select {
	case l.results <- do:
	case <-l.life.Done():
	}
}

// settle is done when a delivery ended.
func (l *leading) settle(s *subscription, q *queue, e *entry, a attempt) {
	l.underWay--
	if len(l.blocked) > 0 {
		other := l.blocked[0]
		l.blocked = l.blocked[1:]
		other.part.blocked = false
		l.see(other)
	}
	if s.part.gone {
		return
	}
	now := time.Now()
	l.OnAttempt(a.outcome.name(), a.outcome.took)
	if a.outcome.delivered {
		l.OnDelivered(max(0, now.Sub(time.UnixMilli(e.event.At))))
	}
	failing, disabled := s.since, s.saver.news.Disable
	s.settle(q, a, now.UnixMilli())
	switch {
	case s.saver.news.Disable != disabled:
		l.Log.Warn("a webhook is disabled", "webhook", s.hook.Id, "reason", s.saver.news.Disable)
	case failing == 0 && s.since != 0:
		l.Log.Info("a webhook's consumer fails", "webhook", s.hook.Id, "error", s.err)
	case failing != 0 && s.since == 0:
		l.Log.Info("a webhook's consumer takes events again", "webhook", s.hook.Id, "failed_for", time.Duration(now.UnixMilli()-failing)*time.Millisecond)
	}
	l.see(s)
}

// name of an outcome, for metrics.
func (o *outcome) name() string {
	switch {
	case o.delivered:
		return "delivered"
	case o.status != 0:
		return "refused"
	}
	return "unanswered"
}
