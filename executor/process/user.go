package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is whom a process runs as.
type User struct {
	Name   string
	UID    uint32
	GID    uint32
	Groups []uint32 // supplementary
}

// Own returns the executor's own user.
func Own() User {
	u := User{Name: strconv.Itoa(os.Getuid()), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if known, err := user.LookupId(u.Name); err == nil {
		u.Name = known.Username
	}
	return u
}

// IsOwn says whether u is the executor's own user.
func (u User) IsOwn() bool { return int(u.UID) == os.Getuid() }

// credential is nil when nothing has to be changed, since only root may change
// anything.
func (u User) credential() *syscall.Credential {
	if u.IsOwn() {
		return nil
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
}

// LookUp finds a user of this machine by name. Where /etc/passwd does not know
// it, id(1) is asked: it sees users of LDAP and the like, which a program that
// is not linked with the C library does not.
func (c *Children) LookUp(ctx context.Context, name string) (User, error) {
	u, err := lookUpFiles(name)
	var unknown user.UnknownUserError
	if err == nil || !errors.As(err, &unknown) {
		return u, err
	}
	if strings.HasPrefix(name, "-") {
		return User{}, fmt.Errorf("there is no user %q on this agent", name)
	}
	ids := map[string][]uint32{}
	for _, flag := range []string{"-u", "-g", "-G"} {
		id := Command{Args: []string{"/usr/bin/id", flag, name}, Dir: "/", User: Own()}
		exit, out, err := c.Output(ctx, id, 64<<10)
		if err != nil || !exit.OK() {
			return User{}, fmt.Errorf("there is no user %q on this agent", name)
		}
		if ids[flag], err = parseIDs(strings.Fields(string(out))); err != nil || len(ids[flag]) == 0 {
			return User{}, fmt.Errorf("look up user %q: id %s said %q", name, flag, out)
		}
	}
	return User{Name: name, UID: ids["-u"][0], GID: ids["-g"][0], Groups: ids["-G"]}, nil
}

func lookUpFiles(name string) (User, error) {
	known, err := user.Lookup(name)
	if err != nil {
		return User{}, fmt.Errorf("look up user %q: %w", name, err)
	}
	groups, err := known.GroupIds()
	if err != nil {
		return User{}, fmt.Errorf("look up the groups of user %q: %w", name, err)
	}
	ids, err := parseIDs(append([]string{known.Uid, known.Gid}, groups...))
	if err != nil {
		return User{}, fmt.Errorf("look up user %q: %w", name, err)
	}
	return User{Name: name, UID: ids[0], GID: ids[1], Groups: ids[2:]}, nil
}

func parseIDs(words []string) ([]uint32, error) {
	ids := make([]uint32, len(words))
	for i, w := range words {
		n, err := strconv.ParseUint(w, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("bad id %q: %w", w, err)
		}
		ids[i] = uint32(n)
	}
	return ids, nil
}

// Open opens a regular file for reading with the rights of u, so that a job
// cannot have root read for it what its user may not.
func (u User) Open(path string) (*os.File, error) {
	if u.IsOwn() {
		return openRegular(path)
	}
	type opened struct {
		file *os.File
		err  error
	}
	result := make(chan opened)
	go func() {
		// File system ids and groups are a thread's. This one is never
		// unlocked, so that it ends with the goroutine, and no other goroutine
		// ever runs with its rights.
		runtime.LockOSThread()
		file, err := u.openOnThread(path)
		result <- opened{file, err}
	}()
	r := <-result
	return r.file, r.err
}

func (u User) openOnThread(path string) (*os.File, error) {
	groups := make([]int, len(u.Groups))
	for i, g := range u.Groups {
		groups[i] = int(g)
	}
	if err := unix.Setgroups(groups); err != nil {
		return nil, fmt.Errorf("take the groups of %s: %w", u.Name, err)
	}
	if _, err := unix.SetfsgidRetGid(int(u.GID)); err != nil {
		return nil, fmt.Errorf("take the group of %s: %w", u.Name, err)
	}
	if _, err := unix.SetfsuidRetUid(int(u.UID)); err != nil {
		return nil, fmt.Errorf("take the rights of %s: %w", u.Name, err)
	}
	// setfsuid reports no refusal; a second call returns what is in force.
	if uid, _ := unix.SetfsuidRetUid(-1); uid != int(u.UID) {
		return nil, fmt.Errorf("take the rights of %s: refused", u.Name)
	}
	return openRegular(path)
}

func openRegular(path string) (*os.File, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
