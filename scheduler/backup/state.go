package backup

import (
	"io"
	"iter"
	"strings"
	"time"

	"github.com/tidwall/btree"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// State is all records as of one index, encoded. It is what a journal replays
// into, and what a backup is read into.
type State struct {
	Index, Epoch uint64

	records btree.Map[string, []byte]
	lastKey string // of the snapshot's, as it is passed
	logged  bool   // groups were passed
}

// State keeps what a journal passes.
var _ journal.Reader = (*State)(nil)

// Read reads a whole backup.
func Read(in io.Reader) (*State, Header, Trailer, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, Header{}, Trailer{}, err
	}
	s := &State{Index: r.Header().Index, Epoch: r.Header().Epoch}
	t, err := r.Each(func(key string, value []byte) error { return s.Record(key, value) })
	if err != nil {
		return nil, r.Header(), t, err
	}
	return s, r.Header(), t, nil
}

// Header describes the state; who makes a backup of it adds the rest.
func (s *State) Header(cluster, program string, at time.Time) Header {
	h := Header{Cluster: cluster, Program: program, At: at, Index: s.Index, Epoch: s.Epoch, Records: CountKinds(s.keys())}
	if c := s.Cluster(); c != nil {
		h.Incarnation, h.Framework = c.Incarnation, c.FrameworkId
	}
	return h
}

// Len is how many records there are.
func (s *State) Len() int { return s.records.Len() }

// Get returns a record, nil when there is none.
func (s *State) Get(key string) []byte {
	value, _ := s.records.Get(key)
	return value
}

// Put replaces a record. The value belongs to the state.
func (s *State) Put(key string, value []byte) { s.records.Set(key, value) }

// Delete takes a record out.
func (s *State) Delete(key string) { s.records.Delete(key) }

// Clone returns a state of its own.
func (s *State) Clone() *State {
	c := &State{Index: s.Index, Epoch: s.Epoch}
	c.records = *s.records.Copy()
	return c
}

// Cluster is the record about the whole, nil when there is none that can be read.
func (s *State) Cluster() *record.Cluster {
	value, ok := s.records.Get(record.KeyCluster)
	c := new(record.Cluster)
	if !ok || proto.Unmarshal(value, c) != nil {
		return nil
	}
	return c
}

// Records are those whose keys have a prefix, in ascending order.
func (s *State) Records(prefix string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		s.records.Ascend(prefix, func(key string, value []byte) bool {
			return strings.HasPrefix(key, prefix) && yield(key, value)
		})
	}
}

// Decoded are all records of the types that this version knows, and that can be
// decoded.
func (s *State) Decoded() iter.Seq2[string, record.Message] {
	return func(yield func(string, record.Message) bool) {
		for key, value := range s.Records("") {
			if m, err := record.Decode(key, value); err == nil && m != nil && !yield(key, m) {
				return
			}
		}
	}
}

func (s *State) keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		s.records.Scan(func(key string, _ []byte) bool { return yield(key) })
	}
}

// Record implements journal.Applier. Records that begin anew replace all.
func (s *State) Record(key string, value []byte) error {
	if s.logged || key <= s.lastKey {
		s.records.Clear()
		s.logged = false
	}
	s.lastKey = key
	s.records.Set(key, append([]byte(nil), value...))
	return nil
}

// Past implements journal.Applier: the records have it.
func (s *State) Past(group []*record.Entry) error {
	s.saw(group)
	return nil
}

// Apply implements journal.Applier.
func (s *State) Apply(group []*record.Entry) error {
	for _, e := range group {
		for _, p := range e.GetPuts() {
			s.records.Set(p.GetKey(), p.GetValue())
		}
		for _, key := range e.GetDeletes() {
			s.records.Delete(key)
		}
	}
	s.saw(group)
	return nil
}

func (s *State) saw(group []*record.Entry) {
	last := group[len(group)-1]
	s.logged = true
	s.Index, s.Epoch = last.GetIndex(), last.GetEpoch()
}

// Reached implements journal.Reader.
func (s *State) Reached(index uint64) error {
	s.Index = max(s.Index, index)
	return nil
}
