package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

const stateCron = `
job: JOB
kind: cron
command: "true"
resources: {cpus: 0.02, memory: 16MiB, disk: 16MiB}
schedule: {cron: "@every 2s", missed: skip, deadline: 1s}
`

const stateBatch = `
job: JOB
kind: batch
command: exec sleep 3600
resources: {cpus: 0.02, memory: 16MiB, disk: 16MiB}
stop: {grace: 1s}
`

// outlook is what `state restore -o json` tells.
type outlook struct {
	Incarnation string
	SavedTo     string `json:"saved_to"`
	Done        bool
	Outlook     struct {
		Kept                     int
		Killed, Missing, Started []struct{ ID, Name, Note string }
		Crons                    []struct {
			Job         string
			Run, Missed int
		}
	}
}

func TestState_RestoreFromADirectory(t *testing.T) {
	t.Parallel()
	restoreIn(t, "state-file", nil)
}

func TestState_RestoreFromZooKeeper(t *testing.T) {
	t.Parallel()
	require.NoError(t, shared.open())
	server, err := zktest.Start(filepath.Join(built.dir, "zookeeper-state"), zktest.Options{})
	zktest.Require(t, err)
	t.Cleanup(server.Close)
	restoreIn(t, "state-zk", []string{"--journal-url", "zk://" + server.Address + "/state", "--journal-session-timeout", "4s"})
}

// running are the tasks of a framework that Mesos runs: ids by name. A name with
// two is a failure, whenever it is looked.
func (w *world) running(framework string) map[string]string {
	w.Helper()
	var answer struct {
		GetTasks struct {
			Tasks []struct {
				Name        string
				State       string
				TaskID      struct{ Value string } `json:"task_id"`
				FrameworkID struct{ Value string } `json:"framework_id"`
			}
		} `json:"get_tasks"`
	}
	require.NoError(w, shared.operate(map[string]any{"type": "GET_TASKS"}, &answer))
	all := map[string]string{}
	for _, t := range answer.GetTasks.Tasks {
		if t.FrameworkID.Value != framework || !slices.Contains([]string{"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"}, t.State) {
			continue
		}
		require.Empty(w, all[t.Name], "%s runs twice: %s and %s", t.Name, all[t.Name], t.TaskID.Value)
		all[t.Name] = t.TaskID.Value
	}
	return all
}

