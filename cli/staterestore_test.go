package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/journal"
	filejournal "github.com/perigee-sched/perigee/scheduler/journal/file"
)

// restoring is a backup and an empty directory for its journal.
func restoring(t *testing.T) (r *recorded, file, dir string, args []string) {
	r = answering(t, nil)
	file = filepath.Join(t.TempDir(), "b.backup")
	require.NoError(t, os.WriteFile(file, encoded(t, stateOf(t)), 0o600))
	dir = filepath.Join(t.TempDir(), "journal")
	return r, file, dir, []string{"state", "restore", file, "--config", os.DevNull, "--journal", "file://" + dir, "--cluster", "north"}
}

func inJournal(t *testing.T, dir string) *backup.State {
	t.Helper()
	s := new(backup.State)
	require.NoError(t, filejournal.Read(t.Context(), dir, filejournal.Options{}, s))
	return s
}

func TestStateRestore_Offline(t *testing.T) {
	t.Parallel()
	r, file, dir, args := restoring(t)
	code, _, errs := r.run(append(args, "--offline")...)
	require.Equal(t, codeUsage, code)
	require.Contains(t, errs, "Restore it? Say --yes: there is no terminal to ask on")
	require.Contains(t, errs, "2027-03-01 02:03:04 UTC of cluster north, incarnation abcd, entry 42")
	require.Contains(t, errs, "warning: Mesos was not asked")
	require.NoDirExists(t, dir, "nothing is made before it is agreed to")
	code, out, errs := r.run(append(args, "--offline", "--dry-run")...)
	require.Zero(t, code, errs)
	require.Contains(t, out, "Nothing was changed.")
	require.NoDirExists(t, dir)

	code, out, errs = r.run(append(args, "--offline", "--yes")...)
	require.Zero(t, code, errs)
	require.Contains(t, out, "Start its schedulers.")
	first := inJournal(t, dir)
	require.NoError(t, backup.Verify(first))
	require.Equal(t, []byte("stripes"), first.Get("zebra/1"), "what this version does not know is restored, too")
	require.NotEqual(t, "abcd", first.Cluster().Incarnation)
	require.Len(t, first.Cluster().Restores, 2, "the one that the backup had been through, and this")

	// What is there is not overwritten unless that is asked for, and saved then.
	code, _, errs = r.run(append(args, "--offline", "--yes")...)
	require.Equal(t, codeConflict, code)
	require.Contains(t, errs, "say --replace")
	code, out, errs = r.run(append(args, "--offline", "--yes", "--replace", "-o", "json")...)
	require.Zero(t, code, errs)
	var told struct {
		SavedTo     string `json:"saved_to"`
		Incarnation string
		Done        bool
	}
	require.NoError(t, json.Unmarshal([]byte(out), &told))
	require.True(t, told.Done)
	require.Equal(t, filepath.Dir(file), filepath.Dir(told.SavedTo), "beside the backup")
	require.Equal(t, told.Incarnation, inJournal(t, dir).Cluster().Incarnation)
	code, out, _ = r.run("state", "inspect", told.SavedTo)
	require.Zero(t, code)
	require.Contains(t, out, first.Cluster().Incarnation)
}

func TestStateRestore_Refusals(t *testing.T) {
	t.Parallel()
	r, file, dir, args := restoring(t)
	for _, wrong := range []struct {
		args []string
		code int
		says string
	}{
		{append(args, "--yes", "--mesos-master", "127.0.0.1:1"), codeConflict, "or say --offline"},
		{append(args, "--yes", "--offline", "--cluster", "south"), codeConflict, `the backup is of cluster "north", and the configuration is that of "south"`},
		{[]string{"state", "restore"}, codeUsage, "accepts 1 arg"},
		{append(args[:2:2], append([]string{filepath.Join(dir, "absent")}, args[3:]...)...), codeInvalid, "no such file"},
	} {
		code, _, errs := r.run(wrong.args...)
		require.Equal(t, wrong.code, code, errs)
		require.Contains(t, errs, wrong.says)
		require.NoDirExists(t, dir)
	}
	for _, cut := range []int{0, 5, 100, 200} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		short := filepath.Join(t.TempDir(), "short")
		require.NoError(t, os.WriteFile(short, content[:cut], 0o600))
		code, _, errs := r.run(append(args[:2:2], append([]string{short, "--yes", "--offline"}, args[3:]...)...)...)
		require.Equal(t, codeInvalid, code, errs)
	}
	j, err := filejournal.Open(dir, filejournal.Options{})
	require.NoError(t, err)
	defer j.Close()
	code, _, errs := r.run(append(args, "--yes", "--offline", "--replace")...)
	require.Equal(t, codeConflict, code)
	require.Contains(t, errs, "is in use by process")
	code, _, errs = r.run(append(args, "--yes", "--offline", "--as-cluster", "south")...)
	require.Equal(t, codeConflict, code, errs)
}

// A disk that becomes full leaves a journal that nobody starts with, and that a
// restore can be repeated into.
func TestStateRestore_FullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("a full disk is a small tmpfs here, and only root may mount one")
	}
	r, file, _, args := restoring(t)
	disk := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("a full disk is a small tmpfs here, which cannot be mounted: %s", out)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	dir := filepath.Join(disk, "journal")
	args = append(args[:len(args):len(args)], "--journal", "file://"+dir, "--offline", "--yes")
	big := stateOf(t)
	big["zebra/2"] = make([]byte, 400<<10)
	require.NoError(t, os.WriteFile(file, encoded(t, big), 0o600))
	code, _, errs := r.run(args...)
	require.Equal(t, codeFailed, code)
	require.Contains(t, errs, "no space left on device")
	require.Contains(t, errs, "the restore is not finished, and no scheduler starts with this journal: repeat it")
	_, err := filejournal.Open(dir, filejournal.Options{})
	require.ErrorAs(t, err, new(*journal.UnfinishedError))
	code, _, errs = r.run("state", "backup", "--journal", "file://"+dir, "--config", os.DevNull, filepath.Join(t.TempDir(), "b"))
	require.Equal(t, codeFailed, code)
	require.Contains(t, errs, "did not end")

	require.NoError(t, os.WriteFile(file, encoded(t, stateOf(t)), 0o600))
	code, _, errs = r.run(args...)
	require.Zero(t, code, errs)
	require.Contains(t, errs, "what an interrupted restore has left")
	require.NoError(t, backup.Verify(inJournal(t, dir)))
}
