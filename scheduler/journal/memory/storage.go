// Package memory keeps a journal in memory, for tests of what stands on one.
//
// It owns a stand-in whose faults a test chooses: several journals share one Storage as several
// schedulers share one ZooKeeper, and an append can be made to lose its answer. What a real journal
// promises beyond that (durability) is package file's.
package memory

import (
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// Outcome is what becomes of one attempt to append.
type Outcome int

const (
	Commits     Outcome = iota // durable, and answered so
	LosesAnswer                // durable, answered with ErrUnknown
	LosesWrite                 // not durable, answered with ErrUnknown
)

// Storage outlives the journals that use it, as a directory does. The zero value is empty.
type Storage struct {
	mu        sync.Mutex
	epoch     uint64
	first     uint64 // index of entries[0], once there is one
	entries   [][]byte
	snapshots []*snapshot // newest first, at most two
	outcome   func(group []*record.Entry) Outcome
	away      bool
	changed   chan struct{} // closed when something was stored, or away changed
}

type snapshot struct {
	index   uint64
	bytes   int64
	keys    []string
	values  [][]byte
	damaged bool
}

// Open returns a journal on the storage; any number may be open.
func (s *Storage) Open() *Journal { return &Journal{storage: s} }

// Inject has each attempt to append, a Resolve's too, decided by outcome; nil commits them all.
func (s *Storage) Inject(outcome func(group []*record.Entry) Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome = outcome
}

// Unreachable has every use of the storage fail, an Append and Resolve with an unknown outcome, until
// it is reachable again. What follows it fails too.
func (s *Storage) Unreachable(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
	s.wake()
}

var errAway = errors.New("the storage cannot be reached")

// wake has those who follow look again.
func (s *Storage) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Leave stores entries as a writer leaves them that dies within a group.
func (s *Storage) Leave(entries []*record.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store(entries)
}

// DamageSnapshot makes the newest snapshot unreadable.
func (s *Storage) DamageSnapshot() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.snapshots) == 0 {
		return errors.New("there is no snapshot")
	}
	s.snapshots[0].damaged = true
	return nil
}

func (s *Storage) store(entries []*record.Entry) error {
	for _, e := range entries {
		b, err := proto.Marshal(e)
		if err != nil {
			return err
		}
		if len(s.entries) == 0 && s.first == 0 {
			s.first = e.GetIndex()
		}
		s.entries = append(s.entries, b)
	}
	s.wake()
	return nil
}

// next returns the index after the last stored entry.
func (s *Storage) next() uint64 {
	if s.first == 0 {
		return 1
	}
	return s.first + uint64(len(s.entries))
}

// current returns the newest readable snapshot, nil when there is none, and false when a damaged one
// is all there is.
func (s *Storage) current() (*snapshot, bool) {
	for _, snap := range s.snapshots {
		if !snap.damaged {
			return snap, true
		}
	}
	return nil, len(s.snapshots) < 2
}

// keep forgets the entries that no snapshot needs.
func (s *Storage) keep(after uint64) {
	if n := after + 1 - s.first; after >= s.first && n <= uint64(len(s.entries)) {
		s.entries = s.entries[n:]
		s.first = after + 1
	}
}
