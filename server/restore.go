package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/mesos"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/restore"
)

// RestoreOptions say what is restored, and where to: the journal, the cluster and
// the Mesos master that the configuration names.
type RestoreOptions struct {
	Config *config.Server
	Log    *slog.Logger
	State  *backup.State // the backup's
	Header backup.Header
	By     string // who restores
	// Replace: a journal that holds something is replaced, and first saved to a
	// backup in the directory SaveTo.
	Replace bool
	SaveTo  string
	// AsCluster: that the backup is another cluster's is meant.
	AsCluster bool
	// NewFramework forgets the framework id, and with it what Mesos runs.
	NewFramework bool
	// Offline: Mesos is not asked.
	Offline bool
	DryRun  bool
	// Confirm is shown what would happen; its error prevents it.
	Confirm func(*RestorePlan) error
}

// RestorePlan is what a restore comes to.
type RestorePlan struct {
	Journal     string        `json:"journal"`
	Cluster     string        `json:"cluster"`
	Backup      backup.Header `json:"backup"`
	Incarnation string        `json:"incarnation"` // of the new life
	Framework   string        `json:"framework,omitempty"`
	Abandoned   string        `json:"abandoned_framework,omitempty"`
	// Replaces is what the journal holds now, SavedTo where that is kept.
	Replaces *backup.Header `json:"replaces,omitempty"`
	SavedTo  string         `json:"saved_to,omitempty"`
	// Unfinished: a restore into the journal was interrupted.
	Unfinished bool             `json:"unfinished,omitempty"`
	Master     string           `json:"mesos_master,omitempty"` // that was asked; "" when none was
	Warnings   []string         `json:"warnings,omitempty"`
	Outlook    *restore.Outlook `json:"outlook"`
	Done       bool             `json:"done"`
}

// RefusedError says why nothing is restored: something is in the way.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &RefusedError{fmt.Sprintf(format, args...) + "; nothing was changed"}
}

// RestoreState restores a backup, all or nothing: until Confirm has agreed nothing
// is changed, and what is interrupted afterwards no scheduler takes for its state.
func RestoreState(ctx context.Context, o RestoreOptions) (*RestorePlan, error) {
	r := restoring{RestoreOptions: o, plan: &RestorePlan{Journal: o.Config.Journal.URL, Cluster: o.Config.Cluster, Backup: o.Header}}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if o.Confirm != nil {
		if err := o.Confirm(r.plan); err != nil {
			return nil, err
		}
	}
	if o.DryRun {
		return r.plan, nil
	}
	if err := r.carryOut(ctx); err != nil {
		return nil, err
	}
	r.plan.Done = true
	return r.plan, nil
}

type restoring struct {
	RestoreOptions
	plan   *RestorePlan
	target target
	held   *backup.State // what the journal holds; nil when it is empty, or unfinished
	next   *backup.State
	events []*record.Event
	seen   *restore.Seen
}

// prepare finds out what would happen.
func (r *restoring) prepare(ctx context.Context) error {
	if err := backup.Verify(r.State); err != nil {
		return fmt.Errorf("no scheduler could go on with this backup: %w", err)
	}
	if of := r.Header.Cluster; of != "" && of != r.Config.Cluster && !r.AsCluster {
		return refuse("the backup is of cluster %q, and the configuration is that of %q: give the one of its scheduler with --config, or say --as-cluster %s if that is meant", of, r.Config.Cluster, r.Config.Cluster)
	}
	r.target = newTarget(r.Config, r.Log)
	if err := r.whatIsThere(ctx); err != nil {
		return err
	}
	if err := r.askMesos(ctx); err != nil {
		return err
	}
	life := core.Life{Incarnation: r.incarnation(), At: time.Now().UnixMilli(), By: r.By, Index: r.State.Index,
		MadeAt: r.Header.At.UnixMilli(), NewFramework: r.NewFramework}
	r.plan.Incarnation = life.Incarnation
	var err error
	if r.next, r.events, err = restore.Begin(r.State, life); err != nil {
		return err
	}
	if framework := r.State.Cluster().GetFrameworkId(); r.NewFramework {
		r.plan.Abandoned = framework
	} else {
		r.plan.Framework = framework
	}
	r.plan.Outlook, err = restore.Foresee(r.next, core.Config{ReplaceAfter: r.Config.Defaults.UnreachableReplaceAfter.Millis(),
		InstancesMost: r.Config.Limits.Instances, PendingMost: r.Config.Limits.Pending}, r.seen, time.Now())
	return err
}

