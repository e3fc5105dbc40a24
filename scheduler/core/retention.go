package core

import "slices"

// retention bounds the finished records that stay in the journal: with a
// history they go once it has them and they are old enough, or there are too
// many of a kind; without one, when there are too many.
type retention struct {
	tasks ended[*task]
	runs  ended[*run]
	held  []*task // old enough, and of jobs whose deploy goes on, which may return to what they ran
	freed bool    // a deploy ended
	gone  int     // of tasks and runs

	through uint64 // step up to which every history has all that ended
	lost    int    // finished records that went before a history had them
}

// ended is what ended, the earliest first; some of it is gone already.
type ended[T finished] struct {
	all      []T
	recorded int // of all, from the first: those that history has
}

// finished is a task or a run.
type finished interface {
	comparable
	state() *kept
	lastEdit() uint64
	endedAt() int64
}

// kept is what retention notes with a task or run.
type kept struct {
	gone     bool // deleted
	recorded bool // history has it in its last version
	surplus  bool // to go as soon as that is so
}

func (k *kept) state() *kept     { return k }
func (t *task) lastEdit() uint64 { return max(t.edited, loadStep) }
func (t *task) endedAt() int64   { return t.rec.EndedAt }
func (r *run) lastEdit() uint64  { return max(r.edited, loadStep) }
func (r *run) endedAt() int64    { return r.rec.EndedAt }

// The finished tasks of an instance and of a run, and finished runs of a cron,
// that stay;
// so that one that ends again and again does not drive out all others.
const (
	instanceTasksKept = 10
	runTasksKept      = 100
	cronRunsKept      = 100
)

// markRecorded notes what history has now, drops what waited for that, and
// returns how many were noted.
func markRecorded[T finished](l *ended[T], through uint64, drop func(T)) (n int) {
	for ; l.recorded < len(l.all); l.recorded++ {
		e := l.all[l.recorded]
		k := e.state()
		switch {
		case k.gone: // edited by that
			continue
		case e.lastEdit() > through:
			return n
		}
		n++
		if k.recorded = true; k.surplus {
			drop(e)
		}
	}
	return n
}

// cutFirst removes what is gone, and drops what goes, from the beginning; goes
// is told how many there are from that one on.
func cutFirst[T finished](l *ended[T], goes func(e T, left int) bool, drop func(T)) {
	n := 0
	for ; n < len(l.all) && (l.all[n].state().gone || goes(l.all[n], len(l.all)-n)); n++ {
		if !l.all[n].state().gone {
			drop(l.all[n])
		}
	}
	l.all, l.recorded = l.all[n:], max(0, l.recorded-n)
}

// sweep forgets what is gone.
func (l *ended[T]) sweep() {
	isGone := func(e T) bool { return e.state().gone }
	for _, e := range l.all[:l.recorded] {
		if isGone(e) {
			l.recorded--
		}
	}
	l.all = slices.Clip(slices.DeleteFunc(l.all, isGone))
}

// prune drops the finished records that have been there for long enough, and
// the oldest of those that are too many.
func (c *Core) prune() {
	r := &c.retention
	if r.freed {
		r.freed = false
		c.dropHeld()
	}
	if c.cfg.FinishedFor > 0 {
		before := c.now - c.cfg.FinishedFor
		cutFirst(&r.tasks, func(t *task, _ int) bool { return t.recorded && t.rec.EndedAt <= before }, c.dropUnlessUsed)
		cutFirst(&r.runs, func(r *run, _ int) bool { return r.recorded && r.rec.EndedAt <= before }, c.dropRun)
		c.awaitAge()
	}
	cutFirst(&r.tasks, func(_ *task, left int) bool { return left > c.cfg.FinishedKeep },
		func(t *task) { c.giveUpRecording(&t.kept); c.dropTask(t) })
	cutFirst(&r.runs, func(_ *run, left int) bool { return left > c.cfg.FinishedKeep },
		func(r *run) { c.giveUpRecording(&r.kept); c.dropRun(r) })
	if r.gone > 1000 && r.gone > (len(r.tasks.all)+len(r.runs.all))/2 {
		r.sweep()
	}
}

// dropUnlessUsed drops a task that a deploy does not need to know of.
func (c *Core) dropUnlessUsed(t *task) {
	if t.run == nil && t.job.rollout != nil {
		c.retention.held = append(c.retention.held, t)
		return
	}
	c.dropTask(t)
}

