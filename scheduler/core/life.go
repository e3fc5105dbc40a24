package core

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// Life is one that begins with a restore from a backup.
type Life struct {
	Incarnation string // a fresh random name
	At          int64  // Unix ms
	By          string // who restores
	// Index and MadeAt (Unix ms) of the backup.
	Index  uint64
	MadeAt int64
	// NewFramework: the framework id is forgotten, and with it what Mesos runs.
	NewFramework bool
}

// What the life that was lost may have given out after the backup was made must
// not be given out again. Incarnations keep ids apart; numbers without one skip
// what can have been used since.
const (
	lifeSequences = 1_000_000
	lifeRevisions = 1_000_000 // an ETag of the lost life is none of this one
	lifeDeploys   = 100       // of one job, at least; and then on to the next hundred
)

// BeginLife says what changes in the state of a backup when it begins a new life,
// and what is told of that. The state is as it was in all else: the first leader
// finds out what became of it.
func BeginLife(records iter.Seq2[string, Record], l Life) ([]Write, []*record.Event, error) {
	b := lifeBegins{life: l}
	var tasks []*record.Task
	runs := map[string]*record.Run{}
	for key, m := range records {
		switch m := m.(type) {
		case *record.Cluster:
			b.before = m
		case *record.Leader, *record.Recorder:
			b.put(key, nil) // of a life that has ended; a history is asked anew how far it is
		case *record.Job:
			b.job(key, m)
		case *record.Webhook:
			next := proto.CloneOf(m)
			next.Revision += lifeRevisions
			b.put(key, next)
		case *record.Task:
			if m.State == taskPending {
				tasks = append(tasks, m)
			}
		case *record.Run:
			if m.State == runActive {
				runs[key] = m
			}
		}
	}
	if b.before == nil {
		return nil, nil, fmt.Errorf("there is no record %q", record.KeyCluster)
	}
	b.cluster()
	for _, t := range tasks {
		b.rename(t, runs)
	}
	made := time.UnixMilli(l.MadeAt).UTC().Format(time.RFC3339)
	return b.writes, []*record.Event{{Type: "scheduler.restored", At: l.At, Actor: l.By, Object: l.Incarnation,
		Message: fmt.Sprintf("from a backup of %s, entry %d of incarnation %s", made, l.Index, b.before.Incarnation)}}, nil
}

type lifeBegins struct {
	life   Life
	before *record.Cluster
	after  *record.Cluster
	seq    uint64
	writes []Write
}

func (b *lifeBegins) put(key string, m Record) {
	b.writes = append(b.writes, Write{Key: key, Record: m})
}

// cluster begins the life. Until the first leader knows what Mesos runs, nothing
// is launched.
func (b *lifeBegins) cluster() {
	b.after = proto.CloneOf(b.before)
	b.after.Incarnation, b.after.Unsettled = b.life.Incarnation, true
	b.after.Secret = nil // a copy of a cluster must not know what that knows: the first leader takes another
	if b.life.NewFramework {
		b.after.FrameworkId = ""
	}
	b.seq = b.before.SequenceThrough + lifeSequences
	b.after.Restores = append(b.after.Restores, &record.Restored{Incarnation: b.before.Incarnation, Index: b.life.Index,
		MadeAt: b.life.MadeAt, At: b.life.At, By: b.life.By})
	b.after.SequenceThrough = b.seq
	b.put(record.KeyCluster, b.after)
}

func (b *lifeBegins) job(key string, m *record.Job) {
	next := proto.CloneOf(m)
	next.Revision += lifeRevisions
	used := max(m.LastDeploy, m.DeployFloor) + lifeDeploys
	next.DeployFloor = (used + 99) / 100 * 100
	b.put(key, next)
}

// rename gives a pending task an id of the new life: the lost one may have
// launched it under its own, and an id is never launched twice. What it has
// launched then is a stray like others.
func (b *lifeBegins) rename(t *record.Task, runs map[string]*record.Run) {
	b.seq++
	b.after.SequenceThrough = max(b.after.SequenceThrough, b.seq)
	next := t.Copy()
	next.Id = TaskID(b.life.Incarnation, b.seq)
	b.put(record.TaskKey(t.Id), nil)
	b.put(record.TaskKey(next.Id), next)
	key := record.RunKey(t.Job, t.Run)
	if r := runs[key]; t.Run != "" && r != nil && r.Task == t.Id {
		run := r.Copy()
		run.Task = next.Id
		b.put(key, run)
	}
}

// TaskID is the id of the nth task, or whatever else was given a number.
func TaskID(incarnation string, n uint64) string { return incarnation + "-" + base36(n) }

// IncarnationOf is the life that an id was given out in, "" for what is no id.
func IncarnationOf(id string) string {
	incarnation, _, ok := strings.Cut(id, "-")
	if !ok {
		return ""
	}
	return incarnation
}
