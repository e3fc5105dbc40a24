package restore

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

var made = time.Date(2027, 3, 1, 2, 0, 0, 0, time.UTC)

// world is a state that a test makes.
type world struct {
	*testing.T
	*backup.State
}

func begin(t *testing.T) *world {
	w := &world{t, new(backup.State)}
	w.put(record.KeyCluster, &record.Cluster{Incarnation: "abcd", FrameworkId: "f-1", SequenceThrough: 20_000})
	w.put(record.KeyLeader, &record.Leader{Scheduler: "s1"})
	w.put(record.RecorderKey("s1"), &record.Recorder{Address: "s1", Through: 5000})
	return w
}

func (w *world) put(key string, m proto.Message) {
	b, err := proto.Marshal(m)
	require.NoError(w, err)
	w.Put(key, b)
}

// job adds a job with one deploy.
func (w *world) job(name, spec string, change ...func(*record.Job)) string {
	j := &record.Job{Key: name, Deploy: 1, LastDeploy: 1, Stable: 1, Revision: 4, DecidedThrough: made.Unix()}
	for _, c := range change {
		c(j)
	}
	w.put(record.JobKey(name), j)
	w.put(record.DeployKey(name, 1), &record.Deploy{Job: name, Number: 1, State: record.DeployState_DEPLOY_STATE_SUCCEEDED,
		Spec: fmt.Appendf(nil, `{"job":%q,%s,"command":"x","resources":{"cpus":0.1,"memory":"16MiB"}}`, name, spec)})
	return name
}

func (w *world) task(id, job string, state record.TaskState, change ...func(*record.Task)) {
	t := &record.Task{Id: id, Job: job, Deploy: 1, State: state, Agent: "a1", Host: "h1", Attempt: 1}
	for _, c := range change {
		c(t)
	}
	w.put(record.TaskKey(id), t)
}

func instance(n uint32) func(*record.Task) { return func(t *record.Task) { t.Instance = n } }

func (w *world) begun() *backup.State {
	w.Helper()
	after, events, err := Begin(w.State, core.Life{Incarnation: "efgh", At: made.UnixMilli(), By: "ann", Index: 77, MadeAt: made.UnixMilli()})
	require.NoError(w, err)
	require.Len(w, events, 1)
	require.Equal(w, "scheduler.restored", events[0].Type)
	require.NoError(w, backup.Verify(after))
	return after
}

func get[T any, M interface {
	*T
	proto.Message
}](t *testing.T, s *backup.State, key string) M {
	t.Helper()
	m := M(new(T))
	require.NotNil(t, s.Get(key), key)
	require.NoError(t, proto.Unmarshal(s.Get(key), m))
	return m
}

const service = `"kind":"service","instances":3,"ready":{"after":"0s"}`

