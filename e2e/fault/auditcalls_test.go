package fault

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/e2e/fault/exchange"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// calls checks what schedulers said to Mesos, as the master has it, against what
// the journal held at that time.
type calls struct {
	journal    *chronicle        // nil for one that is not in ZooKeeper
	streams    map[string]string // schedulers' URLs by stream
	subscribed map[*epoch]uint64 // SUBSCRIBE calls
	launched   map[string]exchange.Line
	killed     map[string]exchange.Line
	ended      map[string]exchange.Line // the first terminal update of each task
	away       map[string]exchange.Line // the first that says its agent cannot be reached
	states     map[string]string        // of updates, by uuid
}

// inFlight is how long a call of a leader that has handed over may take to reach
// the master, on a machine that is busy.
const inFlight = 500 * time.Millisecond

// judge checks calls one by one.
func (w *world) judge(lines []exchange.Line) (*calls, error) {
	c := &calls{journal: w.journal, streams: map[string]string{}, subscribed: map[*epoch]uint64{},
		launched: map[string]exchange.Line{}, killed: map[string]exchange.Line{}, ended: map[string]exchange.Line{},
		away: map[string]exchange.Line{}, states: map[string]string{}}
	for _, l := range lines {
		if err := c.take(l); err != nil {
			return nil, violated("at %s %s said %s %v: %w", l.At.Format("15:04:05.000000"), c.streams[l.Stream], l.Kind, l.Tasks, err)
		}
	}
	return c, nil
}

func (c *calls) take(l exchange.Line) error {
	if l.Kind == "UPDATE" {
		task := l.Tasks[0].ID
		if _, again := c.ended[task]; ended[l.State] && !again {
			c.ended[task] = l
		}
		if _, again := c.away[task]; l.State == "TASK_UNREACHABLE" && !again {
			c.away[task] = l
		}
		c.states[l.UUID] = l.State
		return nil
	}
	if l.Kind == "SUBSCRIBE" {
		c.streams[l.Stream] = l.URL
	}
	if !l.Call() {
		return nil
	}
	if err := c.leads(l); err != nil || !l.Accepted() {
		return err
	}
	switch l.Kind {
	case "ACCEPT":
		for _, t := range l.Tasks {
			if before, twice := c.launched[t.ID]; twice {
				return fmt.Errorf("%s was launched before, at %s", t.ID, before.At)
			}
			c.launched[t.ID] = l
			if err := c.launchable(l, t); err != nil {
				return err
			}
		}
	case "KILL":
		c.killed[l.Tasks[0].ID] = l
		return c.killable(l)
	case "ACKNOWLEDGE":
		return c.acknowledgeable(l)
	}
	return nil
}

// leads: who is deposed says nothing any more, and SUBSCRIBE follows an append.
func (c *calls) leads(l exchange.Line) error {
	url := c.streams[l.Stream]
	if url == "" {
		return fmt.Errorf("nobody has subscribed with its stream")
	}
	if c.journal == nil {
		return nil
	}
	if l.Kind != "SUBSCRIBE" {
		e, before := c.journal.leading(l.At), c.journal.leading(l.At.Add(-inFlight))
		if e == nil || e.writer != url && (before == nil || before.writer != url) {
			return fmt.Errorf("the last epoch to begin was %v", e)
		}
		return nil
	}
	e := c.journal.leading(l.At)
	if e == nil || e.writer != url {
		return fmt.Errorf("the last epoch to begin was %v", e)
	}
	c.subscribed[e]++
	versions := c.journal.by(record.KeyLeader, l.At)
	if leader := versions[len(versions)-1].record.(*record.Leader); leader.Subscriptions < c.subscribed[e] {
		return fmt.Errorf("it was call %d of epoch %d, in whose journal were %d by then", c.subscribed[e], e.number, leader.Subscriptions)
	}
	return nil
}

// launchable: a launch was decided by who commands it, and is durable.
func (c *calls) launchable(l exchange.Line, t exchange.Task) error {
	if c.journal == nil {
		return nil
	}
	for _, v := range c.journal.by(record.TaskKey(t.ID), l.At) {
		rec, ok := v.record.(*record.Task)
		if ok && rec.State == record.TaskState_TASK_STATE_LAUNCHING && rec.Agent == t.Agent && v.epoch.writer == c.streams[l.Stream] {
			return nil
		}
	}
	return fmt.Errorf("no launch of %s on %s was in the journal by then", t.ID, t.Agent)
}

// killable: a task that is to stop, or one that is none of ours.
func (c *calls) killable(l exchange.Line) error {
	if c.journal == nil {
		return nil
	}
	versions := c.journal.taskBy(l.Tasks[0].ID, l.At)
	if n := len(versions); n > 0 && versions[n-1] != nil && !versions[n-1].State.Terminal() && versions[n-1].StopAt == 0 {
		return fmt.Errorf("the journal had it %v by then, and not to be stopped", versions[n-1].State)
	}
	return nil
}

