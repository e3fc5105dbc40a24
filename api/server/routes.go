package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
)

const (
	jobPath     = "/v1/jobs/{team}/{stage}/{name}"
	webhookPath = "/v1/webhooks/{webhook}"
)

// route registers every route, and then writes down their description.
func (s *Server) route() error {
	s.router.SkipClean(true) // a redirect would lose a write's body
	s.router.NotFoundHandler = http.HandlerFunc(s.notFound)
	s.router.MethodNotAllowedHandler = http.HandlerFunc(s.methodNotAllowed)
	s.router.Use(named, s.limited, s.toLeader, s.authorize)
	s.plain("front", "/", s.front)
	s.plain("alive", "/healthz", s.alive)
	s.plain("ready", "/readyz", s.ready)
	s.plain("metrics", "/metrics", promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{}).ServeHTTP)
	s.plain("describe", "/openapi.json", s.describe)
	s.plain("get-executor", api.ExecutorPath, s.executor)
	s.protect("note-token-uses", http.MethodPost, tokenUsesPath)
	s.router.Path(tokenUsesPath).Methods(http.MethodPost).HandlerFunc(s.noteTokenUses)

	r := routes{s, humamux.New(s.router, s.apiConfig())}
	r.jobs()
	r.timed()
	r.deploys()
	r.groups()
	r.runs()
	r.tasks()
	r.plan()
	r.webhooks()
	r.history()
	r.cluster()
	r.tokens()
	r.audit()
	err := errors.Join(s.unprotected...)
	if err != nil {
		return err
	}
	return s.writeDescription(r.api.OpenAPI())
}

// writeDescription writes down the API's description, and once more without the version.
func (s *Server) writeDescription(d *huma.OpenAPI) (err error) {
	version := d.Info.Version
	d.Info.Version = "not told"
	s.unnamed, err = json.Marshal(d)
	d.Info.Version = version
	if err == nil {
		s.openAPI, err = json.Marshal(d)
	}
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	return nil
}

// plain registers a read that is not described.
func (s *Server) plain(id, path string, handle http.HandlerFunc) {
	s.protect(id, http.MethodGet, path)
	s.router.Path(path).Methods(http.MethodGet).HandlerFunc(handle)
}

type routes struct {
	s   *Server
	api huma.API
}

func (r routes) jobs() {
	get(r, "list-jobs", "/v1/jobs", "List jobs, by name", r.s.listJobs)
	get(r, "get-job", jobPath, "Get a job with its spec", r.s.getJob)
	put := write[putJobInput](r, "put-job", http.MethodPut, jobPath, "Create a job, or deploy a new spec of it", bodyOf[api.Spec](maxSpecBody), r.s.putJob)
	put.Description = "A spec that equals the current one changes nothing, and the answer says so."
	write(r, "remove-job", http.MethodDelete, jobPath, "Stop a job's tasks and forget it", noBody, r.s.removeJob)
	write(r, "pause-job", http.MethodPost, jobPath+"/pause", "Stop a job's tasks and keep its definition", noBody, r.s.pauseJob)
	write(r, "resume-job", http.MethodPost, jobPath+"/resume", "End a pause", noBody, r.s.resumeJob)
	write(r, "scale-job", http.MethodPut, jobPath+"/instances", "Set how many instances of a service run", bodyOf[api.Scale](maxSmallBody), r.s.scaleJob)
	get(r, "get-job-pending", jobPath+"/pending", "Say why tasks of a job wait", r.s.getPending)
}

func (r routes) timed() {
	scale := write(r, "scale-job-for", http.MethodPost, jobPath+"/scale", "Set how many instances of a service run, for a time or for good", bodyOf[api.Scale](maxSmallBody), r.s.scaleFor)
	scale.Description = "Afterwards as many run as before."
	skip := write(r, "skip-health", http.MethodPost, jobPath+"/skip-health", "Have a service's health checks count for nothing, for a time", noBody, r.s.skipHealth)
	skip.Description = "Instances are ready by running."
	write(r, "heed-health", http.MethodDelete, jobPath+"/skip-health", "Have a service's health checks count again", noBody, r.s.heedHealth)
}

