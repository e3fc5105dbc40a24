// Package journal is where Perigee's state is kept: an ordered, fenced log of entries plus a
// snapshot of the records they amount to.
//
// It owns the contract every implementation keeps, and what all of them share: the order and
// wholeness of groups, and how a big entry is split. Package file keeps a journal in a local
// directory, package memory in a test's memory; package journaltest is the proof that one keeps the
// contract. What the records mean is core's business; when to append and compact is the engine's.
package journal

import (
	"context"
	"iter"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// MaxEntryBytes bounds one encoded entry in every implementation, so that a journal can move from
// one to another: a ZooKeeper packet holds 1 MB, and one write to it is kept to half of that.
const MaxEntryBytes = 500 << 10

// Position says where the next entry goes.
type Position struct {
	Epoch uint64 // of this leadership; higher than that of every entry in the journal
	Index uint64 // of the next entry
}

// Journal is used by one goroutine at a time, except that Compact and Stat may run beside the rest.
//
// The order of use is Lead, then Append after Append, Compact now and then. A scheduler that stops
// leading and leads again calls Lead again.
type Journal interface {
	// Lead fences every earlier writer by raising the epoch, passes everything durable to apply,
	// and returns where to append. It fails with the error of apply, with a *CorruptError when the
	// journal is damaged (nothing is repaired or dropped then), or with what storage said.
	Lead(ctx context.Context, apply Applier) (Position, error)

	// Append makes a group of entries durable, all or none. The entries carry the epoch and the
	// indices that follow the last append's, and all but the last are continued; see Split. They
	// are not kept or changed. One append may be in flight.
	//
	//	nil         committed: durable, and part of every later Lead.
	//	ErrFenced   another scheduler leads, or this one leads anew: nothing was written. Final.
	//	ErrUnknown  the group may be durable or not (wraps the cause, a full disk among them).
	//	            Only Resolve, Lead and Close may follow.
	//	other       the group was refused as it is (ErrRefused), or ctx had ended: nothing was
	//	            written, and the next append takes the same index.
	Append(ctx context.Context, group []*record.Entry) error

	// Resolve finds out what became of the group whose Append returned ErrUnknown, and appends it
	// again when it is absent. It returns nil once the group is committed (at once when there is
	// none), ErrFenced, or ErrUnknown while neither can be told: then call it again, later.
	Resolve(ctx context.Context) error

	// Compact replaces entries by a snapshot of src. The two newest snapshots are kept, and every
	// entry after the older of them, so that consumers of events can resume and a damaged snapshot
	// costs nothing. It returns nil without work when src is not newer than the newest snapshot.
	// An error leaves the journal as good as before; an end of ctx ends it early.
	Compact(ctx context.Context, src Source) error

	// Stat describes the journal as of the last append. It is valid after Lead.
	Stat() Stat

	// Close gives the storage free for another Open. Nothing committed waits for it.
	Close() error
}

// Follower is a Journal whose entries can be read while another scheduler appends them: a standby's.
type Follower interface {
	Journal

	// Follow passes what is durable to apply, as Lead would, and then each whole group as it is
	// appended, until ctx ends or something fails. Lead on the same Journal afterwards goes on where
	// Follow ended: it passes only what followed, unless that was compacted away meanwhile; then it
	// begins anew by itself. ErrBehind says that entries not yet read are gone; what was passed is of
	// no use then, and the next Follow or Lead begins anew. A Follow after leading or after an error
	// begins anew too.
	//
	// When apply is a Reader, Reached follows what was durable when it began.
	Follow(ctx context.Context, apply Applier) error
}

// Restorer is a Journal that is given other contents, all of them or none. The order of use is Erase,
// Lead, Append after Append, Finish. From Erase to Finish nobody but another restore opens the journal:
// Open and Lead fail with *UnfinishedError.
type Restorer interface {
	Journal

	// Erase marks the journal, and then takes everything out of it. No earlier writer can append
	// afterwards. It may be repeated.
	Erase(ctx context.Context) error

	// Finish takes the mark away: what was appended since Erase is the journal.
	Finish(ctx context.Context) error
}

// Applier receives what a journal holds. Calls come in the order Record, Past, Apply; each may
// return an error to end the replay. A journal that was never compacted has no Record and no Past.
type Applier interface {
	// Record passes one record of the snapshot, in ascending order of keys, each once. The value is
	// valid during the call only.
	Record(key string, value []byte) error

	// Past passes a whole group that the records already include: only its events are of use.
	Past(group []*record.Entry) error

	// Apply passes a whole group whose puts, then deletes, are to be applied, entry by entry. The
	// entries belong to the Applier.
	Apply(group []*record.Entry) error
}

// Reader is an Applier that is told when it has everything, so that it shows nothing that is half
// read.
type Reader interface {
	Applier

	// Reached says that all groups up to an index were passed, the last that was durable a moment
	// ago; 0 when the journal is empty. It is called once in a Follow at least, after the first read.
	Reached(index uint64) error
}

// Source is an unchanging view of the records, which a Compact reads at its own pace.
type Source interface {
	// Index is the last entry the view includes, the last of its group.
	Index() uint64

	// Records yields the records whose keys are at or after from, in ascending order of keys. The
	// value may be reused once the loop continues.
	Records(from string) iter.Seq2[string, []byte]
}

// Stat says how big a journal is.
type Stat struct {
	Index         uint64 // of the last durable entry, 0 when there is none
	Snapshot      uint64 // index of the newest snapshot, 0 when there is none
	SnapshotBytes int64  // its size
	LogBytes      int64  // size of the entries after it
}

// compactAfter is how much log is worth a snapshot when the state is small: replaying it takes
// about a tenth of a second.
const compactAfter = 16 << 20

// CompactDue reports whether the log has outgrown the snapshot, so that all compactions together
// write no more than the appends did.
func (s Stat) CompactDue() bool { return s.LogBytes > max(compactAfter, s.SnapshotBytes) }
