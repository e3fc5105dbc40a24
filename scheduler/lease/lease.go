// Package lease says which scheduler leads. Package static has one scheduler
// lead always; package zk lets those that share a ZooKeeper elect one.
//
// A lease is advice: it makes schedulers take turns. What makes two leaders
// harmless is the journal, which refuses the writes of an older epoch.
package lease

import (
	"context"
	"slices"
	"time"
)

// Lease is one scheduler's candidacy.
type Lease interface {
	// Acquire waits until this scheduler leads.
	Acquire(ctx context.Context) (Term, error)

	// Leader returns the address, as the leader gave it, of the scheduler that
	// leads now; "" when none does or that cannot be told. It does not block.
	Leader() string

	// Close withdraws from the election.
	Close() error
}

// Roll is a Lease that knows which schedulers live.
type Roll interface {
	// Members returns them in the order in which they are to lead, the leader
	// first and those that do not stand for election last; nil while that cannot be told.
	// The channel is closed when it may have changed.
	Members() ([]Member, <-chan struct{})
}

// Member is a scheduler that lives, and what it told of itself a while ago.
type Member struct {
	Address string // of its API
	Version string // of the program, "" when it does not tell
	// Features are names of what it knows that not every version does; nil for
	// one that does not tell.
	Features []string
	// Index and Epoch of the last journal entry that it showed.
	Index, Epoch uint64
	// Skew is how far the storage's clock is ahead of its own; nil when it does not tell.
	Skew *time.Duration
	// History is the journal's index up to which its own history has everything;
	// nil when it keeps none, or does not tell.
	History *uint64
	// Stands says whether it leads or waits for its turn.
	Stands bool
}

// Features returns what all members know, sorted: what a leader may use. It is
// nothing when there is one that does not tell, or no member.
func Features(members []Member) []string {
	if len(members) == 0 {
		return nil
	}
	all := slices.Clone(members[0].Features)
	for _, m := range members[1:] {
		all = slices.DeleteFunc(all, func(f string) bool { return !slices.Contains(m.Features, f) })
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Term is one leadership.
type Term interface {
	// Deadline is until when, by this machine's clock, nobody else can have
	// been elected. It moves on while the lease is renewed. Calls that no
	// write precedes are sent only before it.
	Deadline() time.Time

	// Lost is closed when the lease is known to have ended.
	Lost() <-chan struct{}

	// Release ends the term at once, so that another can lead without waiting
	// for the lease to run out.
	Release(ctx context.Context) error
}