func (r routes) deploys() {
	start := write(r, "start-deploy", http.MethodPost, jobPath+"/deploys", "Deploy a spec", bodyOf[api.DeployRequest](maxDeployBody), r.s.startDeploy)
	start.Description = "Answered at once with the deploy: 201 when it began. A spec that equals the current one changes nothing: 200, changed is false, and the deploy is the current one. " +
		"Another number of instances alone is a scale: 200. While a deploy is in progress it is refused with 409, whose problem has that deploy, unless replace is true."
	get(r, "list-deploys", jobPath+"/deploys", "List a job's deploys, newest first", r.s.listDeploys)
	one := get(r, "get-deploy", jobPath+"/deploys/{number}", "Get a deploy with its spec, at once or when it is over", r.s.getDeploy)
	one.Description = "With wait and If-None-Match it is answered when anything has changed."
	follow := get(r, "follow-deploy", jobPath+"/deploys/{number}/events", "Follow a deploy's progress (server-sent events)", r.s.followDeploy)
	follow.Description = "The data of each event is the deploy without its spec, at most 5 times a second; the last event, when the deploy is over, is called end."
	for _, a := range steers {
		kind := optionalOf[api.SteerRequest](maxNotesBody)
		if a.action == core.SteerPromote {
			kind = optionalOf[api.PromoteRequest](maxNotesBody)
		}
		write(r, a.name+"-deploy", http.MethodPost, jobPath+"/deploys/{number}/"+a.name, a.summary, kind, r.s.steer(a.action))
	}
	back := write(r, "roll-back", http.MethodPost, jobPath+"/rollback", "Deploy the spec of an earlier deploy, or undo the one in progress", optionalOf[api.RollbackRequest](maxNotesBody), r.s.rollBack)
	back.Description = "Artifacts at http(s) URLs are looked for first; if one is gone, or its store does not answer, nothing is touched and the answer is 409."
	write(r, "bounce-job", http.MethodPost, jobPath+"/bounce", "Replace every task of a service by one of the same spec", optionalOf[api.BounceRequest](maxNotesBody), r.s.bounce)
	write(r, "restart-instance", http.MethodPost, jobPath+"/instances/{instance}/restart", "Replace the task of one instance", optionalOf[api.SteerRequest](maxNotesBody), r.s.restartInstance)
	get(r, "get-endpoints", jobPath+"/endpoints", "List the instances of a service that serve", r.s.getEndpoints)
	watch := get(r, "follow-endpoints", jobPath+"/endpoints/watch", "Follow the instances of a service that serve (server-sent events)", r.s.followEndpoints)
	watch.Description = "The data of each event is the whole list."
}

func (r routes) groups() {
	const path = "/v1/deploy-groups"
	start := write(r, "start-deploy-group", http.MethodPost, path, "Deploy several jobs, one after the other, all or none", bodyOf[api.DeployGroupRequest](maxGroupBody), r.s.startGroup)
	start.Description = fmt.Sprintf("At most %d jobs. If one fails, those before are rolled back, in reverse order.", api.MaxGroup)
	get(r, "list-deploy-groups", path, "List deploy groups, newest first", r.s.listGroups)
	get(r, "get-deploy-group", path+"/{group}", "Get a deploy group, at once or when it is over", r.s.getGroup)
	write(r, "cancel-deploy-group", http.MethodPost, path+"/{group}/cancel", "Undo a deploy group in progress", optionalOf[api.SteerRequest](maxNotesBody), r.s.cancelGroup)
}

func (r routes) runs() {
	start := write(r, "start-runs", http.MethodPost, jobPath+"/runs", "Start runs of a batch or cron job", bodyOf[api.StartRuns](maxRunsBody), r.s.startRuns)
	start.Description = fmt.Sprintf("At most %d in one call; all start, or none.", api.MaxRunsPerCall)
	get(r, "list-runs", jobPath+"/runs", "List a job's runs, newest first", r.s.listRuns)
	get(r, "get-run", jobPath+"/runs/{run}", "Get a run", r.s.getRun)
	write(r, "cancel-run", http.MethodDelete, jobPath+"/runs/{run}", "Cancel a run", noBody, r.s.cancelRun)
}

