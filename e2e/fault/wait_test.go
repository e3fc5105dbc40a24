package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
)

// effectsOf are those of a job's tasks.
func (w *world) effectsOf(job string) []effect {
	w.Helper()
	all, err := w.effects.read()
	require.NoError(w, err)
	return slices.DeleteFunc(all, func(e effect) bool { return e.job != job })
}

// living are the ids of a service's tasks, and a check that their processes
// live.
func (w *world) living(job string) (tasks []string, processes func() error) {
	w.Helper()
	all, err := w.tasks()
	require.NoError(w, err)
	for _, t := range all {
		if t.Job == job {
			tasks = append(tasks, t.ID)
		}
	}
	slices.Sort(tasks)
	require.NotEmpty(w, tasks)
	pids := map[int]string{}
	eventually(w.T, "each task of "+job+" has told of itself", func() error { // it is ready some time after its start
		for _, e := range w.effectsOf(job) {
			if slices.Contains(tasks, e.task) {
				pids[e.pid] = e.task
			}
		}
		if told := slices.Sorted(maps.Values(pids)); !slices.Equal(told, tasks) {
			return fmt.Errorf("%v told of themselves, of %v", told, tasks)
		}
		return nil
	})
	return tasks, func() error {
		for pid, task := range pids {
			if !program.Alive(pid) {
				return fmt.Errorf("task %s has ended", task)
			}
		}
		return nil
	}
}

// awaitWrite waits until a scheduler answers a write that changes nothing else,
// and returns when it did.
func (w *world) awaitWrite(s *scheduler) time.Time {
	w.Helper()
	key := fmt.Sprintf("write-%d", time.Now().UnixNano())
	eventually(w.T, s.name+" answers a write", func() error {
		ctx, cancel := quickly()
		defer cancel()
		_, err := s.PauseJob(ctx, idle, key, client.WriteOptions{IdempotencyKey: key})
		return err
	})
	w.answers.note(key)
	return time.Now()
}

func (w *world) awaitStandby(s *scheduler) {
	w.Helper()
	eventually(w.T, s.name+" stands by", func() error {
		ctx, cancel := quickly()
		defer cancel()
		if err := s.alive(); err != nil {
			return err
		}
		part, err := s.Scheduler(ctx)
		if err == nil && (part.Role != api.RoleStandby || part.Leader == "" || part.Leader == s.url) {
			err = fmt.Errorf("its part is %+v", part)
		}
		return err
	})
}

func (w *world) epoch(s *scheduler) uint64 {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	part, err := s.Scheduler(ctx)
	require.NoError(w, err)
	return part.Epoch
}
