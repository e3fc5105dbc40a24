package fetch_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster/fetch"
	"github.com/perigee-sched/perigee/devcluster/sandbox"
)

// server serves files by path and counts GETs of them.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	gets  map[string]int
}

func serve(t *testing.T, files map[string][]byte) *server {
	s := &server{files: files, gets: map[string]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok := s.files[r.URL.Path]
	switch {
	case r.URL.Path == "/moved":
		http.Redirect(w, r, "/plain.txt", http.StatusFound)
		return
	case !ok:
		http.NotFound(w, r)
		return
	case r.Method == http.MethodGet:
		s.gets[r.URL.Path]++
	case r.URL.Path == "/no-head":
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

type job struct {
	*testing.T
	fetch.Request
}

func newJob(t *testing.T) job {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "runs", "c1")
	require.NoError(t, sandbox.Create(dir, ""))
	return job{t, fetch.Request{ContainerID: "c1", Sandbox: dir, CacheDir: filepath.Join(t.TempDir(), "cache")}}
}

func (j job) all(uris ...mesos.CommandInfo_URI) error {
	j.URIs = uris
	return fetch.All(context.Background(), j.Request)
}

func uri(value string, with ...func(*mesos.CommandInfo_URI)) mesos.CommandInfo_URI {
	u := mesos.CommandInfo_URI{Value: value}
	for _, f := range with {
		f(&u)
	}
	return u
}

var yes, no = true, false

func executable(u *mesos.CommandInfo_URI) { u.Executable = &yes }
func packed(u *mesos.CommandInfo_URI)     { u.Extract = &no }
func cache(u *mesos.CommandInfo_URI)      { u.Cache = &yes }
func as(name string) func(*mesos.CommandInfo_URI) {
	return func(u *mesos.CommandInfo_URI) { u.OutputFile = &name }
}

// requireFiles compares the sandbox's files, but for stderr, as
// "mode path: content", or "-> target" for a link.
func (j job) requireFiles(want ...string) {
	j.Helper()
	var got []string
	require.NoError(j, filepath.WalkDir(j.Sandbox, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, j.Sandbox+"/")
		if err != nil || name == "stderr" || path == j.Sandbox || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			got = append(got, name+" -> "+to)
			return err
		}
		content, err := os.ReadFile(path)
		if len(content) > 40 {
			content = []byte("…")
		}
		got = append(got, fmt.Sprintf("%v %s: %s", fi.Mode(), name, content))
		return err
	}))
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(j, want, got, j.stderr())
}

func (j job) stderr() string {
	j.Helper()
	text, err := os.ReadFile(filepath.Join(j.Sandbox, "stderr"))
	require.NoError(j, err)
	return string(text)
}

// The cases of Mesos's own transcript.
func TestKinds(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	archive := targz(t, regular("inside/file.txt"))
	s := serve(t, map[string][]byte{"/plain.txt": []byte("plain"), "/script.sh": []byte("#!/bin/sh"), "/archive.tar.gz": archive, "/packed.tar.gz": archive})
	local := filepath.Join(t.TempDir(), "local")
	require.NoError(t, os.WriteFile(local, []byte("local"), 0o640))
	require.NoError(t, j.all(
		uri(s.URL+"/plain.txt"),
		uri(s.URL+"/plain.txt", as("renamed.txt")),
		uri(" "+s.URL+"/moved"),
		uri(s.URL+"/script.sh", executable),
		uri(s.URL+"/archive.tar.gz"),
		uri(s.URL+"/packed.tar.gz", packed),
		uri(s.URL+"/plain.txt", as("deep/er/file.txt")),
		uri(s.URL+"/plain.txt", as("../outside.txt")),
		uri("file://"+local, as("from-file")),
		uri("file://localhost"+local, as("from-localhost")),
		uri(local, as("from-path")),
	))
	j.requireFiles(
		"-rw-r--r-- plain.txt: plain",
		"-rw-r--r-- renamed.txt: plain",
		"-rw-r--r-- moved: plain",
		"-rwxr-xr-x script.sh: #!/bin/sh",
		"-rw-r--r-- archive.tar.gz: …",
		"-rw-r----- inside/file.txt: in inside/file.txt",
		"-rw-r--r-- packed.tar.gz: …",
		"-rw-r--r-- deep/er/file.txt: plain",
		"-rw-r----- from-file: local",
		"-rw-r----- from-localhost: local",
		"-rw-r----- from-path: local",
	)
	outside, err := os.ReadFile(filepath.Join(j.Sandbox, "..", "outside.txt"))
	require.NoError(t, err)
	require.Equal(t, "plain", string(outside))
	for _, line := range []string{
		"Fetching URI '" + s.URL + "/plain.txt'\n",
		"Fetched '" + s.URL + "/plain.txt' to '" + j.Sandbox + "/plain.txt'\n",
		"because it does not seem to be an archive: " + s.URL + "/plain.txt\n",
		"Successfully fetched all URIs into '" + j.Sandbox + "'\n",
	} {
		require.Contains(t, j.stderr(), line)
	}
}

