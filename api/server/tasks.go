package server

import (
	"context"
	"net/http"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// TaskFilter is what lists of tasks take.
type TaskFilter struct {
	State string `query:"state" enum:"pending,launching,staging,starting,running,killing,unreachable,finished,failed,killed,lost" doc:"Also one of ended tasks"`
	Agent string `query:"agent" doc:"An agent's id"`
	Host  string `query:"host"`
	Ended bool   `query:"ended" doc:"List those that ended and are still kept, too"`
}

func (f *TaskFilter) matches(t *record.Task) bool {
	if f.State != "" {
		if f.State != name(taskStates, int32(t.State)) {
			return false
		}
	} else if t.State.Terminal() && !f.Ended {
		return false
	}
	return (f.Agent == "" || f.Agent == t.Agent) && (f.Host == "" || f.Host == t.Host)
}

type listJobTasksInput struct {
	JobPath
	Reading
	Paging
	TaskFilter
}

func (s *Server) listJobTasks(ctx context.Context, in *listJobTasksInput) (*listed[api.Task], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	if _, err := in.in(v); err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	p := newPager[api.Task](in.limit())
	v.JobTasks(in.key(), after, s.page(v, p, after, in.matches))
	return p.answer(), nil
}

type listTasksInput struct {
	Reading
	Paging
	TaskFilter
	Job   string `query:"job" doc:"A pattern of team/stage/name: web/prod/*"`
	Team  string `query:"team"`
	Stage string `query:"stage"`
}

func (s *Server) listTasks(ctx context.Context, in *listTasksInput) (*listed[api.Task], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	job := func(string) bool { return true }
	if in.Job != "" {
		if job, err = glob("query.job", in.Job); err != nil {
			return nil, err
		}
	}
	p, sees := newPager[api.Task](in.limit()), callerOf(ctx).sees
	v.Tasks(after, s.page(v, p, after, func(t *record.Task) bool {
		team, rest, _ := strings.Cut(t.Job, "/")
		stage, _, _ := strings.Cut(rest, "/")
		return (in.Team == "" || in.Team == team) && (in.Stage == "" || in.Stage == stage) && in.matches(t) && job(t.Job) && sees(t.Job)
	}))
	return p.answer(), nil
}

// page fills a page with the tasks that match, from the one after the last of
// the page before.
func (s *Server) page(v *engine.View, p *pager[api.Task], after string, matches func(*record.Task) bool) func(*record.Task) bool {
	return func(t *record.Task) bool {
		if t.Id == after {
			return true
		}
		if !p.see(t.Id) {
			return false
		}
		if matches(t) {
			p.add(s.task(v, t))
		}
		return true
	}
}

// TaskPath names a task.
type TaskPath struct {
	Task string `path:"task" maxLength:"255"`
}

// in returns the task's record, or 404.
func (p TaskPath) in(v *engine.View) (*record.Task, error) {
	if t := v.Task(p.Task); t != nil {
		return t, nil
	}
	return nil, p.missing()
}

func (p TaskPath) missing() *problem {
	return newProblem(http.StatusNotFound, "there is no task %s, or it is no longer kept", p.Task).kind("not-found")
}

type taskInput struct {
	TaskPath
	Reading
}

type taskOutput struct {
	Body api.Task
}

func (s *Server) getTask(ctx context.Context, in *taskInput) (*taskOutput, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	r, err := in.in(v)
	if err != nil && s.History != nil {
		return s.pastTask(ctx, in.TaskPath)
	}
	if err != nil {
		return nil, err
	}
	if !callerOf(ctx).sees(r.Job) {
		return nil, in.missing()
	}
	t := s.task(v, r)
	t.Timeline = timeline(r)
	return &taskOutput{Body: t}, nil
}

type killTaskInput struct {
	TaskPath
	Reason string `query:"reason" maxLength:"1024" doc:"Kept with the task"`
}

func (s *Server) killTask(ctx context.Context, in *killTaskInput) (*written, error) {
	return s.do(ctx, core.KillTask{Task: in.Task, Reason: in.Reason})
}
