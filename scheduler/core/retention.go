package core

import "slices"

// retention bounds the finished records that stay in the journal.
type retention struct {
	tasks []*task // ended, the earliest first; some gone already
	runs  []*run  // likewise
	gone  int     // of tasks and runs
}

// The finished tasks of an instance and of a run, and finished runs of a cron,
// that stay;
// so that one that ends again and again does not drive out all others.
const (
	instanceTasksKept = 10
	runTasksKept      = 100
	cronRunsKept      = 100
)

// prune drops the oldest finished records beyond what is kept.
func (c *Core) prune() {
	r := &c.retention
	for ; len(r.tasks) > c.cfg.FinishedKeep; r.tasks = r.tasks[1:] {
		c.dropTask(r.tasks[0])
	}
	for ; len(r.runs) > c.cfg.FinishedKeep; r.runs = r.runs[1:] {
		c.dropRun(r.runs[0])
	}
	if r.gone > 1000 && r.gone > (len(r.tasks)+len(r.runs))/2 {
		r.sweep()
	}
}

// taskEnded keeps an ended task, and not too many of the same instance.
func (c *Core) taskEnded(t *task) {
	c.retention.tasks = append(c.retention.tasks, t)
	if t.run != nil {
		if t.run.ended = append(t.run.ended, t); len(t.run.ended) > runTasksKept {
			c.dropTask(t.run.ended[0])
			t.run.ended = slices.Delete(t.run.ended, 0, 1)
		}
		return
	}
	s := t.job.slot(t.rec.Instance)
	if s.ended = append(s.ended, t); len(s.ended) > instanceTasksKept {
		c.dropTask(s.ended[0])
		s.ended = slices.Delete(s.ended, 0, 1)
	}
}

// runEnded keeps an ended run, and not too many of the same cron.
func (c *Core) runEnded(r *run) {
	c.retention.runs = append(c.retention.runs, r)
	j := r.job
	if j.cron == nil {
		return
	}
	if j.ended = append(j.ended, r); len(j.ended) > cronRunsKept {
		c.dropRun(j.ended[0])
		j.ended = slices.Delete(j.ended, 0, 1)
	}
}

// sweep forgets what is gone.
func (r *retention) sweep() {
	r.tasks = slices.Clip(slices.DeleteFunc(r.tasks, func(t *task) bool { return t.gone }))
	r.runs = slices.Clip(slices.DeleteFunc(r.runs, func(r *run) bool { return r.gone }))
	r.gone = 0
}

func (c *Core) dropTask(t *task) {
	if !t.gone {
		c.editTask(t)
		t.gone = true
		c.retention.gone++
		delete(c.tasks, t.rec.Id)
	}
}

// dropRun drops a finished run with its tasks.
func (c *Core) dropRun(r *run) {
	if r.gone {
		return
	}
	c.editRun(r)
	r.gone = true
	c.retention.gone++
	for _, t := range r.ended {
		c.dropTask(t)
	}
}

// forget drops all that is finished of a job that is removed.
func (r *retention) forget(c *Core, j *job) {
	for _, t := range r.tasks {
		if t.job == j {
			c.dropTask(t)
		}
	}
	for _, run := range r.runs {
		if run.job == j {
			c.dropRun(run)
		}
	}
	r.sweep()
}
