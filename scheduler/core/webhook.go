package core

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// CreateWebhook has events told to a URL. The record is valid; its id, revision
// and times are not looked at.
type CreateWebhook struct{ Webhook *record.Webhook }

// UpdateWebhook changes which events go where.
type UpdateWebhook struct {
	ID      string
	IfMatch *uint64
	Job     string
	Types   []string
	URL     string
	// Description is for people.
	Description string
}

// RotateSecret has a webhook signed with another secret. Those before stay valid
// for Keep (ms) at the most.
type RotateSecret struct {
	ID      string
	IfMatch *uint64
	Secret  string
	Keep    int64
}

// EnableWebhook has a disabled webhook deliver again: where it stopped, or from a
// position on.
type EnableWebhook struct {
	ID      string
	IfMatch *uint64
	From    *record.Position
}

// DisableWebhook has a webhook deliver nothing.
type DisableWebhook struct {
	ID      string
	IfMatch *uint64
	Reason  string
}

// RemoveWebhook forgets a webhook.
type RemoveWebhook struct {
	ID      string
	IfMatch *uint64
}

func (CreateWebhook) isOp()  {}
func (UpdateWebhook) isOp()  {}
func (RotateSecret) isOp()   {}
func (EnableWebhook) isOp()  {}
func (DisableWebhook) isOp() {}
func (RemoveWebhook) isOp()  {}

// webhook is one that exists.
type webhook struct {
	rec    *record.Webhook
	edited uint64
	gone   bool
	cursor *record.WebhookCursor // nil until one was noted
	dead   []*record.DeadLetter  // the oldest first
}

// secretsMost of a webhook are valid at a time.
const secretsMost = 3

// AllTeams is the team of a webhook that is told of the events of all teams, and
// of those that are no team's.
const AllTeams = "*"

func (c *Core) onWebhook(id string, ifMatch *uint64, do func(*webhook) (Result, *Error)) (Result, *Error) {
	w := c.webhooks[id]
	if w == nil {
		return Result{}, &Error{Kind: NotFound, Detail: fmt.Sprintf("there is no webhook %s", id)}
	}
	if ifMatch != nil && *ifMatch != w.rec.Revision {
		return Result{}, &Error{Kind: Stale, Detail: fmt.Sprintf("webhook %s was changed meanwhile: its revision is %d, not %d", id, w.rec.Revision, *ifMatch)}
	}
	return do(w)
}

func (c *Core) editWebhook(w *webhook) *record.Webhook {
	if w.edited != c.step {
		w.rec = proto.CloneOf(w.rec)
		w.edited = c.step
		c.write(record.WebhookKey(w.rec.Id), func() Record {
			if w.gone {
				return nil
			}
			return w.rec
		})
	}
	return w.rec
}

// changedWebhook counts a change of a webhook, and tells of it. What ended long
// ago is dropped by the way.
func (c *Core) changedWebhook(w *webhook, e *record.Event) Result {
	rec := c.editWebhook(w)
	rec.Revision++
	rec.UpdatedAt, rec.UpdatedBy = c.now, e.Actor
	rec.Secrets = slices.DeleteFunc(rec.Secrets, func(s *record.WebhookSecret) bool { return s.ExpiresAt != 0 && s.ExpiresAt <= c.now })
	e.Object = rec.Id
	c.emit(e)
	return Result{Webhook: rec.Id, Revision: rec.Revision, Changed: true}
}

func unchangedWebhook(w *webhook) Result {
	return Result{Webhook: w.rec.Id, Revision: w.rec.Revision}
}

func (c *Core) createWebhook(op CreateWebhook, actor string) (Result, *Error) {
	team := op.Webhook.Team
	inTeam := 0
	for _, w := range c.webhooks {
		if w.rec.Team == team {
			inTeam++
		}
	}
	switch {
	case inTeam >= c.cfg.WebhooksPerTeam:
		return Result{}, conflict("team %s has %d webhooks, and no more are allowed (webhooks.per_team in the scheduler's configuration): remove one that is not needed", team, inTeam)
	case len(c.webhooks) >= c.cfg.WebhooksMost:
		return Result{}, conflict("there are %d webhooks, and no more are allowed (webhooks.most in the scheduler's configuration)", len(c.webhooks))
	}
	rec := proto.CloneOf(op.Webhook)
	rec.Id = c.cluster.Incarnation + "-" + c.nextID()
	rec.CreatedAt, rec.CreatedBy = c.now, actor
	for _, s := range rec.Secrets {
		s.CreatedAt = c.now
	}
	warnings := c.alike(rec)
	w := &webhook{rec: rec}
	c.webhooks[rec.Id] = w
	result := c.changedWebhook(w, &record.Event{Type: "webhook.created", Actor: actor})
	result.Created, result.Warnings = true, warnings
	return result, nil
}

