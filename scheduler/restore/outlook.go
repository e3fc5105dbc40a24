package restore

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Seen is what Mesos has of the framework.
type Seen struct {
	Tasks []SeenTask
	// Ended is how tasks ended that Mesos still remembers, by id.
	Ended map[string]string
	// Agents that are registered: host by id.
	Agents map[string]string
}

// SeenTask is one that is not over.
type SeenTask struct {
	ID, Name, Agent string
	State           core.MesosState
	Healthy         *bool
}

// Outlook is what the first scheduler would do with a restored state.
type Outlook struct {
	// Kept tasks are in the backup, and Mesos runs them.
	Kept int `json:"kept"`
	// Killed are those that Mesos runs, and the backup does not know.
	Killed []Task `json:"killed"`
	// Missing are in the backup as alive, and not in Mesos.
	Missing []Task `json:"missing"`
	// Started would be launched, once those that are killed have ended.
	Started []Task `json:"started"`
	// Stopped are in both, and no longer wanted.
	Stopped []Task `json:"stopped,omitempty"`
	// Crons whose instants passed since the backup was made.
	Crons []Cron `json:"crons,omitempty"`
	// Deploys that would go on.
	Deploys []Deploy `json:"deploys,omitempty"`
	// Changes of jobs and deploys that would come at once: of actions whose time is
	// over, for one.
	Changes []Change `json:"changes,omitempty"`
	// Webhooks that would be told of events from now on.
	Webhooks int `json:"webhooks,omitempty"`
}

// Task is one task of an outlook.
type Task struct {
	ID   string `json:"id"`
	Name string `json:"name"` // team/stage/name/instance, or run
	Host string `json:"host,omitempty"`
	Note string `json:"note,omitempty"`
}

// Cron is what becomes of the instants of a cron that passed.
type Cron struct {
	Job     string `json:"job"`
	Run     int    `json:"run"`               // by its policies
	Missed  int    `json:"missed,omitempty"`  // recorded as missed
	Skipped int    `json:"skipped,omitempty"` // as another run was in progress
}

// Deploy is one that goes on.
type Deploy struct {
	Job    string `json:"job"`
	Deploy uint32 `json:"deploy"`
	Phase  string `json:"phase"`
}

// Change is one of a job or a deploy.
type Change struct {
	Type string `json:"type"` // of its event
	Job  string `json:"job"`
	What string `json:"what,omitempty"`
}

// Foresee steps a core with a state that begins a new life, as the first scheduler
// would, and tells what it decides. seen is nil when Mesos is not asked.
func Foresee(s *backup.State, cfg core.Config, seen *Seen, now time.Time) (*Outlook, error) {
	c, err := s.Load(cfg)
	if err != nil {
		return nil, err
	}
	f := foresight{now: now.UnixMilli(), seen: seen, before: map[string]record.Message{}, after: map[string]record.Message{},
		out: &Outlook{Killed: []Task{}, Missing: []Task{}, Started: []Task{}}}
	for key, m := range s.Decoded() {
		f.before[key] = m
	}
	maps.Copy(f.after, f.before)
	f.step(c, core.Elected{Scheduler: "restore"})
	if seen != nil {
		f.step(c, core.Connecting{}, core.Subscribed{FrameworkID: s.Cluster().GetFrameworkId()})
		f.step(c, f.answers()...)
	}
	f.look()
	return f.out, nil
}

// foresight is a core stepped in vain.
type foresight struct {
	now           int64
	seen          *Seen
	before, after map[string]record.Message // by key
	events        []*record.Event
	kills         []core.Kill
	out           *Outlook
}

func (f *foresight) step(c *core.Core, events ...core.Event) {
	r := c.Step(f.now, events)
	for _, w := range r.Writes {
		if w.Record == nil {
			delete(f.after, w.Key)
		} else {
			f.after[w.Key] = w.Record
		}
	}
	f.events = append(f.events, r.Events...)
	for _, call := range r.Calls {
		if k, ok := call.(core.Kill); ok {
			f.kills = append(f.kills, k)
		}
	}
}

// answers is what Mesos would say when it is asked about all tasks.
func (f *foresight) answers() []core.Event {
	var all []core.Event
	told := map[string]bool{}
	for _, t := range f.seen.Tasks {
		told[t.ID] = true
		all = append(all, core.Update{Task: t.ID, Agent: t.Agent, State: t.State, Healthy: t.Healthy, Source: core.SourceMaster})
	}
	for _, t := range f.launched() {
		if told[t.Id] {
			continue
		}
		u := core.Update{Task: t.Id, Agent: t.Agent, State: core.MesosUnknown, Source: core.SourceMaster}
		if f.seen.Agents[t.Agent] != "" {
			u.State = core.MesosGone
		}
		all = append(all, u)
	}
	return all
}

// launched are the tasks that the backup believes to be on agents, by id.
func (f *foresight) launched() []*record.Task {
	var all []*record.Task
	for _, m := range f.before {
		if t, ok := m.(*record.Task); ok && !t.State.Terminal() && t.State != record.TaskState_TASK_STATE_PENDING {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *record.Task) int { return strings.Compare(a.Id, b.Id) })
	return all
}

func (f *foresight) look() {
	if f.seen != nil {
		f.tasks()
	}
	f.started()
	f.crons()
	f.others()
	for _, e := range f.events {
		kind, _, _ := strings.Cut(e.Type, ".")
		if (kind == "job" || kind == "deploy") && e.Type != "deploy.progressed" {
			f.out.Changes = append(f.out.Changes, Change{Type: e.Type, Job: e.Job, What: cmp.Or(e.Message, e.Reason)})
		}
	}
}

