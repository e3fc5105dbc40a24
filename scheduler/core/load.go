package core

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Load returns a Core with the state that a journal holds, in any order. It
// fails when a record refers to one that is missing, or a spec cannot be read:
// a scheduler that went on without would lose something.
func Load(cfg Config, records iter.Seq2[string, Record]) (*Core, error) {
	c := newCore(cfg)
	l := loader{core: c, deploys: map[string][]*record.Deploy{}, rollouts: map[string]*record.Rollout{}, runs: map[string]*run{}}
	for key, m := range records {
		l.take(key, m)
	}
	for _, link := range []func() error{l.linkJobs, l.linkRuns, l.linkTasks, l.linkWebhooks} {
		if err := link(); err != nil {
			return nil, err
		}
	}
	l.linkReplies()
	return c, nil
}

type loader struct {
	core      *Core
	deploys   map[string][]*record.Deploy
	rollouts  map[string]*record.Rollout // by job
	runs      map[string]*run            // by key
	runList   []*record.Run
	taskList  []*record.Task
	replyKeys []string

	cursors     []*record.WebhookCursor
	deadLetters []*record.DeadLetter
}

func (l *loader) take(key string, m Record) {
	c := l.core
	switch m := m.(type) {
	case *record.Cluster:
		c.cluster = m
	case *record.Leader:
		c.leader = m
	case *record.Job:
		c.jobs[m.Key] = newJob(m)
	case *record.Deploy:
		l.deploys[m.Job] = append(l.deploys[m.Job], m)
	case *record.Rollout:
		l.rollouts[m.Job] = m
	case *record.Group:
		c.deployGroups.load(m)
	case *record.Run:
		l.runList = append(l.runList, m)
	case *record.Task:
		l.taskList = append(l.taskList, m)
	case *record.Recorder:
		c.histories.load(m)
	case *record.Webhook:
		c.webhooks[m.Id] = &webhook{rec: m}
	case *record.WebhookCursor:
		l.cursors = append(l.cursors, m)
	case *record.WebhookTail:
		c.webhookTail = m
	case *record.DeadLetter:
		l.deadLetters = append(l.deadLetters, m)
	case *record.Agent:
		c.census.known[m.Id] = m
	case *record.Token:
		c.tokens[m.Id] = m
	case *record.IdempotentReply:
		c.idempotency.replies[strings.TrimPrefix(key, record.PrefixIdempotency)] = m
	}
}

func (l *loader) linkJobs() error {
	c := l.core
	for _, key := range slices.Sorted(maps.Keys(c.jobs)) {
		j := c.jobs[key]
		for _, rec := range l.deploys[key] {
			d := &deploy{rec: rec}
			cl, err := c.newClass(j, d)
			if err != nil {
				return err
			}
			d.class = cl
			j.deploys = append(j.deploys, d)
		}
		slices.SortFunc(j.deploys, func(a, b *deploy) int { return cmp.Compare(a.rec.Number, b.rec.Number) })
		if j.target() == nil {
			return fmt.Errorf("job %s wants deploy %d, which is missing", key, j.rec.Deploy)
		}
		if err := l.linkRollout(j); err != nil {
			return err
		}
		if err := c.setSchedule(j); err != nil {
			return err
		}
	}
	return nil
}

// linkRollout takes up how far a job's deploy is.
func (l *loader) linkRollout(j *job) error {
	rec := l.rollouts[j.rec.Key]
	if rec == nil {
		return nil
	}
	d := j.deploy(rec.Deploy)
	if d == nil || d.class.spec.Update == nil {
		return fmt.Errorf("the deploy that goes on of job %s is %d, which is missing", rec.Job, rec.Deploy)
	}
	if rec.Back != 0 && j.deploy(rec.Back) == nil {
		return fmt.Errorf("deploy %d of job %s would return to deploy %d, which is missing", rec.Deploy, rec.Job, rec.Back)
	}
	j.rollout = newRollout(j, d, rec)
	l.core.countDeploying(j)
	return nil
}

