package executor_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// files serves contents by path, and counts the requests.
type files struct {
	*httptest.Server
	requests atomic.Int64
}

func serve(t testing.TB, handle http.HandlerFunc) *files {
	f := &files{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		handle(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func content(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
}

func withArtifact(command string, a api.Artifact) *api.Definition {
	d := definition(command)
	d.Spec.Artifacts = []api.Artifact{a}
	return d
}

func TestFetch_FileIsExecutableUnderItsName(t *testing.T) {
	t.Parallel()
	script := []byte("#!/bin/sh\necho \"hello $1\"\n")
	s := serve(t, content(script))
	d := withArtifact("./hello.pex world", api.Artifact{URI: s.URL + "/builds/hello.pex?build=7", SHA256: digest(script)})
	d.Spec.Artifacts = append(d.Spec.Artifacts, api.Artifact{URI: s.URL + "/x", SHA256: digest(script), Name: "conf/plain", Executable: ptr(false)})
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "hello world\n", r.file("logs/stdout"))
	info, err := os.Stat(filepath.Join(r.sandbox, "conf/plain"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode())
	require.EqualValues(t, 1, s.requests.Load(), "the second came from the cache")
}

func TestFetch_BadChecksumNeverRuns(t *testing.T) {
	t.Parallel()
	script := []byte("#!/bin/sh\ntouch ran\n")
	s := serve(t, content(script))
	want := digest([]byte("another"))
	d := withArtifact("./x", api.Artifact{URI: s.URL + "/x", SHA256: want})
	d.Spec.Setup = []string{"touch setup"}
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch FAILED/end", r.updates())
	require.Equal(t, "artifact "+s.URL+"/x: wrong checksum, so it does not run: expected SHA-256 "+want+
		", got "+digest(script)+" (20 bytes)", r.await("FAILED").Message)
	for _, name := range []string{"ran", "setup", "x"} {
		require.NoFileExists(t, filepath.Join(r.sandbox, name))
	}
	require.EqualValues(t, 1, s.requests.Load(), "it is not tried again")
}

func TestFetch_WhatCannotBeHad(t *testing.T) {
	t.Parallel()
	missing := serve(t, http.NotFound)
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusBadGateway) })
	hang := make(chan struct{})
	stalled := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(make([]byte, 10))
		w.(http.Flusher).Flush()
		<-hang
	})
	silent := serve(t, func(http.ResponseWriter, *http.Request) { <-hang })
	t.Cleanup(func() { close(hang) })
	dribble := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-tick.C:
				_, _ = w.Write([]byte("."))
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	sum := digest(nil)
	for _, test := range []struct {
		name     string
		artifact api.Artifact
		message  string
	}{
		{"404", api.Artifact{URI: missing.URL + "/a.pex"}, "the server answered 404 Not Found"},
		{"502", api.Artifact{URI: broken.URL + "/a.pex"}, "the server answered 502 Bad Gateway (tried 3 times)"},
		{"stalled", api.Artifact{URI: stalled.URL + "/a.pex"}, "the server stalled: it sent nothing for 300ms, after 10 bytes"},
		{"silent", api.Artifact{URI: silent.URL + "/a.pex"}, "the server stalled: it sent nothing for 300ms, after 0 bytes"},
		{"endless", api.Artifact{URI: dribble.URL + "/a.pex"}, "not fetched within 1s"},
		{"refused", api.Artifact{URI: "http://127.0.0.1:1/a.pex"}, "connect: connection refused (tried 3 times)"},
		{"no file", api.Artifact{URI: "file:///nowhere/a.pex"}, "there is no such file on this agent"},
		{"directory", api.Artifact{URI: "file:///etc", Name: "x"}, "not a regular file"},
		{"scheme", api.Artifact{URI: "gopher://x/a.pex"}, "cannot fetch gopher://: only http, https and file can"},
		{"reserved", api.Artifact{URI: missing.URL + "/stdout"}, "the name stdout is reserved"},
		{"path", api.Artifact{URI: missing.URL + "/x", Name: "../x"}, `"../x" is not a name in the sandbox`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.artifact.SHA256 = sum
			limit := "PERIGEE_FETCH_TIMEOUT=20s"
			if test.name == "endless" {
				limit = "PERIGEE_FETCH_TIMEOUT=1s"
			}
			r := start(t, withArtifact("touch ran", test.artifact), option{env: []string{"PERIGEE_FETCH_IDLE=300ms", limit}})
			require.Equal(t, 0, r.exit())
			require.Contains(t, r.await("FAILED").Message, "artifact "+test.artifact.URI+": ")
			require.Contains(t, r.await("FAILED").Message, test.message)
			require.NoFileExists(t, filepath.Join(r.sandbox, "ran"))
		})
	}
}

