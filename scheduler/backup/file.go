package backup

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
)

// FileName is what a backup is called when nobody says another name.
func FileName(h Header) string {
	cluster := h.Cluster
	if cluster == "" {
		cluster = h.Incarnation
	}
	return fmt.Sprintf("perigee-%s-%s.backup", url.PathEscape(cluster), h.At.UTC().Format("20060102T150405Z"))
}

// temporary is the suffix of a file that is not whole yet.
const temporary = ".tmp"

// Save writes a backup to a file, all of it or nothing: under another name, which
// is synced and then renamed. The file is readable by its owner alone. One that is
// there and is no backup is not overwritten.
func Save(path string, write func(io.Writer) error) (err error) {
	if err := replaceable(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path+temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path + temporary) // what is said is why it is not whole
		}
	}()
	err = f.Chmod(0o600) // of one that an earlier attempt left
	if err == nil {
		err = write(f)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(path+temporary, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return err
}

// replaceable says whether a path is free, or holds a backup.
func replaceable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file: name another", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := NewReader(f); errors.Is(err, ErrNotBackup) && info.Size() > 0 {
		return fmt.Errorf("%s is there and is not a backup: it is not overwritten", path)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
