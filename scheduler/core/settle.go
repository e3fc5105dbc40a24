package core

import (
	"fmt"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// settling is what a state that was restored from a backup begins with. It does
// not know what was launched after the backup was made: such a task is a stray,
// and killed once Mesos tells of it. One that is launched beside a stray could be
// the second of its instance or run, so nothing is launched until Mesos has told
// of all it has, and the strays have ended.
//
// That Mesos has told of all is known by asking for a task that never was, after
// all others were asked for: answers come in the order of the questions, and
// while agents that a new master expects are still to come, that one has none.
type settling struct {
	since  int64               // when it began, Unix ms
	again  int64               // when all is asked for again
	wait   int64               // how long after that once more, ms
	told   bool                // Mesos has told of all
	strays map[string]struct{} // those that have not ended
	killed int                 // strays in all
}

// The waits of settling, in ms: until all is asked again, ever less often, and how
// long it takes at most. What cannot be killed in that time must not keep all else
// from running.
const (
	settleAgain    = 15_000
	settleAgainMax = 60_000
	settleMost     = 5 * 60_000
)

// restored says whether the state is not settled yet.
func (c *Core) restored() bool { return c.cluster.GetUnsettled() }

// lastTask is asked for after all others; no task is ever called so.
func (c *Core) lastTask() string { return c.cluster.Incarnation + "-all-told" }

// settle begins anew with each subscription.
func (c *Core) settle() {
	if c.restored() {
		c.settling = settling{since: c.now, wait: settleAgain, strays: map[string]struct{}{}}
		c.settleLater()
	}
}

// settleLater has settleDue look after a while.
func (c *Core) settleLater() {
	s := &c.settling
	s.again = min(c.now+s.wait, s.since+settleMost)
	s.wait = min(2*s.wait, settleAgainMax)
	c.timers.add(timer{at: s.again, kind: timerSettle})
}

// askAll asks for all tasks that Mesos has.
func (c *Core) askAll() {
	c.call(Reconcile{})
	if c.restored() {
		c.call(Reconcile{Tasks: []TaskAgent{{Task: c.lastTask()}}})
	}
}

// settleDue asks once more, so that strays that live are killed once more, or
// gives up to wait.
func (c *Core) settleDue() {
	s := &c.settling
	switch {
	case !c.restored() || !c.mesos.subscribed || c.now < s.again: // an earlier subscription's
		return
	case c.now >= s.since+settleMost && s.told:
		c.endSettling(fmt.Sprintf("%d tasks that the backup did not know could not be killed in time", len(s.strays)))
		return
	case c.now >= s.since+settleMost:
		c.endSettling("Mesos did not tell of all its tasks in time")
		return
	}
	c.askAll()
	c.settleLater()
}

// allTold is told that Mesos has told of all tasks.
func (c *Core) allTold() {
	c.settling.told = true
	c.maySettle()
}

// strayLives and strayEnded are told of tasks that should not run.
func (c *Core) strayLives(task string) {
	if s := &c.settling; s.strays != nil {
		if _, known := s.strays[task]; !known {
			s.strays[task] = struct{}{}
			s.killed++
		}
	}
}

func (c *Core) strayEnded(task string) {
	if c.settling.strays != nil {
		delete(c.settling.strays, task)
		c.maySettle()
	}
}

func (c *Core) maySettle() {
	if c.restored() && c.settling.told && len(c.settling.strays) == 0 {
		c.endSettling(fmt.Sprintf("%d tasks that the backup did not know were killed", c.settling.killed))
	}
}

// endSettling ends it: from now on deploys can progress.
func (c *Core) endSettling(how string) {
	c.editCluster().Unsettled = false
	c.settling = settling{}
	c.settledAt = c.now
	c.pool.wanted = true
	c.touchRollouts()
	c.emit(&record.Event{Type: "scheduler.settled", Object: c.leader.Scheduler, Message: how})
}

// earlierLife says whether a task was created before the state was restored.
func (c *Core) earlierLife(t *task) bool {
	return IncarnationOf(t.rec.Id) != c.cluster.Incarnation
}

// rememberedHealth says whether what a master remembers of a task's health is
// better than what the record says: what the executor told after the backup was
// made is not told again.
func (c *Core) rememberedHealth(t *task) bool {
	return c.earlierLife(t) && (c.restored() || !t.rec.HasHealth)
}
