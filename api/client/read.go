package client

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"

	"github.com/perigee-sched/perigee/api"
)

// JobFilter chooses jobs; what is empty does not matter.
type JobFilter struct {
	Team, Stage string
	Name        string // a glob: check*
	Kind        api.Kind
	State       string
	Labels      []string // "name" or "name=value"; all must match
	Limit       int      // of a page; the server's default when 0
	Cursor      string   // where the page begins: the Next of the one before
}

// RunFilter chooses runs of a job.
type RunFilter struct {
	State, Group string
	Limit        int
	Cursor       string
}

// TaskFilter chooses tasks.
type TaskFilter struct {
	Job         string // team/stage/name; of all jobs when empty
	Team, Stage string
	State       string
	Agent       string // id
	Host        string
	Ended       bool // those that ended and are still kept, too
	Limit       int
	Cursor      string
}

// Jobs returns one page of jobs, in the order of their names.
func (c *Client) Jobs(ctx context.Context, f JobFilter) (*api.Page[api.Job], error) {
	q := page(f.Limit, f.Cursor)
	set(q, "team", f.Team)
	set(q, "stage", f.Stage)
	set(q, "name", f.Name)
	set(q, "kind", string(f.Kind))
	set(q, "state", f.State)
	for _, l := range f.Labels {
		q.Add("label", l)
	}
	return get[api.Page[api.Job]](ctx, c, "/v1/jobs", q)
}

// Job returns one job with its spec.
func (c *Client) Job(ctx context.Context, job string) (*api.Job, error) {
	return getOfJob[api.Job](ctx, c, job, "", nil)
}

// Deploys returns one page of a job's deploys, newest first, without specs.
func (c *Client) Deploys(ctx context.Context, job string, limit int, cursor string) (*api.Page[api.Deploy], error) {
	return getOfJob[api.Page[api.Deploy]](ctx, c, job, "/deploys", page(limit, cursor))
}

// Deploy returns one deploy with its spec.
func (c *Client) Deploy(ctx context.Context, job string, number uint32) (*api.Deploy, error) {
	return getOfJob[api.Deploy](ctx, c, job, "/deploys/"+strconv.FormatUint(uint64(number), 10), nil)
}

// Runs returns one page of a job's runs, newest first.
func (c *Client) Runs(ctx context.Context, job string, f RunFilter) (*api.Page[api.Run], error) {
	q := page(f.Limit, f.Cursor)
	set(q, "state", f.State)
	set(q, "group", f.Group)
	return getOfJob[api.Page[api.Run]](ctx, c, job, "/runs", q)
}

// Run returns one run.
func (c *Client) Run(ctx context.Context, job, id string) (*api.Run, error) {
	return getOfJob[api.Run](ctx, c, job, "/runs/"+url.PathEscape(id), nil)
}

// Tasks returns one page of tasks, by their ids.
func (c *Client) Tasks(ctx context.Context, f TaskFilter) (*api.Page[api.Task], error) {
	q := page(f.Limit, f.Cursor)
	set(q, "state", f.State)
	set(q, "agent", f.Agent)
	set(q, "host", f.Host)
	if f.Ended {
		q.Set("ended", "true")
	}
	if f.Job != "" {
		return getOfJob[api.Page[api.Task]](ctx, c, f.Job, "/tasks", q)
	}
	set(q, "team", f.Team)
	set(q, "stage", f.Stage)
	return get[api.Page[api.Task]](ctx, c, "/v1/tasks", q)
}

// Task returns one task with its whole timeline.
func (c *Client) Task(ctx context.Context, id string) (*api.Task, error) {
	return get[api.Task](ctx, c, "/v1/tasks/"+url.PathEscape(id), nil)
}

// Pending says why tasks wait: a job's, or all jobs' that have some when job
// is "".
func (c *Client) Pending(ctx context.Context, job string) ([]api.JobPending, error) {
	if job == "" {
		return whole[api.JobPending](ctx, c, "/v1/pending")
	}
	one, err := getOfJob[api.JobPending](ctx, c, job, "/pending", nil)
	if err != nil {
		return nil, err
	}
	return []api.JobPending{*one}, nil
}

// Agents returns all agents, by host name.
func (c *Client) Agents(ctx context.Context) ([]api.Agent, error) {
	return whole[api.Agent](ctx, c, "/v1/agents")
}

// Agent returns one agent by its id, or by its host name.
func (c *Client) Agent(ctx context.Context, id string) (*api.Agent, error) {
	return get[api.Agent](ctx, c, "/v1/agents/"+url.PathEscape(id), nil)
}

// Scheduler returns what part the scheduler has, and who leads.
func (c *Client) Scheduler(ctx context.Context) (*api.Scheduler, error) {
	return get[api.Scheduler](ctx, c, "/v1/scheduler", nil)
}

// Schedulers returns all that live, the leader first.
func (c *Client) Schedulers(ctx context.Context) ([]api.Scheduler, error) {
	all, err := get[api.Page[api.Scheduler]](ctx, c, "/v1/schedulers", nil)
	if err != nil {
		return nil, err
	}
	return all.Items, nil
}

// Ready returns nil when the scheduler leads and is connected to Mesos, or when
// it stands by and knows who leads, and what is missing otherwise.
func (c *Client) Ready(ctx context.Context) error {
	_, err := get[api.Readiness](ctx, c, "/readyz", nil)
	return err
}

// All calls get for one page after the other and yields their items. After an
// error it ends.
//
//	for job, err := range client.All(func(cursor string) (*api.Page[api.Job], error) {
//		return c.Jobs(ctx, client.JobFilter{Team: "web", Cursor: cursor})
//	}) { … }
func All[T any](get func(cursor string) (*api.Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := ""; ; {
			p, err := get(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if cursor = p.Next; cursor == "" {
				return
			}
		}
	}
}

// whole returns all items of a list.
func whole[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var items []T
	for item, err := range All(func(cursor string) (*api.Page[T], error) {
		return get[api.Page[T]](ctx, c, path, page(1000, cursor))
	}) {
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (*T, error) {
	v := new(T)
	if err := c.read(ctx, path, query, v); err != nil {
		return nil, err
	}
	return v, nil
}

func getOfJob[T any](ctx context.Context, c *Client, job, rest string, query url.Values) (*T, error) {
	path, err := jobPath(job)
	if err != nil {
		return nil, err
	}
	return get[T](ctx, c, path+rest, query)
}

// jobPath is the path of a job. What its parts may be is the server's to say,
// but a job of two parts would be another path.
func jobPath(job string) (string, error) {
	parts := strings.Split(job, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return "", fmt.Errorf("%q is not a job: write it as team/stage/name", job)
	}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/v1/jobs/" + strings.Join(parts, "/"), nil
}

func page(limit int, cursor string) url.Values {
	q := url.Values{}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	set(q, "cursor", cursor)
	return q
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}
