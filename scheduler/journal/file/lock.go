package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// InUseError says that another process has the journal open.
type InUseError struct {
	Dir string
	PID int // 0 when it is not known
}

func (e *InUseError) Error() string {
	holder := "another process"
	if e.PID > 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("journal %s is in use by %s: stop it, or use another directory", e.Dir, holder)
}

// lock takes the directory for this process until the file is closed, or the process ends however
// it ends. The lock is flock's; the file's content only names the holder.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := take(f, dir, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	// A full disk may refuse the few bytes; the lock holds all the same.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// lockToRead keeps others from writing, and only that, until the file is closed;
// nil where there is no lock, as in a copy.
func lockToRead(dir string) (*os.File, error) {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := take(f, dir, unix.LOCK_SH); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func take(f *os.File, dir string, how int) error {
	err := flock(f, how)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	held := &InUseError{Dir: dir}
	if b, err := os.ReadFile(f.Name()); err == nil {
		held.PID, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	return held
}

// lockPatience is how long a lock may be held by nobody who means it: a process that was forked by
// the last holder, and has not come to its exec yet, or a holder that is just ending.
const (
	lockPatience = 500 * time.Millisecond
	lockInterval = 5 * time.Millisecond
)

func flock(f *os.File, how int) error {
	var err error
	for range lockPatience / lockInterval {
		if err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		time.Sleep(lockInterval) // flock has no event that can be waited for with an end
	}
	return err
}
