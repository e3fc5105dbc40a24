package webhook

import (
	"fmt"
	"slices"
	"time"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

const (
	// windowMost and windowBytes bound the events that a subscription holds. When
	// there are as many, it is told of no more until half are gone, and then reads
	// what it missed.
	windowMost  = 1_000
	windowBytes = 1 << 20
	// atOnce is how many jobs' events are delivered at a time.
	atOnce = 4
	// suspectsMost jobs whose events failed in a row, none of another having been
	// delivered in between, are the consumer's failure and not the events'.
	suspectsMost = 3
	// attemptsKept are shown.
	attemptsKept = 20
)

// policy is what is the same for all subscriptions, and what they share.
type policy struct {
	retryFor    time.Duration  // then an event is a dead letter
	jitter      func() float64 // from 0 to 1
	incarnation string         // of the events that come
	held        int            // bytes of the events that all hold
}

// heldMost bounds the events that all subscriptions hold, in bytes. Beyond it each
// may still hold heldLeast events: those that keep up go on.
const (
	heldMost  = 64 << 20
	heldLeast = 16
)

// deadMost is how many dead letters core keeps of a webhook.
const deadMost = 1_000

// subscription is one webhook's deliveries: which events it is to be told of, and
// what may be tried when. Times are Unix milliseconds.
type subscription struct {
	policy *policy
	hook   *record.Webhook
	wants  matcher

	// Events up to through were taken up. One at the tail is given events as they
	// come, and through means nothing.
	tail    bool
	through engine.EventID
	reader  reader
	// awaits says that the event which tells that the webhook was made, or enabled,
	// is still to come: it is told of what comes after.
	awaits bool

	lanes   map[lane]*queue
	ready   []*queue // may be tried, in this order
	waiting waiting
	entries int
	bytes   int
	busy    int
	touched engine.EventID // the last event, in their order, that something became of

	since    int64 // when the first failure was after the last success; 0: none
	failures uint32
	err      string
	suspects map[string]bool // jobs that failed since; at most suspectsMost
	probes   uint32          // failed in a row since the consumer is given up: one at a time is tried; 0: it is not
	until    int64           // nothing is tried before

	counts counts
	recent []attempt                             // the newest first
	dead   int                                   // letters, of which some may not be saved yet
	again  map[engine.EventID]*record.DeadLetter // being delivered once more
	saver  saver
	part   part
}

// counts since the webhook was made.
type counts struct {
	delivered, failed, untold uint64
	deliveredAt               int64
	gaps                      []*record.WebhookGap // the oldest first
}

// attempt is one delivery that was tried.
type attempt struct {
	at      time.Time
	event   engine.EventID
	typ     string
	job     string
	number  uint32
	outcome outcome
}

func newSubscription(p *policy, w *record.Webhook) *subscription {
	s := &subscription{policy: p, lanes: map[lane]*queue{}, suspects: map[string]bool{}, again: map[engine.EventID]*record.DeadLetter{}}
	s.become(w)
	return s
}

// become is told what the webhook is now. What was tried in vain is tried at once:
// who changed it may have mended it.
func (s *subscription) become(w *record.Webhook) {
	s.hook, s.wants = w, newMatcher(w)
	s.reset()
	s.forget(func(e *entry) bool { return e.dead == nil && !s.wants.matches(e.event.Job, e.event.Type) })
	s.saver.anew()
}

// forget takes events out of the window that are not to be delivered any more.
func (s *subscription) forget(which func(*entry) bool) {
	for _, q := range s.lanes {
		kept := q.entries[:0:0]
		for i, e := range q.entries {
			if q.busy && i == 0 || !which(e) {
				kept = append(kept, e)
				continue
			}
			s.entries--
			s.bytes -= e.size
			s.policy.held -= e.size
		}
		q.entries = kept
		if len(kept) == 0 && q.at >= 0 {
			s.waiting.remove(q)
			delete(s.lanes, q.lane)
		}
	}
	s.tidy()
	s.saver.changed()
}

// release lets go of a dead letter that is not to be delivered once more.
func (s *subscription) release(id engine.EventID) {
	delete(s.again, id)
	is := func(d *record.DeadLetter) bool { return d != nil && engine.IDAt(d.At) == id }
	s.reader.marked = slices.DeleteFunc(s.reader.marked, is)
	s.forget(func(e *entry) bool { return is(e.dead) })
}

// room says whether another event may be taken up.
func (s *subscription) room() bool {
	if s.policy.held >= heldMost {
		return s.entries < heldLeast
	}
	return s.entries < windowMost && s.bytes < windowBytes || s.entries == 0
}

// hungry says whether it is time to read on.
func (s *subscription) hungry() bool {
	if s.policy.held >= heldMost {
		return s.entries <= heldLeast/2
	}
	return s.entries <= windowMost/2 && s.bytes <= windowBytes/2
}

// push takes up an event.
func (s *subscription) push(e *entry) {
	e.size = sizeOf(e.event)
	key := lane{e.event.Job, e.dead != nil}
	q := s.lanes[key]
	if q == nil {
		q = &queue{lane: key, at: -1}
		s.lanes[key] = q
	}
	q.entries = append(q.entries, e)
	s.entries++
	s.bytes += e.size
	s.policy.held += e.size
	if len(q.entries) == 1 && !q.busy {
		s.enqueue(q)
	}
	s.saver.changed()
}

// enqueue has a queue tried when it may be.
func (s *subscription) enqueue(q *queue) {
	if q.until != 0 && s.probes == 0 {
		s.waiting.add(q)
		return
	}
	s.ready = append(s.ready, q)
}

// due moves what has waited for long enough to what may be tried.
func (s *subscription) due(now int64) {
	for len(s.waiting) > 0 && s.waiting[0].until <= now {
		q := s.waiting[0]
		s.waiting.remove(q)
		q.until = 0
		s.ready = append(s.ready, q)
	}
}

// most is how many deliveries may be under way.
func (s *subscription) most() int {
	if s.probes > 0 {
		return 1
	}
	return atOnce
}

// next returns the queue whose first event is to be delivered now, which is busy
// then; nil when there is none.
func (s *subscription) next(now int64) *queue {
	s.due(now)
	if s.busy >= s.most() || s.until > now || len(s.ready) == 0 {
		return nil
	}
	q := s.ready[0]
	s.ready[0] = nil
	s.ready = s.ready[1:]
	q.busy = true
	s.busy++
	s.touch(q.head())
	return q
}

func (s *subscription) touch(e *entry) {
	if e.dead == nil && e.id.Incarnation == s.policy.incarnation && s.touched.Compare(e.id) < 0 {
		s.touched = e.id
	}
	s.saver.changed()
}

// untouched says whether nothing became of an event yet, nor of any after it.
func (s *subscription) untouched(e *entry) bool {
	return e.dead == nil && e.id.Incarnation == s.policy.incarnation && s.touched.Compare(e.id) < 0
}

// wake is when next may have something that it has not now, 0 when only with
// another event.
func (s *subscription) wake() int64 {
	if s.busy >= s.most() {
		return 0
	}
	wake := int64(0)
	if len(s.waiting) > 0 {
		wake = s.waiting[0].until
	}
	if len(s.ready) > 0 {
		wake = max(s.until, 1)
	}
	if wake != 0 {
		wake = max(wake, s.until)
	}
	return wake
}

// settle is told what came of the delivery of a queue's first event that next
// gave.
func (s *subscription) settle(q *queue, a attempt, now int64) {
	q.busy = false
	s.busy--
	a.number = q.head().attempts + 1
	s.remember(a)
	if a.outcome.delivered {
		s.succeed(q, now)
	} else {
		s.fail(q, a, now)
	}
	s.saver.changed()
	s.requeue(q)
}

// requeue has a queue tried for what it still has.
func (s *subscription) requeue(q *queue) {
	if len(q.entries) == 0 {
		delete(s.lanes, q.lane)
		return
	}
	s.enqueue(q)
}

func (s *subscription) remember(a attempt) {
	s.recent = append([]attempt{a}, s.recent[:min(len(s.recent), attemptsKept-1)]...)
}

func (s *subscription) succeed(q *queue, now int64) {
	e := s.pop(q)
	if e.dead != nil {
		s.saver.news.Redelivered = append(s.saver.news.Redelivered, e.id.Position())
		s.dead--
	}
	q.failures, q.since, q.until, q.err = 0, 0, 0, ""
	s.counts.delivered++
	s.counts.deliveredAt = now
	s.revive()
}

// revive is told that the consumer answers.
func (s *subscription) revive() {
	s.since, s.failures, s.err, s.until = 0, 0, "", 0
	clear(s.suspects)
	if s.probes > 0 {
		s.reset()
	}
}

// reset has all that failed tried at once. Their failures are still counted.
func (s *subscription) reset() {
	s.probes, s.until = 0, 0
	clear(s.suspects)
	for len(s.waiting) > 0 {
		q := s.waiting[0]
		s.waiting.remove(q)
		q.until = 0
		s.ready = append(s.ready, q)
	}
	for _, q := range s.ready {
		q.until = 0
	}
}

// pop takes a queue's first event out of the window.
func (s *subscription) pop(q *queue) *entry {
	e := q.head()
	q.drop()
	s.entries--
	s.bytes -= e.size
	s.policy.held -= e.size
	s.touch(e)
	return e
}

func (s *subscription) fail(q *queue, a attempt, now int64) {
	e, at := q.head(), a.at.UnixMilli()
	e.attempts++
	if e.first == 0 {
		e.first = at
	}
	q.failures++
	q.err = a.outcome.err
	if q.since == 0 {
		q.since = at
	}
	s.counts.failed++
	s.failures++
	s.err = a.outcome.err
	if s.since == 0 {
		s.since = at
	}
	q.until = now + s.backoff(q.failures)
	if a.outcome.wait > 0 { // it was asked for, of all
		s.until = max(s.until, now+a.outcome.wait.Milliseconds())
	}
	if a.outcome.gone {
		s.disable(a.outcome.err)
		return
	}
	s.suspect(q, now)
	s.expire(q, now)
}

func (s *subscription) backoff(failures uint32) int64 {
	return backoff(failures, s.policy.jitter()).Milliseconds()
}

// suspect gives the consumer up when one job's events after the other fail: then
// one at a time is tried, of another job each time.
func (s *subscription) suspect(q *queue, now int64) {
	if s.probes > 0 {
		s.probes++
		s.until = max(s.until, now+s.backoff(s.probes))
		return
	}
	if s.suspects[q.job] = true; len(s.suspects) < suspectsMost {
		return
	}
	s.probes = 1
	s.until = max(s.until, now+s.backoff(1))
	for len(s.waiting) > 0 {
		other := s.waiting[0]
		s.waiting.remove(other)
		s.ready = append(s.ready, other)
	}
}

// expire makes dead letters of what was tried for long enough: a queue's first
// event, and what has waited behind it, or behind the consumer, for as long.
func (s *subscription) expire(q *queue, now int64) {
	if s.mayDie(now) && s.expired(q, q.head(), now) {
		s.die(q, now)
		q.until = 0 // each is tried, at least once
	}
	if s.probes == 0 || now-s.since < s.retryFor() {
		return
	}
	for _, other := range s.lanes { // the consumer was tried, for all of them
		for !other.busy && len(other.entries) > 0 && s.expired(other, other.head(), now) && s.mayDie(now) {
			s.die(other, now)
		}
	}
	s.tidy()
}

func (s *subscription) retryFor() int64 { return s.policy.retryFor.Milliseconds() }

func (s *subscription) expired(q *queue, e *entry, now int64) bool {
	over := now - s.retryFor()
	since := q.since
	if s.probes > 0 && s.since != 0 && (since == 0 || s.since < since) {
		since = s.since
	}
	began := e.event.At
	if e.dead != nil {
		began = e.dead.RedeliverAt
	}
	return e.attempts > 0 && e.first <= over || since != 0 && since <= over && began <= over
}

// tidy takes queues that have become empty from those that may be tried.
func (s *subscription) tidy() {
	kept := s.ready[:0]
	for _, q := range s.ready {
		if len(q.entries) > 0 {
			kept = append(kept, q)
		} else {
			delete(s.lanes, q.lane)
		}
	}
	clear(s.ready[len(kept):])
	s.ready = kept
}

// die makes a dead letter of a queue's first event.
func (s *subscription) die(q *queue, now int64) {
	e, news := s.pop(q), &s.saver.news
	why := q.err
	if why == "" {
		why = s.err
	}
	if e.dead != nil {
		news.Failed = append(news.Failed, deadAgain(e.dead, e.attempts, now, why))
		return
	}
	news.Dead = append(news.Dead, &record.DeadLetter{Webhook: s.hook.Id, At: e.id.Position(), Job: e.event.Job, Type: e.event.Type,
		Attempts: e.attempts, EventAt: e.event.At, FirstAt: e.first, LastAt: now, Error: why})
	s.dead++
}

// deadAgain is a dead letter that could not be delivered once more.
func deadAgain(d *record.DeadLetter, attempts uint32, now int64, why string) *record.DeadLetter {
	return &record.DeadLetter{Webhook: d.Webhook, At: d.At, Job: d.Job, Type: d.Type, EventAt: d.EventAt, FirstAt: d.FirstAt,
		RedeliverAt: d.RedeliverAt, Attempts: d.Attempts + attempts, LastAt: now, Error: why}
}

// mayDie says whether an event may become a dead letter. Once there are as many as
// are kept, and the consumer has taken nothing for as long as events are tried,
// the webhook is disabled instead: more would drive out others. Enabled, it may go
// on where it stopped.
func (s *subscription) mayDie(now int64) bool {
	if s.dead < deadMost || s.since == 0 || now-s.since < s.retryFor() {
		return s.saver.news.Disable == ""
	}
	s.disable(fmt.Sprintf("nothing was delivered since %s, in %d attempts, and it has %d dead letters; the last attempt: %s",
		time.UnixMilli(s.since).UTC().Format(time.RFC3339), s.failures, s.dead, s.err))
	return false
}

// noTime does not come.
const noTime = 1 << 61

// disable ends deliveries. What was not delivered stays to be, should it be
// enabled.
func (s *subscription) disable(why string) {
	s.saver.news.Disable = why
	s.until = noTime
	s.saver.changed()
}
