package fetch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/devcluster/sandbox"
)

// target is a directory to put files into; nothing gets out of it by a link.
// Everything made in it is the owner's. Modes are subject to the umask.
type target struct {
	root  *os.Root
	owner *sandbox.Owner
	after []func() error // what directories are to be once nothing more is put into them
}

func openTarget(dir string, owner *sandbox.Owner) (*target, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &target{root: root, owner: owner}, nil
}

func (t *target) close() error { return t.root.Close() }

func (t *target) give(name string) error {
	if t.owner == nil {
		return nil
	}
	return t.root.Lchown(name, int(t.owner.UID), int(t.owner.GID))
}

// file makes or replaces the file name, with its directories.
func (t *target) file(name string, mode fs.FileMode, content io.Reader) error {
	if err := t.free(name); err != nil {
		return err
	}
	out, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close(), t.give(name))
}

func (t *target) symlink(name, to string) error {
	if err := t.free(name); err != nil {
		return err
	}
	return errors.Join(t.root.Symlink(to, name), t.give(name))
}

// hardlink links to another file of the target.
func (t *target) hardlink(name, to string) error {
	if err := t.free(name); err != nil {
		return err
	}
	return t.root.Link(to, name)
}

// free makes the directories of name and removes what has that name, unless it
// is a directory.
func (t *target) free(name string) error {
	if err := t.parents(filepath.Dir(name)); err != nil {
		return err
	}
	fi, err := t.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.IsDir():
		return fmt.Errorf("%s is a directory", name)
	}
	return t.root.Remove(name)
}

// parents makes the directory dir with those above it.
func (t *target) parents(dir string) error {
	made := ""
	for name := range strings.SplitSeq(filepath.ToSlash(filepath.Clean(dir)), "/") {
		made = filepath.Join(made, name)
		if err := t.makeDir(made, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) makeDir(name string, mode fs.FileMode) error {
	err := t.root.Mkdir(name, mode.Perm())
	if errors.Is(err, fs.ErrExist) {
		if fi, e := t.root.Stat(name); e == nil && fi.IsDir() {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return t.give(name)
}

// directory makes the directory name; finish gives it its time, and its mode
// where that forbids its owner to put something into it.
func (t *target) directory(name string, mode fs.FileMode, modified time.Time) error {
	if err := t.parents(filepath.Dir(name)); err != nil {
		return err
	}
	if err := t.makeDir(name, mode|0o700); err != nil {
		return err
	}
	t.after = append(t.after, func() error {
		if deny := 0o700 &^ mode.Perm(); deny != 0 {
			fi, err := t.root.Stat(name)
			if err != nil {
				return err
			}
			if err := t.root.Chmod(name, fi.Mode().Perm()&^deny); err != nil {
				return err
			}
		}
		return t.modified(name, modified)
	})
	return nil
}

func (t *target) modified(name string, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	return t.root.Chtimes(name, at, at)
}

// finish ends with the innermost directories first.
func (t *target) finish() error {
	for i := len(t.after) - 1; i >= 0; i-- {
		if err := t.after[i](); err != nil {
			return err
		}
	}
	t.after = nil
	return nil
}
