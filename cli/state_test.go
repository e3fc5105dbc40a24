package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/backup"
	filejournal "github.com/perigee-sched/perigee/scheduler/journal/file"
	records "github.com/perigee-sched/perigee/scheduler/record"
)

// stateOf is a state with a job, a record that nobody knows among them.
func stateOf(t *testing.T) map[string][]byte {
	t.Helper()
	const job = "web/devel/hello"
	state := map[string][]byte{"zebra/1": []byte("stripes")}
	put := func(key string, m proto.Message) {
		b, err := proto.Marshal(m)
		require.NoError(t, err)
		state[key] = b
	}
	put(records.KeyCluster, &records.Cluster{Incarnation: "abcd", FrameworkId: "f-1", CreatedAt: 1_800_000_000_000,
		Restores: []*records.Restored{{Incarnation: "aaaa", Index: 7, MadeAt: 1_700_000_000_000, At: 1_700_000_600_000, By: "ann"}}})
	put(records.JobKey(job), &records.Job{Key: job, Deploy: 1, LastDeploy: 1, Instances: 2, CreatedAt: 1_800_000_001_000})
	put(records.DeployKey(job, 1), &records.Deploy{Job: job, Number: 1, State: records.DeployState_DEPLOY_STATE_SUCCEEDED,
		Spec: []byte(`{"job":"web/devel/hello","kind":"service","command":"./hello","instances":2,"resources":{"cpus":0.1,"memory":"16MiB"}}`)})
	for i := range uint32(2) {
		id := fmt.Sprintf("abcd-00000%d", i)
		timeline, err := proto.Marshal(&records.Timeline{Moments: []*records.Moment{{At: 1, Message: "placed"}}})
		require.NoError(t, err)
		put(records.TaskKey(id), &records.Task{Id: id, Job: job, Deploy: 1, Instance: i, State: records.TaskState_TASK_STATE_RUNNING,
			CreatedAt: 1_800_000_002_000, StateAt: 1_800_000_003_000, Timeline: timeline, Agent: "a", Host: "h"})
	}
	return state
}

func encoded(t *testing.T, state map[string][]byte) []byte {
	t.Helper()
	keys := slices.Sorted(maps.Keys(state))
	h := backup.Header{Cluster: "north", Incarnation: "abcd", Framework: "f-1", Index: 42, Epoch: 3, Program: "1.2.3",
		At: time.Date(2027, 3, 1, 2, 3, 4, 0, time.UTC), Records: backup.CountKinds(slices.Values(keys))}
	var b bytes.Buffer
	_, err := backup.Write(&b, h, func(yield func(string, []byte) bool) {
		for _, key := range keys {
			if !yield(key, state[key]) {
				return
			}
		}
	})
	require.NoError(t, err)
	return b.Bytes()
}

func TestStateBackup_Live(t *testing.T) {
	t.Parallel()
	whole := encoded(t, stateOf(t))
	r := answering(t, map[string]any{"GET /v1/state/backup": string(whole)})
	path := filepath.Join(t.TempDir(), "b")
	code, out, errs := r.run("state", "backup", path, "--min-index", "40")
	require.Zero(t, code, errs)
	require.Contains(t, r.asked, "GET /v1/state/backup?min_index=40")
	require.Contains(t, out, path+": 6 records, entry 42 of incarnation abcd")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, whole, got)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	code, out, _ = r.run("state", "backup", "-")
	require.Zero(t, code)
	require.Equal(t, string(whole), out)

	code, out, _ = r.run("state", "backup", path, "-o", "json")
	require.Zero(t, code)
	var told map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &told))
	require.Equal(t, path, told["file"])
	require.EqualValues(t, len(whole), told["size"])
	require.EqualValues(t, 42, told["index"])
}

// What breaks off, or is something else, never becomes a file, nor ends well.
func TestStateBackup_ThatBreaksOff(t *testing.T) {
	t.Parallel()
	whole := encoded(t, stateOf(t))
	for _, wrong := range []struct{ sent, says string }{
		{string(whole[:len(whole)-10]), "the backup is truncated"},
		{"<html>a proxy</html>", "this is not a backup of Perigee"},
	} {
		r := answering(t, map[string]any{"GET /v1/state/backup": wrong.sent})
		path := filepath.Join(t.TempDir(), "b")
		code, _, errs := r.run("state", "backup", path)
		require.Equal(t, codeFailed, code)
		require.Contains(t, errs, "what "+r.url+" sends: "+wrong.says)
		left, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Empty(t, left)
		code, _, _ = r.run("state", "backup", "-")
		require.Equal(t, codeFailed, code)
	}
}