// whatIsThere refuses a journal that is in use, or that holds something.
func (r *restoring) whatIsThere(ctx context.Context) error {
	held, err := r.target.read(ctx)
	var unfinished *journal.UnfinishedError
	switch {
	case errors.As(err, &unfinished):
		r.plan.Unfinished = true
		return nil
	case err != nil:
		return err
	case held == nil || held.Len() == 0:
		return nil
	}
	r.held = held
	h := held.Header(r.Config.Cluster, Version, time.Now().UTC())
	r.plan.Replaces = &h
	if !r.Replace {
		return refuse("%s holds the state of incarnation %s up to entry %d, with %d records: say --replace to put the backup in its place, which is saved first",
			r.Config.Journal.URL, h.Incarnation, h.Index, held.Len())
	}
	r.plan.SavedTo = filepath.Join(r.SaveTo, strings.TrimSuffix(backup.FileName(h), ".backup")+"-replaced.backup")
	return nil
}

// surveyPatience is how long Mesos is asked what it runs.
const surveyPatience = 2 * time.Minute

func (r *restoring) askMesos(ctx context.Context) error {
	framework := r.State.Cluster().GetFrameworkId()
	switch {
	case framework == "":
		r.warn("the backup has no framework id, since it was made before there was one: if anything was launched afterwards, nobody stops it")
		r.seen = &restore.Seen{}
		return nil
	case r.Offline:
		r.warn("Mesos was not asked: what it runs and the backup does not know is killed all the same, and what it does not run is started")
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, surveyPatience)
	defer cancel()
	if _, _, isZooKeeper := strings.Cut(r.Config.Mesos.Master, "zk://"); isZooKeeper {
		asking, cancel = context.WithTimeout(asking, zooKeeperPatience)
		defer cancel()
	}
	secure, err := mesosTLS(r.Config.Mesos)
	if err != nil {
		return err
	}
	s, err := mesos.New(mesos.Options{Master: r.Config.Mesos.Master, Credentials: credentials(r.Config.Mesos), TLS: secure,
		CallTimeout: surveyPatience, Logger: r.Log}).Survey(asking, framework)
	if err != nil {
		return refuse("what Mesos runs is not known: %v. Check mesos.master (%s), or say --offline to restore without a preview", err, r.Config.Mesos.Master)
	}
	r.plan.Master = s.Master
	return r.judge(s, framework)
}

// judge looks at what Mesos says of the framework.
func (r *restoring) judge(s *mesos.Survey, framework string) error {
	switch {
	case r.NewFramework:
		r.warn("the framework %s is abandoned: nobody stops the %d tasks that Mesos runs for it, until its failover timeout is over or it is torn down; all tasks are started again beside them", framework, len(s.Tasks))
		r.seen = &restore.Seen{Agents: map[string]string{}}
		return nil
	case s.Connected:
		return refuse("a scheduler is connected to Mesos as framework %s now, from %s: stop it first; if it has just died, try again in a moment", framework, s.WebUI)
	case s.Removed:
		return refuse("mesos has removed the framework %s, and accepts its id never again; its tasks are gone: say --new-framework", framework)
	}
	if s.Recovered > 0 {
		r.warn("%d agents have not registered with this Mesos master yet, which does not know what they run: better wait until they have", s.Recovered)
	}
	seen := &restore.Seen{Ended: s.Ended, Agents: s.Agents}
	for _, t := range s.Tasks {
		seen.Tasks = append(seen.Tasks, restore.SeenTask{ID: t.ID, Name: t.Name, Agent: t.Agent, State: t.State, Healthy: t.Healthy})
	}
	r.seen = seen
	return nil
}

func (r *restoring) warn(format string, args ...any) {
	r.plan.Warnings = append(r.plan.Warnings, fmt.Sprintf(format, args...))
}

