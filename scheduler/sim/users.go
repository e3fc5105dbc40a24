package sim

import (
	"encoding/json"
	"fmt"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// users send requests, and repeat them with the same key until they are
// answered.
type users struct {
	w        *world
	seq      int
	requests map[uint64]*request // under way, by id
	waiting  []*request          // to be sent again
	byID     map[uint64]*request
	byName   map[string]*request
}

type request struct {
	core.Request
	name   string
	to     *schedulerProcess // that it was sent to last
	result *core.Result      // once it was answered without error
}

func newUsers(w *world) *users {
	return &users{w: w, requests: map[uint64]*request{}, byID: map[uint64]*request{}, byName: map[string]*request{}}
}

const (
	services = 4
	crons    = 2
	batches  = 2
)

// act sends a random request, or one again.
func (u *users) act() {
	if u.w.leading() == nil {
		return
	}
	if len(u.waiting) > 0 {
		r := u.waiting[0]
		u.waiting = u.waiting[1:]
		u.send(r)
		return
	}
	rng := u.w.rng
	switch service := fmt.Sprintf("team/prod/service-%d", rng.IntN(services)); rng.IntN(12) {
	case 0, 1:
		u.put(u.service(service))
	case 2:
		u.put(u.cron(fmt.Sprintf("team/prod/cron-%d", rng.IntN(crons))))
	case 3:
		u.put(u.batch(fmt.Sprintf("team/prod/batch-%d", rng.IntN(batches))))
	case 4, 5:
		op := core.StartRuns{Job: fmt.Sprintf("team/prod/batch-%d", rng.IntN(batches))}
		for range (1 + rng.IntN(5)) * u.w.scale {
			op.Runs = append(op.Runs, core.NewRun{Group: fmt.Sprint("build-", rng.IntN(3))})
		}
		u.ask(op)
	case 6:
		u.ask(core.ScaleJob{Job: service, Instances: rng.IntN(8) * u.w.scale, IfMatch: u.revision(service)})
	case 7:
		u.ask(core.PauseJob{Job: u.anyJob(), Reason: "sim"})
	case 8:
		u.ask(core.ResumeJob{Job: u.anyJob()})
	case 9:
		if t := u.anyTask(); t != nil {
			u.ask(core.KillTask{Task: t.Id})
		}
	case 10:
		if t := u.anyTask(); t != nil && t.Run != "" {
			u.ask(core.CancelRun{Job: t.Job, Run: t.Run})
		}
	case 11:
		if u.w.chance(4) {
			u.ask(core.RemoveJob{Job: u.anyJob()})
		} else {
			u.runCron(fmt.Sprintf("team/prod/cron-%d", rng.IntN(crons)))
		}
	}
}

// anyJob is one that is there, or not yet, or no longer.
func (u *users) anyJob() string {
	rng := u.w.rng
	switch rng.IntN(4) {
	case 0:
		return fmt.Sprintf("team/prod/cron-%d", rng.IntN(crons))
	case 1:
		return fmt.Sprintf("team/prod/batch-%d", rng.IntN(batches))
	}
	return fmt.Sprintf("team/prod/service-%d", rng.IntN(services))
}

// runCron starts runs of a cron by hand.
func (u *users) runCron(job string) {
	u.ask(core.StartRuns{Job: job, Runs: make([]core.NewRun, 1+u.w.rng.IntN(3))})
}

// revision is what a user who looked at a job says it has: mostly nothing, now
// and then the right or a wrong one.
func (u *users) revision(job string) *uint64 {
	j, ok := u.w.journal.decoded[record.JobKey(job)].(*record.Job)
	if !ok || !u.w.chance(3) {
		return nil
	}
	n := j.Revision + uint64(u.w.rng.IntN(2))
	return &n
}

func (u *users) anyTask() *record.Task {
	if tasks := u.w.journal.tasks(); len(tasks) > 0 {
		return tasks[u.w.rng.IntN(len(tasks))]
	}
	return nil
}

func commanded(spec *api.Spec, b behaviour) *api.Spec {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	spec.Command = string(text)
	return spec
}

func (u *users) put(spec *api.Spec) {
	if problems := spec.Validate(); len(problems) > 0 {
		panic(fmt.Sprint(problems))
	}
	canonical, err := spec.Canonical()
	if err != nil {
		panic(err)
	}
	u.ask(core.PutJob{Spec: spec, Canonical: canonical, Supersede: u.w.chance(2)})
}

func (u *users) ask(op core.Op) {
	u.seq++
	name := fmt.Sprintf("request-%d", u.seq)
	u.send(&request{name: name, Request: core.Request{ID: uint64(u.seq), Actor: name, IdempotencyKey: name, Digest: name, Op: op}})
}
