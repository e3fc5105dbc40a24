package server_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/restore"
	"github.com/perigee-sched/perigee/server"
)

const forEver = `"kind":"service","command":"./serve","resources":{"cpus":0.1,"memory":"64MiB"},"ready":{"after":"0s"},"instances":`

// serves deploys a service whose tasks run for ever, and waits until all serve.
func (p *process) serves(job, instances string) {
	p.Helper()
	spec, err := api.DecodeSpec([]byte(`{"job":"` + job + `",` + forEver + instances + `}`))
	require.NoError(p, err)
	_, err = p.PutJob(context.Background(), spec, client.PutOptions{})
	require.NoError(p, err)
	p.ready(job, *spec.Instances)
}

func (p *process) ready(job string, n int) {
	p.Helper()
	p.eventually(job+" is ready", func() bool {
		j, err := p.Job(context.Background(), job)
		return err == nil && j.Tasks.Ready == n && j.Tasks.Pending+j.Tasks.Starting+j.Tasks.Stopping == 0
	})
}

// live are the ids of a job's tasks that are not over.
func (p *process) live(job string) []string {
	p.Helper()
	page, err := p.Tasks(context.Background(), client.TaskFilter{Job: job, Limit: 1000})
	require.NoError(p, err)
	var ids []string
	for _, t := range page.Items {
		ids = append(ids, t.ID)
	}
	slices.Sort(ids)
	return ids
}

func restoreOptions(s *several, state *backup.State, h backup.Header) server.RestoreOptions {
	return server.RestoreOptions{Config: s.config(zooKeeper.Server(s).Address), Log: slog.New(slog.DiscardHandler),
		State: state, Header: h, By: "ann", SaveTo: s.TempDir()}
}

func ids(tasks []restore.Task) []string {
	var all []string
	for _, t := range tasks {
		all = append(all, t.ID)
	}
	slices.Sort(all)
	return all
}

// A backup is restored after more was launched, replaced and ended: what would
// happen is told exactly, and happens.
func TestRestore_InZooKeeper(t *testing.T) {
	t.Parallel()
	s := beginLasting(t, 2, 0)
	leader, _ := s.leader(s.all...)
	ctx := context.Background()
	leader.serves("web/prod/kept", "3")
	leader.serves("web/prod/replaced", "2")
	state, h := leader.backUp(0)
	kept, before := leader.live("web/prod/kept"), leader.live("web/prod/replaced")

	_, err := leader.KillTask(ctx, before[0], "", client.WriteOptions{})
	require.NoError(t, err)
	leader.eventually("it is replaced", func() bool { return !slices.Contains(leader.live("web/prod/replaced"), before[0]) })
	leader.ready("web/prod/replaced", 2)
	leader.serves("web/prod/new", "2")
	strays := append(leader.live("web/prod/new"), leader.live("web/prod/replaced")...)
	strays = slices.DeleteFunc(strays, func(id string) bool { return id == before[1] })
	slices.Sort(strays)
	require.Len(t, strays, 3)
	old, err := leader.Events(ctx, client.EventFilter{})
	require.NoError(t, err)
	old.Close()

	// While schedulers live nothing is restored.
	o := restoreOptions(s, state, h)
	o.Replace = true
	impatient, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = server.RestoreState(impatient, o)
	require.Error(t, err)
	for _, p := range s.all {
		require.NoError(t, p.end())
	}
	o.Replace = false
	_, err = server.RestoreState(ctx, o)
	require.ErrorContains(t, err, "say --replace")
	require.ErrorAs(t, err, new(*server.RefusedError))

	// What would happen is told, and nothing is changed.
	o.Replace, o.DryRun = true, true
	plan, err := server.RestoreState(ctx, o)
	require.NoError(t, err)
	require.Equal(t, strays, ids(plan.Outlook.Killed))
	require.Equal(t, before[:1], ids(plan.Outlook.Missing))
	require.Equal(t, 4, plan.Outlook.Kept)
	require.Len(t, plan.Outlook.Started, 1)
	require.Equal(t, "web/prod/replaced/0", plan.Outlook.Started[0].Name)
	for _, task := range plan.Outlook.Killed {
		if strings.HasPrefix(task.Name, "web/prod/new/") {
			require.Equal(t, "the backup does not know its job", task.Note)
		}
	}
	require.NoFileExists(t, plan.SavedTo)
	var refusal = errors.New("no")
	o.DryRun, o.Confirm = false, func(*server.RestorePlan) error { return refusal }
	_, err = server.RestoreState(ctx, o)
	require.ErrorIs(t, err, refusal)
	lost, _, err := server.ReadState(ctx, o.Config, o.Log)
	require.NoError(t, err)
	require.NotNil(t, lost.Get("job/web/prod/new"), "it is as it was")

	o.Confirm = nil
	plan, err = server.RestoreState(ctx, o)
	require.NoError(t, err)
	require.True(t, plan.Done)
	require.NotEqual(t, h.Incarnation, plan.Incarnation)
	f, err := os.Open(plan.SavedTo)
	require.NoError(t, err)
	defer f.Close()
	saved, _, _, err := backup.Read(f)
	require.NoError(t, err)
	require.Equal(t, asText(lost), asText(saved), "what was replaced is saved")

	// The first scheduler does what was told.
	again := s.start()
	s.leader(again)
	again.eventually("what Mesos does not have is known to be gone", func() bool { return !slices.Contains(again.live("web/prod/replaced"), before[0]) })
	again.ready("web/prod/kept", 3)
	again.ready("web/prod/replaced", 2)
	require.Equal(t, kept, again.live("web/prod/kept"), "what runs goes on under its id")
	now := again.live("web/prod/replaced")
	require.Contains(t, now, before[1])
	for _, id := range now {
		require.True(t, id == before[1] || core.IncarnationOf(id) == plan.Incarnation, id)
	}
	_, err = again.Job(ctx, "web/prod/new")
	require.Error(t, err)
	again.eventually("Mesos runs what the state says, and nothing else", func() bool {
		survey := s.survey(h.Framework)
		running := append(again.live("web/prod/kept"), again.live("web/prod/replaced")...)
		slices.Sort(running)
		return slices.Equal(running, survey)
	})

	// Consumers of events of the lost life are told to begin anew.
	stream, err := again.Events(ctx, client.EventFilter{After: h.Incarnation + "-1-0"})
	var problem *api.Problem
	if err == nil {
		_, err = stream.Next(ctx)
		stream.Close()
	}
	require.ErrorAs(t, err, &problem)
	require.Equal(t, 410, problem.Status)
	require.True(t, strings.HasPrefix(problem.Errors[0].Value.(string), plan.Incarnation+"-"), problem)
	all, err := again.Events(ctx, client.EventFilter{After: problem.Errors[0].Value.(string)})
	require.NoError(t, err)
	defer all.Close()
	first, err := all.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, "dev.perigee.scheduler.restored", first.Type)

	// A number that the lost life may have given to a deploy is not given again.
	w, err := again.StartDeploy(ctx, &api.DeployRequest{Spec: specOf(t, "web/prod/kept", `{"kind":"service","command":"./other","resources":{"cpus":0.1,"memory":"64MiB"},"ready":{"after":"0s"},"instances":3}`)}, client.WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, uint32(201), w.Number)
}

