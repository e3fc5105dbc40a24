package mesos

import (
	"sync"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// call is a core.Call on its way.
type call struct {
	core.Call
	deadline time.Time // for its answer; set when it is written
}

type queueState uint8

const (
	queueClosed queueState = iota // no subscription: calls are dropped
	queueHeld                     // Subscribe was performed: calls wait for SUBSCRIBED
	queueOpen
)

// queue puts calls in the order in which Mesos must see them. Calls go to the
// lane of their agent as they come; a barrier waits in the backlog, and all
// calls behind it, until every call before it was answered. Questions have a
// lane of their own, the last, and wait for nothing.
type queue struct {
	mu        sync.Mutex
	state     queueState
	expected  bool // a Subscribe, in answer to Connecting
	backlog   []*call
	questions []*call // until there are lanes
	lanes     []*lane
	pending   int           // calls handed to lanes and not answered, but for questions
	asked     int           // questions handed to their lane and not answered
	barrier   bool          // the one pending call is a barrier
	drained   chan struct{} // closed when nothing but questions waits any more; nil when nobody wants to know
}

// perform takes calls in, and returns those that were dropped at once, and the
// Subscribe that was expected.
func (q *queue) perform(calls []core.Call) (dropped []core.Call, subscribe *core.Subscribe) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range calls {
		s, isSubscribe := c.(core.Subscribe)
		if isSubscribe && q.expected {
			q.expected, q.state, subscribe = false, queueHeld, &s
			continue
		}
		if isSubscribe || q.state == queueClosed {
			dropped = append(dropped, c)
			continue
		}
		if !question(c) {
			q.backlog = append(q.backlog, &call{Call: c})
			continue
		}
		for _, part := range split(c) {
			q.questions = append(q.questions, &call{Call: part})
		}
	}
	q.pump()
	return dropped, subscribe
}

// pump hands on what may go.
func (q *queue) pump() {
	if q.state != queueOpen {
		return
	}
	last := len(q.lanes) - 1
	if len(q.questions) > 0 {
		q.asked += len(q.questions)
		q.lanes[last].hand(q.questions...)
		q.questions = nil
	}
	n := 0
	for ; n < len(q.backlog) && !q.barrier; n++ {
		c := q.backlog[n]
		if q.barrier = barrier(c.Call); q.barrier && q.pending > 0 {
			q.barrier = false
			break
		}
		q.pending++
		q.lanes[laneOf(laneKey(c.Call), last)].hand(c)
	}
	if q.backlog = q.backlog[n:]; len(q.backlog) == 0 {
		q.backlog = nil
	}
}

// answered takes a call off the pending ones.
func (q *queue) answered(c *call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if question(c.Call) {
		q.asked--
		return
	}
	if q.pending--; q.pending == 0 {
		q.barrier = false
		q.pump()
	}
	q.tellDrained()
}

// settled returns a channel that is closed once every call that was performed is
// answered, or its subscription over. Questions do not count.
func (q *queue) settled() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.drained == nil {
		q.drained = make(chan struct{})
	}
	drained := q.drained
	q.tellDrained()
	return drained
}

func (q *queue) tellDrained() {
	if q.drained != nil && q.pending+len(q.backlog) == 0 {
		close(q.drained)
		q.drained = nil
	}
}

// take gives a lane what waits for it.
func (q *queue) take(l *lane) []*call {
	q.mu.Lock()
	defer q.mu.Unlock()
	calls := l.waiting
	l.waiting = nil
	return calls
}

func (q *queue) expect() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expected = true
}

func (q *queue) open(lanes []*lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state, q.lanes = queueOpen, lanes
	q.pump()
}

// close ends a subscription, whose lanes must have ended, and returns what was
// never written.
func (q *queue) close() []*call {
	q.mu.Lock()
	defer q.mu.Unlock()
	var left []*call
	for _, l := range q.lanes {
		left = append(append(left, l.taken...), l.waiting...)
	}
	left = append(append(left, q.questions...), q.backlog...)
	q.state, q.lanes, q.backlog, q.questions = queueClosed, nil, nil, nil
	q.pending, q.asked, q.barrier = 0, 0, false
	q.tellDrained()
	return left
}

// depth tells how many calls wait to be written, and how many for an answer.
func (q *queue) depth() (queued, unanswered int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := 0
	for _, l := range q.lanes {
		waiting += len(l.waiting)
	}
	return len(q.backlog) + len(q.questions) + waiting, q.pending + q.asked - waiting
}

// laneOf is the lane of a key: FNV-1a, so that it does not change between runs.
func laneOf(key string, lanes int) int {
	hash := uint32(2166136261)
	for i := range len(key) {
		hash = (hash ^ uint32(key[i])) * 16777619
	}
	return int(hash % uint32(lanes))
}