// incarnation is a name that no life is known to have had.
func (r *restoring) incarnation() string {
	taken := restore.Incarnations(r.State, r.seen)
	if r.held != nil {
		for name := range restore.Incarnations(r.held, nil) {
			taken[name] = true
		}
	}
	for {
		if name := newIncarnation(); !taken[name] {
			return name
		}
	}
}

func newIncarnation() string { return strings.ToLower(rand.Text()[:4]) }

// carryOut writes the state. Once the journal is erased an error says that the
// restore has to be repeated.
func (r *restoring) carryOut(ctx context.Context) (err error) {
	j, release, err := r.target.open(ctx, r.held, r.plan.Unfinished)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := r.save(); err != nil {
		return err
	}
	if err = r.write(ctx, j); err != nil {
		err = fmt.Errorf("%w; the restore is not finished, and no scheduler starts with this journal: repeat it", err)
	}
	return err
}

// save makes a backup of what is replaced.
func (r *restoring) save() error {
	if r.held == nil {
		return nil
	}
	err := backup.Save(r.plan.SavedTo, func(out io.Writer) error {
		_, err := backup.Write(out, *r.plan.Replaces, r.held.Records(""))
		return err
	})
	if err != nil {
		return fmt.Errorf("save what is replaced: %w; nothing was changed", err)
	}
	return nil
}

func (r *restoring) write(ctx context.Context, j journal.Restorer) error {
	if err := j.Erase(ctx); err != nil {
		return err
	}
	at, err := j.Lead(ctx, new(backup.State))
	if err != nil {
		return err
	}
	if err := r.appendAll(ctx, j, at); err != nil {
		return err
	}
	written := new(backup.State)
	if _, err := j.Lead(ctx, written); err != nil {
		return fmt.Errorf("read what was written: %w", err)
	}
	if err := same(r.next, written); err != nil {
		return fmt.Errorf("read what was written: %w", err)
	}
	return j.Finish(ctx)
}

// appendAll appends the records, a few hundred kilobytes at a time, and the event
// last.
func (r *restoring) appendAll(ctx context.Context, j journal.Restorer, at journal.Position) error {
	entry := func() *record.Entry { return &record.Entry{At: time.Now().UnixMilli()} }
	next, bytes := entry(), 0
	flush := func() error {
		next.Epoch, next.Index = at.Epoch, at.Index
		group, err := journal.Split(next, journal.MaxEntryBytes)
		if err != nil {
			return err
		}
		if err := j.Append(ctx, group); err != nil {
			for errors.Is(err, journal.ErrUnknown) && ctx.Err() == nil {
				cause := err
				if err = j.Resolve(ctx); err != nil && !errors.Is(err, journal.ErrUnknown) {
					return err
				}
				if err != nil {
					return cause // a full disk, say: the restore is repeated once there is room
				}
			}
			if err != nil {
				return err
			}
		}
		at.Index += uint64(len(group))
		next, bytes = entry(), 0
		return nil
	}
	for key, value := range r.next.Records("") {
		if size := len(key) + len(value) + 16; bytes > 0 && bytes+size > journal.MaxEntryBytes*3/4 {
			if err := flush(); err != nil {
				return err
			}
		}
		next.Puts = append(next.Puts, &record.Put{Key: key, Value: value})
		bytes += len(key) + len(value) + 16
	}
	for _, e := range r.events {
		b, err := proto.Marshal(e)
		if err != nil {
			return err
		}
		next.Events = append(next.Events, b)
	}
	return flush()
}

// same compares what was to be written with what is there.
func same(want, got *backup.State) error {
	if want.Len() != got.Len() {
		return fmt.Errorf("there are %d records where %d were written", got.Len(), want.Len())
	}
	for key, value := range want.Records("") {
		if string(got.Get(key)) != string(value) {
			return fmt.Errorf("record %q is not what was written", key)
		}
	}
	return nil
}

// SaveDir is where what a restore replaces is saved to: beside the backup, or here
// when that comes from elsewhere.
func SaveDir(path string) string {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return filepath.Dir(path)
	}
	return "."
}
