package core

import (
	"cmp"
	"strings"

	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// audited executes a request, and has the audit trail tell what it changed, in the
// entry that changes it. What is refused or changes nothing is not told, nor what
// a scheduler asks of itself.
func (c *Core) audited(r *Request) (Result, *Error) {
	if r.By.Operation == "" {
		return c.execute(r)
	}
	about := c.subjectOf(r.Op)
	runs, starts := r.Op.(StartRuns)
	var before []aspect
	if !starts { // of which there may be thousands a second, and which change no more than they start
		before = c.look(about)
	}
	team := c.teamOf(about)
	result, err := c.execute(r)
	if err != nil || !result.Changed {
		return result, err
	}
	about.group, about.webhook, about.token = cmp.Or(about.group, result.Group), cmp.Or(about.webhook, result.Webhook), cmp.Or(about.token, result.Token)
	a := &record.Audit{Operation: r.By.Operation, Token: bounded(r.By.Token), From: r.By.From, Key: r.IdempotencyKey}
	if starts {
		a.After = started(len(runs.Runs), result.Runs)
	} else {
		was, is := differing(before, c.look(about))
		a.Before, a.After = encoded(was), encoded(c.asked(is, r.Op, result))
	}
	if about.job == "" {
		a.Team = cmp.Or(team, c.teamOf(about), access.AllTeams)
	}
	e := &record.Event{Type: "audit.write", Job: about.job, Actor: bounded(r.Actor), Object: about.object(), Audit: a}
	if about.task != nil {
		e.Task, e.Run = about.task.rec.Id, about.task.rec.Run
	}
	if about.run != nil {
		e.Run = about.run.rec.Id
	}
	c.emit(e)
	return result, nil
}

// subject is what a request is about, as the audit trail has it.
type subject struct {
	job                            string
	task                           *task
	run                            *run
	group, webhook, token, cluster string
}

func (s *subject) object() string { return cmp.Or(s.group, s.webhook, s.token, s.cluster) }

// subjectOf is what an op is about. What it makes is known once it is made. A test
// has every op in it, or say that it is none of a user.
func (c *Core) subjectOf(op Op) (s subject) {
	switch op := op.(type) {
	case PutJob:
		s.job = op.Spec.Job
	case RemoveJob:
		s.job = op.Job
	case PauseJob:
		s.job = op.Job
	case ResumeJob:
		s.job = op.Job
	case ScaleJob:
		s.job = op.Job
	case StartRuns:
		s.job = op.Job
	case CancelRun:
		s.job, s.run = op.Job, c.findRun(op.Job, op.Run)
	case KillTask:
		if s.task = c.tasks[op.Task]; s.task != nil {
			s.job = s.task.job.rec.Key
		}
	case RollBack:
		s.job = op.Job
	case Bounce:
		s.job = op.Job
	case RestartInstance:
		s.job = op.Job
		if j := c.jobs[op.Job]; j != nil && op.Instance < j.rec.Instances {
			s.task = j.slot(op.Instance).newest()
		}
	case SteerDeploy:
		s.job = op.Job
	case SkipHealth:
		s.job = op.Job
	case CancelGroup:
		s.group = op.ID
	case UpdateWebhook:
		s.webhook = op.ID
	case RotateSecret:
		s.webhook = op.ID
	case EnableWebhook:
		s.webhook = op.ID
	case DisableWebhook:
		s.webhook = op.ID
	case RemoveWebhook:
		s.webhook = op.ID
	case Redeliver:
		s.webhook = op.ID
	case DropDeadLetters:
		s.webhook = op.ID
	case RevokeToken:
		s.token = op.ID
	case StepDown:
		s.cluster = c.leader.GetScheduler()
	}
	return s
}

// findRun returns a run that goes on, nil when there is none.
func (c *Core) findRun(job, id string) *run {
	if j := c.jobs[job]; j != nil {
		for r := j.runs.first; r != nil; r = r.next {
			if r.rec.Id == id {
				return r
			}
		}
	}
	return nil
}

// teamOf is the team of what is about no one job, whose operators may read of it:
// AllTeams' when it is of several, "" when it is not there.
func (c *Core) teamOf(s subject) string {
	if w := c.webhooks[s.webhook]; w != nil {
		return w.rec.Team
	}
	if t := c.tokens[s.token]; t != nil {
		return t.Team
	}
	team := ""
	if g := c.deployGroups.byID[s.group]; g != nil {
		for _, m := range g.rec.Members {
			of, _, _ := strings.Cut(m.Job, "/")
			if team != "" && team != of {
				return access.AllTeams
			}
			team = of
		}
	}
	return team
}
