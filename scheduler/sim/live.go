package sim

import (
	"slices"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// liveTasks are the durable tasks that are not over, also by what they are of.
type liveTasks struct {
	byKey  map[string]*record.Task
	slots  map[slot][]*record.Task    // of an instance
	runs   map[runName][]*record.Task // of a run
	hosts  map[jobHost][]*record.Task // of a job on a host
	wanted map[string]int             // by job: instances' tasks that are not being stopped
}

type slot struct {
	job      string
	instance uint32
}

type runName struct{ job, run string }

type jobHost struct{ job, host string }

func newLiveTasks() *liveTasks {
	return &liveTasks{byKey: map[string]*record.Task{}, slots: map[slot][]*record.Task{}, runs: map[runName][]*record.Task{},
		hosts: map[jobHost][]*record.Task{}, wanted: map[string]int{}}
}

// replace puts one version of a task in another's place; either may be nil.
func (l *liveTasks) replace(key string, before, after *record.Task) {
	if before != nil && !before.State.Terminal() {
		l.enter(before, -1)
		delete(l.byKey, key)
	}
	if after != nil && !after.State.Terminal() {
		l.enter(after, 1)
		l.byKey[key] = after
	}
}

func (l *liveTasks) enter(t *record.Task, n int) {
	into(l.hosts, jobHost{t.Job, t.Host}, t, n)
	if t.Run != "" {
		into(l.runs, runName{t.Job, t.Run}, t, n)
		return
	}
	into(l.slots, slotOf(t), t, n)
	if t.StopAt == 0 {
		l.wanted[t.Job] += n
	}
}

func slotOf(t *record.Task) slot { return slot{t.Job, t.Instance} }

// into adds a task to a list, or takes it out.
func into[K comparable](m map[K][]*record.Task, key K, t *record.Task, n int) {
	if n > 0 {
		m[key] = append(m[key], t)
		return
	}
	list := slices.DeleteFunc(m[key], func(o *record.Task) bool { return o == t })
	if len(list) == 0 {
		delete(m, key)
		return
	}
	m[key] = list
}
