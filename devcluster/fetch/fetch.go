// Package fetch is the agent's fetcher: it brings the URIs of a CommandInfo into
// a sandbox before the executor starts, as the one of Apache Mesos 1.12 does.
// It owns download, cache, unpacking, modes and owners, and logs to the
// sandbox's stderr. Checking what was fetched is left to the command, as in Mesos.
package fetch

import (
	"context"
	"errors"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Request says what to fetch for one container.
type Request struct {
	ContainerID string // for the error
	Sandbox     string // existing directory, absolute
	// CacheDir keeps what URIs with cache set have brought, one directory per
	// user. Requests may share it concurrently. Nothing evicts from it: an agent
	// empties it when it starts, as Mesos's does.
	CacheDir string
	URIs     []mesos.CommandInfo_URI
	User     string // who shall own the files; empty for this process's own
}

// All fetches every URI, in order, and stops at the first that fails. The error
// is what Mesos tells the scheduler after "Failed to launch container: ", without
// the cause, which is in the sandbox's stderr.
func All(ctx context.Context, r Request) error { return errors.New("not yet") }
