package client

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
)

const historyPath = "/v1/history"

// History says how far the scheduler's history is, and what it lacks.
func (c *Client) History(ctx context.Context) (*api.HistoryState, error) {
	return get[api.HistoryState](ctx, c, historyPath, nil)
}

// PastTasks returns one page of finished tasks, newest first by when they ended.
func (c *Client) PastTasks(ctx context.Context, f api.HistoryFilter) (*api.HistoryPage[api.Task], error) {
	q := past(f)
	set(q, "agent", f.Agent)
	set(q, "text", f.Text)
	set(q, "run", f.Run)
	return get[api.HistoryPage[api.Task]](ctx, c, historyPath+"/tasks", q)
}

// PastTask returns a finished task with its whole timeline.
func (c *Client) PastTask(ctx context.Context, id string) (*api.Task, error) {
	return get[api.Task](ctx, c, historyPath+"/tasks/"+url.PathEscape(id), nil)
}

// PastRuns returns one page of runs that are over, newest first by when they
// ended.
func (c *Client) PastRuns(ctx context.Context, f api.HistoryFilter) (*api.HistoryPage[api.Run], error) {
	q := past(f)
	set(q, "text", f.Text)
	set(q, "actor", f.Actor)
	set(q, "group", f.Group)
	for name, value := range f.Parameters {
		q.Add("parameter", name+"="+value)
	}
	return get[api.HistoryPage[api.Run]](ctx, c, historyPath+"/runs", q)
}

// PastRun returns a run that is over.
func (c *Client) PastRun(ctx context.Context, job, id string) (*api.Run, error) {
	return getPast[api.Run](ctx, c, "runs", job, url.PathEscape(id))
}

// PastDeploys returns one page of deploys that are over, newest first by when they
// ended, without specs.
func (c *Client) PastDeploys(ctx context.Context, f api.HistoryFilter) (*api.HistoryPage[api.Deploy], error) {
	q := past(f)
	set(q, "text", f.Text)
	set(q, "actor", f.Actor)
	return get[api.HistoryPage[api.Deploy]](ctx, c, historyPath+"/deploys", q)
}

// PastDeploy returns a deploy that is over, with its spec.
func (c *Client) PastDeploy(ctx context.Context, job string, number uint32) (*api.Deploy, error) {
	return getPast[api.Deploy](ctx, c, "deploys", job, strconv.FormatUint(uint64(number), 10))
}

// PastEvents returns one page of events, newest first.
func (c *Client) PastEvents(ctx context.Context, f api.HistoryFilter) (*api.HistoryPage[api.Event], error) {
	q := past(f)
	set(q, "agent", f.Agent)
	set(q, "actor", f.Actor)
	set(q, "task", f.Task)
	set(q, "run", f.Run)
	set(q, "object", f.Object)
	set(q, "type", strings.Join(f.Types, ","))
	return get[api.HistoryPage[api.Event]](ctx, c, historyPath+"/events", q)
}

// PastEvent returns an event by its id.
func (c *Client) PastEvent(ctx context.Context, id string) (*api.Event, error) {
	return get[api.Event](ctx, c, historyPath+"/events/"+url.PathEscape(id), nil)
}

// past is what all lists of history take.
func past(f api.HistoryFilter) url.Values {
	q := page(f.Limit, f.Cursor)
	set(q, "job", f.Job)
	set(q, "team", f.Team)
	set(q, "stage", f.Stage)
	set(q, "state", strings.Join(f.States, ","))
	for name, t := range map[string]time.Time{"from": f.From, "to": f.To} {
		if !t.IsZero() {
			q.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	return q
}

func getPast[T any](ctx context.Context, c *Client, what, job, id string) (*T, error) {
	path, err := jobPath(job)
	if err != nil {
		return nil, err
	}
	return get[T](ctx, c, historyPath+"/"+what+strings.TrimPrefix(path, "/v1/jobs")+"/"+id, nil)
}
