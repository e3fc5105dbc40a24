package webhook

import (
	"context"
	"slices"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// tailSaver knows what is saved of how far those at the tail are, and when to save.
type tailSaver struct {
	saved  engine.EventID
	dirty  int64 // since when something became of an event that is not saved; 0: nothing did
	moved  int64 // since when only the tail is further than it is saved
	last   int64 // when the last save was
	busy   bool  // a save is under way
	failed bool  // the last one
}

func (l *leading) millis() int64 { return time.Now().UnixMilli() }

// saveDue is when the next save is due, 0 when nothing is to be saved.
func (l *leading) saveDue() int64 {
	t := &l.tail
	due := int64(0)
	switch {
	case t.busy:
		return 0
	case t.dirty != 0:
		due = t.dirty + saveSoon
	case t.moved != 0:
		due = t.moved + tailEvery
	default:
		return 0
	}
	return max(due, t.last+saveEvery)
}

// notice notes what is to be saved of what was looked at.
func (l *leading) notice(s *subscription, now int64) {
	if s.saver.dirty && l.tail.dirty == 0 {
		l.tail.dirty = now
	}
}

func (l *leading) saveWhenDue(now int64) {
	t := &l.tail
	if t.moved == 0 && len(l.subs) > 0 && l.at != t.saved {
		t.moved = now
	}
	if due := l.saveDue(); due == 0 || due > now || !l.Engine.Leads() {
		return
	}
	op, took := l.gather(now)
	if len(op.Webhooks) == 0 && op.Tail == nil {
		return
	}
	t.busy = true
	l.running.Go(func() {
		result, err := l.write(l.life, op)
		l.tell(func() { l.saved(op, took, result, err) })
	})
}

// gather is all that is to be saved.
func (l *leading) gather(now int64) (core.SaveDeliveries, []*subscription) {
	t := &l.tail
	var op core.SaveDeliveries
	var took []*subscription
	for _, s := range l.subs {
		if !s.saver.dirty && !(s.saver.counted && now-s.saver.savedAt >= countsEvery) {
			continue
		}
		if d, ok := s.beginSave(now); ok {
			op.Webhooks = append(op.Webhooks, d)
			took = append(took, s)
		}
	}
	if l.at != t.saved {
		op.Tail = &record.WebhookTail{Through: l.at.Position()}
	}
	t.dirty, t.moved, t.last = 0, 0, now
	return op, took
}

// writeTimeout bounds one save.
const writeTimeout = 30 * time.Second

func (l *leading) write(ctx context.Context, op core.SaveDeliveries) (core.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	result, _, err := l.Engine.Do(ctx, core.Request{Actor: "perigee", Op: op})
	return result, err
}

// saved is done when a save ended.
func (l *leading) saved(op core.SaveDeliveries, took []*subscription, result core.Result, err error) {
	now := l.millis()
	t := &l.tail
	t.busy = false
	if err != nil && !t.failed {
		l.Log.Warn("it cannot be saved how far webhooks are: another leader would repeat deliveries", "error", err)
	}
	t.failed = err != nil
	if err == nil && op.Tail != nil && len(result.Skipped) == 0 {
		t.saved = engine.IDAt(op.Tail.Through)
	}
	for _, s := range took {
		s.endSave(err == nil && !slices.Contains(result.Skipped, s.hook.Id), now)
		if err != nil { // one that was skipped waits to be told of what it is now
			l.notice(s, now)
		}
		l.see(s)
	}
}

// leaveGrace is how long deliveries that are under way may take when this scheduler
// hands over: what is not over then is repeated by the next leader.
const leaveGrace = 500 * time.Millisecond

// drain waits for what is under way, and saves all before this scheduler leads no
// more.
func (l *leading) drain() {
	grace := time.NewTimer(leaveGrace)
	defer grace.Stop()
	for over := false; !over && (l.underWay > 0 || l.tail.busy); {
		select {
		case do := <-l.results:
			do()
		case <-grace.C:
			over = true
		case <-l.lost:
			return
		}
	}
	if l.tail.busy {
		return // what it writes may still be written, and nothing after it in its place
	}
	if op, _ := l.gather(l.millis()); len(op.Webhooks) > 0 || op.Tail != nil {
		ctx, cancel := context.WithTimeout(l.life, leaveGrace)
		defer cancel()
		if _, err := l.write(ctx, op); err != nil {
			l.Log.Warn("it could not be saved how far webhooks are: the next leader repeats deliveries of the last second", "error", err)
		}
	}
}
