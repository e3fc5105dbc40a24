package server

import (
	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// census is what a job's live tasks come to.
type census struct {
	api.Counts
	live  int
	ready map[uint32]int // by what tasks of deploys that are alike have in common
}

// generations says what tasks of a deploy and of all deploys like it have in
// common.
type generations struct {
	v    *engine.View
	job  string
	seen map[uint32]uint32
}

func newGenerations(v *engine.View, job string) generations {
	return generations{v, job, map[uint32]uint32{}}
}

func (g generations) of(deploy uint32) uint32 {
	gen, seen := g.seen[deploy]
	if !seen {
		gen = deploy
		if d := g.v.Deploy(g.job, deploy); d != nil {
			gen = d.TasksOf()
		}
		g.seen[deploy] = gen
	}
	return gen
}

func take(v *engine.View, r *record.Job) census {
	c, gens := census{ready: map[uint32]int{}}, newGenerations(v, r.Key)
	v.JobTasks(r.Key, "", func(t *record.Task) bool {
		if t.State.Terminal() {
			return true
		}
		c.live++
		switch {
		case t.State == record.TaskState_TASK_STATE_PENDING:
			c.Pending++
		case t.State == record.TaskState_TASK_STATE_UNREACHABLE:
			c.Unreachable++
		case t.StopAt > 0 || t.State == record.TaskState_TASK_STATE_KILLING:
			c.Stopping++
		case t.State == record.TaskState_TASK_STATE_RUNNING:
			c.Running++
		default:
			c.Starting++
		}
		if serves(r, t) {
			c.Ready++
		}
		if proven(t) {
			c.ready[gens.of(t.Deploy)]++
		}
		return true
	})
	return c
}

// proven says whether a task may serve, as far as it is concerned.
func proven(t *record.Task) bool {
	return t.Ready && t.State == record.TaskState_TASK_STATE_RUNNING && t.StopAt == 0 && !t.Withdrawn
}

// serves says whether a task of job r is in its endpoints. A blue-green deploy
// withholds its own tasks until it switches over, and then serves only them.
func serves(r *record.Job, t *record.Task) bool {
	return proven(t) && (r == nil || t.Deploy != r.Withheld && (r.ServingOnly == 0 || t.Deploy == r.ServingOnly))
}
