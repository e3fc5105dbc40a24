package sim

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// patience is how long a user waits for an answer before sending a request
// again.
const patience = 30 * time.Second

// send hands a request to a scheduler that believes to lead: not always the
// one that does.
func (u *users) send(r *request) {
	s := u.w.leading()
	if s == nil {
		u.waiting = append(u.waiting, r)
		return
	}
	u.w.trace("%s: %T to scheduler %d", r.name, r.Op, s.number)
	r.to = s
	u.requests[r.ID], u.byID[r.ID], u.byName[r.name] = r, r, r
	s.inbox = append(s.inbox, r.Request)
	u.w.later(patience, func() {
		if u.requests[r.ID] == r && r.to == s && s.paused {
			delete(u.requests, r.ID)
			u.waiting = append(u.waiting, r)
		}
	})
}

// answered takes an answer, the first or another one.
func (u *users) answered(reply core.Reply) {
	r := u.byID[reply.To]
	delete(u.requests, reply.To)
	if reply.Err != nil {
		u.w.trace("%s: error: %s", r.name, reply.Err.Detail)
		u.w.sees("request refused")
		if reply.Err.Kind == core.Stale {
			u.w.sees("stale revision refused")
		}
		return
	}
	u.w.trace("%s: done", r.name)
	if reply.Result.Repeated {
		u.w.sees("request answered again as before")
	}
	reply.Result.Repeated = false
	switch {
	case r.result == nil:
		r.result = &reply.Result
	case !reflect.DeepEqual(*r.result, reply.Result):
		u.w.checks.fail("an answer is given once: %s was answered %+v, and then %+v", r.name, *r.result, reply.Result)
	}
	u.w.checks.replied(r, reply.Result)
	u.w.checks.answerKept(r)
}

// lost has every request that a scheduler did not answer sent again.
func (u *users) lost(s *schedulerProcess) {
	for _, id := range slices.Sorted(maps.Keys(u.requests)) {
		if r := u.requests[id]; r.to == s {
			u.waiting = append(u.waiting, r)
			delete(u.requests, id)
		}
	}
}

// retry sends again what was not answered.
func (u *users) retry() {
	if len(u.waiting) == 0 || u.w.leader() == nil {
		return
	}
	waiting := u.waiting
	u.waiting = nil
	for _, r := range waiting {
		u.send(r)
	}
}

// answerKept: nothing that was answered is ever lost. The answer itself is kept for
// a day.
func (c *checks) answerKept(r *request) {
	if c.w.journal.decoded[record.IdempotencyKey(r.IdempotencyKey)] == nil {
		c.fail("durable before visible: %s was answered, and the journal does not know it", r.name)
	}
}

// answersKept looks at all answers once more.
func (c *checks) answersKept() {
	for _, name := range slices.Sorted(maps.Keys(c.w.users.byName)) {
		if r := c.w.users.byName[name]; r.result != nil {
			c.answerKept(r)
		}
	}
}
