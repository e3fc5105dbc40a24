package core

import (
	"encoding/json"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// replyKeep is how long an answer is kept, in ms, and repliesMost how many are:
// of builds that send a hundred writes a second, those of the last half hour.
const (
	replyKeep   = 24 * 60 * 60 * 1000
	repliesMost = 200_000
)

// idempotency keeps the answers of requests that came with a key.
type idempotency struct {
	replies map[string]*record.IdempotentReply
	order   []string // keys, oldest first
}

func (c *Core) keepReply(r *Request, result Result) {
	body, err := json.Marshal(result)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	if len(c.idempotency.order) > repliesMost+1000 {
		c.forgetReplies() // a thousand at a time
	}
	key, reply := r.key(), &record.IdempotentReply{Digest: r.Digest, At: c.now, Body: body}
	c.remember(key, reply)
	c.write(record.IdempotencyKey(key), func() Record { return reply })
}

func (c *Core) remember(key string, reply *record.IdempotentReply) {
	i := &c.idempotency
	i.replies[key] = reply
	if i.order = append(i.order, key); len(i.order) == 1 {
		c.timers.add(timer{at: reply.At + replyKeep, kind: timerIdempotency})
	}
}

// forgetReplies drops the answers that were kept for long enough.
func (c *Core) forgetReplies() {
	i := &c.idempotency
	n := 0
	for ; n < len(i.order); n++ {
		key := i.order[n]
		if due := i.replies[key].At + replyKeep; due > c.now && len(i.order)-n <= repliesMost {
			if c.timers.pending[timerIdempotency] == 0 {
				c.timers.add(timer{at: due, kind: timerIdempotency})
			}
			break
		}
		delete(i.replies, key)
		c.delete(record.IdempotencyKey(key))
	}
	clear(i.order[:n])
	i.order = i.order[n:]
}
