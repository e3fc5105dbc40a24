package artifact

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/executor/process"
)

// Fetcher fetches artifacts. Its fields are not changed once it is in use.
type Fetcher struct {
	Cache *Cache        // nil is none
	Idle  time.Duration // ends a download that makes no progress
	Total time.Duration // ends the fetching of one artifact
}

// Sandbox is where artifacts go, and whom they belong to there.
type Sandbox struct {
	Root  *os.Root
	Owner process.User
}

// MaxSize bounds one artifact, and what one archive unpacks to, in bytes.
const MaxSize = 64 << 30

// Fetch puts one artifact into the sandbox. Its error names the artifact, and
// is for the job's owner.
func (f *Fetcher) Fetch(ctx context.Context, a api.Artifact, into Sandbox) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.Total, fmt.Errorf("not fetched within %s", f.Total))
	defer cancel()
	uri, err := url.Parse(a.URI)
	if err != nil {
		return fmt.Errorf("artifact %q: not a URI: %w", a.URI, err)
	}
	if err := f.fetch(ctx, a, uri, into); err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return fmt.Errorf("artifact %s: %w", uri.Redacted(), err)
	}
	return nil
}

func (f *Fetcher) fetch(ctx context.Context, a api.Artifact, uri *url.URL, into Sandbox) error {
	name, err := fileName(a, uri)
	if err != nil {
		return err
	}
	unpack, err := formatOf(a, name, uri)
	if err != nil {
		return err
	}
	target := name
	if unpack != "" {
		target = path.Join(path.Dir(name), ".perigee-"+path.Base(name))
	}
	if err := into.mkdirAll(path.Dir(target)); err != nil {
		return err
	}
	file, err := into.Root.OpenFile(target, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is in the sandbox already: two artifacts have this name, or it is reserved", name)
	}
	if err != nil {
		return fmt.Errorf("create %s in the sandbox: %w", name, err)
	}
	defer file.Close()
	if err := f.obtain(ctx, a, uri, file, into); err != nil {
		return errors.Join(err, into.Root.Remove(target))
	}
	if unpack != "" {
		return errors.Join(into.unpack(ctx, unpack, file, path.Dir(name)), into.Root.Remove(target))
	}
	mode := fs.FileMode(0o755)
	if a.Executable != nil && !*a.Executable {
		mode = 0o644
	}
	if err := file.Chmod(mode); err != nil {
		return fmt.Errorf("make executable: %w", err)
	}
	return into.own(target)
}

// obtain fills file with the artifact, verified.
func (f *Fetcher) obtain(ctx context.Context, a api.Artifact, uri *url.URL, file *os.File, into Sandbox) error {
	want := strings.ToLower(a.SHA256)
	if b, err := hex.DecodeString(want); want != "" && (err != nil || len(b) != 32) {
		return fmt.Errorf("sha256 %q is not 64 hexadecimal digits", a.SHA256)
	}
	if want == "" && uri.Scheme != "file" {
		return errors.New("it has no sha256, which only file:// may lack")
	}
	source := &source{uri: uri, owner: into.Owner, idle: f.Idle, want: want}
	if want != "" && f.Cache != nil {
		err := f.Cache.Place(ctx, want, file, source.copyTo)
		var broken *cacheError
		if !errors.As(err, &broken) {
			return err
		}
		log.Printf("fetching without the cache: %v", err)
	}
	return source.copyTo(ctx, file)
}

// fileName is what the artifact is called in the sandbox.
func fileName(a api.Artifact, uri *url.URL) (string, error) {
	name := a.Name
	if name == "" {
		name = path.Base(uri.Path)
	}
	name = path.Clean(name)
	if name == "." || name == "/" || !filepath.IsLocal(name) {
		return "", fmt.Errorf("%q is not a name in the sandbox: give the artifact a name", name)
	}
	if reserved(name) {
		return "", fmt.Errorf("the name %s is reserved: give the artifact another one", name)
	}
	return name, nil
}

// reserved names of the sandbox belong to Mesos.
func reserved(name string) bool { return name == "stdout" || name == "stderr" }

// formatOf is the archive's format, "" when it is not to be unpacked.
func formatOf(a api.Artifact, name string, uri *url.URL) (string, error) {
	if a.Unpack != nil && !*a.Unpack {
		return "", nil
	}
	for _, s := range []string{name, uri.Path} {
		for _, format := range []string{".tar.gz", ".tgz", ".tar", ".zip"} {
			if strings.HasSuffix(strings.ToLower(s), format) {
				return format, nil
			}
		}
	}
	if a.Unpack != nil {
		return "", fmt.Errorf("cannot unpack %s: its name ends in none of .tar, .tar.gz, .tgz, .zip", name)
	}
	return "", nil
}

// mkdirAll makes a directory with those above it; new ones are the owner's.
func (s Sandbox) mkdirAll(name string) error {
	if name == "." {
		return nil
	}
	info, err := s.Root.Lstat(name)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", name)
		}
		return nil
	}
	if err := s.mkdirAll(path.Dir(name)); err != nil {
		return err
	}
	if err := s.Root.Mkdir(name, 0o755); err != nil {
		return fmt.Errorf("make a directory in the sandbox: %w", err)
	}
	return s.own(name)
}

// own makes the owner own a file or link.
func (s Sandbox) own(name string) error {
	if s.Owner.IsOwn() {
		return nil
	}
	if err := s.Root.Lchown(name, int(s.Owner.UID), int(s.Owner.GID)); err != nil {
		return fmt.Errorf("give to user %s: %w", s.Owner.Name, err)
	}
	return nil
}

// rewind makes file empty again. One that is empty is left alone: ext4 writes a
// file that was truncated to the disk when it is closed, and waits for that.
func rewind(file *os.File) error {
	at, err := file.Seek(0, io.SeekEnd)
	if err != nil || at == 0 {
		return err
	}
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}
