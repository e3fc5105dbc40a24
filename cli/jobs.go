package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

func (a *app) jobsCommand() *cobra.Command {
	var f client.JobFilter
	var kind string
	c := &cobra.Command{
		Use: "jobs", Short: "List jobs", Args: cobra.NoArgs,
		Example: "  perigee jobs --team web --state waiting\n  perigee jobs --name 'check*' --label tier=front",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.Kind = api.Kind(kind)
			cl, err := a.client()
			if err != nil {
				return err
			}
			jobs, err := all(func(cursor string) (*api.Page[api.Job], error) {
				f.Cursor = cursor
				return cl.Jobs(cmd.Context(), f)
			})
			if err != nil {
				return err
			}
			return a.printJobs(jobs)
		},
	}
	c.Flags().StringVar(&f.Team, "team", "", "only this team's")
	c.Flags().StringVar(&f.Stage, "stage", "", "only this stage's")
	c.Flags().StringVar(&f.Name, "name", "", "only names that match a pattern: check*")
	c.Flags().StringVar(&kind, "kind", "", "only service, cron or batch jobs")
	c.Flags().StringVar(&f.State, "state", "", "only jobs that are running, deploying, waiting, paused, removing or idle")
	c.Flags().StringArrayVarP(&f.Labels, "label", "l", nil, "only jobs with a label, NAME or NAME=VALUE; may be repeated")
	return c
}

// all collects every page of a list.
func all[T any](get func(cursor string) (*api.Page[T], error)) ([]T, error) {
	items := []T{}
	for item, err := range client.All(get) {
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func (a *app) printJobs(jobs []api.Job) error {
	return list(a, jobs, "There is no such job. `perigee deploy FILE` makes one; examples/ has three.",
		[]string{"JOB", "KIND", "STATE", "TASKS", "DEPLOY", "NOTE"},
		func(j api.Job) []string {
			return []string{j.Job, string(j.Kind), a.state(j.State), tasksOf(j), a.deployOf(j), a.noteOf(j)}
		})
}

// tasksOf sums a job's tasks up.
func tasksOf(j api.Job) string {
	if j.Kind == api.KindService {
		return fmt.Sprintf("%d/%d ready", j.Tasks.Ready, j.Instances)
	}
	if text := countsOf(j.Tasks, false); text != "" {
		return text
	}
	return "none"
}

// countsOf lists what tasks do, in words; ready is only of services.
func countsOf(c api.Counts, ready bool) string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{c.Ready, "ready"}, {c.Running, "running"}, {c.Starting, "starting"}, {c.Pending, "pending"},
		{c.Stopping, "stopping"}, {c.Unreachable, "unreachable"}} {
		if p.word == "ready" && !ready {
			continue
		}
		if p.word == "running" && ready {
			p.n -= c.Ready
			p.word = "not yet ready"
		}
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return strings.Join(parts, ", ")
}

func (a *app) deployOf(j api.Job) string {
	d := j.LatestDeploy
	if d == nil {
		return fmt.Sprint(j.Deploy)
	}
	return fmt.Sprintf("%d %s", d.Number, a.state(string(d.State)))
}

// noteOf is what else there is to say of a job, in a few words.
func (a *app) noteOf(j api.Job) string {
	switch {
	case j.Paused:
		return j.PauseReason
	case len(j.Pending) > 0:
		return j.Pending[0].Summary
	case j.NextRun != nil:
		return "next run in " + short(j.NextRun.Sub(a.now()))
	}
	return ""
}
