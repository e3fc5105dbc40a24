package sim

import (
	"strings"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// leaderChecks see that one scheduler writes and commands.
type leaderChecks struct {
	lastEpoch  uint64            // that wrote an entry
	subscribed map[uint64]uint64 // SUBSCRIBEs by epoch
}

func newLeaderChecks() leaderChecks { return leaderChecks{subscribed: map[uint64]uint64{}} }

// commanded checks a call that Mesos took: only what is durable is seen, and only
// a leader commands.
func (c *checks) commanded(s *schedulerProcess, call queuedCall) {
	c.beforeCall(s, call.Call)
	if call.bare && s.epoch != c.w.journal.epoch && !s.suspended {
		c.fail("only a leader commands: %T of epoch %d reached Mesos, and epoch %d leads", call.Call, s.epoch, c.w.journal.epoch)
	}
	c.taken(s, call.Call)
}

// oneWriter: once a leader has written, none before it does.
func (c *checks) oneWriter(e *entry) {
	if e.epoch < c.leaders.lastEpoch {
		c.fail("one writer: an entry of epoch %d follows one of epoch %d", e.epoch, c.leaders.lastEpoch)
	}
	c.leaders.lastEpoch = e.epoch
}

// subscribes: each SUBSCRIBE has an append of its own before it, since that
// proves that nobody else leads.
func (c *checks) subscribes(s *schedulerProcess) {
	c.leaders.subscribed[s.epoch]++
	if n, durable := c.leaders.subscribed[s.epoch], c.w.journal.subscriptions[s.epoch]; n > durable {
		c.fail("every SUBSCRIBE follows a fenced append: this is number %d of epoch %d, and %d were appended", n, s.epoch, durable)
	}
	if s.epoch != c.w.journal.epoch && !s.suspended {
		c.fail("nobody steals the subscription: epoch %d subscribes, and epoch %d leads", s.epoch, c.w.journal.epoch)
	}
}

// fencedOut notes an entry that storage refused.
func (c *checks) fencedOut(e *entry) {
	if e.epoch < c.w.journal.epoch {
		c.w.sees("entry of a deposed leader refused")
	}
}

// acceptWaits says whether a scheduler is about to use an offer.
func (s *schedulerProcess) acceptWaits(offer string) bool {
	uses := func(call core.Call) bool {
		a, ok := call.(core.Accept)
		if !ok {
			return false
		}
		for _, id := range a.Offers {
			if id == offer {
				return true
			}
		}
		return false
	}
	for _, call := range s.calls {
		if uses(call.Call) {
			return true
		}
	}
	readys := s.decided
	if s.append != nil {
		readys = append(s.append.readys[:len(s.append.readys):len(s.append.readys)], readys...)
	}
	for _, r := range readys {
		for _, call := range r.Calls {
			if uses(call) {
				return true
			}
		}
	}
	return false
}

// rule names the invariant of a failure, without what differs each time.
func rule(what string) string {
	line, _, _ := strings.Cut(what, "\n")
	if before, _, ok := strings.Cut(line, ": "); ok && before != "panic" {
		return before
	}
	words := strings.Fields(line)
	for i, word := range words {
		if strings.ContainsAny(word, "0123456789/") {
			words[i] = "#"
		}
	}
	return strings.Join(words, " ")
}
