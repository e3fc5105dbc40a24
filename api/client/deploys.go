package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// StartDeploy deploys a spec and returns at once with the deploy. A deploy in
// progress is told in the *api.Problem that refuses another.
func (c *Client) StartDeploy(ctx context.Context, r *api.DeployRequest, o WriteOptions) (*api.WrittenDeploy, error) {
	job := ""
	if r.Spec != nil {
		job = r.Spec.Job
	}
	return c.writeDeploy(ctx, job, "/deploys", r, o)
}

// Plan says what deploying a request's spec would do. It changes nothing.
func (c *Client) Plan(ctx context.Context, r *api.DeployRequest) (*api.Plan, error) {
	w := jobWrite{method: http.MethodPost, rest: "/plan", body: r.Spec}
	if r.Spec != nil {
		w.job = r.Spec.Job
	}
	return writeJobAs[api.Plan](ctx, c, w, WriteOptions{})
}

// Rollback returns a job to an earlier deploy's spec, or undoes the deploy in
// progress.
func (c *Client) Rollback(ctx context.Context, job string, r api.RollbackRequest, o WriteOptions) (*api.WrittenDeploy, error) {
	return c.writeDeploy(ctx, job, "/rollback", r, o)
}

// Bounce replaces every task of a service.
func (c *Client) Bounce(ctx context.Context, job string, r api.BounceRequest, o WriteOptions) (*api.WrittenDeploy, error) {
	return c.writeDeploy(ctx, job, "/bounce", r, o)
}

// RestartInstance replaces the task of one instance.
func (c *Client) RestartInstance(ctx context.Context, job string, instance int, reason string, o WriteOptions) (*api.Written, error) {
	return c.writeJob(ctx, jobWrite{method: http.MethodPost, job: job,
		rest: "/instances/" + strconv.Itoa(instance) + "/restart", body: api.SteerRequest{Reason: reason}}, o)
}

// PauseDeploy has a deploy stand still until it is resumed. Of this and the
// methods below, number 0 is the deploy in progress.
func (c *Client) PauseDeploy(ctx context.Context, job string, number uint32, reason string, o WriteOptions) (*api.WrittenDeploy, error) {
	return c.steer(ctx, job, number, "pause", api.SteerRequest{Reason: reason}, o)
}

// ResumeDeploy has a paused deploy go on.
func (c *Client) ResumeDeploy(ctx context.Context, job string, number uint32, reason string, o WriteOptions) (*api.WrittenDeploy, error) {
	return c.steer(ctx, job, number, "resume", api.SteerRequest{Reason: reason}, o)
}

// PromoteDeploy ends a canary's step; full ends all that follow, too.
func (c *Client) PromoteDeploy(ctx context.Context, job string, number uint32, full bool, o WriteOptions) (*api.WrittenDeploy, error) {
	return c.steer(ctx, job, number, "promote", api.PromoteRequest{Full: full}, o)
}

// CancelDeploy ends a deploy; its instances return to what they ran.
func (c *Client) CancelDeploy(ctx context.Context, job string, number uint32, reason string, o WriteOptions) (*api.WrittenDeploy, error) {
	return c.steer(ctx, job, number, "cancel", api.SteerRequest{Reason: reason}, o)
}

// PulseDeploy says that a deploy with update.pulse may go on.
func (c *Client) PulseDeploy(ctx context.Context, job string, number uint32, o WriteOptions) (*api.WrittenDeploy, error) {
	return c.steer(ctx, job, number, "pulse", nil, o)
}

func (c *Client) steer(ctx context.Context, job string, number uint32, action string, body any, o WriteOptions) (*api.WrittenDeploy, error) {
	return c.writeDeploy(ctx, job, deployPath(number)+"/"+action, body, o)
}

func (c *Client) writeDeploy(ctx context.Context, job, rest string, body any, o WriteOptions) (*api.WrittenDeploy, error) {
	return writeJobAs[api.WrittenDeploy](ctx, c, jobWrite{method: http.MethodPost, job: job, rest: rest, body: body}, o)
}

// AwaitDeploy waits until a deploy is over, or comes to stand still because it
// failed, for at most wait (api.MaxWait), and returns it as it is then.
func (c *Client) AwaitDeploy(ctx context.Context, job string, number uint32, wait time.Duration) (*api.Deploy, error) {
	return getOfJob[api.Deploy](ctx, c, job, deployPath(number), url.Values{"wait": {wait.String()}})
}

// FollowDeploy yields a deploy, without its spec, now and whenever it has come
// further, and ends after it was yielded as it is once it is over. It survives
// lost connections and failovers. An error is yielded last.
func (c *Client) FollowDeploy(ctx context.Context, job string, number uint32) iter.Seq2[*api.Deploy, error] {
	return follow(ctx, c, job, deployPath(number)+"/events", func(d *api.Deploy) bool { return d.State.Over() })
}

// deployPath is a deploy's below its job's; 0 is the deploy in progress.
func deployPath(number uint32) string {
	if number == 0 {
		return "/deploys/current"
	}
	return "/deploys/" + strconv.FormatUint(uint64(number), 10)
}

// StartGroup deploys several jobs, one after the other, all or none.
func (c *Client) StartGroup(ctx context.Context, r *api.DeployGroupRequest, o WriteOptions) (*api.WrittenGroup, error) {
	return writeGroup(ctx, c, "", r, o)
}

// CancelGroup undoes a group in progress.
func (c *Client) CancelGroup(ctx context.Context, id, reason string, o WriteOptions) (*api.WrittenGroup, error) {
	return writeGroup(ctx, c, "/"+url.PathEscape(id)+"/cancel", api.SteerRequest{Reason: reason}, o)
}

// Groups returns one page of deploy groups, newest first.
func (c *Client) Groups(ctx context.Context, limit int, cursor string) (*api.Page[api.DeployGroup], error) {
	return get[api.Page[api.DeployGroup]](ctx, c, groupsPath, page(limit, cursor))
}

// Group returns one deploy group.
func (c *Client) Group(ctx context.Context, id string) (*api.DeployGroup, error) {
	return get[api.DeployGroup](ctx, c, groupsPath+"/"+url.PathEscape(id), nil)
}

// AwaitGroup waits until a group is over, for at most wait (api.MaxWait), and
// returns it as it is then.
func (c *Client) AwaitGroup(ctx context.Context, id string, wait time.Duration) (*api.DeployGroup, error) {
	return get[api.DeployGroup](ctx, c, groupsPath+"/"+url.PathEscape(id), url.Values{"wait": {wait.String()}})
}

const groupsPath = "/v1/deploy-groups"

func writeGroup(ctx context.Context, c *Client, rest string, body any, o WriteOptions) (*api.WrittenGroup, error) {
	r := request{method: http.MethodPost, path: groupsPath + rest}
	var err error
	if r.body, err = encode(body); err != nil {
		return nil, err
	}
	return writeAs[api.WrittenGroup](ctx, c, r, o)
}