// survey is what Mesos runs of a framework.
func (s *several) survey(framework string) []string {
	s.Helper()
	survey, err := surveyOf(s.master, framework)
	require.NoError(s, err)
	var ids []string
	for _, t := range survey.Tasks {
		ids = append(ids, t.ID)
	}
	slices.Sort(ids)
	return ids
}

func specOf(t *testing.T, job, text string) *api.Spec {
	t.Helper()
	spec, err := api.DecodeSpec([]byte(`{"job":"` + job + `",` + text[1:]))
	require.NoError(t, err)
	return spec
}

func TestRestore_Refusals(t *testing.T) {
	t.Parallel()
	s := beginLasting(t, 1, 0)
	leader, _ := s.leader(s.all...)
	leader.serves("web/prod/kept", "1")
	state, h := leader.backUp(0)
	ctx := context.Background()
	elsewhere := func() server.RestoreOptions {
		o := restoreOptions(s, state, h)
		o.Config.Journal.URL = "file://" + filepath.Join(t.TempDir(), "journal")
		return o
	}

	// The framework is in use.
	o := elsewhere()
	_, err := server.RestoreState(ctx, o)
	require.ErrorContains(t, err, "a scheduler is connected to Mesos as framework "+h.Framework)
	require.NoDirExists(t, o.Config.Journal.Dir())
	// Another cluster's.
	o = elsewhere()
	o.Config.Cluster = "south"
	_, err = server.RestoreState(ctx, o)
	require.ErrorContains(t, err, `the backup is of cluster "three"`)
	require.ErrorContains(t, err, "--as-cluster south")
	// No Mesos.
	o = elsewhere()
	o.Config.Mesos.Master = "127.0.0.1:1"
	_, err = server.RestoreState(ctx, o)
	require.ErrorContains(t, err, "say --offline")
	// Somebody has the journal.
	require.NoError(t, leader.end())
	o = elsewhere()
	o.Offline, o.Config.Mesos.Master = true, "127.0.0.1:1"
	plan, err := server.RestoreState(ctx, o)
	require.NoError(t, err)
	require.True(t, plan.Done)
	require.Contains(t, plan.Warnings[0], "Mesos was not asked")
	o.Replace = true
	plan, err = server.RestoreState(ctx, o)
	require.NoError(t, err)
	require.FileExists(t, plan.SavedTo)

	// With another cluster's name, and a framework of its own.
	o = elsewhere()
	o.Config.Cluster, o.AsCluster, o.NewFramework = "south", true, true
	plan, err = server.RestoreState(ctx, o)
	require.NoError(t, err)
	require.Equal(t, h.Framework, plan.Abandoned)
	require.Len(t, plan.Outlook.Missing, 1)
	restored, _, err := server.ReadState(ctx, o.Config, o.Log)
	require.NoError(t, err)
	require.Empty(t, restored.Cluster().FrameworkId)
	require.Len(t, restored.Cluster().Restores, 1)
	require.Equal(t, "ann", restored.Cluster().Restores[0].By)
}
