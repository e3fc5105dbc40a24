package sandbox

import (
	"errors"
	"net/http"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

var errStub = errors.New("not yet")

func (e *Error) Error() string { return e.Message }

// Handler serves /files/browse, /files/read and /files/download.
func (f *Files) Handler() http.Handler { return http.NotFoundHandler() }

// Browse lists the directory at path, sorted by name, as LIST_FILES does.
// A file's list is empty. Errors are *Error.
func (f *Files) Browse(path string) ([]mesos.FileInfo, error) { return nil, errStub }

// Read returns at most length bytes of the file at path from offset on, and the
// whole file's size, both in bytes. Without length it reads to the end. It never
// reads more than 64 KiB. Errors are *Error.
func (f *Files) Read(path string, offset uint64, length *uint64) (data []byte, size uint64, err error) {
	return nil, 0, errStub
}

// Owner is the account that a sandbox's files belong to and its executor runs
// as. The nil Owner is this process's own account: nothing is to be changed.
type Owner struct {
	Name     string
	UID, GID uint32
	Groups   []uint32 // supplementary
}

// LookupOwner finds the account named user. It is nil for the empty name and for
// this process's own account. Any other is an error unless this process is root.
func LookupOwner(user string) (*Owner, error) { return nil, errStub }

// Create makes the directory dir with its parents, mode 0750, owned by user, as
// an agent makes a sandbox.
func Create(dir, user string) error { return errStub }
