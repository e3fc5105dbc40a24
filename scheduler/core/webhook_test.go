package core

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// hooks is a world with a leader, and what it is asked about webhooks.
type hooks struct{ *world }

func newHooks(t *testing.T) hooks {
	w := hooks{newWorld(t)}
	w.do("lead")
	return w
}

// ask executes one operation, and returns what came of it and the events.
func (w hooks) ask(op Op) (Reply, []*record.Event) {
	w.t.Helper()
	r := w.step(Request{Actor: "ann", Op: op})
	require.Len(w.t, r.Replies, 1)
	return r.Replies[0], r.Events
}

func (w hooks) done(op Op) Result {
	w.t.Helper()
	reply, _ := w.ask(op)
	if reply.Err != nil {
		w.t.Fatal(reply.Err.Detail)
	}
	return reply.Result
}

func (w hooks) refused(op Op, kind ErrorKind, text string) {
	w.t.Helper()
	reply, events := w.ask(op)
	require.NotNil(w.t, reply.Err, text)
	require.Equal(w.t, kind, reply.Err.Kind)
	require.Contains(w.t, reply.Err.Detail, text)
	require.Empty(w.t, events)
}

func site(job string) CreateWebhook {
	return CreateWebhook{&record.Webhook{Team: "web", Job: job, Url: "http://consumer/", Secrets: []*record.WebhookSecret{{Key: "first"}},
		From: &record.Position{Incarnation: "abcd", Index: 7}}}
}

func (w hooks) webhook(id string) *record.Webhook {
	w.t.Helper()
	rec, _ := w.records[record.WebhookKey(id)].(*record.Webhook)
	require.NotNil(w.t, rec)
	return rec
}

func at(index uint64, ordinal uint32) *record.Position {
	return &record.Position{Incarnation: "abcd", Index: index, Ordinal: ordinal}
}

// save notes deliveries of the webhook's revision as it is.
func (w hooks) save(id string, d DeliveriesOf) {
	w.t.Helper()
	d.ID, d.Revision = id, w.webhook(id).Revision
	w.done(SaveDeliveries{Webhooks: []DeliveriesOf{d}})
}

func (w hooks) dead(id string) []string {
	var keys []string
	for key := range w.records {
		if strings.HasPrefix(key, record.PrefixDeadLetter+id+"/") {
			keys = append(keys, key)
		}
	}
	return keys
}

func deadAt(id string, p *record.Position, last int64) *record.DeadLetter {
	return &record.DeadLetter{Webhook: id, At: p, Job: "web/prod/site", Type: "task.lost", Attempts: 9, LastAt: last, Error: "answered 500"}
}

func TestWebhook_IsWrittenAndTold(t *testing.T) {
	t.Parallel()
	w := newHooks(t)
	reply, events := w.ask(site("web/prod/*"))
	require.Nil(t, reply.Err)
	id := reply.Result.Webhook
	require.Equal(t, Result{Webhook: id, Revision: 1, Created: true, Changed: true}, reply.Result)
	require.Len(t, events, 1)
	require.Equal(t, "webhook.created", events[0].Type)
	require.Equal(t, id, events[0].Object)
	require.Equal(t, "ann", events[0].Actor)
	require.Equal(t, "ann", w.webhook(id).CreatedBy)
	require.Equal(t, w.now, w.webhook(id).Secrets[0].CreatedAt)

	require.Contains(t, w.done(site("web/prod/*")).Warnings[0], "webhook "+id+" tells the same events")
	require.Empty(t, w.done(site("web/devel/*")).Warnings)

	change := UpdateWebhook{ID: id, Job: "web/prod/*", URL: "http://consumer/"}
	require.False(t, w.done(change).Changed, "it is like that already")
	stale := uint64(7)
	change.IfMatch = &stale
	w.refused(change, Stale, "its revision is 1, not 7")
	*change.IfMatch = 1
	change.Types = []string{"task.*"}
	require.Equal(t, Result{Webhook: id, Revision: 2, Changed: true}, w.done(change))
	require.Equal(t, []string{"task.*"}, w.webhook(id).Types)
	w.refused(UpdateWebhook{ID: "none"}, NotFound, "there is no webhook none")

	w.do("fail over")
	require.Equal(t, uint64(2), w.webhook(id).Revision)
	w.done(RemoveWebhook{ID: id})
	require.NotContains(t, w.records, record.WebhookKey(id))
	w.refused(RemoveWebhook{ID: id}, NotFound, "there is no webhook")
}

func TestWebhook_SecretsAreRotated(t *testing.T) {
	t.Parallel()
	w := newHooks(t)
	id := w.done(site("")).Webhook
	keys := func() string {
		var list []string
		for _, s := range w.webhook(id).Secrets {
			list = append(list, s.Key)
		}
		return strings.Join(list, " ")
	}
	w.done(RotateSecret{ID: id, Secret: "second", Keep: 1000})
	require.Equal(t, "second first", keys())
	require.Equal(t, w.now+1000, w.webhook(id).Secrets[1].ExpiresAt)
	require.Zero(t, w.webhook(id).Secrets[0].ExpiresAt)
	w.wait(500)
	w.done(RotateSecret{ID: id, Secret: "third", Keep: 1000})
	require.Equal(t, "third second first", keys())
	w.done(RotateSecret{ID: id, Secret: "fourth", Keep: 1000})
	require.Equal(t, "fourth third second", keys(), "not ever more")
	w.done(RotateSecret{ID: id, Secret: "fifth", Keep: 0})
	require.Equal(t, "fifth", keys(), "what leaked is gone at once, however long it was to stay")
}

