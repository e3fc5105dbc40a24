package sim

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// restores keeps backups of a simulation that ends with a restore of one of them.
// What it draws is apart from what steps do.
type restores struct {
	w       *world
	rng     *rand.Rand
	backups []backedUp
	done    bool
}

// backedUp is what was durable at some time.
type backedUp struct {
	at      time.Time
	index   uint64
	records map[string][]byte
	pending int // tasks
}

// restoreIncarnation is that of the life after a restore; it sorts after the first.
const restoreIncarnation = "simm"

func newRestores(w *world) *restores {
	return &restores{w: w, rng: rand.New(rand.NewPCG(w.opts.Seed, 1<<61))}
}

// look makes a backup now and then. One from before the framework was registered
// cannot know what Mesos runs: that is of a framework that it has no name of.
func (r *restores) look() {
	if !r.w.opts.Restore || r.rng.IntN(20) != 0 {
		return
	}
	if c, ok := r.w.journal.decoded[record.KeyCluster].(*record.Cluster); ok && c.FrameworkId != "" {
		r.backups = append(r.backups, backedUp{r.w.now, r.w.journal.index, maps.Clone(r.w.journal.records), r.w.journal.pending()})
	}
}

// loseAll is an operator's worst day: all schedulers are gone, and the journal with
// them; what Mesos has goes on. A backup from some time before begins a new life.
func (r *restores) loseAll() {
	w := r.w
	if len(r.backups) == 0 {
		return
	}
	w.choose(-2)
	w.calm = true
	w.heal()
	for range 180 { // agents that were away are back, and executors go on
		for _, s := range w.schedulers {
			if s.up { // also one that was to start again
				s.crash()
			}
		}
		w.settleEffects()
		w.moveTo(w.now.Add(time.Second))
	}
	for _, s := range w.schedulers {
		if s.up {
			s.crash()
		}
	}
	w.settleEffects()
	b := r.choose()
	w.trace("-- all is lost, and a backup of %s, entry %d, is restored", b.at.Format("15:04:05"), b.index)
	w.journal.restore(b)
	w.checks.lifeBegins()
	w.histories = newHistories(w)
	seq := w.users.seq
	w.users = newUsers(w)
	w.users.seq = seq
	r.done = true
}

// choose takes any backup, and half the time the one in which the most tasks were
// pending: those may run by now, under ids that the new life gives to no other.
func (r *restores) choose() backedUp {
	if r.rng.IntN(2) == 0 {
		return r.backups[r.rng.IntN(len(r.backups))]
	}
	return slices.MaxFunc(r.backups, func(a, b backedUp) int { return cmp.Compare(a.pending, b.pending) })
}

// pending counts the tasks that wait to be placed.
func (j *journal) pending() (n int) {
	for _, t := range j.live.byKey {
		if t.State == taskPending {
			n++
		}
	}
	return n
}

// restore puts a backup that begins a new life in the place of all that is durable.
func (j *journal) restore(b backedUp) {
	j.records = maps.Clone(b.records)
	all := map[string]core.Record{}
	for key, m := range j.all() {
		all[key] = m
	}
	writes, _, err := core.BeginLife(maps.All(all), core.Life{Incarnation: restoreIncarnation, At: j.w.now.UnixMilli(), Index: b.index, MadeAt: b.at.UnixMilli()})
	if err != nil {
		panic(failed(fmt.Sprintf("a new life cannot begin: %v", err)))
	}
	for _, wr := range writes {
		if wr.Record == nil {
			delete(j.records, wr.Key)
			continue
		}
		if c, ok := wr.Record.(*record.Cluster); ok && j.w.opts.Mutant == MutantUnsettled {
			c.Unsettled = false
		}
		encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(wr.Record)
		if err != nil {
			panic(failed(fmt.Sprintf("record %s cannot be encoded: %v", wr.Key, err)))
		}
		j.records[wr.Key] = encoded
	}
	j.epoch++ // what is still on its way to the journal is refused
	j.entries = map[uint64]*entry{}
	j.decoded, j.tasks_, j.live = map[string]core.Record{}, map[string]*record.Task{}, newLiveTasks()
	for key, m := range j.all() {
		j.decoded[key] = m
		if t, ok := m.(*record.Task); ok {
			j.tasks_[key] = t
			j.live.replace(key, nil, t)
		}
	}
}

// lifeBegins forgets what was promised by the life that is lost. Ids stay used, and
// what runs on agents is what it is.
func (c *checks) lifeBegins() {
	c.runs, c.removed, c.steered = map[string][]string{}, map[string]bool{}, map[string]bool{}
	c.crons, c.deploys = newCronChecks(), newDeployChecks()
	removed, away := c.events.removed, c.events.away // are the master's
	c.events = newEventChecks()
	c.events.removed, c.events.away = removed, away
	for _, m := range c.w.journal.decoded { // what it knows was told, in the life before
		switch m := m.(type) {
		case *record.Agent:
			c.events.agents[m.Id] = true
		case *record.Task:
			c.events.tasks[m.Id] = &taskTold{moments: m.Moments(), over: m.State.Terminal()}
		}
	}
	c.tasks.updates, c.tasks.asked = map[string]core.MesosState{}, map[string]bool{}
	c.tasks.next()
}

// besideStray: nothing is launched beside a task that the backup does not know, and
// that its agent runs: it would be the second of its instance or run.
func (c *checks) besideStray(older, newer *executorProcess, what string) {
	id := older.task.TaskID.Value
	if !c.w.restores.done || core.IncarnationOf(id) == restoreIncarnation || older.ending {
		return
	}
	c.fail("at most one live task: %s of %s starts as %s, and still runs as %s, which the restored backup does not know",
		what, newer.def.Job, newer.task.TaskID.Value, id)
}