// takeUpDeploy begins the rollout of a deploy in progress that a scheduler wrote
// which kept none.
func (c *Core) takeUpDeploy(j *job) {
	d := j.target()
	if j.rollout != nil || d.rec.State != deployInProgress || d.class.spec.Kind != api.KindService {
		return
	}
	c.beginRollout(j, d, &record.Rollout{Back: j.stableBefore(d), InstancesBefore: j.rec.Instances})
}

func (l *loader) linkRuns() error {
	c := l.core
	slices.SortFunc(l.runList, func(a, b *record.Run) int {
		return cmp.Or(cmp.Compare(a.EndedAt, b.EndedAt), cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.Id, b.Id))
	})
	for _, rec := range l.runList {
		j := c.jobs[rec.Job]
		if j == nil {
			return fmt.Errorf("run %s is of job %s, which is missing", rec.Id, rec.Job)
		}
		r := &run{rec: rec, job: j}
		l.runs[record.RunKey(rec.Job, rec.Id)] = r
		if rec.State.Terminal() {
			c.runEnded(r)
		} else {
			j.runs.add(r)
		}
	}
	return nil
}

func (l *loader) linkTasks() error {
	c := l.core
	slices.SortFunc(l.taskList, func(a, b *record.Task) int {
		return cmp.Or(cmp.Compare(a.EndedAt, b.EndedAt), cmp.Compare(a.Id, b.Id))
	})
	c.tasks = make(map[string]*task, len(l.taskList))
	for _, rec := range l.taskList {
		j := c.jobs[rec.Job]
		if j == nil {
			return fmt.Errorf("task %s is of job %s, which is missing", rec.Id, rec.Job)
		}
		t := &task{rec: rec, job: j}
		if rec.Run != "" {
			t.run = l.runs[record.RunKey(rec.Job, rec.Run)]
			if t.run == nil {
				return fmt.Errorf("task %s is of run %s of %s, which is missing", rec.Id, rec.Run, rec.Job)
			}
		}
		if d := j.deploy(rec.Deploy); d != nil {
			t.class = d.class
		} else if t.live() {
			return fmt.Errorf("task %s is of deploy %d of %s, which is missing", rec.Id, rec.Deploy, rec.Job)
		}
		c.tasks[rec.Id] = t
		l.place(t)
	}
	return nil
}

// place enters a task where it belongs: ended ones first, by their order.
func (l *loader) place(t *task) {
	c := l.core
	switch {
	case t.live():
		c.adopt(t)
		if t.run != nil {
			t.run.task = t
		}
	default:
		if t.run == nil {
			s := t.job.slot(t.rec.Instance)
			s.attempts = max(s.attempts, t.rec.Attempt)
			if s.last == nil || s.last.rec.EndedAt <= t.rec.EndedAt {
				s.last = t
			}
		}
		c.taskEnded(t)
	}
}

func (l *loader) linkReplies() {
	i := &l.core.idempotency
	i.order = slices.SortedFunc(maps.Keys(i.replies), func(a, b string) int {
		return cmp.Or(cmp.Compare(i.replies[a].At, i.replies[b].At), cmp.Compare(a, b))
	})
	if len(i.order) > 0 {
		l.core.timers.add(timer{at: i.replies[i.order[0]].At + replyKeep, kind: timerIdempotency})
	}
}

// resume sets the timers of a state that was loaded, and has every job looked
// at.
func (c *Core) resume() {
	for _, key := range slices.Sorted(maps.Keys(c.jobs)) {
		j := c.jobs[key]
		c.awaitInstant(j)
		c.catchUpRollout(j.rollout)
		c.takeUpDeploy(j)
		c.awaitRevert(j)
		c.touch(j)
	}
	var tasks []*task
	for _, t := range c.tasks {
		if t.live() && !t.rec.Ready { // one that is waits for nothing
			tasks = append(tasks, t)
		}
	}
	slices.SortFunc(tasks, func(a, b *task) int { return cmp.Compare(a.rec.Id, b.rec.Id) })
	for _, t := range tasks {
		c.catchUp(t)
		c.enqueue(t)
		c.giveUp(t)
		c.judgeReady(t)
	}
}
