package fault

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// auditJournal: what was answered, told and decided is what the journal says,
// and was in it before.
func (w *world) auditJournal() error {
	if w.journal == nil {
		return nil
	}
	return w.journal.read(func() error {
		for _, check := range []func() error{w.auditAnswers, w.auditElections, w.auditAgents, w.auditInstants, w.auditTold} {
			if err := check(); err != nil {
				return err
			}
		}
		return nil
	})
}

// auditAnswers: no write was answered before it was durable, and none was done
// twice.
func (w *world) auditAnswers() error {
	for key, at := range w.answers.all() {
		versions := w.journal.history[record.IdempotencyKey(key)]
		switch {
		case len(versions) == 0:
			return violated("the write %s was answered, and is not in the journal", key)
		case len(versions) > 1:
			return violated("the write %s is in the entries %d and %d", key, versions[0].index, versions[1].index)
		case versions[0].at.After(at):
			return violated("the write %s was answered at %s, and written at %s", key, at, versions[0].at)
		}
	}
	return nil
}

// auditElections: each epoch's scheduler told once that it leads.
func (w *world) auditElections() error {
	elected := 0
	for _, e := range w.journal.events {
		if e.Type == "scheduler.elected" {
			elected++
		}
	}
	if n := len(w.journal.epochs); n != elected {
		return violated("there were %d epochs and %d elections", n, elected)
	}
	return nil
}

// auditAgents: each agent joined and was lost in turn, whoever led, and those that
// are there are those that Mesos has.
func (w *world) auditAgents() error {
	joined := map[string]bool{}
	for _, e := range w.journal.events {
		switch e.Type {
		case "agent.joined":
			if joined[e.Agent] {
				return violated("agent %s has joined twice", e.Agent)
			}
			joined[e.Agent] = true
		case "agent.lost":
			if !joined[e.Agent] {
				return violated("agent %s was lost, and had not joined", e.Agent)
			}
			delete(joined, e.Agent)
		}
	}
	known, err := w.mesos.known()
	if err == nil && !maps.Equal(joined, known) {
		err = fmt.Errorf("the agents %v have joined, and Mesos has %v", joined, known)
	}
	return err
}

// auditInstants: the entry that decides an instant of the cron says so, and has
// its run. Instants follow each other without a gap.
func (w *world) auditInstants() error {
	through, last := int64(0), int64(0)
	for _, g := range w.journal.groups {
		before := through
		if last == 0 {
			last = before - before%int64(tickEvery/time.Second)
		}
		if j, ok := g.puts[record.JobKey(tick)].(*record.Job); ok {
			if j.DecidedThrough < through {
				return violated("entry %d: the cron had decided through %d, and now through %d", g.last, through, j.DecidedThrough)
			}
			through = j.DecidedThrough
		}
		var fresh []int64
		for key, m := range g.puts {
			r, ok := m.(*record.Run)
			if ok && r.Job == tick && w.journal.history[key][0].index == indexOf(w.journal.history[key], g.last) {
				fresh = append(fresh, r.Instant)
			}
		}
		slices.Sort(fresh)
		for _, instant := range fresh {
			if instant <= before || instant > through {
				return violated("entry %d has the run of instant %d, and decides those after %d through %d", g.last, instant, before, through)
			}
			if instant != last+int64(tickEvery/time.Second) {
				return violated("entry %d: after the instant %d came %d", g.last, last, instant)
			}
			last = instant
		}
		if last != 0 && through >= last+int64(tickEvery/time.Second) {
			return violated("entry %d decides through %d, and the last run is that of %d", g.last, through, last)
		}
	}
	return nil
}

// indexOf is the index of the last version up to an entry.
func indexOf(versions []version, through uint64) uint64 {
	for n := len(versions) - 1; n >= 0; n-- {
		if versions[n].index <= through {
			return versions[n].index
		}
	}
	return 0
}

// auditTold: every consumer was told what the journal has, all of it from its
// first event on, in its order.
func (w *world) auditTold() error {
	var incarnation string
	if versions := w.journal.history[record.KeyCluster]; len(versions) > 0 {
		incarnation = versions[0].record.(*record.Cluster).Incarnation
	}
	var all []string
	at := map[string]int{}
	for n, e := range w.journal.events {
		id := incarnation + "-" + strconv.FormatUint(e.index, 10) + "-" + strconv.Itoa(e.ordinal)
		at[id] = n
		all = append(all, id+" "+e.Type)
	}
	for _, c := range w.consumers {
		events, err := c.all()
		if err != nil {
			return err
		}
		if len(events) == 0 {
			continue
		}
		begin, ok := at[events[0].ID]
		if !ok {
			return fmt.Errorf("the consumer %s was told of %s, which is not in the journal", c.name, events[0].ID)
		}
		for i, e := range events {
			is := e.ID + " " + strings.TrimPrefix(e.Type, "dev.perigee.")
			switch {
			case begin+i >= len(all):
				return fmt.Errorf("the consumer %s was told of %s, which is not in the journal", c.name, is)
			case all[begin+i] != is:
				return violated("the consumer %s was told of %s, where the journal has %s", c.name, is, all[begin+i])
			}
		}
	}
	return nil
}
