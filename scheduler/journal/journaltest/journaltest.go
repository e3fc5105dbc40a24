// Package journaltest proves that an implementation keeps the contract of package journal.
//
// It owns the one suite that every implementation passes, and the reference model it is compared
// with. What is particular to one implementation (its file format, its ways to break) is tested
// beside it.
package journaltest

import (
	"fmt"
	"testing"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Storage is a place for one journal, and the ways a test can harm it. Hooks that an implementation
// cannot offer are nil; the tests that need them say that they are skipped.
type Storage struct {
	// Open opens the journal there, the first time a new one.
	Open func() (journal.Journal, error)

	// OpenToRestore opens it to be restored; nil for one that cannot be.
	OpenToRestore func() (journal.Restorer, error)

	// Shared says that several may be open at once, as several schedulers on one ZooKeeper.
	Shared bool

	// Crash ends an open journal as the death of its process would.
	Crash func(journal.Journal)

	// Leave stores entries as a writer leaves them that dies within a group. No journal is open.
	Leave func(entries []*record.Entry) error

	// DamageSnapshot makes the newest snapshot unreadable. No journal is open.
	DamageSnapshot func() error

	// Fail makes storage operations fail: the nth from now (1 is the next) and as many as times in
	// all, unless heal is called before. heal reports whether any did.
	Fail func(n, times int) (heal func() bool)

	// Location names the storage to the process that Child runs in.
	Location string
}

// Run runs the suite; each call of fresh gives an empty storage.
func Run(t *testing.T, fresh func(t *testing.T) *Storage) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *Storage)
	}{
		{"an empty journal starts at index 1", testEmpty},
		{"what was appended is replayed", testReplay},
		{"every lead raises the epoch", testEpoch},
		{"an older epoch is fenced and leaves no trace", testFenced},
		{"another journal's lead fences", testFencedByAnother},
		{"a wrong append is refused and leaves no trace", testRefused},
		{"an ended context writes nothing", testContext},
		{"a closed journal answers so", testClosed},
		{"a group left open at the tail is discarded", testOpenGroup},
		{"a snapshot and the entries after it are the state", testSnapshot},
		{"a bad source changes nothing", testBadSource},
		{"compaction runs beside appends", testCompactBesideAppends},
		{"a damaged snapshot costs nothing", testDamagedSnapshot},
		{"a follower sees every group once, and leads from there", testFollow},
		{"a follower that compaction overtook begins anew", testFollowBehind},
		{"an append whose operation fails is resolved", testFaultyAppends},
		{"a lead whose operation fails can be repeated", testFaultyLead},
		{"a restore is all or nothing", testRestore},
		{"a restore whose operation fails is found out, and repeated", testFaultyRestore},
		{"kill -9 at any moment keeps the acknowledged prefix", testKill},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, fresh(t))
		})
	}
	for seed := range uint64(randomSeeds) {
		t.Run(fmt.Sprintf("random operations equal the model, seed %d", seed), func(t *testing.T) {
			t.Parallel()
			testRandom(t, fresh(t), seed)
		})
	}
}

func need(t *testing.T, ok bool, what string) {
	t.Helper()
	if !ok {
		t.Skipf("this storage offers no way to %s", what)
	}
}
