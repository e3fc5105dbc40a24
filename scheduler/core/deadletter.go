package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// SaveDeliveries notes how far webhooks are, all in one step. It is the
// scheduler's own: no user asks for it.
type SaveDeliveries struct {
	// Tail is how far those at the tail are, nil: as it was. It stays as it was, too,
	// if one of Webhooks has another revision by now.
	Tail     *record.WebhookTail
	Webhooks []DeliveriesOf
}

// DeliveriesOf is how far one webhook is. It counts only if the webhook still has
// the revision; the result says of which that is not so.
type DeliveriesOf struct {
	ID       string
	Revision uint64
	Cursor   *record.WebhookCursor // nil: as it was
	// Dead could not be delivered.
	Dead []*record.DeadLetter
	// Redelivered are dead letters that were delivered after all, and Failed those
	// that once more were not, as they are now. Their RedeliverAt is as it was:
	// asked for anew meanwhile, they stay.
	Redelivered []*record.Position
	Failed      []*record.DeadLetter
	// Disable says why nothing is to be delivered any more, "" when it is.
	Disable string
}

// Redeliver has dead letters delivered once more: those of some events, or all.
type Redeliver struct {
	ID     string
	Events []*record.Position // nil: all
}

// DropDeadLetters forgets dead letters: those of some events, or all.
type DropDeadLetters struct {
	ID     string
	Events []*record.Position // nil: all
}

func (SaveDeliveries) isOp()  {}
func (Redeliver) isOp()       {}
func (DropDeadLetters) isOp() {}

// Dead letters that are kept of one webhook, and of all. Then the oldest go.
const (
	deadLettersOfOne = 1_000
	deadLettersOfAll = 10_000
)

func deadLetterKey(d *record.DeadLetter) string { return record.DeadLetterKey(d.Webhook, d.At) }

func (c *Core) saveDeliveries(op SaveDeliveries) (Result, *Error) {
	var result Result
	if op.Tail != nil && !c.changedMeanwhile(op.Webhooks) {
		c.webhookTail = op.Tail
		c.write(record.KeyWebhookTail, func() Record { return op.Tail })
	}
	for i := range op.Webhooks {
		d := &op.Webhooks[i]
		w := c.webhooks[d.ID]
		if w == nil || w.rec.Revision != d.Revision {
			result.Skipped = append(result.Skipped, d.ID)
			continue
		}
		if d.Cursor != nil {
			c.putCursor(w, d.Cursor)
		}
		for _, p := range d.Redelivered {
			c.dropDeadLetter(w, w.findDead(p))
		}
		for _, again := range d.Failed {
			c.failedAgain(w, again)
		}
		for _, dead := range d.Dead {
			c.keepDeadLetter(w, dead)
		}
		if d.Disable != "" {
			c.disableWebhook(w, d.Disable, "perigee")
		}
	}
	return result, nil
}

// changedMeanwhile says whether one of these webhooks is not what it was. It may
// have left the tail, and that is not saved now: so the tail stays, too.
func (c *Core) changedMeanwhile(of []DeliveriesOf) bool {
	return slices.ContainsFunc(of, func(d DeliveriesOf) bool {
		w := c.webhooks[d.ID]
		return w != nil && w.rec.Revision != d.Revision
	})
}

func (w *webhook) findDead(p *record.Position) int {
	return slices.IndexFunc(w.dead, func(d *record.DeadLetter) bool {
		return d.At.Index == p.Index && d.At.Ordinal == p.Ordinal && d.At.Incarnation == p.Incarnation
	})
}

// keepDeadLetter keeps one more, and not too many.
func (c *Core) keepDeadLetter(w *webhook, d *record.DeadLetter) {
	if w.findDead(d.At) >= 0 {
		return // told before
	}
	w.dead = append(w.dead, d)
	c.deadLetters++
	c.write(deadLetterKey(d), func() Record { return d })
	for len(w.dead) > deadLettersOfOne {
		c.dropOldest(w)
	}
	for c.deadLetters > deadLettersOfAll {
		c.dropOldest(c.withOldestDead())
	}
}

func (c *Core) dropOldest(w *webhook) {
	c.dropDeadLetter(w, 0)
	c.editWebhook(w).DeadLettersDropped++
}

// withOldestDead is the webhook that has the oldest dead letter of all.
func (c *Core) withOldestDead() *webhook {
	var found *webhook
	for _, id := range slices.Sorted(maps.Keys(c.webhooks)) {
		w := c.webhooks[id]
		if len(w.dead) > 0 && (found == nil || cmp.Compare(w.dead[0].LastAt, found.dead[0].LastAt) < 0) {
			found = w
		}
	}
	return found
}

// dropDeadLetter forgets one; i is -1 for one that is gone.
func (c *Core) dropDeadLetter(w *webhook, i int) {
	if i < 0 {
		return
	}
	c.delete(deadLetterKey(w.dead[i]))
	w.dead = slices.Delete(w.dead, i, i+1)
	c.deadLetters--
}

func (c *Core) failedAgain(w *webhook, again *record.DeadLetter) {
	i := w.findDead(again.At)
	if i < 0 || w.dead[i].RedeliverAt != again.RedeliverAt {
		return
	}
	d := proto.CloneOf(again)
	d.RedeliverAt = 0
	w.dead = append(slices.Delete(w.dead, i, i+1), d) // it is the newest now
	c.write(deadLetterKey(d), func() Record { return d })
}

// named are the places of the dead letters of some events, or of all when none is
// named.
func (w *webhook) named(events []*record.Position) ([]int, *Error) {
	all := make([]int, 0, len(w.dead))
	if events == nil {
		for i := range w.dead {
			all = append(all, i)
		}
		return all, nil
	}
	for _, p := range events {
		i := w.findDead(p)
		if i < 0 {
			return nil, noDeadLetter(w, p)
		}
		all = append(all, i)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (c *Core) redeliver(w *webhook, op Redeliver, actor string) (Result, *Error) {
	if w.rec.Disabled {
		return Result{}, conflict("webhook %s is disabled: enable it first", w.rec.Id)
	}
	named, err := w.named(op.Events)
	if err != nil {
		return Result{}, err
	}
	result := unchangedWebhook(w)
	for _, i := range named {
		if w.dead[i].RedeliverAt != 0 {
			continue // asked for before
		}
		d := proto.CloneOf(w.dead[i])
		d.RedeliverAt = c.now
		w.dead[i] = d
		c.write(deadLetterKey(d), func() Record { return d })
		result.Count++
	}
	result.Changed = result.Count > 0
	if result.Changed {
		c.emit(&record.Event{Type: "webhook.redelivery_requested", Object: w.rec.Id, Actor: actor, Message: counted(result.Count)})
	}
	return result, nil
}

func (c *Core) dropDeadLetters(w *webhook, op DropDeadLetters, actor string) (Result, *Error) {
	named, err := w.named(op.Events)
	if err != nil {
		return Result{}, err
	}
	for _, i := range slices.Backward(named) {
		c.dropDeadLetter(w, i)
	}
	result := unchangedWebhook(w)
	result.Count, result.Changed = len(named), len(named) > 0
	if result.Changed {
		c.emit(&record.Event{Type: "webhook.dead_letters_dropped", Object: w.rec.Id, Actor: actor, Message: counted(result.Count)})
	}
	return result, nil
}

func counted(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}
