package engine

import (
	"github.com/perigee-sched/perigee/scheduler/record"
)

// History keeps what is finished, and events, once they leave the journal.
type History interface {
	// Record is told all that becomes durable, in order, whoever wrote it. It
	// does not block.
	Record(Durable)
	// Through returns the journal's index up to which everything is kept for
	// good. With shared, that is so for all schedulers: they share one history.
	Through() (index uint64, shared bool)
}

// Durable is what one group of the journal's entries brought for history: all
// that ended in it, and its events.
type Durable struct {
	// Anew says that the journal was read anew: what follows is all that it
	// holds, up to Index, and not only what was not told before.
	Anew bool
	// Before, with Anew, is the last event before those it holds: what history
	// does not have up to it is lost to it.
	Before EventID
	// Incarnation of the events.
	Incarnation string
	// Index of the group's last entry.
	Index uint64
	// Finished are the tasks, runs and deploys that are over, in their last
	// versions. One may be told again, when it changes after its end.
	Finished []record.Message
	// Events in their order.
	Events []Published
}

// over says whether a record is of something that is over.
func over(m record.Message) bool {
	switch m := m.(type) {
	case *record.Task:
		return m.State.Terminal()
	case *record.Run:
		return m.State.Terminal()
	case *record.Deploy:
		return m.State.Terminal()
	}
	return false
}

// finishedIn are the records that ended in changes, and those that entries hold
// for history alone.
func finishedIn(changes []change, group []*record.Entry) []record.Message {
	var out []record.Message
	for _, c := range changes {
		if over(c.record) {
			out = append(out, c.record)
		}
	}
	return append(out, leftIn(group)...)
}

// leftIn are the records that entries hold for history alone. What cannot be
// read, of a newer version, is left out.
func leftIn(group []*record.Entry) []record.Message {
	var out []record.Message
	for _, entry := range group {
		for _, p := range entry.GetFinished() {
			if m, err := record.Decode(p.GetKey(), p.GetValue()); err == nil && m != nil {
				out = append(out, m)
			}
		}
	}
	return out
}

// tell passes on what became durable.
func (e *Engine) tell(d Durable) {
	if e.opts.History != nil {
		e.opts.History.Record(d)
	}
}

// finished are all records of a view that are over.
func (v *View) finished() []record.Message {
	var out []record.Message
	for _, m := range v.from("") {
		if over(m) {
			out = append(out, m)
		}
	}
	return out
}

// Held tells anew all that this scheduler holds for history: for one that could
// not keep what it was told. What was told before or is told meanwhile may be in
// it. Its Incarnation is "" while the journal is not loaded, or holds nothing.
func (e *Engine) Held() Durable {
	d := Durable{Anew: true}
	d.Events, d.Before, d.Index = e.events.all()
	d.Incarnation = d.Before.Incarnation
	if d.Incarnation != "" {
		v := e.View()
		d.Finished = v.finished()
		d.Index = min(d.Index, v.Index) // while the journal is read anew, the events come first
	}
	return d
}
