package core

import "container/heap"

// queue holds the pending tasks that may be placed, in lanes of those that are
// alike, so that one that fits nowhere says so for all.
type queue struct {
	lanes   map[laneKey]*lane
	order   []*lane // with tasks, in the order in which they came to have some
	pending int
	// deploying services, paused ones excepted: their next instances will be
	// pending soon.
	deploying int
}

type laneKey struct {
	class    *class
	group    *group
	priority int32
}

type lane struct {
	laneKey
	tasks []*task // first in, first out; those no longer queued are passed by
	n     int     // queued
	share int     // group.running when it was last looked at in this pass
	seq   uint64  // age of the first task, roughly: when the lane came to have tasks
}

// group is what shares the cluster fairly: what one team runs of one job for
// one build.
type group struct {
	key     string
	running int // launched, live tasks
	live    int
}

func (c *Core) groupOf(t *task) *group {
	key := t.job.rec.Key + "\x00" + t.rec.Group
	g := c.groups[key]
	if g == nil {
		g = &group{key: key}
		c.groups[key] = g
	}
	g.live++
	return g
}

func (c *Core) leaveGroup(t *task) {
	if t.group.live--; t.group.live == 0 {
		delete(c.groups, t.group.key)
	}
}

// enqueue puts a pending task where placement finds it, once its backoff is
// over.
func (c *Core) enqueue(t *task) {
	if t.gone || t.queued || t.rec.State != taskPending || t.job.rec.Paused {
		return
	}
	if t.rec.NotBefore > c.now {
		c.timers.add(timer{at: t.rec.NotBefore, kind: timerBackoff, task: t})
		return
	}
	q := &c.queue
	key := laneKey{t.class, t.group, t.rec.Priority}
	l := q.lanes[key]
	if l == nil {
		if q.lanes == nil {
			q.lanes = map[laneKey]*lane{}
		}
		c.timers.seq++
		l = &lane{laneKey: key, seq: c.timers.seq}
		q.lanes[key] = l
		q.order = append(q.order, l)
		c.pool.wanted = true
	}
	t.queued = true
	t.class.queued++
	l.tasks = append(l.tasks, t)
	l.n++
	q.pending++
}

// dequeue takes a task out that is placed, or no longer wanted.
func (c *Core) dequeue(t *task) {
	if !t.queued {
		return
	}
	t.queued = false
	key := laneKey{t.class, t.group, t.rec.Priority}
	l := c.queue.lanes[key]
	l.n--
	c.queue.pending--
	if t.class.queued--; t.class.queued == 0 {
		t.class.blocked = false // nobody asks it about offers that come now
	}
	if l.n == 0 {
		delete(c.queue.lanes, key) // order drops it in the next pass
		l.tasks = nil
	}
}

// requeue enters the pending tasks of a job whose pause ended.
func (c *Core) requeue(j *job) {
	for r := j.runs.first; r != nil; r = r.next {
		if r.task != nil {
			c.enqueue(r.task)
		}
	}
}

// hold takes the pending tasks of a job that was paused out.
func (c *Core) hold(j *job) {
	for r := j.runs.first; r != nil; r = r.next {
		if r.task != nil && r.task.rec.State == taskPending {
			c.dequeue(r.task)
		}
	}
}

// head returns the lane's first queued task.
func (l *lane) head() *task {
	for len(l.tasks) > 0 {
		if t := l.tasks[0]; t.queued {
			return t
		}
		l.tasks[0] = nil
		l.tasks = l.tasks[1:]
	}
	return nil
}

// lanes is a heap: priority, then the group with the smallest running share,
// then age. In a pass shares only grow, so one that grew by another lane's
// launches is noticed when its lane comes to the top.
type lanes []*lane

func (h lanes) Len() int { return len(h) }
func (h lanes) Less(i, j int) bool {
	a, b := h[i], h[j]
	switch {
	case a.priority != b.priority:
		return a.priority > b.priority
	case a.share != b.share:
		return a.share < b.share
	}
	return a.seq < b.seq
}
func (h lanes) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *lanes) Push(x any)   { *h = append(*h, x.(*lane)) }
func (h *lanes) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}

// candidates returns the lanes to look at in this pass: those not yet found to
// fit nowhere, and, when there are fresh offers, all.
func (q *queue) candidates(fresh bool) *lanes {
	h := make(lanes, 0, len(q.lanes))
	kept := q.order[:0]
	for _, l := range q.order {
		if l.n == 0 {
			continue
		}
		kept = append(kept, l)
		if !l.class.blocked || fresh {
			l.share = l.group.running
			h = append(h, l)
		}
	}
	clear(q.order[len(kept):])
	q.order = kept
	heap.Init(&h)
	return &h
}
