package journaltest

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// model is what a journal must equal: every committed group, and what was compacted.
type model struct {
	groups    [][]*record.Entry
	snapshots []uint64 // newest first, at most two
}

func lastIndex(group []*record.Entry) uint64 { return group[len(group)-1].GetIndex() }

func (m *model) last() uint64 {
	if len(m.groups) == 0 {
		return 0
	}
	return lastIndex(m.groups[len(m.groups)-1])
}

func (m *model) compacted(index uint64) {
	if len(m.snapshots) > 0 && index <= m.snapshots[0] || index == 0 {
		return
	}
	m.snapshots = append([]uint64{index}, m.snapshots...)
	m.snapshots = m.snapshots[:min(len(m.snapshots), 2)]
}

// state returns the records after all groups up to index.
func (m *model) state(index uint64) map[string][]byte {
	records := map[string][]byte{}
	for _, g := range m.groups {
		if lastIndex(g) <= index {
			applyTo(records, g)
		}
	}
	return records
}

func applyTo(records map[string][]byte, group []*record.Entry) {
	for _, e := range group {
		for _, p := range e.GetPuts() {
			records[p.GetKey()] = p.GetValue()
		}
		for _, k := range e.GetDeletes() {
			delete(records, k)
		}
	}
}

// view is a Source over the model's records at an index.
type view struct {
	index   uint64
	records map[string][]byte
}

func (m *model) view(index uint64) *view { return &view{index: index, records: m.state(index)} }

func (v *view) Index() uint64 { return v.index }

// Records reuses the buffer of its values, as a Source may.
func (v *view) Records(from string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		var buf []byte
		for _, k := range slices.Sorted(maps.Keys(v.records)) {
			if k < from {
				continue
			}
			buf = append(buf[:0], v.records[k]...)
			if !yield(k, buf) {
				return
			}
		}
	}
}

// replayed is an Applier that keeps what it is passed and the order it comes in.
type replayed struct {
	records map[string][]byte // of the snapshot
	past    [][]*record.Entry
	applied [][]*record.Entry
	lastKey string
	problem error
}

func (r *replayed) Record(key string, value []byte) error {
	if len(r.past)+len(r.applied) > 0 || len(r.records) > 0 && key <= r.lastKey {
		r.problem = fmt.Errorf("record %q comes out of order", key)
	}
	if r.records == nil {
		r.records = map[string][]byte{}
	}
	r.lastKey = key
	r.records[key] = slices.Clone(value)
	return nil
}

func (r *replayed) Past(group []*record.Entry) error {
	if len(r.applied) > 0 {
		r.problem = fmt.Errorf("past entry %d comes after applied ones", lastIndex(group))
	}
	r.past = append(r.past, group)
	return nil
}

func (r *replayed) Apply(group []*record.Entry) error {
	r.applied = append(r.applied, group)
	return nil
}

// groups returns everything replayed, in order.
func (r *replayed) groups() [][]*record.Entry { return slices.Concat(r.past, r.applied) }

func (r *replayed) state() map[string][]byte {
	records := maps.Clone(r.records)
	if records == nil {
		records = map[string][]byte{}
	}
	for _, g := range r.applied {
		applyTo(records, g)
	}
	return records
}

// requireEqual compares a replay with the model: the state, and every kept entry with its events.
func (m *model) requireEqual(t *testing.T, r *replayed, context string) {
	t.Helper()
	var included, pastFrom uint64
	if len(m.snapshots) > 0 {
		included = m.snapshots[0]
	}
	if len(m.snapshots) > 1 {
		pastFrom = m.snapshots[1]
	}
	require.NoError(t, r.problem, context)
	var past, applied [][]*record.Entry
	for _, g := range m.groups {
		switch last := lastIndex(g); {
		case last <= pastFrom:
		case last <= included:
			past = append(past, g)
		default:
			applied = append(applied, g)
		}
	}
	requireGroups(t, past, r.past, context+": entries that the snapshot includes")
	requireGroups(t, applied, r.applied, context+": entries after the snapshot")
	requireState(t, m.state(m.last()), r.state(), context)
}

func requireState(t *testing.T, want, got map[string][]byte, context string) {
	t.Helper()
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)), "%s: keys", context)
	for k, v := range want {
		require.Equal(t, string(v), string(got[k]), "%s: record %q", context, k)
	}
}

func requireGroups(t *testing.T, want, got [][]*record.Entry, context string) {
	t.Helper()
	require.Equal(t, indices(want), indices(got), "%s: indices by group", context)
	for i := range want {
		for k := range want[i] {
			require.True(t, proto.Equal(want[i][k], got[i][k]), "%s: entry %d differs", context, want[i][k].GetIndex())
		}
	}
}

func indices(groups [][]*record.Entry) [][]uint64 {
	all := [][]uint64{}
	for _, g := range groups {
		var one []uint64
		for _, e := range g {
			one = append(one, e.GetIndex())
		}
		all = append(all, one)
	}
	return all
}

// randomGroup makes a group of one to three entries over a small set of keys.
func randomGroup(rng *rand.Rand, at journal.Position) []*record.Entry {
	group := make([]*record.Entry, 1+rng.IntN(5)/2)
	for i := range group {
		e := &record.Entry{Index: at.Index + uint64(i), Epoch: at.Epoch, Continued: i < len(group)-1, At: rng.Int64N(1 << 42)}
		if i == 0 { // by which consumers of events resume where the oldest kept entry begins
			e.EventBefore, e.EventBeforeOrdinal = rng.Uint64N(at.Index), rng.Uint32N(3)
		}
		for range rng.IntN(6) {
			e.Puts = append(e.Puts, &record.Put{Key: randomKey(rng), Value: randomBytes(rng, 400)})
		}
		for range rng.IntN(3) {
			e.Deletes = append(e.Deletes, randomKey(rng))
		}
		for range rng.IntN(3) {
			e.Events = append(e.Events, randomBytes(rng, 100))
		}
		group[i] = e
	}
	return group
}

func randomKey(rng *rand.Rand) string { return fmt.Sprintf("task/%02d", rng.IntN(60)) }

func randomBytes(rng *rand.Rand, most int) []byte {
	b := make([]byte, rng.IntN(most))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
