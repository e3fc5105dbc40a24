package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// audit waits until all that was asked for is done, and compares what users
// were answered, what tasks did, what Mesos runs, what events told and what
// Perigee says. Users write again afterwards.
func (w *world) audit() {
	w.Helper()
	w.held()
	require.NoError(w, w.load.failed)
	for _, s := range w.schedulers {
		require.NoError(w, s.alive())
	}
	eventually(w.T, "every run that a user started succeeds", w.auditRuns)
	eventually(w.T, "the last scale that was answered is in effect", w.auditScale)
	eventually(w.T, "Mesos runs what Perigee says", w.auditMesos)
	eventually(w.T, "every task did its work once", w.auditEffects)
	eventually(w.T, "each instant of the cron was decided once", w.auditCron)
	eventually(w.T, "every consumer has every event once", w.auditEvents)
	eventually(w.T, "Mesos was told what the journal held", w.auditCalls)
	eventually(w.T, "the journal holds what was answered and told", w.auditJournal)
	w.write()
}

// auditRuns: what was answered is in effect, once.
func (w *world) auditRuns() error {
	runs, err := w.runs(sums)
	if err != nil {
		return err
	}
	byID := map[string]api.Run{}
	keys := map[string]string{}
	for _, r := range runs {
		key := r.Parameters["key"]
		if other, twice := keys[key]; twice {
			return fmt.Errorf("the write %s started %s and %s", key, other, r.ID)
		}
		keys[key], byID[r.ID] = r.ID, r
	}
	for key, id := range w.load.started {
		r, ok := byID[id]
		switch {
		case !ok:
			return fmt.Errorf("the write %s was answered with run %s, which is not there", key, id)
		case r.Parameters["key"] != key:
			return fmt.Errorf("the write %s was answered with run %s, which is that of %s", key, id, r.Parameters["key"])
		case r.State != "succeeded":
			return fmt.Errorf("the run %s is %s: %s", id, r.State, r.Reason)
		}
	}
	if len(runs) != len(w.load.started) {
		return fmt.Errorf("there are %d runs of %d writes that were answered", len(runs), len(w.load.started))
	}
	return nil
}

func (w *world) auditScale() error {
	return w.everyone(func(ctx context.Context, s *scheduler) error {
		j, err := s.Job(ctx, elastic)
		if err == nil && (j.Instances != w.load.scale || j.Tasks.Running != w.load.scale || j.Tasks.Stopping+j.Tasks.Starting+j.Tasks.Pending > 0) {
			err = fmt.Errorf("%s has %d instances (%+v), %d was answered", elastic, j.Instances, j.Tasks, w.load.scale)
		}
		return err
	})
}

// auditMesos: no orphan, no ghost.
func (w *world) auditMesos() error {
	running, err := w.mesos.running()
	if err != nil {
		return err
	}
	tasks, err := w.tasks()
	if err != nil {
		return err
	}
	for _, t := range tasks {
		switch t.State {
		case "pending":
			return fmt.Errorf("task %s of %s is pending", t.ID, t.Job)
		default:
			if running[t.ID] == "" {
				return fmt.Errorf("task %s of %s is %s, and unknown to Mesos", t.ID, t.Job, t.State)
			}
		}
		delete(running, t.ID)
	}
	if len(running) > 0 {
		return fmt.Errorf("Mesos runs what Perigee does not know of: %v", running)
	}
	return nil
}

