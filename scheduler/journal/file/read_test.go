package file

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// passed keeps the indices of the groups that were passed.
type passed struct{ indices []uint64 }

func (p *passed) Record(string, []byte) error { return nil }
func (p *passed) Past(group []*record.Entry) error {
	return p.Apply(group)
}
func (p *passed) Apply(group []*record.Entry) error {
	p.indices = append(p.indices, group[0].GetIndex())
	return nil
}

// contents are all files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		all[e.Name()] = string(b)
	}
	return all
}

func TestRead_ChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := Open(dir, Options{})
	require.NoError(t, err)
	at, err := j.Lead(context.Background(), &passed{})
	require.NoError(t, err)
	for range 5 {
		require.NoError(t, j.Append(context.Background(), []*record.Entry{{Epoch: at.Epoch, Index: at.Index, At: 1,
			Puts: []*record.Put{{Key: "a", Value: []byte("b")}}}}))
		at.Index++
	}
	used := new(InUseError)
	require.ErrorAs(t, Read(context.Background(), dir, Options{}, &passed{}), &used)
	require.Equal(t, os.Getpid(), used.PID)
	require.NoError(t, j.Close())

	// A torn write and a leftover stay as they are.
	log, err := os.OpenFile(filepath.Join(dir, "00000001.log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = log.WriteString("half of a frame")
	require.NoError(t, err)
	require.NoError(t, log.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "manifest.tmp"), []byte("x"), 0o600))
	before := contents(t, dir)
	var p passed
	require.NoError(t, Read(context.Background(), dir, Options{}, &p))
	require.Equal(t, []uint64{1, 2, 3, 4, 5}, p.indices)
	require.Equal(t, before, contents(t, dir))

	require.NoError(t, os.Remove(filepath.Join(dir, "lock")), "as in a copy")
	p = passed{}
	require.NoError(t, Read(context.Background(), dir, Options{}, &p))
	require.Len(t, p.indices, 5)
	require.NoFileExists(t, filepath.Join(dir, "lock"))
}

func TestRead_KeepsWritersOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, j.Close())
	held, err := lockToRead(dir)
	require.NoError(t, err)
	_, err = Open(dir, Options{})
	require.ErrorAs(t, err, new(*InUseError))
	require.NoError(t, Read(context.Background(), dir, Options{}, &passed{}), "others may read")
	require.NoError(t, held.Close())
	j, err = Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, j.Close())
}

func TestRead_OfDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, j.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "manifest"), []byte("{}\n"), 0o600))
	corrupt := new(journal.CorruptError)
	require.ErrorAs(t, Read(context.Background(), dir, Options{}, &passed{}), &corrupt)
	require.Equal(t, filepath.Join(dir, "manifest"), corrupt.File)
}