func TestNothingToFetch(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	require.NoError(t, j.all())
	require.NoFileExists(t, filepath.Join(j.Sandbox, "stderr"))
}

func TestCache_OneDownloadForAll(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string][]byte{"/script.sh": []byte("script"), "/a.tgz": targz(t, regular("file"))})
	first := newJob(t)
	var jobs []job
	var g sync.WaitGroup
	for range 8 {
		j := newJobFor(first, "")
		jobs = append(jobs, j)
		g.Go(func() {
			for range 2 {
				err := j.all(uri(s.URL+"/script.sh", cache, executable), uri(s.URL+"/script.sh", cache, as("x/renamed")), uri(s.URL+"/a.tgz", cache, as("ignored")))
				if err != nil {
					t.Error(err, j.stderr())
				}
			}
		})
	}
	g.Wait()
	for _, j := range jobs {
		j.requireFiles("-rwxr-xr-x script.sh: script", "-rw-r--r-- x/renamed: script", "-rw-r----- file: in file")
	}
	require.Equal(t, map[string]int{"/script.sh": 1, "/a.tgz": 1}, s.gets)
}

func TestCache_NotWithoutALength(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string][]byte{"/no-head": []byte("content"), "/empty": nil})
	j := newJob(t)
	for range 2 {
		require.NoError(t, j.all(uri(s.URL+"/no-head", cache), uri(s.URL+"/empty", cache)))
	}
	j.requireFiles("-rw-r--r-- no-head: content", "-rw-r--r-- empty: ")
	require.Equal(t, map[string]int{"/no-head": 2, "/empty": 2}, s.gets)
	require.Contains(t, j.stderr(), "Reverting to fetching directly into the sandbox for '"+s.URL+"/no-head'")
}

func TestCache_LocalFile(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	local := filepath.Join(t.TempDir(), "local")
	require.NoError(t, os.WriteFile(local, []byte("first"), 0o751))
	require.NoError(t, j.all(uri(local, cache)))
	require.NoError(t, os.WriteFile(local, []byte("second"), 0o751))
	require.NoError(t, j.all(uri(local, cache, as("again"))))
	j.requireFiles("-rwxr-x--x local: first", "-rwxr-x--x again: first")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string][]byte{"/plain.txt": []byte("plain"), "/broken.tgz": []byte("\x1f\x8bbroken"), "/text.tar": bytes.Repeat([]byte("text"), 200), "/broken.gz": []byte("text")})
	for name, c := range map[string]struct {
		uri    mesos.CommandInfo_URI
		stderr string
	}{
		"404":                {uri(s.URL + "/missing"), "received HTTP return code 404"},
		"404, cached":        {uri(s.URL+"/missing", cache), "received HTTP return code 404"},
		"nothing listens":    {uri("http://127.0.0.1:1/file"), "connection refused"},
		"no such file":       {uri("file:///no/such/file"), "no such file"},
		"no such file, cach": {uri("file:///no/such/file", cache), "no such file"},
		"a directory":        {uri("/tmp"), "/tmp is no regular file"},
		"a directory's name": {uri(s.URL + "/dir/"), "404"},
		"unknown scheme":     {uri("gopher://127.0.0.1/file"), "nothing fetches gopher:// here"},
		"empty":              {uri(""), "relative path"},
		"relative":           {uri("dir/file"), "relative path"},
		"relative file:":     {uri("file://dir/file"), "absolute paths"},
		"broken archive":     {uri(s.URL + "/broken.tgz"), "failed to extract '"},
		"no archive":         {uri(s.URL + "/text.tar"), "failed to extract '"},
		"not compressed":     {uri(s.URL + "/broken.gz"), "failed to extract '"},
		"over a directory":   {uri(s.URL+"/plain.txt", as("dir")), "dir is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			require.NoError(t, os.Mkdir(filepath.Join(j.Sandbox, "dir"), 0o755))
			err := j.all(c.uri, uri(s.URL+"/plain.txt", as("later")))
			require.EqualError(t, err, "Failed to fetch all URIs for container 'c1': exited with status 1")
			require.Contains(t, j.stderr(), "Failed to fetch '"+c.uri.Value+"': ")
			require.Contains(t, j.stderr(), c.stderr)
			require.NoFileExists(t, filepath.Join(j.Sandbox, "later"), "the first failure is the end")
			left, err := filepath.Glob(filepath.Join(j.CacheDir, "*"))
			require.NoError(t, err)
			require.Empty(t, left, "in the cache")
		})
	}
}

