package dev

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// place decides where state is and who runs tasks. Root has tasks run as
// nobody, who must be able to enter the directories of their sandboxes.
func (o *Options) place() error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	o.Dir = dir
	if os.Geteuid() != 0 {
		return nil
	}
	if o.User == "" {
		o.User = "nobody"
	}
	if _, err := user.Lookup(o.User); err != nil {
		return fmt.Errorf("tasks are to run as %s: %w", o.User, err)
	}
	if closed := closedTo(dir); closed != "" {
		sum := sha256.Sum256([]byte(dir))
		o.Dir = filepath.Join("/var/tmp", "perigee-dev-"+hex.EncodeToString(sum[:4]))
		o.Tell(fmt.Sprintf("State is in %s, since tasks run as %s, who may not enter %s.", o.Dir, o.User, closed))
	}
	return nil
}

// shown is a path as a person in the current directory would write it.
func shown(path string) string {
	if here, err := os.Getwd(); err == nil {
		if inside, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(inside, "..") {
			return inside
		}
	}
	return path
}

const lockFile = "lock"

// lock makes the directory and claims it for this process. Closing the file
// gives it free.
func (o *Options) lock() (*os.File, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(o.path(lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another `perigee dev` runs in %s: end it, or give this one another --dir and --api-listen", o.Dir)
	}
	return f, nil
}

// closedTo returns the first directory on the way to dir that other users may
// not enter, "" when there is none.
func closedTo(dir string) string {
	found := ""
	for d := dir; ; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err == nil && info.Mode().Perm()&0o001 == 0 {
			found = d
		}
		if d == filepath.Dir(d) {
			return found
		}
	}
}
