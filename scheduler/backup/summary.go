package backup

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Summary is what is told of a state.
type Summary struct {
	Header
	Kinds []KindSize `json:"kinds"`
	Jobs  []Job      `json:"jobs"`
	// Tasks that are not over, by their state.
	Tasks map[string]int `json:"tasks"`
	// Oldest and Newest of the times that jobs, deploys, runs and tasks tell.
	Oldest *time.Time `json:"oldest,omitempty"`
	Newest *time.Time `json:"newest,omitempty"`
	// Restores that the state has been through, the last one last.
	Restores []Restore `json:"restores,omitempty"`
}

// KindSize is how much there is of one kind of records.
type KindSize struct {
	Kind    string `json:"kind"`
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"`
	Unknown bool   `json:"unknown,omitempty"` // to this version, which keeps them as they are
}

// Job is a job of a state.
type Job struct {
	Job       string   `json:"job"`
	Kind      api.Kind `json:"kind"`
	Instances uint32   `json:"instances,omitempty"` // of a service
	Deploy    uint32   `json:"deploy"`
	State     string   `json:"state,omitempty"` // deploying, paused or removing
	Tasks     int      `json:"tasks"`           // that are not over
	Runs      int      `json:"runs,omitempty"`  // that are not over
}

// Restore is one that a state has been through.
type Restore struct {
	Incarnation string    `json:"incarnation"` // that ended with it
	Index       uint64    `json:"index"`       // of the backup
	MadeAt      time.Time `json:"made_at"`     // the backup
	At          time.Time `json:"at"`
	By          string    `json:"by,omitempty"`
}

// Summarize tells what is in a state. A record that cannot be decoded is an error.
func Summarize(h Header, s *State) (*Summary, error) {
	b := summarizer{out: &Summary{Header: h, Tasks: map[string]int{}}, kinds: map[string]*KindSize{}, jobs: map[string]*Job{}}
	for key, value := range s.Records("") {
		m, err := record.Decode(key, value)
		if err != nil {
			return nil, err
		}
		b.size(key, value, m == nil)
		b.see(m)
	}
	for _, j := range b.jobs {
		if err := b.spec(s, j); err != nil {
			return nil, err
		}
	}
	return b.summary(), nil
}

type summarizer struct {
	out            *Summary
	kinds          map[string]*KindSize
	jobs           map[string]*Job
	oldest, newest int64
}

func (b *summarizer) size(key string, value []byte, unknown bool) {
	name := KindOf(key)
	k := b.kinds[name]
	if k == nil {
		k = &KindSize{Kind: name, Unknown: unknown}
		b.kinds[name] = k
	}
	k.Records++
	k.Bytes += int64(len(key) + len(value))
}

// job is the one that a record is of, which may come before its own.
func (b *summarizer) job(key string) *Job {
	if b.jobs[key] == nil {
		b.jobs[key] = &Job{Job: key}
	}
	return b.jobs[key]
}

func (b *summarizer) see(m record.Message) {
	switch m := m.(type) {
	case *record.Cluster:
		b.times(m.CreatedAt)
		for _, r := range m.Restores {
			b.out.Restores = append(b.out.Restores, Restore{Incarnation: r.Incarnation, Index: r.Index,
				MadeAt: millis(r.MadeAt), At: millis(r.At), By: r.By})
		}
	case *record.Job:
		j := b.job(m.Key)
		j.Instances, j.Deploy = m.Instances, m.Deploy
		switch {
		case m.Removing:
			j.State = "removing"
		case m.Paused:
			j.State = "paused"
		}
		b.times(m.CreatedAt, m.UpdatedAt)
	case *record.Deploy:
		b.times(m.CreatedAt, m.EndedAt)
	case *record.Rollout:
		if j := b.job(m.Job); j.State == "" && m.Phase != record.RolloutPhase_ROLLOUT_PHASE_KEEPING {
			j.State = "deploying"
		}
	case *record.Run:
		b.times(m.CreatedAt, m.EndedAt)
		if !m.State.Terminal() {
			b.job(m.Job).Runs++
		}
	case *record.Task:
		b.times(m.CreatedAt, m.StateAt)
		if !m.State.Terminal() {
			b.job(m.Job).Tasks++
			b.out.Tasks[core.StateName(m.State)]++
		}
	}
}

func (b *summarizer) times(at ...int64) {
	for _, t := range at {
		if t != 0 {
			b.newest = max(b.newest, t)
			if b.oldest == 0 || t < b.oldest {
				b.oldest = t
			}
		}
	}
}

// spec looks at what a job wants.
func (b *summarizer) spec(s *State, j *Job) error {
	d := new(record.Deploy)
	value := s.Get(record.DeployKey(j.Job, j.Deploy))
	if value == nil {
		return fmt.Errorf("job %s wants deploy %d, which is missing", j.Job, j.Deploy)
	}
	if err := proto.Unmarshal(value, d); err != nil {
		return fmt.Errorf("decode deploy %d of %s: %w", j.Deploy, j.Job, err)
	}
	var spec struct{ Kind api.Kind }
	if err := json.Unmarshal(d.Spec, &spec); err != nil {
		return fmt.Errorf("read the spec of %s, deploy %d: %w", j.Job, j.Deploy, err)
	}
	if j.Kind = spec.Kind; j.Kind != api.KindService {
		j.Instances = 0
	}
	return nil
}

func (b *summarizer) summary() *Summary {
	for _, k := range b.kinds {
		b.out.Kinds = append(b.out.Kinds, *k)
	}
	slices.SortFunc(b.out.Kinds, func(a, b KindSize) int { return cmp.Compare(a.Kind, b.Kind) })
	b.out.Jobs = make([]Job, 0, len(b.jobs))
	for _, key := range slices.Sorted(maps.Keys(b.jobs)) {
		b.out.Jobs = append(b.out.Jobs, *b.jobs[key])
	}
	if b.newest != 0 {
		oldest, newest := millis(b.oldest), millis(b.newest)
		b.out.Oldest, b.out.Newest = &oldest, &newest
	}
	return b.out
}

func millis(at int64) time.Time { return time.UnixMilli(at).UTC() }

// Verify loads a state as a scheduler would: it fails with what a scheduler could
// not go on with.
func Verify(s *State) error {
	if s.Cluster() == nil {
		return fmt.Errorf("there is no record %q: this is not the state of a cluster that a scheduler ever led", record.KeyCluster)
	}
	_, err := s.Load(core.Config{})
	return err
}

// Load returns a core with the state.
func (s *State) Load(c core.Config) (*core.Core, error) {
	var problem error
	loaded, err := core.Load(c, func(yield func(string, core.Record) bool) {
		for key, value := range s.Records("") {
			m, err := record.Decode(key, value)
			if err != nil {
				problem = err
				return
			}
			if m != nil && !yield(key, m) {
				return
			}
		}
	})
	return loaded, cmp.Or(problem, err)
}
