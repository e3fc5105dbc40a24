package sim

import (
	"encoding/json"
	"fmt"
	"time"

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
	tendAt   time.Time
	resumed  map[slot]bool // deploys, by number, that were resumed when all was calm
}

type request struct {
	core.Request
	name   string
	to     *schedulerProcess // that it was sent to last
	result *core.Result      // once it was answered without error
}

func newUsers(w *world) *users {
	return &users{w: w, requests: map[uint64]*request{}, byID: map[uint64]*request{}, byName: map[string]*request{}, resumed: map[slot]bool{}}
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
	switch u.w.rng.IntN(3) {
	case 0:
		u.steer(u.anyService())
	default:
		u.ask(u.wish(u.anyService()))
	}
}

// wish is what a user asks for, of a service or of another job.
func (u *users) wish(service string) core.Op {
	rng := u.w.rng
	switch rng.IntN(14) {
	case 0, 1, 12, 13:
		return u.put(u.service(service))
	case 2:
		return u.put(u.cron(fmt.Sprintf("team/prod/cron-%d", rng.IntN(crons))))
	case 3:
		return u.put(u.batch(fmt.Sprintf("team/prod/batch-%d", rng.IntN(batches))))
	case 4, 5:
		op := core.StartRuns{Job: fmt.Sprintf("team/prod/batch-%d", rng.IntN(batches))}
		for range (1 + rng.IntN(5)) * u.w.scale {
			op.Runs = append(op.Runs, core.NewRun{Group: fmt.Sprint("build-", rng.IntN(3))})
		}
		return op
	case 6:
		return core.ScaleJob{Job: service, Instances: rng.IntN(8) * u.w.scale, IfMatch: u.revision(service), Until: u.until()}
	case 7:
		return core.PauseJob{Job: u.anyJob(), Reason: "sim", Until: u.until()}
	case 8:
		return core.ResumeJob{Job: u.anyJob()}
	case 9:
		if t := u.anyTask(); t != nil {
			return core.KillTask{Task: t.Id}
		}
	case 10:
		if t := u.anyTask(); t != nil && t.Run != "" {
			return core.CancelRun{Job: t.Job, Run: t.Run}
		}
	case 11:
		if u.w.chance(4) {
			return core.RemoveJob{Job: u.anyJob()}
		}
	}
	return u.runCron(fmt.Sprintf("team/prod/cron-%d", rng.IntN(crons)))
}

func (u *users) anyService() string { return serviceName(u.w.rng.IntN(services)) }

func serviceName(i int) string { return fmt.Sprintf("team/prod/service-%d", i) }

// until is when a change is taken back, now and then.
func (u *users) until() int64 {
	if !u.w.chance(4) {
		return 0
	}
	return u.w.now.Add(u.w.upTo(20 * time.Minute)).UnixMilli()
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
	return u.anyService()
}

// runCron starts runs of a cron by hand.
func (u *users) runCron(job string) core.Op {
	return core.StartRuns{Job: job, Runs: make([]core.NewRun, 1+u.w.rng.IntN(3))}
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

func (u *users) put(spec *api.Spec) core.Op {
	return core.PutJob{Spec: spec, Canonical: canonical(spec), Supersede: u.w.chance(2), Resume: u.w.chance(2)}
}

func canonical(spec *api.Spec) []byte {
	if problems := spec.Validate(); len(problems) > 0 {
		panic(fmt.Sprint(problems))
	}
	b, err := spec.Canonical()
	if err != nil {
		panic(err)
	}
	return b
}

func (u *users) ask(op core.Op) {
	u.seq++
	name := fmt.Sprintf("request-%d", u.seq)
	u.send(&request{name: name, Request: core.Request{ID: uint64(u.seq), Actor: name, IdempotencyKey: name, Digest: name, Op: op}})
}
