// Package sandbox owns what an agent shows of its sandboxes and who owns the
// files in them: the file endpoints /files/browse, /files/read and
// /files/download, equal to Apache Mesos 1.12 in status codes, error texts,
// fields and limits, the same look-ups for the operator API's LIST_FILES and
// READ_FILE, and the creation of a sandbox directory.
//
// It leaves to the agent which directories are shown under which virtual
// paths; and, because nothing of Perigee asks for it, /files/debug.
package sandbox

import "net/http"

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

// Handler serves /files/browse, /files/read and /files/download.
func Handler(lookup Lookup) http.Handler { return New(lookup).Handler() }

// Error says why a path is not listed or read, as Mesos answers it.
type Error struct {
	Status  int    // of the HTTP answer: 400, 404 or 500
	Message string // the answer's whole body, with its line end; empty for a 404
}
