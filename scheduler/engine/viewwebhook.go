package engine

import "github.com/perigee-sched/perigee/scheduler/record"

// Webhook returns a webhook, nil when there is none.
func (v *View) Webhook(id string) *record.Webhook {
	m, _ := v.records.Get(record.WebhookKey(id))
	w, _ := m.(*record.Webhook)
	return w
}

// Webhooks are all webhooks whose id is not less than from, by id, which is by
// age.
func (v *View) Webhooks(from string, yield func(*record.Webhook) bool) {
	ascend(v.records, record.PrefixWebhook, record.WebhookKey(from), yield)
}

// WebhookCursor returns how far a webhook is, nil when that was not noted yet.
func (v *View) WebhookCursor(id string) *record.WebhookCursor {
	m, _ := v.records.Get(record.WebhookCursorKey(id))
	c, _ := m.(*record.WebhookCursor)
	return c
}

// WebhookTail returns how far the webhooks are that do not lag, nil when that was
// not noted yet.
func (v *View) WebhookTail() *record.WebhookTail {
	m, _ := v.records.Get(record.KeyWebhookTail)
	t, _ := m.(*record.WebhookTail)
	return t
}

// DeadLetters are the events that a webhook could not be told of, in the order of
// the events, from a key on; "" is the first.
func (v *View) DeadLetters(webhook, from string, yield func(*record.DeadLetter) bool) {
	prefix := record.PrefixDeadLetter + webhook + "/"
	ascend(v.records, prefix, max(prefix, from), yield)
}

// DeadLetter returns one event that a webhook could not be told of, nil when it is
// not among them.
func (v *View) DeadLetter(webhook string, id EventID) *record.DeadLetter {
	m, _ := v.records.Get(record.DeadLetterKey(webhook, id.Position()))
	d, _ := m.(*record.DeadLetter)
	return d
}