func TestBegin_ChangesWhatALostLifeMayHaveUsed(t *testing.T) {
	t.Parallel()
	w := begin(t)
	shop := w.job("web/prod/shop", service, func(j *record.Job) { j.Instances, j.LastDeploy = 2, 1 })
	w.task("abcd-000001", shop, record.TaskState_TASK_STATE_RUNNING)
	w.task("abcd-000002", shop, record.TaskState_TASK_STATE_PENDING, instance(1))
	load := w.job("etl/prod/load", `"kind":"batch"`)
	w.put(record.RunKey(load, "r1"), &record.Run{Job: load, Id: "r1", Deploy: 1, State: record.RunState_RUN_STATE_ACTIVE, Task: "abcd-000003"})
	w.task("abcd-000003", load, record.TaskState_TASK_STATE_PENDING, func(t *record.Task) { t.Run = "r1" })
	// Of a newer version: a field of a job, and a kind of records.
	future := protowire.AppendString(protowire.AppendTag(nil, 900, protowire.BytesType), "from the future")
	w.Put(record.JobKey(shop), append(w.Get(record.JobKey(shop)), future...))
	w.Put("zebra/1", []byte{0xff, 0, 7})
	before := w.Clone()

	after := w.begun()
	cluster := after.Cluster()
	require.Equal(t, "efgh", cluster.Incarnation)
	require.Equal(t, "f-1", cluster.FrameworkId)
	require.True(t, cluster.Unsettled)
	require.Greater(t, cluster.SequenceThrough, uint64(1_000_000))
	require.Equal(t, "abcd", cluster.Restores[0].Incarnation)
	require.Nil(t, after.Get(record.KeyLeader))
	require.Nil(t, after.Get(record.RecorderKey("s1")), "what histories have of the lost life is not of this one")
	job := get[record.Job](t, after, record.JobKey(shop))
	require.Equal(t, uint32(200), job.DeployFloor)
	require.Greater(t, job.Revision, uint64(1_000_000))
	require.True(t, bytes.Contains(after.Get(record.JobKey(shop)), []byte("from the future")), "fields of newer versions survive")
	require.Equal(t, []byte{0xff, 0, 7}, after.Get("zebra/1"), "and so do records")
	require.Equal(t, w.Get(record.TaskKey("abcd-000001")), after.Get(record.TaskKey("abcd-000001")), "what runs keeps its id")
	require.Nil(t, after.Get(record.TaskKey("abcd-000002")), "what waits may have been launched under its id since")
	require.Nil(t, after.Get(record.TaskKey("abcd-000003")))
	renamed := get[record.Run](t, after, record.RunKey(load, "r1")).Task
	require.Equal(t, "r1", get[record.Task](t, after, record.TaskKey(renamed)).Run)
	require.Equal(t, "efgh", core.IncarnationOf(renamed))
	for key, value := range before.Records("") {
		require.Equal(t, value, w.Get(key), "the backup's state stays as it is")
	}

	// Another restore, of what was never deployed since, skips further.
	again, _, err := Begin(after, core.Life{Incarnation: "ijkl", At: made.UnixMilli()})
	require.NoError(t, err)
	require.Equal(t, uint32(300), get[record.Job](t, again, record.JobKey(shop)).DeployFloor)
	require.Equal(t, map[string]bool{"abcd": true, "efgh": true, "ijkl": true, "mnop": true},
		Incarnations(again, &Seen{Tasks: []SeenTask{{ID: "mnop-000001"}}}))

	fresh, _, err := Begin(w.State, core.Life{Incarnation: "efgh", NewFramework: true})
	require.NoError(t, err)
	require.Empty(t, fresh.Cluster().FrameworkId)
	w.Delete(record.KeyCluster)
	_, _, err = Begin(w.State, core.Life{Incarnation: "efgh"})
	require.ErrorContains(t, err, `there is no record "cluster"`)
}

func names(tasks []Task) (all []string) {
	for _, t := range tasks {
		all = append(all, t.Name)
	}
	return all
}

func TestForesee_Tasks(t *testing.T) {
	t.Parallel()
	w := begin(t)
	shop := w.job("web/prod/shop", service, func(j *record.Job) { j.Instances = 4 })
	for i := range uint32(4) {
		w.task(fmt.Sprintf("abcd-00000%d", i), shop, record.TaskState_TASK_STATE_RUNNING, instance(i), func(t *record.Task) {
			t.Agent = []string{"a1", "a1", "a2", "gone"}[i]
		})
	}
	load := w.job("etl/prod/load", `"kind":"batch"`)
	w.put(record.RunKey(load, "r1"), &record.Run{Job: load, Id: "r1", Deploy: 1, State: record.RunState_RUN_STATE_ACTIVE, Task: "abcd-00000r"})
	w.task("abcd-00000r", load, record.TaskState_TASK_STATE_RUNNING, func(t *record.Task) { t.Run = "r1" })
	seen := &Seen{
		Agents: map[string]string{"a1": "host1", "a2": "host2"},
		Ended:  map[string]string{"abcd-00000r": "FINISHED"},
		Tasks: []SeenTask{
			{ID: "abcd-000000", Name: "web/prod/shop/0", Agent: "a1", State: core.MesosRunning},
			{ID: "abcd-000002", Name: "web/prod/shop/2", Agent: "a2", State: core.MesosUnreachable},
			{ID: "abcd-00000z", Name: "web/prod/shop/1", Agent: "a2", State: core.MesosRunning},
			{ID: "abcd-00000y", Name: "web/prod/other/0", Agent: "a1", State: core.MesosStaging},
		},
	}
	o, err := Foresee(w.begun(), core.Config{}, seen, made)
	require.NoError(t, err)
	require.Equal(t, 2, o.Kept)
	require.Equal(t, []Task{
		{ID: "abcd-00000y", Name: "web/prod/other/0", Host: "host1", Note: "the backup does not know its job"},
		{ID: "abcd-00000z", Name: "web/prod/shop/1", Host: "host2"}}, o.Killed)
	require.Equal(t, []Task{
		{ID: "abcd-000001", Name: "web/prod/shop/1", Host: "h1"},
		{ID: "abcd-000003", Name: "web/prod/shop/3", Host: "h1", Note: "its agent is not registered: replaced as its job says of unreachable ones"},
		{ID: "abcd-00000r", Name: "etl/prod/load/r1", Host: "h1", Note: "ended since, as Mesos remembers: finished"}}, o.Missing)
	require.Equal(t, []string{"etl/prod/load/r1", "web/prod/shop/1"}, names(o.Started))

	offline, err := Foresee(w.begun(), core.Config{}, nil, made)
	require.NoError(t, err)
	require.Empty(t, offline.Killed)
	require.Empty(t, offline.Started)
}

