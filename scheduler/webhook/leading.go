package webhook

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

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