func (r routes) tasks() {
	get(r, "list-job-tasks", jobPath+"/tasks", "List a job's tasks", r.s.listJobTasks)
	get(r, "list-tasks", "/v1/tasks", "List tasks of all jobs", r.s.listTasks)
	get(r, "get-task", "/v1/tasks/{task}", "Get a task with its timeline", r.s.getTask)
	write(r, "kill-task", http.MethodDelete, "/v1/tasks/{task}", "Kill a task; its job may start another", noBody, r.s.killTask)
	get(r, "list-files", "/v1/tasks/{task}/files", "List a directory of a task's sandbox", r.s.listFiles)
	get(r, "read-file", "/v1/tasks/{task}/files/content", "Read a file of a task's sandbox, or follow it as it grows", r.s.readFile)
	get(r, "download-file", "/v1/tasks/{task}/files/download", "Download a file of a task's sandbox", r.s.downloadFile)
}

func (r routes) webhooks() {
	const path = "/v1/webhooks"
	create := write(r, "create-webhook", http.MethodPost, path, "Have events told to a URL", bodyOf[api.WebhookRequest](maxNotesBody), r.s.createWebhook)
	create.Description = "The answer has the secret that deliveries are signed with, which is never told again."
	get(r, "list-webhooks", path, "List webhooks, the oldest first", r.s.listWebhooks)
	get(r, "get-webhook", webhookPath, "Get a webhook", r.s.getWebhook)
	write(r, "update-webhook", http.MethodPut, webhookPath, "Change which events a webhook is told of, and where", bodyOf[api.WebhookRequest](maxNotesBody), r.s.updateWebhook)
	write(r, "remove-webhook", http.MethodDelete, webhookPath, "Forget a webhook with its dead letters", noBody, r.s.removeWebhook)
	rotate := write(r, "rotate-webhook-secret", http.MethodPost, webhookPath+"/rotate-secret", "Sign deliveries with a new secret", optionalOf[api.RotateSecretRequest](maxSmallBody), r.s.rotateSecret)
	rotate.Description = "Those before stay valid beside it for a while. The answer has the new one, which is never told again."
	enable := write(r, "enable-webhook", http.MethodPost, webhookPath+"/enable", "Have a disabled webhook deliver again", optionalOf[api.EnableWebhookRequest](maxSmallBody), r.s.enableWebhook)
	enable.Description = "It begins with what happens from now on, or with replay where it stopped."
	write(r, "disable-webhook", http.MethodPost, webhookPath+"/disable", "Have a webhook deliver nothing", optionalOf[api.SteerRequest](maxNotesBody), r.s.disableWebhook)
	test := write(r, "test-webhook", http.MethodPost, webhookPath+"/test", "Send a test event now, and say what came of it", noBody, r.s.testWebhook)
	test.Description = "A consumer that answers it is taken to be back: what waits for it is delivered."
	get(r, "get-webhook-deliveries", webhookPath+"/deliveries", "Say how far a webhook's deliveries are", r.s.getDeliveries)
	get(r, "list-dead-letters", webhookPath+"/dead-letters", "List the events that could not be delivered", r.s.listDeadLetters)
	write(r, "redeliver-dead-letters", http.MethodPost, webhookPath+"/dead-letters/redeliver", "Deliver dead letters once more", optionalOf[api.DeadLettersRequest](maxNotesBody), r.s.redeliver)
	write(r, "drop-dead-letters", http.MethodDelete, webhookPath+"/dead-letters", "Forget dead letters", optionalOf[api.DeadLettersRequest](maxNotesBody), r.s.dropDeadLetters)
}