// tasks compares what is in the backup with what is in Mesos.
func (f *foresight) tasks() {
	runs := map[string]SeenTask{}
	for _, t := range f.seen.Tasks {
		runs[t.ID] = t
	}
	stopped := map[string]bool{}
	for _, k := range f.kills {
		stopped[k.Task] = true
	}
	known := map[string]bool{}
	for _, t := range f.launched() {
		known[t.Id] = true
		_, is := runs[t.Id]
		switch {
		case is && stopped[t.Id]:
			now := f.after[record.TaskKey(t.Id)].(*record.Task)
			f.out.Stopped = append(f.out.Stopped, Task{ID: t.Id, Name: nameOf(t), Host: t.Host, Note: now.StopReason})
		case is:
			f.out.Kept++
		default:
			f.out.Missing = append(f.out.Missing, Task{ID: t.Id, Name: nameOf(t), Host: t.Host, Note: f.missing(t)})
		}
	}
	for _, t := range f.seen.Tasks {
		if !known[t.ID] {
			f.out.Killed = append(f.out.Killed, Task{ID: t.ID, Name: t.Name, Host: cmp.Or(f.seen.Agents[t.Agent], t.Agent), Note: f.stray(t)})
		}
	}
	slices.SortFunc(f.out.Killed, func(a, b Task) int { return strings.Compare(a.ID, b.ID) })
}

// missing says what is known of a task that Mesos does not have.
func (f *foresight) missing(t *record.Task) string {
	var notes []string
	if ended := f.seen.Ended[t.Id]; ended != "" {
		notes = append(notes, "ended since, as Mesos remembers: "+strings.ToLower(ended))
	}
	if now, ok := f.after[record.TaskKey(t.Id)].(*record.Task); ok && !now.State.Terminal() {
		notes = append(notes, "its agent is not registered: replaced as its job says of unreachable ones")
	}
	return strings.Join(notes, "; ")
}

// stray says what is known of a task that the backup does not know.
func (f *foresight) stray(t SeenTask) string {
	switch {
	case t.State == core.MesosUnreachable:
		return "its agent is unreachable: killed when that returns"
	case t.Name == "":
		return ""
	}
	job := t.Name[:max(0, strings.LastIndex(t.Name, "/"))]
	if f.before[record.JobKey(job)] == nil {
		return "the backup does not know its job"
	}
	return ""
}

func (f *foresight) started() {
	for key, m := range f.after {
		t, ok := m.(*record.Task)
		if !ok || t.State != record.TaskState_TASK_STATE_PENDING || t.StopAt != 0 {
			continue
		}
		note := ""
		if f.before[key] != nil {
			note = "waited when the backup was made"
		}
		f.out.Started = append(f.out.Started, Task{ID: t.Id, Name: nameOf(t), Note: note})
	}
	slices.SortFunc(f.out.Started, func(a, b Task) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
}

func (f *foresight) crons() {
	crons := map[string]*Cron{}
	for key, m := range f.after {
		r, ok := m.(*record.Run)
		if !ok || r.Instant == 0 || f.before[key] != nil {
			continue
		}
		c := crons[r.Job]
		if c == nil {
			c = &Cron{Job: r.Job}
			crons[r.Job] = c
		}
		switch r.State {
		case record.RunState_RUN_STATE_MISSED:
			c.Missed += max(int(r.Missed), 1)
		case record.RunState_RUN_STATE_SKIPPED:
			c.Skipped++
		default:
			c.Run++
		}
	}
	for _, job := range slices.Sorted(maps.Keys(crons)) {
		f.out.Crons = append(f.out.Crons, *crons[job])
	}
}

func (f *foresight) others() {
	for key, m := range f.after {
		switch m := m.(type) {
		case *record.Rollout:
			if m.Phase != record.RolloutPhase_ROLLOUT_PHASE_KEEPING && f.before[key] != nil {
				phase := strings.ToLower(strings.TrimPrefix(m.Phase.String(), "ROLLOUT_PHASE_"))
				if m.Paused {
					phase = "paused"
				}
				f.out.Deploys = append(f.out.Deploys, Deploy{Job: m.Job, Deploy: m.Deploy, Phase: phase})
			}
		case *record.Webhook:
			if !m.Disabled {
				f.out.Webhooks++
			}
		}
	}
	slices.SortFunc(f.out.Deploys, func(a, b Deploy) int { return strings.Compare(a.Job, b.Job) })
}

// nameOf is a task's name, as Mesos has it too.
func nameOf(t *record.Task) string {
	if t.Run != "" {
		return t.Job + "/" + t.Run
	}
	return t.Job + "/" + strconv.Itoa(int(t.Instance))
}

// Incarnations are those that a state, and what Mesos has, are known to have had:
// a new life is called otherwise.
func Incarnations(s *backup.State, seen *Seen) map[string]bool {
	all := map[string]bool{}
	if c := s.Cluster(); c != nil {
		all[c.Incarnation] = true
		for _, r := range c.Restores {
			all[r.Incarnation] = true
		}
	}
	if seen != nil {
		for _, t := range seen.Tasks {
			all[core.IncarnationOf(t.ID)] = true
		}
		for id := range seen.Ended {
			all[core.IncarnationOf(id)] = true
		}
	}
	return all
}

// Summary is an outlook in a line.
func (o *Outlook) Summary() string {
	return fmt.Sprintf("%d kept, %d killed, %d started", o.Kept, len(o.Killed), len(o.Started))
}
