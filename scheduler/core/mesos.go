package core

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// mesos is the subscription, and what is told and asked over it.
type mesos struct {
	subscribed bool
	since      int64
	master     string
	round      uint64           // of reconciliation: what is heard of a task counts for one
	askAll     bool             // the question without names is still to come
	askAt      int64            // when the next question comes, Unix ms; 0 while not subscribed
	askWait    int64            // how long after that they are asked for again, ms
	asking     []*task          // those still to be asked for now
	strays     map[string]int64 // tasks that should not run: when KILL may be sent again
}

// The waits of reconciliation, in ms. Silence means to ask again, ever less
// often; a new round begins reconcileEvery after all were heard of.
//
// The answer for 100,000 tasks takes the master, and the stream that offers
// share, a second or more. So what is pending gets its first offers before, and
// by name only those tasks are asked for that the answer without names left
// out, few at a time.
const (
	askFirst       = 1_000 // from SUBSCRIBED to the question without names, and to the first with
	askPace        = 50
	askWaitMin     = 15_000
	askWaitMax     = 5 * 60_000
	reconcileEvery = 10 * 60_000
	confirmAfter   = 30_000
	askAtOnce      = 1_000
	askAtMost      = 500 // tasks in one call
)

// connecting answers the driver's wish to subscribe with a write: that it
// succeeds proves that nobody else leads.
func (c *Core) connecting() {
	leader := proto.CloneOf(c.leader)
	leader.Subscriptions++
	c.writeLeader(leader)
	c.disconnected("another subscription begins")
	c.pool.suppressed = !c.demand()
	c.call(Subscribe{FrameworkID: c.cluster.FrameworkId, Suppressed: c.pool.suppressed})
}

func (c *Core) subscribed(e Subscribed) {
	if c.cluster.FrameworkId != e.FrameworkID {
		c.editCluster().FrameworkId = e.FrameworkID
	}
	m := &c.mesos
	m.subscribed, m.since, m.master = true, c.now, e.Master
	c.emit(&record.Event{Type: "scheduler.subscribed", Object: c.leader.Scheduler, Message: e.Master})
	c.touchRollouts()
	stopping := c.launchedTasks(func(t *task) bool {
		t.answered = true // or it never will be: an older subscription's calls are refused
		return t.stopping()
	})
	for _, t := range stopping {
		t.killWait, t.killNext = 0, 0
		c.kill(t)
	}
	c.settle()
	c.reconcileAll()
}

func (c *Core) disconnected(why string) {
	m := &c.mesos
	if m.subscribed {
		c.emit(&record.Event{Type: "scheduler.disconnected", Object: c.leader.Scheduler, Message: m.master, Reason: validText(why)})
	}
	c.census.stop()
	m.subscribed, m.askAt, m.asking = false, 0, nil
	c.loseOffers()
}

// launchedTasks returns the live tasks that Mesos may know, of those that are
// wanted, by id.
func (c *Core) launchedTasks(wanted func(*task) bool) []*task {
	var tasks []*task
	for _, t := range c.tasks {
		if t.live() && t.launched() && wanted(t) {
			tasks = append(tasks, t)
		}
	}
	slices.SortFunc(tasks, func(a, b *task) int { return cmp.Compare(a.rec.Id, b.rec.Id) })
	return tasks
}

// reconcileAll begins a round: soon it asks for all that Mesos knows, and then
// for those by name that were not among them.
func (c *Core) reconcileAll() {
	m := &c.mesos
	m.round++
	m.askAll, m.asking, m.askWait = true, nil, askWaitMin
	c.askIn(askFirst)
}

func (c *Core) askIn(wait int64) {
	c.mesos.askAt = c.now + wait
	c.timers.add(timer{at: c.mesos.askAt, kind: timerReconcile})
}

// reconcileAgain asks for all tasks, and then for those of which nothing was
// heard in this round, some at a time.
func (c *Core) reconcileAgain() {
	m := &c.mesos
	if m.askAt == 0 || c.now < m.askAt {
		return // a timer of an earlier round or subscription
	}
	if m.askAll {
		m.askAll = false
		c.askAll()
		c.askIn(askFirst)
		return
	}
	if len(m.asking) == 0 {
		if m.asking = c.launchedTasks(c.unheard); len(m.asking) == 0 {
			c.heardOfAll()
			return
		}
	}
	n := min(len(m.asking), askAtMost)
	var now []*task
	for _, t := range m.asking[:n] {
		if t.live() && c.unheard(t) {
			now = append(now, t)
		}
	}
	c.ask(now)
	if m.asking = m.asking[n:]; len(m.asking) > 0 {
		c.askIn(askPace)
		return
	}
	c.askIn(m.askWait)
	m.askWait = min(2*m.askWait, askWaitMax)
}

// unheard says whether a task is one to ask for: Mesos has had the call that
// launched it, and told nothing of it in this round.
func (c *Core) unheard(t *task) bool { return t.answered && t.heardOf < c.mesos.round }

// heardOfAll ends a round, or begins the next when it ended long enough ago.
func (c *Core) heardOfAll() {
	m := &c.mesos
	if m.askWait == reconcileEvery {
		c.reconcileAll()
		return
	}
	m.askWait = reconcileEvery
	c.askIn(reconcileEvery)
}

// ask for tasks by name.
func (c *Core) ask(tasks []*task) {
	if len(tasks) == 0 {
		return
	}
	names := make([]TaskAgent, len(tasks))
	for i, t := range tasks {
		names[i] = TaskAgent{Task: t.rec.Id, Agent: t.rec.Agent}
	}
	c.call(Reconcile{Tasks: names})
}

// accepted notes that a launch has reached Mesos, or never will; from now on
// Mesos can be asked.
func (c *Core) accepted(e Accepted) {
	for _, id := range e.Tasks {
		t := c.tasks[id]
		if t == nil || !t.live() {
			continue
		}
		t.answered = true
		if t.rec.State != taskLaunching {
			continue // its first update came before
		}
		t.askWait = confirmAfter
		if e.Err != "" {
			t.askWait = askAtOnce
		}
		c.timers.add(timer{at: c.now + t.askWait, kind: timerConfirm, task: t})
	}
}

// confirmLaunch asks for a task of which nothing was heard since its launch.
func (c *Core) confirmLaunch(t *task) {
	if t.rec.State != taskLaunching || !c.mesos.subscribed {
		return
	}
	if t.answered {
		c.ask([]*task{t})
	}
	t.askWait = min(2*t.askWait, askWaitMax)
	c.timers.add(timer{at: c.now + t.askWait, kind: timerConfirm, task: t})
}