func TestFetch_IsKillable(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) { <-hang })
	t.Cleanup(func() { close(hang) })
	r := start(t, withArtifact("touch ran", api.Artifact{URI: s.URL + "/x", SHA256: digest(nil)}))
	r.eventually("the request", func() bool { return s.requests.Load() == 1 })
	r.agent.kill("task-1", -1)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch KILLING/stop KILLED/end", r.updates())
	require.Equal(t, "stopped before the main process was started", r.await("KILLED").Message)
}

func TestFetch_TwentyExecutorsDownloadOnce(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("perigee "), 100_000)
	s := serve(t, content(body))
	cache := filepath.Join(directory(t), "cache")
	a := api.Artifact{URI: s.URL + "/big", SHA256: digest(body)}
	var wait sync.WaitGroup
	for range 20 {
		r := start(t, withArtifact("cmp big big", a), option{env: []string{"PERIGEE_CACHE=" + cache}})
		wait.Go(func() { <-r.done })
		t.Cleanup(func() { require.Equal(t, "STARTING/fetch RUNNING/run FINISHED/end", r.updates()) })
	}
	wait.Wait()
	require.EqualValues(t, 1, s.requests.Load())
}

func TestFetch_AlteredCacheIsNeverUsed(t *testing.T) {
	t.Parallel()
	body := []byte("#!/bin/sh\necho right\n")
	s := serve(t, content(body))
	cache := filepath.Join(directory(t), "cache")
	d := withArtifact("./x", api.Artifact{URI: s.URL + "/x", SHA256: digest(body)})
	env := option{env: []string{"PERIGEE_CACHE=" + cache}}
	require.Equal(t, 0, start(t, d, env).exit())
	require.NoError(t, os.WriteFile(filepath.Join(cache, digest(body)), []byte("#!/bin/sh\necho wrong\n"), 0o600))
	r := start(t, d, env)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "right\n", r.file("logs/stdout"))
	require.EqualValues(t, 2, s.requests.Load())
}

func TestFetch_TaskCannotAlterTheCache(t *testing.T) {
	t.Parallel()
	body := []byte("#!/bin/sh\necho right; echo 'echo altered' >> x\n")
	s := serve(t, content(body))
	d := withArtifact("./x", api.Artifact{URI: s.URL + "/x", SHA256: digest(body)})
	env := option{env: []string{"PERIGEE_CACHE=" + filepath.Join(directory(t), "cache")}}
	for range 2 {
		r := start(t, d, env)
		require.Equal(t, 0, r.exit())
	}
	require.EqualValues(t, 1, s.requests.Load())
}

func TestFetch_WithoutAWorkingCache(t *testing.T) {
	t.Parallel()
	body := []byte("#!/bin/sh\necho right\n")
	s := serve(t, content(body))
	file := filepath.Join(directory(t), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	r := start(t, withArtifact("./x", api.Artifact{URI: s.URL + "/x", SHA256: digest(body)}), option{env: []string{"PERIGEE_CACHE=" + file}})
	require.Equal(t, 0, r.exit())
	require.Equal(t, "right\n", r.file("logs/stdout"))
	require.Contains(t, r.stderr.String(), "no artifact cache: ")
}

func TestFetch_ArchiveIsUnpacked(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	script := "#!/bin/sh\ncat etc/conf\n"
	for _, h := range []*tar.Header{
		{Name: "./bin/run", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(script))},
		{Name: "etc", Typeflag: tar.TypeDir, Mode: 0o700},
		{Name: "etc/real", Typeflag: tar.TypeReg, Mode: 0o644, Size: 5},
		{Name: "etc/conf", Typeflag: tar.TypeSymlink, Linkname: "real"},
	} {
		require.NoError(t, w.WriteHeader(h))
		if h.Size > 0 {
			_, err := w.Write([]byte(map[string]string{"./bin/run": script, "etc/real": "blue\n"}[h.Name]))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	s := serve(t, content(b.Bytes()))
	r := start(t, withArtifact("bin/run", api.Artifact{URI: s.URL + "/app.tar.gz", SHA256: digest(b.Bytes())}))
	require.Equal(t, 0, r.exit())
	require.Equal(t, "blue\n", r.file("logs/stdout"))
	require.NoFileExists(t, filepath.Join(r.sandbox, "app.tar.gz"))
}