func TestWebhook_IsDisabledAndEnabled(t *testing.T) {
	t.Parallel()
	w := newHooks(t)
	id := w.done(site("")).Webhook
	cursor := &record.WebhookCursor{Id: id, Through: at(9, 1)}
	w.save(id, DeliveriesOf{Cursor: cursor})
	key := record.WebhookCursorKey(id)
	require.True(t, proto.Equal(cursor, w.records[key]))

	_, events := w.ask(SaveDeliveries{Webhooks: []DeliveriesOf{{ID: id, Revision: 1, Disable: "the consumer answered 410"}}})
	require.Len(t, events, 1)
	require.Equal(t, "webhook.disabled", events[0].Type)
	require.Equal(t, "the consumer answered 410", events[0].Reason)
	require.True(t, w.webhook(id).Disabled)
	require.Contains(t, w.records, key)
	w.refused(Redeliver{ID: id}, Conflict, "is disabled: enable it first")
	require.False(t, w.done(DisableWebhook{ID: id, Reason: "again"}).Changed)

	w.done(EnableWebhook{ID: id})
	require.False(t, w.webhook(id).Disabled)
	require.Empty(t, w.webhook(id).DisabledReason)
	require.Contains(t, w.records, key, "it goes on where it stopped")
	require.False(t, w.done(EnableWebhook{ID: id, From: at(20, 0)}).Changed, "it is enabled")
	w.done(DisableWebhook{ID: id, Reason: "by ann"})
	w.done(EnableWebhook{ID: id, From: at(20, 0)})
	require.NotContains(t, w.records, key, "it begins anew")
	require.True(t, proto.Equal(at(20, 0), w.webhook(id).From))
}

// A webhook that kept up stays where it was when it was disabled, however far
// the others come.
func TestWebhook_ThatIsDisabledStaysWhereItStopped(t *testing.T) {
	t.Parallel()
	w := newHooks(t)
	id := w.done(site("")).Webhook
	save := func(tail uint64) {
		w.done(SaveDeliveries{Tail: &record.WebhookTail{Through: at(tail, 0)}, Webhooks: []DeliveriesOf{
			{ID: id, Revision: 1, Cursor: &record.WebhookCursor{Id: id, AtTail: true, Delivered: 4}}}})
	}
	save(30)
	w.do("fail over")
	w.done(DisableWebhook{ID: id, Reason: "by ann"})
	save(40)
	require.True(t, proto.Equal(&record.WebhookCursor{Id: id, Through: at(30, 0), Delivered: 4}, w.records[record.WebhookCursorKey(id)]))
}

// What was found out about a webhook as it was before counts for nothing.
func TestWebhook_DeliveriesOfAnotherRevisionAreNotSaved(t *testing.T) {
	t.Parallel()
	w := newHooks(t)
	id := w.done(site("")).Webhook
	w.done(DisableWebhook{ID: id, Reason: "by ann"})
	result := w.done(SaveDeliveries{Tail: &record.WebhookTail{Through: at(11, 0)}, Webhooks: []DeliveriesOf{
		{ID: id, Revision: 1, Cursor: &record.WebhookCursor{Id: id}, Dead: []*record.DeadLetter{deadAt(id, at(3, 0), 1)}},
		{ID: "gone", Revision: 1, Cursor: &record.WebhookCursor{Id: "gone"}}}})
	require.Equal(t, []string{id, "gone"}, result.Skipped)
	require.NotContains(t, w.records, record.WebhookCursorKey(id))
	require.NotContains(t, w.records, record.WebhookCursorKey("gone"))
	require.Empty(t, w.dead(id))
	require.NotContains(t, w.records, record.KeyWebhookTail, "which the one that changed may have left")
	result = w.done(SaveDeliveries{Tail: &record.WebhookTail{Through: at(11, 0)}, Webhooks: []DeliveriesOf{
		{ID: "gone", Revision: 1, Cursor: &record.WebhookCursor{Id: "gone"}}}})
	require.Equal(t, []string{"gone"}, result.Skipped)
	require.True(t, proto.Equal(&record.WebhookTail{Through: at(11, 0)}, w.records[record.KeyWebhookTail]))
}

