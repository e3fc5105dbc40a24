// Package sandbox owns what an agent shows of its sandboxes and who owns the
// files in them: the file endpoints /files/browse, /files/read and
// /files/download, equal to Apache Mesos 1.12 in status codes, error texts,
// fields and limits, the same look-ups for the operator API's LIST_FILES and
// READ_FILE, and the creation of a sandbox directory.
//
// It leaves to the agent which directories are shown under which virtual
// paths; and, because nothing of Perigee asks for it, /files/debug.
package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Lookup reports the real directory (or file) that is shown at exactly this
// virtual path, which has no slash at its end. It is asked for the whole path
// of a request first, then for each shorter prefix of it, so it need only know
// the roots: an agent answers for a sandbox's real path and for
// /frameworks/ID/executors/ID/runs/latest.
type Lookup func(virtualPath string) (realPath string, ok bool)

// Files finds, lists and reads files by their virtual paths.
type Files struct{ lookup Lookup }

// New returns the files below what lookup knows.
func New(lookup Lookup) *Files { return &Files{lookup: lookup} }

// Error says why a path is not listed or read, as Mesos answers it.
type Error struct {
	Status  int    // of the HTTP answer: 400, 404 or 500
	Message string // the answer's whole body, with its line end; empty for a 404
}

func (e *Error) Error() string {
	if e.Message == "" {
		return http.StatusText(e.Status)
	}
	return strings.TrimSuffix(e.Message, "\n")
}

func invalid(format string, args ...any) *Error {
	return &Error{http.StatusBadRequest, fmt.Sprintf(format, args...) + ".\n"}
}

func broken(format string, args ...any) *Error {
	return &Error{http.StatusInternalServerError, fmt.Sprintf(format, args...) + ".\n"}
}

var notFound = &Error{Status: http.StatusNotFound}

// place is where a virtual path leads: real lies in root or is root.
type place struct{ root, real string }

// open opens the file without leaving root, even if its owner puts a link into
// the path after it was resolved. A FIFO does not block.
func (p place) open() (*os.File, error) {
	if p.real == p.root {
		return os.OpenFile(p.real, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	root, err := os.OpenRoot(p.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(strings.TrimPrefix(p.real, p.root+"/"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

func (f *Files) resolve(path string) (place, error) {
	root, rest, ok := f.root(path)
	if !ok {
		return place{}, notFound
	}
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return place{}, notFound
	}
	if fi, err := os.Stat(root); err != nil || !fi.IsDir() && rest != "" {
		return place{}, notFound
	}
	// Not Clean-ed, as it would take link/.. for nothing, where the system goes
	// to the link's target first.
	wanted := strings.TrimSuffix(root+"/"+rest, "/")
	real, err := filepath.EvalSymlinks(wanted)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return place{}, notFound
	case err != nil:
		return place{}, invalid("Failed to determine canonical path of '%s': %v", wanted, err)
	case real != root && !strings.HasPrefix(real, root+"/"):
		return place{}, invalid("'%s' is inaccessible", wanted)
	}
	return place{root, real}, nil
}

// root finds the longest prefix of path that lookup knows, and what follows it.
func (f *Files) root(path string) (real, rest string, ok bool) {
	lead := ""
	if strings.HasPrefix(path, "/") {
		lead = "/"
	}
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	for n := len(names); n > 0; n-- {
		if real, ok := f.lookup(lead + strings.Join(names[:n], "/")); ok {
			return real, strings.Join(names[n:], "/"), true
		}
	}
	return "", "", false
}

// Browse lists the directory at path, sorted by name, as LIST_FILES does.
// A file's list is empty, and so is that of a directory that cannot be read.
// Links are shown as what they lead to, or not at all. Errors are *Error.
func (f *Files) Browse(path string) ([]mesos.FileInfo, error) {
	at, err := f.resolve(path)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(at.real)
	if err != nil {
		return nil, nil
	}
	var list []mesos.FileInfo
	names := accounts{}
	for _, e := range entries {
		fi, err := os.Stat(filepath.Join(at.real, e.Name()))
		if err != nil {
			continue
		}
		list = append(list, fileInfo(strings.TrimSuffix(path, "/")+"/"+e.Name(), fi, names))
	}
	return list, nil
}

func fileInfo(path string, fi fs.FileInfo, names accounts) mesos.FileInfo {
	st := fi.Sys().(*syscall.Stat_t)
	nlink, size, uid, gid := int32(st.Nlink), uint64(st.Size), names.user(st.Uid), names.group(st.Gid)
	mode := st.Mode
	return mesos.FileInfo{
		Path:  path,
		Nlink: &nlink,
		Size_: &size,
		Mtime: &mesos.TimeInfo{Nanoseconds: fi.ModTime().Unix() * 1e9}, // whole seconds, as in Mesos
		Mode:  &mode,
		UID:   &uid,
		GID:   &gid,
	}
}

// accounts remembers the names of users and groups during one listing.
type accounts map[string]string

func (a accounts) user(id uint32) string {
	return a.name("u", id, func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (a accounts) group(id uint32) string {
	return a.name("g", id, func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

func (a accounts) name(kind string, id uint32, find func(string) (string, error)) string {
	number := strconv.FormatUint(uint64(id), 10)
	name, ok := a[kind+number]
	if !ok {
		var err error
		if name, err = find(number); err != nil {
			name = number
		}
		a[kind+number] = name
	}
	return name
}

// maxRead is the most that one read returns, in bytes: Mesos's 16 pages.
var maxRead = uint64(16 * os.Getpagesize())

// Read returns at most length bytes of the file at path from offset on, and the
// whole file's size, both in bytes. Without length it reads to the end. It never
// reads more than 16 pages (64 KiB). Errors are *Error.
func (f *Files) Read(path string, offset uint64, length *uint64) (data []byte, size uint64, err error) {
	at, err := f.resolve(path)
	if err != nil {
		return nil, 0, err
	}
	if isDirectory(at.real) {
		return nil, 0, &Error{http.StatusBadRequest, "Cannot read a directory.\n"}
	}
	file, err := at.open()
	if err != nil {
		return nil, 0, broken("Failed to open file at '%s': %v", at.real, err)
	}
	defer file.Close()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, broken("Failed to open file at '%s': %v", at.real, err)
	}
	size = uint64(end)
	if offset >= size {
		return nil, size, nil
	}
	n := min(size-offset, maxRead)
	if length != nil {
		n = min(n, *length)
	}
	data = make([]byte, n)
	got, err := file.ReadAt(data, int64(offset))
	if err != nil && err != io.EOF {
		return nil, 0, broken("Failed to read file at '%s': %v", at.real, err)
	}
	return data[:got], size, nil
}

func isDirectory(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}
