// Package restore says what a backup becomes when a new life begins with it, and
// foresees what the first scheduler would do then.
//
// It owns no rule of its own: what changes in the state, and what follows from it
// and from what Mesos runs, is decided by package core, which is stepped here
// without anything being written or called. Reading backups, asking Mesos and
// writing journals is package server's.
package restore

import (
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Begin returns what a state becomes when a new life begins with it, and the
// events that tell of that. The state stays as it is. Records of types that this
// version does not know are passed on as they are.
func Begin(s *backup.State, l core.Life) (*backup.State, []*record.Event, error) {
	writes, events, err := core.BeginLife(s.Decoded(), l)
	if err != nil {
		return nil, nil, err
	}
	after := s.Clone()
	for _, w := range writes {
		if w.Record == nil {
			after.Delete(w.Key)
			continue
		}
		b, err := proto.Marshal(w.Record)
		if err != nil {
			return nil, nil, err
		}
		after.Put(w.Key, b)
	}
	return after, events, nil
}
