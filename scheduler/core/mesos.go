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
	round      uint64           // of reconciliation; each asks for every task anew
	askWait    int64            // how long until those not heard of are asked for again, ms
	strays     map[string]int64 // tasks that should not run: when KILL may be sent again
}

// The waits of reconciliation, in ms. Silence means to ask again, ever less
// often; all tasks are asked for anew after reconcileEvery.
const (
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
	c.loseOffers()
	c.mesos.subscribed = false
	c.pool.suppressed = !c.demand()
	c.call(Subscribe{FrameworkID: c.cluster.FrameworkId, Suppressed: c.pool.suppressed})
}

func (c *Core) subscribed(e Subscribed) {
	if c.cluster.FrameworkId != e.FrameworkID {
		c.editCluster().FrameworkId = e.FrameworkID
	}
	m := &c.mesos
	m.subscribed, m.since, m.master = true, c.now, e.Master
	c.emit(&record.Event{Type: "scheduler.subscribed", Message: e.Master})
	for _, t := range c.launchedTasks() {
		t.answered = true // or it never will be: an older subscription's calls are refused
		t.killWait, t.killNext = 0, 0
		c.kill(t)
	}
	c.reconcileAll()
}

func (c *Core) disconnected() {
	c.mesos.subscribed = false
	c.loseOffers()
}

// launchedTasks returns the live tasks that Mesos may know, by id.
func (c *Core) launchedTasks() []*task {
	var tasks []*task
	for _, t := range c.tasks {
		if t.live() && t.launched() {
			tasks = append(tasks, t)
		}
	}
	slices.SortFunc(tasks, func(a, b *task) int { return cmp.Compare(a.rec.Id, b.rec.Id) })
	return tasks
}

// reconcileAll asks for all that Mesos knows, and for each task by name.
func (c *Core) reconcileAll() {
	m := &c.mesos
	m.round++
	m.askWait = askWaitMin
	c.call(Reconcile{})
	c.ask(c.launchedTasks())
	c.timers.add(timer{at: c.now + m.askWait, kind: timerReconcile})
}

// ask for tasks whose launch has been answered.
func (c *Core) ask(tasks []*task) {
	var names []TaskAgent
	for _, t := range tasks {
		if t.answered {
			names = append(names, TaskAgent{Task: t.rec.Id, Agent: t.rec.Agent})
		}
	}
	for part := range slices.Chunk(names, askAtMost) {
		c.call(Reconcile{Tasks: part})
	}
}

// reconcileAgain asks for the tasks of which nothing was heard since all were
// asked for.
func (c *Core) reconcileAgain() {
	m := &c.mesos
	if !m.subscribed || c.timers.pending[timerReconcile] > 0 {
		return // subscribed starts over; or a later timer goes on
	}
	var unheard []*task
	for _, t := range c.launchedTasks() {
		if t.heardOf < m.round && t.answered {
			unheard = append(unheard, t)
		}
	}
	if len(unheard) == 0 {
		if m.askWait >= reconcileEvery {
			c.reconcileAll()
			return
		}
		m.askWait = reconcileEvery
	} else {
		c.ask(unheard)
		m.askWait = min(2*m.askWait, askWaitMax)
	}
	c.timers.add(timer{at: c.now + m.askWait, kind: timerReconcile})
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
	c.ask([]*task{t})
	t.askWait = min(2*t.askWait, askWaitMax)
	c.timers.add(timer{at: c.now + t.askWait, kind: timerConfirm, task: t})
}
