package process

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// fullDisk takes some bytes and then no more, until it is emptied.
type fullDisk struct {
	*os.File
	room int
}

func (d *fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), d.room)
	d.room -= n
	if _, err := d.File.Write(b[:n]); err != nil {
		return 0, err
	}
	if n < len(b) {
		return n, &os.PathError{Op: "write", Path: d.Name(), Err: syscall.ENOSPC}
	}
	return n, nil
}

func newLogFile(t *testing.T, size int64, keep int) (*logFile, string) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	f, err := openLogFile(LogOptions{Dir: root, Owner: Own(), Size: size, Keep: keep}, "stdout")
	require.NoError(t, err)
	return f, dir
}

func read(t *testing.T, parts ...string) string {
	b, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(b)
}

func TestLogFile_FullDiskDropsAndSaysSo(t *testing.T) {
	t.Parallel()
	f, dir := newLogFile(t, 1000, 2)
	disk := &fullDisk{File: f.file.(*os.File), room: 10}
	f.file = disk
	f.write([]byte("0123456789abc"))
	f.write([]byte("lost"))
	disk.room = 1000
	f.write([]byte("back\n"))
	require.NoError(t, f.close())
	require.Equal(t, "0123456789\n[perigee-executor: 7 bytes are missing here: no space left on device]\nback\n", read(t, dir, "stdout"))
}

func TestLogFile_SomethingInTheWayOfARotation(t *testing.T) {
	t.Parallel()
	f, dir := newLogFile(t, 10, 2)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "stdout.1", "full"), 0o755))
	f.write([]byte("first 10.\nsecond\n"))
	require.NoError(t, f.close())
	require.Equal(t, "first 10.\n", read(t, dir, "stdout.1"))
	require.Equal(t, "second\n", read(t, dir, "stdout"))
}

func TestLogFile_LongLinesAreCutToTheBound(t *testing.T) {
	t.Parallel()
	f, dir := newLogFile(t, 4, 3)
	f.write([]byte("aaaabbbbcc"))
	require.NoError(t, f.close())
	require.Equal(t, "aaaa|bbbb|cc", strings.Join([]string{read(t, dir, "stdout.2"), read(t, dir, "stdout.1"), read(t, dir, "stdout")}, "|"))
}

func TestLogFile_KeepOneStartsOver(t *testing.T) {
	t.Parallel()
	f, dir := newLogFile(t, 4, 1)
	f.write([]byte("aaaabb"))
	require.NoError(t, f.close())
	require.Equal(t, "bb", read(t, dir, "stdout"))
	require.NoFileExists(t, filepath.Join(dir, "stdout.1"))
}

func TestLogFile_LastLine(t *testing.T) {
	t.Parallel()
	f, _ := newLogFile(t, 1000, 1)
	f.write([]byte("Traceback:\n"))
	f.write([]byte(strings.Repeat("x", 5000) + "\nImportError: no\n\n"))
	require.Equal(t, "ImportError: no", f.lastLine())
	f.write([]byte(strings.Repeat("y", 300)))
	require.Equal(t, "…"+strings.Repeat("y", 200), f.lastLine())
}
