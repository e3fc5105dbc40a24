package engine

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// replica receives what the journal holds. It loads a view, shows it when all
// was read, and then keeps it current, group by group.
//
// A journal that begins anew says so by what it passes: records, or an entry
// that was passed before. The view is shown as it was until all was read again.
type replica struct {
	e       *Engine
	loading *View  // nil once it is shown
	index   uint64 // of the last entry that was passed, or that this scheduler wrote
	lastKey string // of the records that were passed

	holds   bool    // an entry was passed in this load
	dropped EventID // the last event before those that are held
	held    []Published
	left    []record.Message // that the entries held for history alone

	names names
}

// names keeps one of each string that many records have, such as an agent's id:
// decoded, each record has its own.
type names map[string]string

// namesMost bounds the strings that are kept, of agents long gone too.
const namesMost = 100_000

func (n names) share(strings ...*string) {
	for _, s := range strings {
		if *s == "" {
			continue
		}
		same, ok := n[*s]
		if !ok {
			if len(n) >= namesMost {
				clear(n)
			}
			n[*s], same = *s, *s
		}
		*s = same
	}
}

func newReplica(e *Engine) *replica {
	return &replica{e: e, loading: newView(), names: names{}}
}

func (r *replica) restart() {
	*r = *newReplica(r.e)
}

// seen says whether a group was passed before. The first entries of one that is
// not may count as passed, where it was read before all of it was written.
func (r *replica) seen(group []*record.Entry) bool { return group[len(group)-1].GetIndex() <= r.index }

// Record implements journal.Applier.
func (r *replica) Record(key string, value []byte) error {
	if r.loading == nil || r.index > 0 || key <= r.lastKey {
		r.restart()
	}
	r.lastKey = key
	m, err := decode(key, value)
	if err == nil {
		r.put(r.loading, key, m)
	}
	return err
}

// Past implements journal.Applier.
func (r *replica) Past(group []*record.Entry) error {
	if r.loading == nil || r.seen(group) {
		r.restart()
	}
	r.hold(group)
	return nil
}

// Apply implements journal.Applier.
func (r *replica) Apply(group []*record.Entry) error {
	if r.seen(group) {
		r.restart()
	}
	changes, err := decodeAll(group)
	if err != nil {
		return err
	}
	if r.loading != nil {
		r.hold(group)
		r.apply(r.loading, changes)
		return nil
	}
	r.index = group[len(group)-1].GetIndex()
	var incarnation string
	r.e.changeView(func(v *View) {
		r.apply(v, changes)
		v.Index, v.Epoch = r.index, group[0].GetEpoch()
		incarnation = v.Cluster().GetIncarnation()
	})
	if incarnation != "" {
		events := published(incarnation, group)
		r.e.events.begin(incarnation, EventID{}, nil, 0)
		r.e.events.publish(events, r.index)
		r.e.tell(Durable{Incarnation: incarnation, Index: r.index, Finished: finishedIn(changes, group), Events: events})
	}
	return nil
}

// Reached implements journal.Reader: all that is durable was passed, up to an
// index.
func (r *replica) Reached(index uint64) error {
	if r.loading != nil {
		r.finish(journal.Position{Index: max(index, r.index) + 1})
	}
	return nil
}

// finish shows what was loaded, when all before a position was read.
func (r *replica) finish(at journal.Position) {
	v := r.loading
	if v == nil {
		r.e.changeView(func(v *View) { v.Index, v.Epoch = at.Index-1, max(v.Epoch, at.Epoch) })
		r.index = at.Index - 1
		return
	}
	v.Index, v.Epoch, v.Loaded = at.Index-1, max(v.Epoch, at.Epoch), true
	r.index = v.Index
	if c := v.Cluster(); c != nil {
		if !r.holds {
			r.dropped = wholeEntry(v.Index)
		}
		for i := range r.held {
			r.held[i].ID.Incarnation = c.Incarnation
		}
		r.e.events.begin(c.Incarnation, r.dropped, r.held, v.Index)
		before := r.dropped
		before.Incarnation = c.Incarnation
		r.e.tell(Durable{Anew: true, Before: before, Incarnation: c.Incarnation, Index: v.Index,
			Finished: append(v.finished(), r.left...), Events: r.held})
	}
	r.e.publish(v)
	r.loading, r.held, r.left, r.lastKey = nil, nil, nil, ""
}

// hold keeps the events of a group until all is loaded.
func (r *replica) hold(group []*record.Entry) {
	if !r.holds {
		r.holds, r.dropped = true, eventBefore(group[0])
	}
	last := group[len(group)-1]
	r.index, r.loading.Epoch = last.GetIndex(), last.GetEpoch()
	r.held = append(r.held, published("", group)...)
	r.left = append(r.left, leftIn(group)...)
	if extra := len(r.held) - r.e.opts.EventsKeep; extra > r.e.opts.EventsKeep/4 {
		r.dropped = r.held[extra-1].ID
		r.held = append([]Published(nil), r.held[extra:]...)
	}
}

// eventBefore is the last event before an entry, as it tells; or as far as it may
// be where it does not.
func eventBefore(first *record.Entry) EventID {
	if first.GetEventBefore() == 0 {
		return wholeEntry(first.GetIndex() - 1)
	}
	return EventID{Index: first.GetEventBefore(), Ordinal: int(first.GetEventBeforeOrdinal())}
}

// change is one record, decoded; nil when it is deleted.
type change struct {
	key    string
	record record.Message
}

func decodeAll(group []*record.Entry) ([]change, error) {
	var changes []change
	for _, entry := range group {
		for _, p := range entry.GetPuts() {
			m, err := decode(p.GetKey(), p.GetValue())
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w", entry.GetIndex(), err)
			}
			changes = append(changes, change{p.GetKey(), m})
		}
		for _, key := range entry.GetDeletes() {
			changes = append(changes, change{key: key})
		}
	}
	return changes, nil
}

func (r *replica) apply(v *View, changes []change) {
	for _, c := range changes {
		r.put(v, c.key, c.record)
	}
}

// put puts a record that was decoded, and that nobody shares yet.
func (r *replica) put(v *View, key string, m record.Message) {
	switch m := m.(type) {
	case *record.Task:
		r.names.share(&m.Job, &m.Agent, &m.Host, &m.AgentUrl, &m.SandboxRoot, &m.Group, &m.Reason)
	case *record.Run:
		r.names.share(&m.Job, &m.Group, &m.RequestedBy)
	}
	v.put(key, m)
}

// published names the events of a group. What cannot be read, of a newer
// version, is left out.
func published(incarnation string, group []*record.Entry) []Published {
	var out []Published
	for _, entry := range group {
		for i, b := range entry.GetEvents() {
			ev := new(record.Event)
			if proto.Unmarshal(b, ev) == nil {
				out = append(out, Published{EventID{incarnation, entry.GetIndex(), i}, ev})
			}
		}
	}
	return out
}

// unreadableError is a record that cannot be decoded: going on without it would
// lose something.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string { return e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

// unknown is a record of a type that this version does not know: kept as it is.
type unknown struct {
	record.Message
	value []byte
}

func decode(key string, value []byte) (record.Message, error) {
	m, err := record.Decode(key, value)
	switch {
	case err != nil:
		return nil, &unreadableError{err}
	case m == nil:
		return unknown{value: append([]byte(nil), value...)}, nil
	}
	return m, nil
}
