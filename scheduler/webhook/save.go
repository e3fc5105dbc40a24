package webhook

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

const (
	// saveEvery is the least time between two saves, and saveSoon how long after
	// something became of an event it is saved when the last save is longer ago:
	// what else happens then is saved along. In ms.
	saveEvery = 1_000
	saveSoon  = 100
	// tailEvery is how often it is saved how far the webhooks are that were told of
	// nothing, and countsEvery how often the counts of one whose cursor stays as it
	// is. In ms.
	tailEvery   = 10_000
	countsEvery = 60_000
	// gapsKept are shown.
	gapsKept = 10
)

// saver knows what of a subscription is saved.
type saver struct {
	dirty   bool                  // what is saved may be old, beside counts
	counted bool                  // counts are not saved
	saved   *record.WebhookCursor // nil: that is not known
	saving  *record.WebhookCursor // under way, nil when none is
	savedAt int64
	news    core.DeliveriesOf // what became of events, to be saved
	sent    core.DeliveriesOf // the same, under way
}

func (v *saver) changed() { v.dirty = true }

// anew has all saved again: what was, may count for nothing.
func (v *saver) anew() {
	v.saved, v.dirty = nil, true
	v.news.Disable = ""
}

func hasNews(d *core.DeliveriesOf) bool {
	return len(d.Dead)+len(d.Redelivered)+len(d.Failed) > 0 || d.Disable != ""
}

// begin returns what is to be saved of a subscription now; false when nothing is.
func (s *subscription) beginSave(now int64) (core.DeliveriesOf, bool) {
	v := &s.saver
	v.dirty = false
	cursor := s.cursor()
	if v.saved != nil && sameCursor(v.saved, cursor) {
		v.counted = !sameCounts(v.saved, cursor)
		if !v.counted || now-v.savedAt < countsEvery {
			cursor = nil
		}
	}
	if cursor == nil && !hasNews(&v.news) {
		return core.DeliveriesOf{}, false
	}
	v.saving, v.sent, v.news = cursor, v.news, core.DeliveriesOf{}
	d := v.sent
	d.ID, d.Revision, d.Cursor = s.hook.Id, s.hook.Revision, cursor
	return d, true
}

// endSave is told whether what beginSave returned is saved.
func (s *subscription) endSave(saved bool, now int64) {
	v := &s.saver
	if !saved {
		v.news = merge(v.sent, v.news)
		v.saved, v.dirty = nil, true
	} else if v.saving != nil {
		v.saved, v.savedAt, v.counted = v.saving, now, false
	}
	if saved {
		for _, p := range v.sent.Redelivered {
			delete(s.again, engine.IDAt(p))
		}
		for _, d := range v.sent.Failed {
			delete(s.again, engine.IDAt(d.At))
		}
	}
	v.saving, v.sent = nil, core.DeliveriesOf{}
}

func merge(a, b core.DeliveriesOf) core.DeliveriesOf {
	return core.DeliveriesOf{Dead: append(a.Dead, b.Dead...), Redelivered: append(a.Redelivered, b.Redelivered...),
		Failed: append(a.Failed, b.Failed...), Disable: cmp.Or(b.Disable, a.Disable)}
}

// cursor is how far a subscription is. What nothing became of yet, at the end, is
// not named: it is read again. So a consumer that takes nothing, or little, costs
// no more than one that keeps up.
func (s *subscription) cursor() *record.WebhookCursor {
	c := &record.WebhookCursor{
		Id: s.hook.Id, AtTail: s.tail && len(s.reader.pending) == 0, FailingSince: s.since, Failures: s.failures, LastError: s.err, Probes: s.probes,
		Delivered: s.counts.delivered, Failed: s.counts.failed, Untold: s.counts.untold, Gaps: s.counts.gaps, DeliveredAt: s.counts.deliveredAt,
	}
	through := s.through
	var first *entry // that is untouched
	for _, q := range s.lanes {
		for i, e := range q.entries {
			switch {
			case e.dead != nil:
			case !s.untouched(e):
				p := &record.PendingDelivery{At: s.position(e.id), Attempts: e.attempts, FirstAt: e.first}
				if i == 0 {
					p.RetryAt = q.until
				}
				c.Pending = append(c.Pending, p)
			case first == nil || e.id.Compare(first.id) < 0:
				first = e
			}
		}
	}
	for _, p := range s.reader.pending {
		c.Pending = append(c.Pending, &record.PendingDelivery{At: s.position(p.id), Attempts: p.attempts, FirstAt: p.first, RetryAt: p.retryAt})
	}
	slices.SortFunc(c.Pending, func(a, b *record.PendingDelivery) int {
		return cmp.Or(-cmp.Compare(a.At.Incarnation, b.At.Incarnation), cmp.Compare(a.At.Index, b.At.Index), cmp.Compare(a.At.Ordinal, b.At.Ordinal))
	})
	switch {
	case first != nil:
		c.AtTail, through = false, first.id.Before()
	case c.AtTail:
		through = engine.EventID{Incarnation: s.policy.incarnation}
	}
	c.Through = through.Position()
	if s.until > 0 && s.until < noTime {
		c.RetryAt = s.until
	} else if s.since > 0 && len(s.waiting) > 0 {
		c.RetryAt = s.waiting[0].until
	}
	return c
}

// position is that of an event that is pending. Most are of the same incarnation,
// which is not said of each.
func (s *subscription) position(id engine.EventID) *record.Position {
	if id.Incarnation == s.policy.incarnation {
		id.Incarnation = ""
	}
	return id.Position()
}

// sameCursor says whether two cursors differ in nothing but counts.
func sameCursor(a, b *record.WebhookCursor) bool {
	return a.AtTail == b.AtTail && a.FailingSince == b.FailingSince && a.Failures == b.Failures && a.RetryAt == b.RetryAt &&
		a.LastError == b.LastError && a.Probes == b.Probes && len(a.Gaps) == len(b.Gaps) && a.Untold == b.Untold &&
		proto.Equal(a.Through, b.Through) &&
		slices.EqualFunc(a.Pending, b.Pending, func(p, q *record.PendingDelivery) bool { return proto.Equal(p, q) })
}

func sameCounts(a, b *record.WebhookCursor) bool {
	return a.Delivered == b.Delivered && a.Failed == b.Failed
}

// restore takes up what an earlier leader saved; through is how far it was.
func (s *subscription) restore(c *record.WebhookCursor, through engine.EventID) {
	s.through = through
	s.since, s.failures, s.err, s.probes = c.GetFailingSince(), c.GetFailures(), c.GetLastError(), c.GetProbes()
	if s.probes > 0 {
		s.until = c.GetRetryAt()
	}
	s.counts = counts{delivered: c.GetDelivered(), failed: c.GetFailed(), untold: c.GetUntold(), deliveredAt: c.GetDeliveredAt(),
		gaps: slices.Clone(c.GetGaps())}
	s.saver.saved, s.saver.dirty = c, false
	for _, p := range c.GetPending() {
		id := engine.IDAt(p.At)
		id.Incarnation = cmp.Or(id.Incarnation, c.GetThrough().GetIncarnation())
		s.reader.pending = append(s.reader.pending, pending{id: id, attempts: p.Attempts, first: p.FirstAt, retryAt: p.RetryAt})
		if id.Incarnation == s.policy.incarnation {
			s.touched = id
		}
	}
}
