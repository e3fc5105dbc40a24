package webhook

import (
	"container/heap"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/scheduler/cloudevent"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// leading is the deliveries of one leadership: the loop that owns the
// subscriptions, and what runs for it.
type leading struct {
	*Runner
	policy policy
	subs   map[string]*subscription
	index  *index
	at     engine.EventID // events up to it were given to those at the tail

	look    []*subscription // to be looked at
	blocked []*subscription // that could deliver, if fewer deliveries were under way
	unread  []*subscription // that would read history, if fewer did
	wakes   wakes

	countAt  int64 // when to count, 0: nothing has changed
	underWay int   // deliveries
	readers  int   // that read history
	tail     tailSaver

	events  chan batch
	results chan func() // what came of what was begun, to be done by the loop
	asks    chan func() // of others
	left    chan struct{}
	lost    chan struct{}
	leave   func() // closes left: what is to be saved is saved
	lose    func() // closes lost: nothing can be
	done    chan struct{}
	life    context.Context // of what is begun
	end     context.CancelFunc
	running sync.WaitGroup
}

// part is what the loop knows of a subscription.
type part struct {
	looked  bool // is in look
	blocked bool // is in blocked
	unread  bool // is in unread
	gone    bool // its webhook is disabled or removed
	wake    int64
	at      int // in wakes, -1: not there
	life    context.Context
	end     context.CancelFunc
}

// newLeading takes up what the leader before saved.
func newLeading(r *Runner, v *engine.View) (*leading, error) {
	l := &leading{Runner: r, subs: map[string]*subscription{},
		policy: policy{retryFor: r.RetryFor, jitter: r.Jitter, incarnation: v.Cluster().Incarnation},
		events: make(chan batch), results: make(chan func(), 256), asks: make(chan func()),
		left: make(chan struct{}), lost: make(chan struct{}), done: make(chan struct{})}
	l.leave = sync.OnceFunc(func() { close(l.left) })
	l.lose = sync.OnceFunc(func() { close(l.lost) })
	l.at = r.Engine.Newest()
	if l.at.Incarnation != l.policy.incarnation {
		return nil, fmt.Errorf("the newest event is %s, of another incarnation than %s", l.at, l.policy.incarnation)
	}
	// Those that were at the tail go on there together, if the events since are kept.
	if tail := v.WebhookTail(); tail != nil {
		through := engine.IDAt(tail.Through)
		l.tail.saved = through
		if _, err := r.Engine.After(through, 1); err == nil && through.Compare(l.at) < 0 {
			l.at = through
		}
	}
	l.life, l.end = context.WithCancel(context.Background())
	v.Webhooks("", func(w *record.Webhook) bool {
		if !w.Disabled {
			l.add(v, w)
		}
		return true
	})
	l.index = newIndex(l.subs)
	return l, nil
}

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
	if through.Incarnation != l.policy.incarnation { // the state was restored from a backup
		through = engine.EventID{Incarnation: l.policy.incarnation}
	}
	if c != nil {
		s.restore(c, through)
	}
	s.through, s.awaits = through, c == nil
	if s.tail = len(s.reader.pending) == 0 && through == l.at && !s.awaits; !s.tail {
		s.reader.from = fromLog
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

// run is the loop.
func (l *leading) run(ctx context.Context) {
	defer close(l.done)
	defer l.running.Wait()
	defer l.end()
	from := l.at
	l.running.Go(func() { l.follow(from) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		l.work(now.UnixMilli())
		timer.Reset(l.sleep(now))
		select {
		case do := <-l.results:
			do()
		case b := <-l.events:
			l.feed(b)
		case ask := <-l.asks:
			ask()
		case <-timer.C:
		case <-l.lost:
			return
		case <-l.left:
			l.drain()
			return
		case <-ctx.Done():
			l.drain()
			return
		}
		l.catchUp()
	}
}

// catchUp does what else has ended meanwhile.
func (l *leading) catchUp() {
	for {
		select {
		case do := <-l.results:
			do()
		default:
			return
		}
	}
}

// work looks at all that is to be looked at: starts deliveries, reads on, saves.
func (l *leading) work(now int64) {
	for len(l.wakes) > 0 && l.wakes[0].part.wake <= now {
		s := l.wakes[0]
		heap.Pop(&l.wakes)
		l.see(s)
	}
	if l.Engine.Leads() {
		for i := 0; i < len(l.look); i++ {
			s := l.look[i]
			s.part.looked = false
			if !s.part.gone {
				l.read(s, now)
				l.deliver(s, now)
				l.wakeAt(s, now)
				l.notice(s, now)
			}
		}
		clear(l.look)
		l.look = l.look[:0]
	}
	l.saveWhenDue(now)
	l.count(now)
}

// leadAgain is how soon to look again when it cannot be told who leads.
const leadAgain = 100 * time.Millisecond

// sleep is how long there is nothing to do unless something happens.
func (l *leading) sleep(now time.Time) time.Duration {
	if len(l.look) > 0 {
		return leadAgain
	}
	due := earlier(l.saveDue(), l.countAt)
	if len(l.wakes) > 0 {
		due = earlier(due, l.wakes[0].part.wake)
	}
	if due == 0 || due > now.UnixMilli()+time.Hour.Milliseconds() {
		return time.Hour
	}
	return max(0, time.Duration(due-now.UnixMilli())*time.Millisecond)
}

// earlier of two times, of which 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// wakeAt has a subscription looked at when it may have something to do.
func (l *leading) wakeAt(s *subscription, now int64) {
	wake := int64(0)
	if !s.part.blocked {
		wake = s.wake()
	}
	if what, at := s.toRead(now); what != nothing && !s.part.unread {
		wake = earlier(wake, max(1, at))
	}
	switch {
	case wake == 0 && s.part.at >= 0:
		heap.Remove(&l.wakes, s.part.at)
	case wake != 0:
		s.part.wake = wake
		if s.part.at >= 0 {
			heap.Fix(&l.wakes, s.part.at)
		} else {
			heap.Push(&l.wakes, s)
		}
	}
}

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
			l.see(s)
		}
	}
	l.at = to
}

// countEvery is the least time between two counts, in ms.
const countEvery = 1_000

// count tells how it stands.
func (l *leading) count(now int64) {
	if l.countAt == 0 || now < l.countAt {
		return
	}
	l.countAt = 0
	var waiting, failing, behind int
	for _, s := range l.subs {
		waiting += s.entries
		if s.since != 0 {
			failing++
		}
		if !s.tail {
			behind++
		}
	}
	l.Stats.set(waiting, l.underWay, l.policy.held, len(l.subs)-failing, failing, behind)
}

// wakes is a heap of subscriptions by when they are to be looked at.
type wakes []*subscription

func (w wakes) Len() int           { return len(w) }
func (w wakes) Less(i, j int) bool { return w[i].part.wake < w[j].part.wake }
func (w wakes) Swap(i, j int)      { w[i], w[j] = w[j], w[i]; w[i].part.at, w[j].part.at = i, j }
func (w *wakes) Push(x any) {
	s := x.(*subscription)
	s.part.at = len(*w)
	*w = append(*w, s)
}
func (w *wakes) Pop() any {
	old := *w
	s := old[len(old)-1]
	old[len(old)-1], s.part.at = nil, -1
	*w = old[:len(old)-1]
	return s
}