func TestStateInspect(t *testing.T) {
	t.Parallel()
	r := answering(t, nil)
	path := filepath.Join(t.TempDir(), "b")
	require.NoError(t, os.WriteFile(path, encoded(t, stateOf(t)), 0o600))
	code, out, errs := r.run("state", "inspect", path, "--verify")
	require.Zero(t, code, errs)
	for _, part := range []string{"north", "42 of epoch 3", "2027-03-01 02:03:04 UTC by perigee 1.2.3", "2 live tasks: 2 running",
		"2027-01-15 08:00:00 UTC to 2027-01-15 08:00:03 UTC", "from entry 7 of incarnation aaaa, a backup of 2023-11-14 22:13:20 UTC, by ann",
		"a scheduler can go on with it", "not known to this version, and kept as it is"} {
		require.Contains(t, out, part)
	}
	require.Regexp(t, `web/devel/hello +service +2 +1 +2 +0 +-`, out)
	require.Regexp(t, `task +2 +\d+B`, out)

	code, out, _ = r.run("state", "inspect", path, "-o", "json")
	require.Zero(t, code)
	var told struct {
		Cluster, SHA256 string
		Jobs            []backup.Job
		Tasks           map[string]int
	}
	require.NoError(t, json.Unmarshal([]byte(out), &told))
	require.Equal(t, "north", told.Cluster)
	require.Len(t, told.SHA256, 64)
	require.Equal(t, map[string]int{"running": 2}, told.Tasks)
	require.Equal(t, uint32(2), told.Jobs[0].Instances)

	code, out, _ = r.run("state", "inspect", path, "--records", "task/")
	require.Zero(t, code)
	require.Equal(t, 2, strings.Count(out, "\n"))
	require.Contains(t, out, `{"key":"task/abcd-000000","record":{`)
	require.Contains(t, out, `"message":"placed"`, "timelines are decoded")
	_, out, _ = r.run("state", "inspect", path, "--records", "deploy/")
	require.Contains(t, out, `"spec":{"job":"web/devel/hello"`, "and so are specs")
	_, out, _ = r.run("state", "inspect", path, "--records", "zebra/")
	require.Contains(t, out, `{"key":"zebra/1","unknown":"c3RyaXBlcw=="}`)
}

func TestStateInspect_OfWhatIsWrong(t *testing.T) {
	t.Parallel()
	r := answering(t, nil)
	whole := encoded(t, stateOf(t))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 4
	incomplete := stateOf(t)
	delete(incomplete, records.DeployKey("web/devel/hello", 1))
	noCluster := stateOf(t)
	delete(noCluster, records.KeyCluster)
	garbled := stateOf(t)
	garbled["task/abcd-000000"] = []byte{0xff}
	for _, wrong := range []struct {
		content []byte
		says    string
	}{
		{nil, "this is not a backup of Perigee: it is empty"},
		{[]byte("PK\x03\x04"), `this is not a backup of Perigee: it begins with "PK\x03\x04"`},
		{whole[:len(whole)-1], "the backup is truncated: it ends at byte"},
		{flipped, "the backup is damaged at byte"},
		{encoded(t, incomplete), "no scheduler could go on with this state: job web/devel/hello wants deploy 1, which is missing"},
		{encoded(t, noCluster), `there is no record "cluster"`},
		{encoded(t, garbled), `decode record "task/abcd-000000"`},
	} {
		path := filepath.Join(t.TempDir(), "b")
		require.NoError(t, os.WriteFile(path, wrong.content, 0o600))
		code, out, errs := r.run("state", "inspect", path, "--verify")
		require.Equal(t, codeInvalid, code, "%s%s", out, errs)
		require.Contains(t, errs, wrong.says)
	}
	code, _, errs := r.run("state", "inspect", filepath.Join(t.TempDir(), "absent"))
	require.Equal(t, codeInvalid, code)
	require.Contains(t, errs, "no such file")
	for _, args := range [][]string{{}, {"b", "--journal", "file:///x"}} {
		code, _, errs = r.run(append([]string{"state", "inspect"}, args...)...)
		require.Equal(t, codeUsage, code)
		require.Contains(t, errs, "name a FILE, or a journal with --journal")
	}
	code, _, errs = r.run("state", "inspect", "--journal", "ftp://x")
	require.Equal(t, codeInvalid, code)
	require.Contains(t, errs, "journal.url")
}

// A journal that no scheduler has open is read as it is.
func TestState_OfAJournal(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := filejournal.Open(dir, filejournal.Options{})
	require.NoError(t, err)
	at, err := j.Lead(t.Context(), new(backup.State))
	require.NoError(t, err)
	entry := &records.Entry{Epoch: at.Epoch, Index: at.Index, At: 1}
	for key, value := range stateOf(t) {
		entry.Puts = append(entry.Puts, &records.Put{Key: key, Value: value})
	}
	require.NoError(t, j.Append(t.Context(), []*records.Entry{entry}))
	r := answering(t, nil)
	code, _, errs := r.run("state", "backup", "--journal", "file://"+dir, "-", "--config", os.DevNull)
	require.Equal(t, codeFailed, code)
	require.Contains(t, errs, fmt.Sprintf("in use by process %d", os.Getpid()))
	require.Contains(t, errs, "While its scheduler lives, ask that: without --journal")
	require.NoError(t, j.Close())

	code, out, errs := r.run("state", "backup", "--journal", "file://"+dir, "-", "--config", os.DevNull, "--cluster", "south")
	require.Zero(t, code, errs)
	state, h, _, err := backup.Read(strings.NewReader(out))
	require.NoError(t, err)
	require.Equal(t, "south", h.Cluster)
	require.Equal(t, uint64(1), h.Index)
	for key, value := range stateOf(t) {
		require.Equal(t, value, state.Get(key), key)
	}
	code, out, errs = r.run("state", "inspect", "--journal", "file://"+dir, "--config", os.DevNull)
	require.Zero(t, code, errs)
	require.Contains(t, out, "2 live tasks: 2 running")
}