// auditEffects: each task ran once, and none that Perigee never spoke of. Of
// what ended long ago only events tell.
func (w *world) auditEffects() error {
	told, err := w.effects.read()
	if err != nil {
		return err
	}
	events, err := w.consumers[0].seen(elastic)
	if err != nil {
		return err
	}
	known, ran := map[string]bool{}, map[string]string{}
	for _, e := range events {
		switch typ := strings.TrimPrefix(e.Type, "dev.perigee."); {
		case e.Data.Task == "":
		case typ == "task.running", typ == "task.finished":
			ran[e.Data.Task] = e.Data.Job
			fallthrough
		default:
			known[e.Data.Task] = true
		}
	}
	seen, attempts := map[string]bool{}, map[string]string{}
	for _, e := range told {
		attempt := fmt.Sprintf("attempt %d of %s/%s", e.attempt, e.job, e.what)
		other := attempts[attempt]
		switch {
		case !known[e.task]:
			return fmt.Errorf("task %s of %s/%s ran, and no event tells of it", e.task, e.job, e.what)
		case seen[e.task]:
			return fmt.Errorf("task %s of %s/%s ran twice", e.task, e.job, e.what)
		case other != "" && (e.job == sums || e.job == tick):
			return fmt.Errorf("%s ran twice, as %s and %s", attempt, other, e.task)
		}
		seen[e.task], attempts[attempt] = true, e.task
	}
	killed, err := w.mesos.killed()
	if err != nil {
		return err
	}
	for task, job := range ran {
		if !seen[task] && !killed[task] { // perhaps before its first command
			return fmt.Errorf("task %s of %s ran, and did nothing", task, job)
		}
	}
	return nil
}

// auditCron: the instants follow each other without a gap, and none is there
// twice.
func (w *world) auditCron() error {
	runs, err := w.runs(tick)
	if err != nil {
		return err
	}
	slices.SortFunc(runs, func(a, b api.Run) int { return a.Instant.Compare(*b.Instant) })
	for i, r := range runs {
		if i > 0 {
			if step := r.Instant.Sub(*runs[i-1].Instant); step != tickEvery {
				return fmt.Errorf("after the instant %v came %v", runs[i-1].Instant, r.Instant)
			}
		}
		if r.State != "succeeded" && time.Since(*r.Instant) > 2*tickEvery {
			return fmt.Errorf("the instant %v is %s: %s", r.Instant, r.State, r.Reason)
		}
	}
	if len(runs) == 0 || time.Since(*runs[len(runs)-1].Instant) > 2*tickEvery {
		return fmt.Errorf("no instant was decided lately, of %d", len(runs))
	}
	return nil
}

// auditEvents: all consumers saw the same, in order, and what it tells of runs
// is what became of them.
func (w *world) auditEvents() error {
	var longest []api.Event
	for _, c := range w.consumers {
		events, err := c.seen(elastic)
		if err != nil {
			return err
		}
		if len(events) > len(longest) {
			longest = events
		}
	}
	for _, c := range w.consumers {
		events, err := c.seen(elastic)
		if err != nil {
			return err
		}
		for i, e := range events {
			if i < len(longest) && e.ID != longest[i].ID {
				return fmt.Errorf("the consumer %s has %s where another has %s", c.name, e.ID, longest[i].ID)
			}
		}
		if len(events) < len(longest) && time.Since(longest[len(events)].Time) > time.Second {
			return fmt.Errorf("the consumer %s has %d events of %d", c.name, len(events), len(longest))
		}
	}
	succeeded := map[string]int{}
	for _, e := range longest {
		if strings.TrimPrefix(e.Type, "dev.perigee.") == "run.succeeded" && e.Data.Job == sums {
			succeeded[e.Data.Run]++
		}
	}
	for key, run := range w.load.started {
		if n := succeeded[run]; n != 1 {
			return fmt.Errorf("run %s, of the write %s, has succeeded by %d events", run, key, n)
		}
	}
	return nil
}

// everyone asks each scheduler.
func (w *world) everyone(ask func(ctx context.Context, s *scheduler) error) error {
	var errs []error
	for _, s := range w.schedulers {
		ctx, cancel := quickly()
		if err := ask(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

func (w *world) runs(job string) (all []api.Run, err error) {
	return all, w.anyone(func(ctx context.Context, s *scheduler) error {
		all, err = collect(func(cursor string) (*api.Page[api.Run], error) {
			return s.Runs(ctx, job, client.RunFilter{Limit: 1000, Cursor: cursor})
		})
		return err
	})
}

// tasks are those that have not ended.
func (w *world) tasks() (all []api.Task, err error) {
	return all, w.anyone(func(ctx context.Context, s *scheduler) error {
		all, err = collect(func(cursor string) (*api.Page[api.Task], error) {
			return s.Tasks(ctx, client.TaskFilter{Limit: 1000, Cursor: cursor})
		})
		return err
	})
}

func collect[T any](page func(cursor string) (*api.Page[T], error)) ([]T, error) {
	var all []T
	for item, err := range client.All(page) {
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, nil
}
