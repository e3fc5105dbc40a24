package backup

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func save(path string, h Header, records map[string][]byte) error {
	return Save(path, func(out io.Writer) error {
		_, err := Write(out, h, sorted(records))
		return err
	})
}

func TestSave_IsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b")
	h, records := sample(20)
	require.NoError(t, os.WriteFile(path+temporary, []byte("left by a crash"), 0o666))
	require.NoError(t, save(path, h, records))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.NoFileExists(t, path+temporary)
	require.NoError(t, save(path, h, records), "a backup is replaced")
}

func TestSave_LeavesWhatItIsNotSureOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h, records := sample(20)
	precious := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(precious, []byte("not a backup"), 0o600))
	require.ErrorContains(t, save(precious, h, records), "is not a backup: it is not overwritten")
	kept, err := os.ReadFile(precious)
	require.NoError(t, err)
	require.Equal(t, "not a backup", string(kept))
	require.ErrorContains(t, save(dir, h, records), "is not a file")
	path := filepath.Join(dir, "b")
	require.NoError(t, save(path, h, records))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	broken := errors.New("the connection broke")
	require.ErrorIs(t, Save(path, func(out io.Writer) error {
		_, err := out.Write(before[:100])
		return errors.Join(err, broken)
	}), broken)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after, "the backup before stays when the next fails")
	require.NoFileExists(t, path+temporary)
}

// A disk that becomes full leaves nothing that could be taken for a backup.
func TestSave_FullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("a full disk is a small tmpfs here, and only root may mount one")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a full disk is a small tmpfs here, which cannot be mounted: %s", out)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	path := filepath.Join(dir, "b")
	h, records := sample(1)
	require.NoError(t, save(path, h, records))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	h, records = sample(100)
	require.ErrorIs(t, save(path, h, records), unix.ENOSPC)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "only the backup before is there")
}
