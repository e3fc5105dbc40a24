package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// target is what a command is about: a task, a job, or an instance or run of a
// job.
type target struct {
	task string
	job  string
	rest string // instance or run
}

func parseTarget(s string) (target, error) {
	if s != "" && !strings.Contains(s, "/") {
		return target{task: s}, nil
	}
	t := target{job: s}
	if parts := strings.Split(s, "/"); len(parts) == 4 {
		t.job, t.rest = strings.Join(parts[:3], "/"), parts[3]
		if t.rest == "" {
			return target{}, usage("%q ends with /: name an instance or a run after it, or leave it out", s)
		}
	}
	return t, checkJob(t.job)
}

func (t target) String() string {
	switch {
	case t.task != "":
		return t.task
	case t.rest != "":
		return t.job + "/" + t.rest
	}
	return t.job
}

// instance is the instance that the target names.
func (t target) instance() (int, bool) {
	// Ids of runs are longer than numbers of instances.
	n, err := strconv.Atoi(t.rest)
	return n, err == nil && n >= 0 && len(t.rest) <= 6
}

// run says whether the target names a run.
func (t target) run() bool {
	_, instance := t.instance()
	return t.rest != "" && !instance
}

// instanceTask is the newest task of an instance; ended says whether one that
// is over is fine when none lives.
func instanceTask(ctx context.Context, c *client.Client, t target, ended bool) (*api.Task, error) {
	n, _ := t.instance()
	tasks, err := tasksOfJob(ctx, c, t.job, ended)
	if err != nil {
		return nil, err
	}
	var found *api.Task
	for i := range tasks {
		if tasks[i].Instance != nil && *tasks[i].Instance == n && (found == nil || live(found) <= live(&tasks[i])) {
			found = &tasks[i]
		}
	}
	if found == nil {
		return nil, notFound("%s has no instance %d with a task", t.job, n)
	}
	return found, nil
}

// live orders tasks that live after those that ended.
func live(t *api.Task) int {
	if t.EndedAt == nil {
		return 1
	}
	return 0
}

// tasksOfJob lists a job's tasks, oldest first.
func tasksOfJob(ctx context.Context, c *client.Client, job string, ended bool) ([]api.Task, error) {
	return all(func(cursor string) (*api.Page[api.Task], error) {
		return c.Tasks(ctx, client.TaskFilter{Job: job, Ended: ended, Cursor: cursor, Limit: 1000})
	})
}

// nameOf is what a task runs: team/stage/name/0, or with its run's id.
func nameOf(t *api.Task) string {
	if t.Run != "" {
		return t.Job + "/" + t.Run
	}
	if t.Instance != nil {
		return fmt.Sprintf("%s/%d", t.Job, *t.Instance)
	}
	return t.Job
}
