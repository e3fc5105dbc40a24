// Package fetch is the agent's fetcher: it brings the URIs of a CommandInfo into
// a sandbox before the executor starts, as the one of Apache Mesos 1.12 does.
// It owns download, cache, unpacking, modes and owners, and logs to the
// sandbox's stderr. Checking what was fetched is left to the command, as in Mesos.
//
// Of Mesos's fetcher it leaves out ftp, HDFS and the cache's bound.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/perigee-sched/perigee/devcluster/sandbox"
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

// Error says that not everything was fetched, in Mesos's words, which do not
// tell the cause: that is in the sandbox's stderr, and here for errors.Is.
type Error struct {
	ContainerID string
	Cause       error
}

func (e *Error) Error() string {
	how := "exited with status 1"
	if errors.Is(e.Cause, context.Canceled) {
		how = "terminated with signal Killed"
	}
	return fmt.Sprintf("Failed to fetch all URIs for container '%s': %s", e.ContainerID, how)
}

func (e *Error) Unwrap() error { return e.Cause }

// All fetches every URI, in order, and stops at the first that fails. The error
// is what Mesos tells the scheduler after "Failed to launch container: ": an
// *Error, or the reason why a URI cannot be one at all.
func All(ctx context.Context, r Request) error {
	if len(r.URIs) == 0 {
		return nil
	}
	for _, uri := range r.URIs {
		if err := validate(uri); err != nil {
			return fmt.Errorf("Could not fetch: %w", err) // Mesos's spelling
		}
	}
	owner, err := sandbox.LookupOwner(r.User)
	if err != nil {
		return fmt.Errorf("Could not fetch: %w", err)
	}
	stderr, err := sandbox.OpenLog(r.Sandbox, "stderr", owner)
	if err != nil {
		return fmt.Errorf("Could not fetch: %w", err)
	}
	defer stderr.Close()
	f := newFetcher(r, owner, stderr)
	for _, uri := range r.URIs {
		if err := f.fetch(ctx, uri); err != nil {
			f.log('E', "EXIT with status 1: Failed to fetch '%s': %v", uri.Value, err)
			return &Error{r.ContainerID, err}
		}
	}
	f.log('I', "Successfully fetched all URIs into '%s'", r.Sandbox)
	return nil
}

// fetcher serves one request.
type fetcher struct {
	sandbox, cacheDir string
	owner             *sandbox.Owner
	stderr            io.Writer
	client            *http.Client
	stall             time.Duration // a download ends when nothing came for so long
}

func newFetcher(r Request, owner *sandbox.Owner, stderr io.Writer) *fetcher {
	cacheDir := r.CacheDir
	if r.User != "" { // one user cannot have what another could fetch
		cacheDir = filepath.Join(cacheDir, r.User)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	transport.DisableCompression = true // the bytes as they are
	return &fetcher{
		sandbox:  r.Sandbox,
		cacheDir: cacheDir,
		owner:    owner,
		stderr:   stderr,
		client:   &http.Client{Transport: transport},
		stall:    time.Minute, // Mesos's --fetcher_stall_timeout
	}
}

// log writes a line to the sandbox's stderr, in glog's form. A sandbox that
// cannot be written to shows as a failed fetch soon enough.
func (f *fetcher) log(severity byte, format string, args ...any) {
	fmt.Fprintf(f.stderr, "%c%s %5d fetcher] %s\n", severity, time.Now().Format("0102 15:04:05.000000"), os.Getpid(), fmt.Sprintf(format, args...))
}

func (f *fetcher) fetch(ctx context.Context, uri mesos.CommandInfo_URI) error {
	f.log('I', "Fetching URI '%s'", uri.Value)
	src, err := parseSource(uri.Value)
	if err != nil {
		return err
	}
	var fetched string
	if cached, ok, err := f.throughCache(ctx, uri, src); err != nil {
		return err
	} else if ok {
		fetched, err = f.fromCache(ctx, uri, cached)
		if err != nil {
			return err
		}
	} else if fetched, err = f.direct(ctx, uri, src); err != nil {
		return err
	}
	f.log('I', "Fetched '%s' to '%s'", uri.Value, fetched)
	return nil
}

// direct fetches into the sandbox. An archive stays there beside what was in it.
func (f *fetcher) direct(ctx context.Context, uri mesos.CommandInfo_URI, src source) (string, error) {
	f.log('I', "Fetching '%s' directly into the sandbox directory", uri.Value)
	name := outputFile(uri)
	path, err := f.place(ctx, src, name, uri.GetExecutable())
	if err != nil || uri.GetExecutable() || !uri.GetExtract() {
		return path, err
	}
	_, err = f.extract(ctx, path, filepath.Base(name), uri)
	return path, err
}

// fromCache brings a cached file into the sandbox: an archive only as what is in
// it. Whether it is one is told by the URI, not by its output_file.
func (f *fetcher) fromCache(ctx context.Context, uri mesos.CommandInfo_URI, cached source) (string, error) {
	f.log('I', "Fetching URI '%s' from cache", uri.Value)
	if !uri.GetExecutable() && uri.GetExtract() {
		name, err := basename(uri.Value)
		if err != nil {
			return "", err
		}
		if extracted, err := f.extract(ctx, cached.path, name, uri); err != nil || extracted {
			return f.sandbox, err
		}
	}
	return f.place(ctx, cached, outputFile(uri), uri.GetExecutable())
}

// place puts what src has into the file name, relative to the sandbox.
func (f *fetcher) place(ctx context.Context, src source, name string, executable bool) (path string, err error) {
	in, err := f.open(ctx, src)
	if err != nil {
		return "", err
	}
	defer in.Close()
	// Mesos lets an output_file lead out of the sandbox by "..". Links do not.
	dir := f.sandbox
	if !filepath.IsLocal(name) {
		dir, name = filepath.Split(filepath.Join(dir, name))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	to, err := openTarget(dir, f.owner)
	if err != nil {
		return "", err
	}
	defer to.close()
	mode := in.mode
	if executable {
		mode = 0o755
	}
	if err := to.file(name, mode, in); err != nil {
		return "", err
	}
	if executable {
		err = to.root.Chmod(name, mode) // whatever the umask
	}
	return filepath.Join(dir, name), err
}