func TestRefusedBeforeFetching(t *testing.T) {
	t.Parallel()
	for want, u := range map[string]mesos.CommandInfo_URI{
		"Could not fetch: Malformed URI (missing path): http://host":            uri("http://host"),
		"Could not fetch: Malformed URI (missing path): http://host/":           uri("http://host/"),
		"Could not fetch: Illegal characters in URI":                            uri("http://host/it's"),
		"Could not fetch: URI output file path is empty":                        uri("/file", as("")),
		"Could not fetch: URI output file must be within the sandbox directory": uri("/file", as("/etc/passwd")),
	} {
		j := newJob(t)
		require.EqualError(t, j.all(u), want)
	}
	j := newJob(t)
	j.User = "no-such-user"
	require.ErrorContains(t, j.all(uri("/file")), `find user "no-such-user"`)
}

func TestUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		j := newJob(t)
		j.User = "root"
		require.ErrorContains(t, j.all(uri("/file")), `Could not fetch: cannot act as user "root"`)
		return
	}
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "fetch-test-") // unlike t.TempDir, open to nobody
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	for name, mode := range map[string]fs.FileMode{"open": 0o644, "closed": 0o600} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), mode))
	}
	s := serve(t, map[string][]byte{"/plain.txt": []byte("plain"), "/a.tgz": targz(t, regular("d/file"), tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "d"})})
	j := newJob(t)
	j.User = "nobody"
	require.NoError(t, sandbox.Create(j.Sandbox, j.User))
	require.NoError(t, j.all(uri(s.URL+"/plain.txt", as("deep/file")), uri(s.URL+"/plain.txt", cache), uri(s.URL+"/a.tgz"), uri(dir+"/open")))
	require.NoError(t, filepath.WalkDir(j.Sandbox, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		fi, err := d.Info()
		require.NoError(t, err)
		require.Equal(t, nobody.Uid, fmt.Sprint(fi.Sys().(*syscall.Stat_t).Uid), path)
		return nil
	}))
	for _, with := range []func(*mesos.CommandInfo_URI){packed, cache} {
		require.ErrorContains(t, j.all(uri(dir+"/closed", with)), "Failed to fetch all URIs", "nobody may not read it")
	}
	require.Contains(t, j.stderr(), "Permission denied")

	require.NoError(t, newJobFor(j, "").all(uri(dir+"/closed", cache)), "root may")
	require.ErrorContains(t, j.all(uri(dir+"/closed", cache)), "Failed to fetch all URIs", "and its cache is its own")
}

// newJobFor is another job with the same cache.
func newJobFor(other job, user string) job {
	j := newJob(other.T)
	j.User, j.CacheDir = user, other.CacheDir
	return j
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", "5")
			return
		}
		close(asked)
		<-hang
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(hang) })
	j := newJob(t)
	j.URIs = []mesos.CommandInfo_URI{uri(s.URL+"/file", cache)}
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 2)
	go func() { failed <- fetch.All(ctx, j.Request) }()
	<-asked
	go func() { failed <- fetch.All(ctx, j.Request) }() // waits for the first, or for nothing any more
	cancel()
	for range 2 {
		err := <-failed
		require.ErrorIs(t, err, context.Canceled)
		require.EqualError(t, err, "Failed to fetch all URIs for container 'c1': terminated with signal Killed")
	}
}