// alike warns of a webhook that tells the same events to the same URL.
func (c *Core) alike(rec *record.Webhook) []string {
	var same []string
	for id, w := range c.webhooks {
		if o := w.rec; o.Team == rec.Team && o.Job == rec.Job && o.Url == rec.Url && slices.Equal(o.Types, rec.Types) {
			same = append(same, id)
		}
	}
	if len(same) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("webhook %s tells the same events to the same URL: they are told twice", slices.Min(same))}
}

func (c *Core) updateWebhook(w *webhook, op UpdateWebhook, actor string) (Result, *Error) {
	if o := w.rec; o.Job == op.Job && slices.Equal(o.Types, op.Types) && o.Url == op.URL && o.Description == op.Description {
		return unchangedWebhook(w), nil
	}
	rec := c.editWebhook(w)
	rec.Job, rec.Types, rec.Url, rec.Description = op.Job, op.Types, op.URL, op.Description
	return c.changedWebhook(w, &record.Event{Type: "webhook.updated", Actor: actor}), nil
}

func (c *Core) rotateSecret(w *webhook, op RotateSecret, actor string) (Result, *Error) {
	rec := c.editWebhook(w)
	for _, s := range rec.Secrets {
		if until := c.now + op.Keep; s.ExpiresAt == 0 || s.ExpiresAt > until {
			s.ExpiresAt = until
		}
	}
	rec.Secrets = append([]*record.WebhookSecret{{Key: op.Secret, CreatedAt: c.now}}, rec.Secrets...)
	rec.Secrets = rec.Secrets[:min(len(rec.Secrets), secretsMost)]
	return c.changedWebhook(w, &record.Event{Type: "webhook.secret_rotated", Actor: actor}), nil
}

func (c *Core) enableWebhook(w *webhook, op EnableWebhook, actor string) (Result, *Error) {
	if !w.rec.Disabled {
		return unchangedWebhook(w), nil
	}
	rec := c.editWebhook(w)
	rec.Disabled, rec.DisabledReason, rec.DisabledAt = false, "", 0
	if op.From != nil {
		rec.From = op.From
		c.putCursor(w, nil)
	}
	return c.changedWebhook(w, &record.Event{Type: "webhook.enabled", Actor: actor}), nil
}

func (c *Core) disableWebhook(w *webhook, reason, actor string) Result {
	if w.rec.Disabled {
		return unchangedWebhook(w)
	}
	rec := c.editWebhook(w)
	rec.Disabled, rec.DisabledReason, rec.DisabledAt = true, reason, c.now
	if w.cursor.GetAtTail() && c.webhookTail != nil { // it does not go along any more
		stopped := proto.CloneOf(w.cursor)
		stopped.AtTail, stopped.Through = false, c.webhookTail.Through
		c.putCursor(w, stopped)
	}
	return c.changedWebhook(w, &record.Event{Type: "webhook.disabled", Actor: actor, Reason: reason})
}

func (c *Core) removeWebhook(w *webhook, actor string) (Result, *Error) {
	result := c.changedWebhook(w, &record.Event{Type: "webhook.removed", Actor: actor})
	w.gone = true
	delete(c.webhooks, w.rec.Id)
	c.putCursor(w, nil)
	for _, d := range w.dead {
		c.delete(deadLetterKey(d))
	}
	c.deadLetters -= len(w.dead)
	return result, nil
}

// putCursor notes how far a webhook is, or that it begins anew.
func (c *Core) putCursor(w *webhook, cursor *record.WebhookCursor) {
	if cursor == nil && w.cursor == nil {
		return
	}
	w.cursor = cursor
	c.write(record.WebhookCursorKey(w.rec.Id), func() Record {
		if cursor == nil {
			return nil
		}
		return cursor
	})
}

// linkWebhooks takes up how far webhooks are. What is left of one that is gone is
// worth nothing.
func (l *loader) linkWebhooks() error {
	c := l.core
	for _, cursor := range l.cursors {
		if w := c.webhooks[cursor.Id]; w != nil {
			w.cursor = cursor
		} else {
			c.delete(record.WebhookCursorKey(cursor.Id))
		}
	}
	slices.SortFunc(l.deadLetters, func(a, b *record.DeadLetter) int {
		return cmp.Or(cmp.Compare(a.LastAt, b.LastAt), cmp.Compare(deadLetterKey(a), deadLetterKey(b)))
	})
	for _, d := range l.deadLetters {
		if w := c.webhooks[d.Webhook]; w != nil {
			w.dead = append(w.dead, d)
			c.deadLetters++
		} else {
			c.delete(deadLetterKey(d))
		}
	}
	return nil
}

func positionName(p *record.Position) string {
	return fmt.Sprintf("%s-%d-%d", p.GetIncarnation(), p.GetIndex(), p.GetOrdinal())
}

// noDeadLetter says which of the events that were named is none.
func noDeadLetter(w *webhook, p *record.Position) *Error {
	return &Error{Kind: NotFound, Detail: fmt.Sprintf("webhook %s has no dead letter %s", w.rec.Id, positionName(p)),
		Fields: []api.ProblemField{{Location: "events", Value: positionName(p), Message: "is not among the dead letters"}}}
}
