package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Abandoned is what a new framework id gives up: Mesos no longer tells us
// about tasks of the old one.
type Abandoned struct {
	Framework string   // the old id, "" when there is none
	Tasks     []string // those believed alive: "ID of JOB on HOST"
}

// abandonFramework has the next SUBSCRIBE register a new framework: it forgets
// the id in the journal. Tasks of the old one stay in the state until Mesos,
// asked about them, says that it does not know them; then they are replaced.
// Abandon is told what is given up, and its error prevents it.
func (p *process) abandonFramework(ctx context.Context) (err error) {
	term, err := p.leadAlone(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, term.Release(context.WithoutCancel(ctx))) }()
	var found framework
	at, err := p.journal.Lead(ctx, &found)
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if err := p.Abandon(found.abandoned()); err != nil {
		return err
	}
	if found.cluster == nil || found.cluster.FrameworkId == "" {
		return nil
	}
	found.cluster.FrameworkId = ""
	value, err := proto.Marshal(found.cluster)
	if err != nil {
		return err
	}
	entry := &record.Entry{Epoch: at.Epoch, Index: at.Index, At: time.Now().UnixMilli(),
		Puts: []*record.Put{{Key: record.KeyCluster, Value: value}}}
	group, err := journal.Split(entry, journal.MaxEntryBytes)
	if err == nil {
		err = p.journal.Append(ctx, group)
	}
	if err != nil {
		return fmt.Errorf("forget the framework id: %w", err)
	}
	return nil
}

// electionPatience is how long --new-framework waits to lead: other schedulers
// may just have been stopped.
const electionPatience = 15 * time.Second

func (p *process) leadAlone(ctx context.Context) (lease.Term, error) {
	waiting, cancel := context.WithTimeout(ctx, electionPatience)
	defer cancel()
	term, err := p.lease.Acquire(waiting)
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("another scheduler leads (%s): stop all others first: %w", p.lease.Leader(), err)
	}
	return term, err
}

// framework collects from a journal what concerns the framework id.
type framework struct {
	cluster *record.Cluster
	tasks   map[string]*record.Task
}

func (f *framework) Record(key string, value []byte) error { return f.put(key, value) }
func (f *framework) Past([]*record.Entry) error            { return nil }

func (f *framework) Apply(group []*record.Entry) error {
	for _, e := range group {
		for _, p := range e.Puts {
			if err := f.put(p.Key, p.Value); err != nil {
				return err
			}
		}
		for _, key := range e.Deletes {
			delete(f.tasks, key)
		}
	}
	return nil
}

func (f *framework) put(key string, value []byte) error {
	switch {
	case key == record.KeyCluster:
		f.cluster = new(record.Cluster)
		return proto.Unmarshal(value, f.cluster)
	case len(key) > len(record.PrefixTask) && key[:len(record.PrefixTask)] == record.PrefixTask:
		t := new(record.Task)
		if err := proto.Unmarshal(value, t); err != nil {
			return err
		}
		if f.tasks == nil {
			f.tasks = map[string]*record.Task{}
		}
		f.tasks[key] = t
	}
	return nil
}

func (f *framework) abandoned() Abandoned {
	a := Abandoned{Framework: f.cluster.GetFrameworkId()}
	for _, t := range f.tasks {
		if !t.State.Terminal() && t.State != record.TaskState_TASK_STATE_PENDING {
			a.Tasks = append(a.Tasks, fmt.Sprintf("%s of %s on %s", t.Id, t.Job, t.Host))
		}
	}
	slices.Sort(a.Tasks)
	return a
}