func TestForesee_CronsDeploysAndTimedActions(t *testing.T) {
	t.Parallel()
	w := begin(t)
	now := made.Add(6*time.Hour + 10*time.Second) // six hours later
	w.job("etl/prod/skips", `"kind":"cron","schedule":{"cron":"0 * * * *","missed":"skip"}`)
	w.job("etl/prod/once", `"kind":"cron","schedule":{"cron":"30 * * * *","missed":"once"}`)
	w.job("etl/prod/all", `"kind":"cron","schedule":{"cron":"15 * * * *","missed":"all","max_missed":4,"overlap":"allow","max_runs":10}`)
	w.job("etl/prod/paused", `"kind":"cron","schedule":{"cron":"0 * * * *"}`, func(j *record.Job) { j.Paused = true })
	scaled := w.job("web/prod/scaled", service, func(j *record.Job) {
		j.Instances = 2
		j.Timed = []*record.Timed{{Action: record.TimedAction_TIMED_ACTION_SCALE, Until: made.Add(time.Hour).UnixMilli(), Instances: 1, By: "ann"}}
	})
	w.task("abcd-000001", scaled, record.TaskState_TASK_STATE_RUNNING)
	w.task("abcd-000002", scaled, record.TaskState_TASK_STATE_RUNNING, instance(1))
	moving := w.job("web/prod/moving", service, func(j *record.Job) { j.Instances = 1 })
	d := get[record.Deploy](t, w.State, record.DeployKey(moving, 1))
	d.State = record.DeployState_DEPLOY_STATE_IN_PROGRESS
	w.put(record.DeployKey(moving, 1), d)
	w.put(record.RolloutKey(moving), &record.Rollout{Job: moving, Deploy: 1, Phase: record.RolloutPhase_ROLLOUT_PHASE_MOVING, StepAt: made.UnixMilli(), ProgressAt: made.UnixMilli()})
	w.put(record.WebhookKey("abcd-00000w"), &record.Webhook{Id: "abcd-00000w", Team: "*", Url: "http://h"})
	seen := &Seen{Agents: map[string]string{"a1": "h1"}, Tasks: []SeenTask{
		{ID: "abcd-000001", Name: "web/prod/scaled/0", Agent: "a1", State: core.MesosRunning},
		{ID: "abcd-000002", Name: "web/prod/scaled/1", Agent: "a1", State: core.MesosRunning}}}
	o, err := Foresee(w.begun(), core.Config{}, seen, now)
	require.NoError(t, err)
	require.Equal(t, []Cron{{Job: "etl/prod/all", Run: 4, Missed: 2}, {Job: "etl/prod/once", Run: 1, Missed: 5},
		{Job: "etl/prod/skips", Run: 1, Missed: 5}}, o.Crons, "06:00 is ten seconds ago: it is on time")
	require.Equal(t, []Deploy{{Job: moving, Deploy: 1, Phase: "moving"}}, o.Deploys)
	require.Equal(t, 1, o.Webhooks)
	require.Equal(t, 1, o.Kept)
	require.Equal(t, []string{"web/prod/scaled/1"}, names(o.Stopped))
	require.Equal(t, "scaled down to 1", o.Stopped[0].Note)
	var types []string
	for _, c := range o.Changes {
		types = append(types, c.Job+" "+c.Type)
	}
	require.Contains(t, types, "web/prod/scaled job.reverted")
}