// dropHeld drops what was held for deploys that are over.
func (c *Core) dropHeld() {
	held := c.retention.held
	c.retention.held = nil
	for _, t := range held {
		if !t.gone {
			c.dropUnlessUsed(t)
		}
	}
}

// giveUpRecording counts a record that goes although a history may not have it.
func (c *Core) giveUpRecording(k *kept) {
	if c.cfg.History && !k.recorded {
		c.retention.lost++
		k.recorded = true // an earlier entry had it: that would be written again
	}
}

// ageEvery is the least time between two looks at what became old enough, ms.
const ageEvery = 1000

// awaitAge sets a timer for when the first recorded one is old enough.
func (c *Core) awaitAge() {
	r := &c.retention
	if c.timers.pending[timerFinished] > 0 {
		return
	}
	at := min(firstRecorded(&r.tasks), firstRecorded(&r.runs)) + c.cfg.FinishedFor
	if at < never {
		c.timers.add(timer{at: max(at, c.now+ageEvery), kind: timerFinished})
	}
}

const never = int64(1) << 60

func firstRecorded[T finished](l *ended[T]) int64 {
	if l.recorded == 0 {
		return never
	}
	return l.all[0].endedAt()
}

// spare drops a finished record of which there are too many of its kind, once
// history has it.
func spare[T finished](c *Core, e T, drop func(T)) {
	if k := e.state(); c.cfg.History && !k.recorded {
		k.surplus = true
		return
	}
	drop(e)
}

// taskEnded keeps an ended task, and not too many of the same instance.
func (c *Core) taskEnded(t *task) {
	c.retention.tasks.all = append(c.retention.tasks.all, t)
	if r := t.run; r != nil {
		r.ended = append(r.ended, t)
		if n := len(r.ended); n > runTasksKept {
			spare(c, r.ended[n-1-runTasksKept], c.dropTask)
		}
		if len(r.ended) >= 2*runTasksKept {
			r.ended = slices.DeleteFunc(r.ended, func(t *task) bool { return t.gone })
		}
		return
	}
	s := t.job.slot(t.rec.Instance)
	if s.ended = append(s.ended, t); len(s.ended) > instanceTasksKept {
		oldest := s.ended[0]
		s.ended = slices.Delete(s.ended, 0, 1) // before it is dropped, which takes it out too
		spare(c, oldest, c.dropTask)
	}
}

// runEnded keeps an ended run, and not too many of the same cron.
func (c *Core) runEnded(r *run) {
	c.retention.runs.all = append(c.retention.runs.all, r)
	j := r.job
	if j.cron == nil {
		return
	}
	if j.ended = append(j.ended, r); len(j.ended) > cronRunsKept {
		spare(c, j.ended[0], c.dropRun)
		j.ended = slices.Delete(j.ended, 0, 1)
	}
}

func (r *retention) sweep() {
	r.tasks.sweep()
	r.runs.sweep()
	r.gone = 0
}

func (c *Core) dropTask(t *task) {
	if t.gone {
		return
	}
	recorded := t.recorded || t.lastEdit() <= c.retention.through
	c.editTask(t)
	t.gone = true
	c.retention.gone++
	delete(c.tasks, t.rec.Id)
	if !recorded {
		c.leaveToHistory(t.rec)
	}
	if t.run == nil {
		t.job.slot(t.rec.Instance).forget(t)
	}
}

// dropRun drops a finished run with its tasks.
func (c *Core) dropRun(r *run) {
	if r.gone {
		return
	}
	recorded := r.recorded || r.lastEdit() <= c.retention.through
	c.editRun(r)
	r.gone = true
	c.retention.gone++
	if !recorded {
		c.leaveToHistory(r.rec)
	}
	for _, t := range r.ended {
		c.dropTask(t)
	}
}

// leaveToHistory has the entry that deletes a record hold it all the same, for
// a history that may not have it yet: it may have ended in the same entry.
func (c *Core) leaveToHistory(r Record) {
	if c.cfg.History {
		c.ready.Finished = append(c.ready.Finished, r)
	}
}

// forget drops all that is finished of a job that is removed.
func (r *retention) forget(c *Core, j *job) {
	for _, t := range slices.Concat(r.held, r.tasks.all) {
		if t.job == j {
			c.dropTask(t)
		}
	}
	for _, run := range r.runs.all {
		if run.job == j {
			c.dropRun(run)
		}
	}
	r.sweep()
}
