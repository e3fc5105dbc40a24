package server

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Webhooks delivers events: *webhook.Runner.
type Webhooks interface {
	// Refuses says why events may not be sent to a URL, nil when they may as far
	// as can be told without resolving its host.
	Refuses(url string) error
	// Deliveries says how far a webhook's deliveries are; false when this scheduler
	// does not deliver them.
	Deliveries(ctx context.Context, id string) (api.WebhookDeliveries, bool)
	// Test sends a test event, and returns what came of it.
	Test(ctx context.Context, w *record.Webhook, actor string) api.WebhookTest
}

// WebhookPath names a webhook.
type WebhookPath struct {
	Webhook string `path:"webhook" maxLength:"255"`
}

// in returns the webhook's record, or 404.
func (p WebhookPath) in(v *engine.View) (*record.Webhook, error) {
	if w := v.Webhook(p.Webhook); w != nil {
		return w, nil
	}
	return nil, p.missing()
}

func (p WebhookPath) missing() *problem {
	return newProblem(http.StatusNotFound, "there is no webhook %s", p.Webhook).kind("not-found")
}

type listWebhooksInput struct {
	Reading
	Paging
	Team  string `query:"team" maxLength:"63" doc:"* are those that are told of all teams"`
	State string `query:"state" enum:"active,failing,disabled"`
	URL   string `query:"url" maxLength:"2048" doc:"Part of the URL"`
}

func (s *Server) listWebhooks(ctx context.Context, in *listWebhooksInput) (*listed[api.Webhook], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	p, c := newPager[api.Webhook](in.limit()), callerOf(ctx)
	v.Webhooks(after, func(r *record.Webhook) bool {
		if r.Id == after {
			return true
		}
		if !p.see(r.Id) {
			return false
		}
		if (in.Team == "" || in.Team == r.Team) && strings.Contains(r.Url, in.URL) && c.operates(r.Team, r.Job) {
			if w := webhook(v, r); in.State == "" || in.State == w.State {
				p.add(w)
			}
		}
		return true
	})
	return p.answer(), nil
}

type webhookInput struct {
	WebhookPath
	Reading
}

type webhookOutput struct {
	ETag string `header:"ETag" doc:"The webhook's revision: what If-Match takes"`
	Body api.Webhook
}

func (s *Server) getWebhook(ctx context.Context, in *webhookInput) (*webhookOutput, error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	r, err := in.in(v)
	if err != nil {
		return nil, err
	}
	return &webhookOutput{ETag: etag(r.Revision), Body: webhook(v, r)}, nil
}

// webhook tells a webhook, without its secrets.
func webhook(v *engine.View, r *record.Webhook) api.Webhook {
	w := api.Webhook{ID: r.Id, Revision: r.Revision, Team: r.Team, Job: r.Job, Types: r.Types, URL: r.Url, Description: r.Description,
		State: api.WebhookActive, Secrets: []api.WebhookSecret{}, DeadLettersDropped: r.DeadLettersDropped,
		CreatedAt: millis(r.CreatedAt), CreatedBy: r.CreatedBy, UpdatedAt: millis(r.UpdatedAt), UpdatedBy: r.UpdatedBy}
	now := time.Now().UnixMilli()
	for _, secret := range r.Secrets {
		if secret.ExpiresAt == 0 || secret.ExpiresAt > now {
			w.Secrets = append(w.Secrets, api.WebhookSecret{CreatedAt: millis(secret.CreatedAt), ExpiresAt: moment(secret.ExpiresAt)})
		}
	}
	v.DeadLetters(r.Id, "", func(*record.DeadLetter) bool { w.DeadLetters++; return true })
	switch c := v.WebhookCursor(r.Id); {
	case r.Disabled:
		w.State, w.Reason, w.Since = api.WebhookDisabled, r.DisabledReason, moment(r.DisabledAt)
	case c.GetFailingSince() != 0:
		w.State, w.Reason, w.Since, w.RetryAt = api.WebhookFailing, c.LastError, moment(c.FailingSince), moment(c.RetryAt)
	}
	return w
}

// writtenWebhook answers a write of a webhook.
type writtenWebhook struct {
	Status   int
	ETag     string `header:"ETag" doc:"Revision of the webhook afterwards: what If-Match takes"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when an earlier request with the same key was answered with this webhook"`
	Body     api.WrittenWebhook
}

// writeWebhook executes a write of a webhook; secret says whether it makes one,
// which is answered. A write that is repeated is answered with the secret that it
// made, unless another write came meanwhile.
func (s *Server) writeWebhook(ctx context.Context, op core.Op, secret bool) (*writtenWebhook, error) {
	result, v, err := s.execute(ctx, op)
	if err != nil {
		return nil, err
	}
	out := &writtenWebhook{Status: http.StatusOK, Body: api.WrittenWebhook{
		Webhook: api.Webhook{ID: result.Webhook, Revision: result.Revision, Secrets: []api.WebhookSecret{}}, // should it be gone by now
		Changed: result.Changed, Created: result.Created, Warnings: result.Warnings,
	}}
	out.ETag, out.Replayed = marks(result)
	if r := v.Webhook(result.Webhook); r != nil {
		out.Body.Webhook = webhook(v, r)
		if secret && r.Revision == result.Revision {
			out.Body.Secret = r.Secrets[0].Key
		}
	}
	if result.Created {
		out.Status = http.StatusCreated
	}
	return out, nil
}

