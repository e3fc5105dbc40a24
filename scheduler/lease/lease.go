// Package lease says which scheduler leads. Package static has one scheduler
// lead always; package zk lets those that share a ZooKeeper elect one.
//
// A lease is advice: it makes schedulers take turns. What makes two leaders
// harmless is the journal, which refuses the writes of an older epoch.
package lease

import (
	"context"
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