func (r routes) history() {
	const path, ofJob = "/v1/history", "/{team}/{stage}/{name}"
	get(r, "get-history", path, "Say how far this scheduler's history is, and what it lacks", r.s.getHistory)
	ran := get(r, "list-past-tasks", path+"/tasks", "List finished tasks, newest first by when they ended", r.s.listPastTasks)
	ran.Description = "From and to choose those that ran at some time between them. Each scheduler answers from its own history, unless that is shared; how far that is is told with each page."
	get(r, "get-past-task", path+"/tasks/{task}", "Get a finished task with its timeline", r.s.getPastTask)
	get(r, "list-past-runs", path+"/runs", "List runs that are over, newest first by when they ended", r.s.listPastRuns)
	get(r, "get-past-run", path+"/runs"+ofJob+"/{run}", "Get a run that is over", r.s.getPastRun)
	get(r, "list-past-deploys", path+"/deploys", "List deploys that are over, newest first by when they ended", r.s.listPastDeploys)
	get(r, "get-past-deploy", path+"/deploys"+ofJob+"/{number}", "Get a deploy that is over, with its spec", r.s.getPastDeploy)
	get(r, "list-past-events", path+"/events", "List events, newest first", r.s.listPastEvents)
	get(r, "get-past-event", path+"/events/{event}", "Get an event", r.s.getPastEvent)
}

func (r routes) cluster() {
	get(r, "list-pending", "/v1/pending", "Say why tasks wait, for each job where some do", r.s.listPending)
	get(r, "list-agents", "/v1/agents", "List agents, by host", r.s.listAgents)
	get(r, "get-agent", "/v1/agents/{agent}", "Get an agent by its id or host", r.s.getAgent)
	get(r, "get-scheduler", "/v1/scheduler", "Say what part this scheduler has, and who leads", r.s.getScheduler)
	get(r, "list-schedulers", "/v1/schedulers", "Say which schedulers live, the leader first", r.s.listSchedulers)
	down := write(r, "step-down", http.MethodPost, stepDownPath, "Have the leader hand over to another scheduler", noBody, r.s.stepDown)
	down.Description = "Answered when another can lead. The one that led stands by then."
	state := get(r, "backup-state", "/v1/state/backup", "Make a backup of the whole state", r.s.backupState)
	state.Description = "A file for perigee state restore, of one journal index, with every secret that the state has."
	events := get(r, "follow-events", "/v1/events", "Follow events (server-sent events)", r.s.followEvents)
	events.Description = "Each event's data is a CloudEvent 1.0. Last-Event-ID, or after, resumes the stream after that event."
}

// get registers a read.
func get[I, O any](r routes, id, path, summary string, handle func(context.Context, *I) (*O, error)) *huma.Operation {
	r.s.protect(id, http.MethodGet, path)
	huma.Register(r.api, huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary}, mapped(r.s, handle))
	return r.api.OpenAPI().Paths[path].Get
}

// body is what a write's body may be.
type body struct {
	kind     reflect.Type // nil: none is needed
	most     int64        // bytes
	optional bool
}

var noBody = body{most: maxSmallBody}

func bodyOf[T any](most int64) body { return body{kind: reflect.TypeFor[T](), most: most} }

func optionalOf[T any](most int64) body {
	return body{kind: reflect.TypeFor[T](), most: most, optional: true}
}

// write registers a write. Its body is described here, but read and checked by
// asWrite and the handler.
func write[I, O any](r routes, id, method, path, summary string, b body, handle func(context.Context, *I) (*O, error)) *huma.Operation {
	r.s.protect(id, method, path)
	huma.Register(r.api, huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		Middlewares: huma.Middlewares{r.s.asWrite(b.most)},
		Parameters: []*huma.Param{
			header(api.HeaderIdempotencyKey, "The same key and request are executed once; repeating them answers as the first time"),
			header(api.HeaderActor, "Who asks, for events and audit; the client's address when absent"),
		},
	}, mapped(r.s, handle))
	item := r.api.OpenAPI().Paths[path]
	op := map[string]*huma.Operation{http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodDelete: item.Delete}[method]
	if b.kind != nil {
		schema := r.api.OpenAPI().Components.Schemas.Schema(b.kind, true, b.kind.Name())
		op.RequestBody = &huma.RequestBody{Required: !b.optional, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
	}
	return op
}

func header(name, description string) *huma.Param {
	most := maxText
	return &huma.Param{Name: name, In: "header", Description: description,
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &most}}
}

// mapped has every error of a handler become a problem, and notes who was refused.
func mapped[I, O any](s *Server, handle func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			p := problemOf(err)
			s.refused(responseOf(ctx).asked, callerOf(ctx), p)
			return nil, p
		}
		return out, nil
	}
}