// restoreIn plays a loss: a backup is made, a lot happens, the scheduler is
// killed, and the backup is restored over what it had written.
func restoreIn(t *testing.T, name string, journal []string) {
	require.NoError(t, shared.open())
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	more := journal
	if journal != nil {
		more = append(slices.Clone(journal), "--new-cluster")
	}
	s, err := shared.startScheduler(ctx, name, more...)
	require.NoError(t, err)
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.End(end, syscall.SIGKILL)
		require.NoError(t, shared.tearDown(name))
	})
	w := see(t, s.url)
	kept, changed, added, batch, tick := w.job("kept"), w.job("changed"), w.job("added"), w.job("batch"), w.job("tick")
	w.must("deploy", w.file("kept", sleeps("v1", atOnce)))
	w.must("deploy", w.file("changed", sleeps("v1", atOnce)))
	w.must("deploy", w.file("batch", stateBatch))
	w.must("deploy", w.file("tick", stateCron))
	run := strings.TrimSpace(w.must("run", batch, "-o", "json"))
	w.await(batch, "the run runs", func() bool { return w.jobNow(batch).Tasks.Running == 1 })
	require.NotEmpty(t, run)
	file := filepath.Join(t.TempDir(), "perigee.backup")
	w.must("state", "backup", file)
	require.Contains(t, w.must("state", "inspect", file, "--verify"), "a scheduler can go on with it")
	framework := frameworkOf(t, w.must("state", "inspect", file, "-o", "json"))
	before := w.running(framework)
	pids := w.processes(kept)

	// A lot happens afterwards.
	w.must("scale", kept, "6")
	w.must("deploy", w.file("changed", sleeps("v2", atOnce)))
	w.must("deploy", w.file("added", sleeps("v1", atOnce)))
	w.must("run", batch)
	w.awaitReady(kept, 6)
	w.await(batch, "another run runs", func() bool { return w.jobNow(batch).Tasks.Running == 2 })
	require.NoError(t, s.End(ctx, syscall.SIGKILL))
	lost := w.running(framework)
	require.Greater(t, len(lost), len(before))

	// The preview tells exactly what is in one and not in the other.
	restore := []string{"state", "restore", file, "--config", os.DevNull, "--mesos-master", shared.master, "-o", "json"}
	if journal == nil {
		restore = append(restore, "--journal", "file://"+filepath.Join(built.dir, "journal-"+name))
	} else {
		restore = append(restore, journal...)
	}
	refused := w.cli(append(restore, "--yes")...)
	require.Equal(t, 5, refused.code, refused.errors)
	require.Contains(t, refused.errors, "--replace")
	var plan outlook
	require.NoError(t, json.Unmarshal([]byte(w.must(append(restore, "--replace", "--dry-run")...)), &plan))
	require.False(t, plan.Done)
	var strays, missing, killed, gone []string
	for name, id := range lost {
		if before[name] != id && !strings.HasPrefix(name, tick) {
			strays = append(strays, id)
		}
	}
	for name, id := range before {
		if lost[name] != id && !strings.HasPrefix(name, tick) {
			missing = append(missing, id)
		}
	}
	for _, k := range plan.Outlook.Killed {
		if !strings.HasPrefix(k.Name, tick) {
			killed = append(killed, k.ID)
		}
		require.Equal(t, strings.HasPrefix(k.Name, added), k.Note == "the backup does not know its job", k.Name)
	}
	for _, m := range plan.Outlook.Missing {
		if !strings.HasPrefix(m.Name, tick) {
			gone = append(gone, m.ID)
		}
	}
	require.ElementsMatch(t, strays, killed)
	require.ElementsMatch(t, missing, gone)
	require.Len(t, gone, 4, "all of what was deployed anew")
	require.Equal(t, 5, plan.Outlook.Kept, "the four that are kept, and the run")
	require.GreaterOrEqual(t, plan.Outlook.Crons[0].Missed, 1, "instants passed, and are skipped when missed")

	// Another attempt is interrupted by bad input, which changes nothing; then it is done.
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	short := filepath.Join(t.TempDir(), "short.backup")
	require.NoError(t, os.WriteFile(short, content[:len(content)-40], 0o600))
	truncated := w.cli(append(slices.Replace(slices.Clone(restore), 2, 3, short), "--replace", "--yes")...)
	require.Equal(t, 3, truncated.code, truncated.errors)
	require.Contains(t, truncated.errors, "the backup is truncated")
	require.NoError(t, json.Unmarshal([]byte(w.must(append(restore, "--replace", "--yes")...)), &plan))
	require.True(t, plan.Done)
	require.Contains(t, w.must("state", "inspect", plan.SavedTo), added, "what was replaced is saved")

	require.NoError(t, s.start(ctx, strings.TrimPrefix(s.url, "http://")))
	w.await(changed, "Mesos runs what the backup wants, each once", func() bool {
		now := w.running(framework)
		want := len(before)
		for name := range before {
			if strings.HasPrefix(name, tick) {
				want--
			}
		}
		have := 0
		for name := range now {
			if !strings.HasPrefix(name, tick) {
				have++
			}
		}
		return have == want && w.jobNow(changed).Tasks.Ready == 4 && len(missingOf(now, missing)) == 0 && !anyOf(now, strays)
	})
	now := w.running(framework)
	for name, id := range before {
		switch {
		case strings.HasPrefix(name, kept), strings.HasPrefix(name, batch):
			require.Equal(t, id, now[name], "%s goes on", name)
		case strings.HasPrefix(name, changed):
			require.True(t, strings.HasPrefix(now[name], plan.Incarnation+"-"), "%s is %s", name, now[name])
		}
	}
	require.Equal(t, pids, w.processes(kept), "its processes are the same")
	require.NotEqual(t, 0, w.cli("status", added).code, "the backup does not know it")
	require.Contains(t, w.must("events", "--type", "scheduler.*"), "settled")
}

func missingOf(now map[string]string, ids []string) (there []string) {
	for _, id := range now {
		if slices.Contains(ids, id) {
			there = append(there, id)
		}
	}
	return there
}

func anyOf(now map[string]string, ids []string) bool { return len(missingOf(now, ids)) > 0 }

func frameworkOf(t *testing.T, text string) string {
	t.Helper()
	var told struct{ Framework string }
	require.NoError(t, json.Unmarshal([]byte(text), &told))
	require.NotEmpty(t, told.Framework)
	return told.Framework
}

// processes are those of a job's tasks, by task, as the system has them.
func (w *world) processes(job string) map[string]int {
	w.Helper()
	all := map[string]int{}
	entries, err := os.ReadDir("/proc")
	require.NoError(w, err)
	for _, e := range entries {
		environ, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !bytes.Contains(environ, []byte("PERIGEE_JOB="+job+"\x00")) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if !bytes.HasPrefix(args, []byte("sleep")) {
			continue
		}
		for _, v := range bytes.Split(environ, []byte{0}) {
			if task, ok := bytes.CutPrefix(v, []byte("PERIGEE_TASK=")); ok {
				pid := 0
				require.NoError(w, json.Unmarshal([]byte(e.Name()), &pid))
				all[string(task)] = pid
				require.True(w, program.Alive(pid))
			}
		}
	}
	return all
}
