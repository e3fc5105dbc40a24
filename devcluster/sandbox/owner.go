package sandbox

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// Owner is the account that a sandbox's files belong to and its executor runs
// as. The nil Owner is this process's own account: nothing is to be changed.
type Owner struct {
	Name     string
	UID, GID uint32
	Groups   []uint32 // supplementary
}

// LookupOwner finds the account named name. It is nil for the empty name and for
// this process's own account. Any other is an error unless this process is root.
func LookupOwner(name string) (*Owner, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("find user %q: %w", name, err)
	}
	o := &Owner{Name: name}
	if o.UID, err = id(u.Uid); err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	if o.GID, err = id(u.Gid); err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	if int(o.UID) == os.Geteuid() {
		return nil, nil
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("cannot act as user %q: that takes root, and this agent runs as user id %d", name, os.Geteuid())
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %q: %w", name, err)
	}
	for _, g := range groups {
		n, err := id(g)
		if err != nil {
			return nil, fmt.Errorf("groups of user %q: %w", name, err)
		}
		o.Groups = append(o.Groups, n)
	}
	return o, nil
}

func id(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// Chown gives a file to the owner; not what it links to.
func (o *Owner) Chown(path string) error {
	if o == nil {
		return nil
	}
	return os.Lchown(path, int(o.UID), int(o.GID))
}

// Create makes the directory dir with its parents, mode 0750, owned by user, as
// an agent makes a sandbox. The parents stay this process's own.
func Create(dir, user string) error {
	owner, err := LookupOwner(user)
	if err != nil {
		return fmt.Errorf("create sandbox: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create sandbox: %w", err)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		return fmt.Errorf("create sandbox: %w", err)
	}
	if err := owner.Chown(dir); err != nil {
		return fmt.Errorf("create sandbox: %w", err)
	}
	return nil
}

// OpenLog opens the file name of the sandbox dir for appending and gives it to
// the owner. It is made when it is missing.
func OpenLog(dir, name string, owner *Owner) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open sandbox: %w", err)
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open sandbox's %s: %w", name, err)
	}
	if owner != nil {
		if err := f.Chown(int(owner.UID), int(owner.GID)); err != nil {
			f.Close()
			return nil, fmt.Errorf("give sandbox's %s to %s: %w", name, owner.Name, err)
		}
	}
	return f, nil
}