// webhookRequest reads what a webhook is to be.
func (s *Server) webhookRequest(body []byte) (*api.WebhookRequest, error) {
	tree, err := parse(body)
	if err != nil {
		return nil, err
	}
	var (
		r   reading
		req api.WebhookRequest
	)
	_, found := strict.Decode(tree, &req, "json")
	r.add("", found)
	req.Normalize()
	return &req, s.checkWebhook(&r, &req)
}

func (s *Server) checkWebhook(r *reading, req *api.WebhookRequest) error {
	if len(r.found) == 0 { // else what is missing may be what could not be read
		r.invalid(req.Validate())
	}
	if len(r.found) == 0 && s.Webhooks != nil {
		if err := s.Webhooks.Refuses(req.URL); err != nil {
			r.field("url", api.ProblemField{Message: err.Error(), Value: req.URL})
		}
	}
	return r.err()
}

// newSecret is the text of a new secret.
func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return api.WebhookSecretOf(key)
}

func (s *Server) createWebhook(ctx context.Context, _ *struct{}) (*writtenWebhook, error) {
	req, err := s.webhookRequest(writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	if c := callerOf(ctx); !c.operates(req.Team, req.Job) {
		return nil, c.forbidden("this takes %s", toOperate(req.Team, req.Job))
	}
	if req.Secret == "" {
		req.Secret = newSecret()
	}
	v, err := s.view(ctx, Reading{})
	if err != nil {
		return nil, err
	}
	return s.writeWebhook(ctx, core.CreateWebhook{Webhook: &record.Webhook{
		Team: req.Team, Job: req.Job, Types: req.Types, Url: req.URL, Description: req.Description,
		Secrets: []*record.WebhookSecret{{Key: req.Secret}}, From: now(v),
	}}, true)
}

// now is a position after all events of a view.
func now(v *engine.View) *record.Position {
	return engine.EventID{Incarnation: v.Cluster().GetIncarnation(), Index: v.Index + 1}.Before().Position()
}

// WebhookChange is what changes of a webhook take.
type WebhookChange struct {
	WebhookPath
	Match
}

func (s *Server) updateWebhook(ctx context.Context, in *WebhookChange) (*writtenWebhook, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	tree, err := parse(writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	v, err := s.view(ctx, Reading{})
	if err != nil {
		return nil, err
	}
	is, err := in.in(v)
	if err != nil {
		return nil, err
	}
	var (
		r   reading
		req api.WebhookRequest
	)
	_, found := strict.Decode(tree, &req, "json")
	r.add("", found)
	if req.Team == "" {
		req.Team = is.Team
	}
	req.Normalize()
	if req.Team != is.Team {
		r.field("team", api.ProblemField{Value: req.Team, Message: "cannot be changed: this webhook is of team " + is.Team + "; make another"})
	}
	if req.Secret != "" {
		r.field("secret", api.ProblemField{Message: "is changed by rotating it: POST …/rotate-secret"})
	}
	if err := s.checkWebhook(&r, &req); err != nil {
		return nil, err
	}
	if c := callerOf(ctx); !c.operates(is.Team, req.Job) {
		return nil, c.forbidden("this takes %s", toOperate(is.Team, req.Job))
	}
	return s.writeWebhook(ctx, core.UpdateWebhook{ID: in.Webhook, IfMatch: revision,
		Job: req.Job, Types: req.Types, URL: req.URL, Description: req.Description}, false)
}

func (s *Server) removeWebhook(ctx context.Context, in *WebhookChange) (*writtenWebhook, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	return s.writeWebhook(ctx, core.RemoveWebhook{ID: in.Webhook, IfMatch: revision}, false)
}

func (s *Server) rotateSecret(ctx context.Context, in *WebhookChange) (*writtenWebhook, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	var req api.RotateSecretRequest
	if err := optional(writingOf(ctx).body, &req); err != nil {
		return nil, err
	}
	keep := api.DefaultSecretKeep
	if req.Keep != nil {
		keep = *req.Keep
	}
	if keep < 0 || keep > api.MaxSecretKeep {
		return nil, wrongInput("body.keep", keep.String(), "is %s: it must be from 0s to %s", keep, api.MaxSecretKeep)
	}
	if req.Secret == "" {
		req.Secret = newSecret()
	}
	if _, err := api.WebhookKey(req.Secret); err != nil {
		return nil, wrongInput("body.secret", nil, "%v", err)
	}
	return s.writeWebhook(ctx, core.RotateSecret{ID: in.Webhook, IfMatch: revision, Secret: req.Secret, Keep: keep.Millis()}, true)
}

func (s *Server) enableWebhook(ctx context.Context, in *WebhookChange) (*writtenWebhook, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	var req api.EnableWebhookRequest
	if err := optional(writingOf(ctx).body, &req); err != nil {
		return nil, err
	}
	op := core.EnableWebhook{ID: in.Webhook, IfMatch: revision}
	if !req.Replay {
		v, err := s.view(ctx, Reading{})
		if err != nil {
			return nil, err
		}
		op.From = now(v)
	}
	return s.writeWebhook(ctx, op, false)
}

func (s *Server) disableWebhook(ctx context.Context, in *WebhookChange) (*writtenWebhook, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	reason, err := reasonOf(writingOf(ctx).body)
	if err != nil {
		return nil, err
	}
	if reason == "" {
		reason = "by " + writingOf(ctx).actor
	}
	return s.writeWebhook(ctx, core.DisableWebhook{ID: in.Webhook, IfMatch: revision, Reason: reason}, false)
}
