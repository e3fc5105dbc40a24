package webhook

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/cloudevent"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// ask has the loop do something, and returns when it did; false when this
// scheduler does not deliver.
func (r *Runner) ask(ctx context.Context, do func(*leading)) bool {
	l := r.leading()
	if l == nil {
		return false
	}
	done := make(chan struct{})
	select {
	case l.asks <- func() { do(l); close(done) }:
		<-done
		return true
	case <-l.done:
	case <-ctx.Done():
	}
	return false
}

// Deliveries says how far a webhook's deliveries are; false when this scheduler
// does not deliver.
func (r *Runner) Deliveries(ctx context.Context, id string) (api.WebhookDeliveries, bool) {
	var d api.WebhookDeliveries
	ok := r.ask(ctx, func(l *leading) {
		if w := l.Engine.View().Webhook(id); w != nil && !w.Disabled && l.subs[id] == nil {
			l.reload() // it is new, and its event is still to come
		}
		if s := l.subs[id]; s != nil {
			d = l.deliveries(s)
		} else {
			d = l.stopped(id)
		}
	})
	return d, ok
}

// stopped is told of a webhook that is disabled: as it was saved.
func (l *leading) stopped(id string) api.WebhookDeliveries {
	c := l.Engine.View().WebhookCursor(id)
	d := api.WebhookDeliveries{Webhook: id, State: api.WebhookDisabled, Newest: l.at.String(), Waiting: len(c.GetPending()),
		Delivered: c.GetDelivered(), Failed: c.GetFailed(), Untold: c.GetUntold(), Gaps: gaps(c.GetGaps()), Attempts: []api.WebhookAttempt{},
		FailingSince: moment(c.GetFailingSince()), DeliveredAt: moment(c.GetDeliveredAt())}
	if p := c.GetThrough(); p != nil {
		d.Through = engine.IDAt(p).String()
	} else if w := l.Engine.View().Webhook(id); w != nil {
		d.Through = engine.IDAt(w.From).String()
	}
	return d
}

func (l *leading) deliveries(s *subscription) api.WebhookDeliveries {
	now := l.millis()
	d := api.WebhookDeliveries{Webhook: s.hook.Id, State: api.WebhookActive, Through: s.through.String(), Newest: l.at.String(),
		Reading: s.reader.from, NotRead: s.reader.problem, Waiting: s.entries + len(s.reader.pending), UnderWay: s.busy,
		FailingSince: moment(s.since), Delivered: s.counts.delivered, Failed: s.counts.failed, Untold: s.counts.untold,
		Gaps: gaps(s.counts.gaps), DeliveredAt: moment(s.counts.deliveredAt), Attempts: []api.WebhookAttempt{}}
	if s.tail {
		d.Through = l.at.String()
	}
	if s.since != 0 {
		d.State = api.WebhookFailing
	}
	if s.until > now && s.until < noTime {
		d.RetryAt = moment(s.until)
	}
	oldest := int64(0)
	held := func(q *queue) api.HeldJob {
		h := api.HeldJob{Job: q.job, Event: q.head().id.String(), Waiting: len(q.entries), Attempts: int(q.head().attempts), Error: q.err,
			Since: *moment(max(q.since, 1)), RetryAt: *moment(max(q.until, now))}
		if d.RetryAt != nil && d.RetryAt.After(h.RetryAt) {
			h.RetryAt = *d.RetryAt
		}
		return h
	}
	for _, q := range s.lanes {
		if len(q.entries) > 0 {
			oldest = earlier(oldest, q.head().event.At)
		}
		if q.failures > 0 && len(q.entries) > 0 {
			d.Held = append(d.Held, held(q))
		}
	}
	slices.SortFunc(d.Held, func(a, b api.HeldJob) int { return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Event, b.Event)) })
	d.Held = d.Held[:min(len(d.Held), heldShown)]
	d.Oldest = moment(oldest)
	for _, a := range s.recent {
		d.Attempts = append(d.Attempts, api.WebhookAttempt{At: a.at.UTC(), Event: a.event.String(), Type: api.EventPrefix + a.typ, Job: a.job,
			Attempt: int(a.number), Delivered: a.outcome.delivered, Status: a.outcome.status, Error: a.outcome.err,
			Took: api.Duration(a.outcome.took.Round(time.Microsecond))})
	}
	return d
}

// heldShown jobs are shown that wait for an event that failed.
const heldShown = 100

func gaps(list []*record.WebhookGap) []api.WebhookGap {
	var out []api.WebhookGap
	for _, g := range list {
		out = append(out, api.WebhookGap{After: engine.IDAt(g.After).String(), Through: engine.IDAt(g.Through).String(), At: *moment(max(g.At, 1))})
	}
	return out
}

func moment(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// testType is the type of test events.
const testType = "webhook.test"

// Test sends a test event, whether the webhook is disabled or not, and returns what
// came of it. When the consumer took it, what waits for the consumer is tried.
func (r *Runner) Test(ctx context.Context, w *record.Webhook, actor string) api.WebhookTest {
	id := "test-" + strings.ToLower(rand.Text()[:12])
	t := api.WebhookTest{Event: id}
	select {
	case r.tests <- struct{}{}:
		defer func() { <-r.tests }()
	default:
		t.Error = fmt.Sprintf("%d tests are under way: try again", testsMost)
		return t
	}
	e := cloudevent.Of(r.Cluster, id, &record.Event{Type: testType, At: time.Now().UnixMilli(), Object: w.Id, Actor: actor,
		Message: "a test: nothing has happened"})
	o := r.sender.send(ctx, w, &e)
	t.Delivered, t.Status, t.Body, t.Error, t.Took = o.delivered, o.status, o.text, o.err, api.Duration(o.took.Round(time.Microsecond))
	if o.delivered {
		r.ask(ctx, func(l *leading) {
			if s := l.subs[w.Id]; s != nil {
				s.revive()
				s.reset()
				s.saver.changed()
				l.see(s)
			}
		})
	}
	return t
}