func TestDeadLetters_AreRedeliveredAndDropped(t *testing.T) {
	t.Parallel()
	w := newHooks(t)
	id := w.done(site("")).Webhook
	w.save(id, DeliveriesOf{Dead: []*record.DeadLetter{deadAt(id, at(3, 0), 1), deadAt(id, at(3, 1), 2), deadAt(id, at(5, 0), 3)}})
	w.save(id, DeliveriesOf{Dead: []*record.DeadLetter{deadAt(id, at(3, 1), 4)}})
	require.Len(t, w.dead(id), 3, "one that was told before is no other")

	w.refused(Redeliver{ID: id, Events: []*record.Position{at(3, 0), at(4, 0)}}, NotFound, "has no dead letter abcd-4-0")
	require.Equal(t, Result{Webhook: id, Revision: 1, Changed: true, Count: 2},
		w.done(Redeliver{ID: id, Events: []*record.Position{at(3, 0), at(5, 0), at(3, 0)}}))
	get := func(p *record.Position) *record.DeadLetter {
		d, _ := w.records[record.DeadLetterKey(id, p)].(*record.DeadLetter)
		return d
	}
	asked := w.now
	require.Equal(t, asked, get(at(3, 0)).RedeliverAt)
	require.Zero(t, get(at(3, 1)).RedeliverAt)
	require.Equal(t, 1, w.done(Redeliver{ID: id}).Count, "the others are under way")
	require.False(t, w.done(Redeliver{ID: id}).Changed)

	again := deadAt(id, at(5, 0), 77)
	again.RedeliverAt, again.Error = asked, "answered 503"
	w.save(id, DeliveriesOf{Redelivered: []*record.Position{at(3, 0), at(8, 8)}, Failed: []*record.DeadLetter{again}})
	require.Nil(t, get(at(3, 0)))
	require.Zero(t, get(at(5, 0)).RedeliverAt)
	require.Equal(t, "answered 503", get(at(5, 0)).Error)

	w.wait(1000)
	w.done(Redeliver{ID: id, Events: []*record.Position{at(5, 0)}})
	w.save(id, DeliveriesOf{Failed: []*record.DeadLetter{again}})
	require.Equal(t, w.now, get(at(5, 0)).RedeliverAt, "asked for anew, it is still to be delivered")

	w.do("fail over")
	require.Equal(t, 1, w.done(DropDeadLetters{ID: id, Events: []*record.Position{at(5, 0)}}).Count)
	require.Equal(t, 1, w.done(DropDeadLetters{ID: id}).Count)
	require.Empty(t, w.dead(id))
	require.Zero(t, w.core.deadLetters)
}

// Dead letters take bounded space, and those that went are counted.
func TestDeadLetters_AreBounded(t *testing.T) {
	t.Parallel()
	w := newHooks(t)
	var ids []string
	for i := range 11 {
		ids = append(ids, w.done(site(fmt.Sprintf("web/prod/%d", i))).Webhook)
		d := DeliveriesOf{}
		for n := range deadLettersOfOne + 5 {
			d.Dead = append(d.Dead, deadAt(ids[i], at(uint64(n), 0), int64(i*10_000+n)))
		}
		w.save(ids[i], d)
	}
	require.Empty(t, w.dead(ids[0]), "the oldest of all are gone")
	require.Len(t, w.dead(ids[10]), deadLettersOfOne)
	require.NotContains(t, w.records, record.DeadLetterKey(ids[10], at(4, 0)))
	require.Contains(t, w.records, record.DeadLetterKey(ids[10], at(5, 0)))
	require.Equal(t, uint64(5), w.webhook(ids[10]).DeadLettersDropped)
	require.Equal(t, uint64(deadLettersOfOne+5), w.webhook(ids[0]).DeadLettersDropped)
	require.Equal(t, uint64(1), w.webhook(ids[10]).Revision, "who writes has changed nothing")
	require.Equal(t, deadLettersOfAll, w.core.deadLetters)
	w.load()
	require.Equal(t, deadLettersOfAll, w.core.deadLetters)
}

func TestWebhook_RemovedTakesAllAlong(t *testing.T) {
	t.Parallel()
	w := newHooks(t)
	id := w.done(site("")).Webhook
	w.save(id, DeliveriesOf{Cursor: &record.WebhookCursor{Id: id}, Dead: []*record.DeadLetter{deadAt(id, at(3, 0), 1)}})
	w.done(RemoveWebhook{ID: id})
	for key := range w.records {
		require.NotContains(t, key, id)
	}
	// What another version left of one is cleared away.
	w.records[record.WebhookCursorKey("x")] = &record.WebhookCursor{Id: "x"}
	w.records[record.DeadLetterKey("x", at(1, 0))] = deadAt("x", at(1, 0), 1)
	w.do("fail over")
	require.NotContains(t, w.records, record.WebhookCursorKey("x"))
	require.Empty(t, w.dead("x"))
}

func TestWebhook_NumbersAreBounded(t *testing.T) {
	t.Parallel()
	w := newHooks(t)
	w.core.cfg.WebhooksPerTeam, w.core.cfg.WebhooksMost = 2, 3
	w.done(site("web/prod/a"))
	w.done(site("web/prod/b"))
	w.refused(site("web/prod/c"), Conflict, "team web has 2 webhooks, and no more are allowed (webhooks.per_team")
	other := site("")
	other.Webhook.Team = "ops"
	w.done(other)
	other.Webhook.Team = AllTeams
	w.refused(other, Conflict, "there are 3 webhooks, and no more are allowed (webhooks.most")
}