// acknowledgeable: what the update said is durable, or says nothing about any of
// ours.
func (c *calls) acknowledgeable(l exchange.Line) error {
	if c.journal == nil {
		return nil
	}
	versions := c.journal.taskBy(l.Tasks[0].ID, l.At)
	n := len(versions)
	if n == 0 || versions[n-1] == nil || versions[n-1].State.Terminal() {
		return nil
	}
	for _, v := range versions {
		if v != nil && hex.EncodeToString(v.UpdateUuid) == l.UUID {
			return nil
		}
	}
	if order[c.states[l.UUID]] < order["TASK_"+strings.TrimPrefix(versions[n-1].State.String(), "TASK_STATE_")] {
		return nil // it came late
	}
	return fmt.Errorf("nothing of the update to %s was in the journal by then, but %v", c.states[l.UUID], versions[n-1].State)
}

// order is that in which a task goes through its states.
var order = map[string]int{"TASK_LAUNCHING": 1, "TASK_STAGING": 2, "TASK_STARTING": 3, "TASK_RUNNING": 4, "TASK_KILLING": 5}

// auditCalls accounts for every launch and every kill.
func (w *world) auditCalls() error {
	until := time.Now()
	lines, err := w.mesos.exchanges()
	if err != nil {
		return err
	}
	if w.journal == nil {
		_, err := w.judge(lines)
		return err
	}
	if err := w.journal.catchUp(); err != nil { // with what was written before those lines
		return err
	}
	return w.journal.read(func() error {
		c, err := w.judge(lines)
		if err != nil {
			return err
		}
		for id := range c.launched {
			if len(w.journal.history[record.TaskKey(id)]) == 0 {
				return violated("task %s was launched, and never was in the journal", id)
			}
		}
		for id, l := range c.killed {
			if v := w.journal.taskBy(id, time.Now()); len(v) > 0 && v[len(v)-1] != nil && !v[len(v)-1].State.Terminal() {
				return fmt.Errorf("task %s was killed at %s, and is %v", id, l.At, v[len(v)-1].State)
			}
		}
		if err := w.journal.tasks(until, c.accounted); err != nil {
			return err
		}
		return c.apart(until)
	})
}

// accounted: what became of a task is what Mesos said of it.
func (c *calls) accounted(t *record.Task) error {
	_, launched := c.launched[t.Id]
	_, killed := c.killed[t.Id]
	end, over := c.ended[t.Id]
	switch {
	case t.LaunchedAt == 0:
		if launched {
			return violated("task %s was launched, and the journal says it is %v", t.Id, t.State)
		}
	case !t.State.Terminal():
		if !launched {
			return fmt.Errorf("task %s is %v, and Mesos was never told to launch it", t.Id, t.State)
		}
	case !launched && t.State != record.TaskState_TASK_STATE_LOST:
		return violated("task %s is %v (%s), and Mesos was never told to launch it", t.Id, t.State, t.Message)
	case launched && !over: // or it was replaced, and is killed should it return
		return fmt.Errorf("task %s is %v (%s), and Mesos never said that it ended", t.Id, t.State, t.Message)
	case t.State == record.TaskState_TASK_STATE_KILLED && !killed:
		return violated("task %s was killed, says the journal, and Mesos was never told to", t.Id)
	case t.State == record.TaskState_TASK_STATE_FINISHED && end.State != "TASK_FINISHED":
		return violated("task %s has finished, says the journal, and Mesos said %s", t.Id, end.State)
	}
	return nil
}

// apart: two tasks of one instance or run never live at once, but where a deploy
// replaces one by another.
func (c *calls) apart(until time.Time) error {
	type live struct {
		id       string
		from, to time.Time
	}
	lives := map[string][]live{}
	_ = c.journal.tasks(until, func(t *record.Task) error {
		from, launched := c.launched[t.Id]
		if !launched || t.Job == web {
			return nil
		}
		l := live{t.Id, from.At, until}
		if end, over := c.ended[t.Id]; over {
			l.to = end.At
		}
		if away, was := c.away[t.Id]; was && t.State == record.TaskState_TASK_STATE_LOST && t.Job == lone {
			l.to = away.At // as the job has chosen
		}
		of := fmt.Sprintf("%s/%s%d", t.Job, t.Run, t.Instance)
		lives[of] = append(lives[of], l)
		return nil
	})
	for of, all := range lives {
		for i, a := range all {
			for _, b := range all[i+1:] {
				if a.from.Before(b.to) && b.from.Before(a.to) {
					return violated("%s had two tasks at once: %s from %s to %s, %s from %s to %s", of,
						a.id, a.from.Format("05.000"), a.to.Format("05.000"), b.id, b.from.Format("05.000"), b.to.Format("05.000"))
				}
			}
		}
	}
	return nil
}

// saidSince are the calls of a scheduler from a time on, refused or not.
func (w *world) saidSince(s *scheduler, at time.Time) ([]string, error) {
	lines, err := w.mesos.exchanges()
	if err != nil {
		return nil, err
	}
	streams := map[string]string{}
	var said []string
	for _, l := range lines {
		if l.Kind == "SUBSCRIBE" {
			streams[l.Stream] = l.URL
		}
		if l.Call() && streams[l.Stream] == s.url && l.At.After(at) {
			said = append(said, fmt.Sprintf("%s %s %v, answered %d", l.At.Format("15:04:05.000"), l.Kind, l.Tasks, l.Status))
		}
	}
	return said, nil
}
