package fetch_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/require"
)

func targz(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(tarball(t, headers...))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

// tarball has these entries; the content of a regular one is "in NAME".
func tarball(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := "in " + h.Name
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		require.NoError(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte(content))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func regular(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o640}
}

func TestArchives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := tarball(t, regular("d/file"), tar.Header{Typeflag: tar.TypeReg, Name: "run", Mode: 0o4755})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.tar"), plain, 0o644))
	for _, c := range [][2]string{{"gzip", "a.tar.gz"}, {"gzip", "a.tgz"}, {"bzip2", "a.tar.bz2"}, {"bzip2", "a.tbz2"}, {"xz", "a.tar.xz"}, {"xz", "a.txz"}} {
		cmd := exec.Command("sh", "-c", c[0]+" -c a.tar > "+c[1])
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, mode := range map[string]fs.FileMode{"d/file": 0o640, "run": 0o755} {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		w, err := z.CreateHeader(h)
		require.NoError(t, err)
		_, err = w.Write([]byte("in " + name))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.zip"), b.Bytes(), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zip-by-content.tgz"), b.Bytes(), 0o644))

	archives, err := filepath.Glob(dir + "/*")
	require.NoError(t, err)
	require.Len(t, archives, 9)
	for _, path := range archives {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			for _, with := range []func(*mesos.CommandInfo_URI){cache, as("in/the/way." + filepath.Base(path))} {
				j := newJob(t)
				require.NoError(t, j.all(uri(path, with)), j.Sandbox)
				want := []string{"-rw-r----- d/file: in d/file", "-rwxr-xr-x run: in run"}
				if name := "in/the/way." + filepath.Base(path); uri(path, with).OutputFile != nil {
					want = append(want, "-rw-r--r-- "+name+": …")
				}
				j.requireFiles(want...)
			}
		})
	}
}

func TestSingleCompressedFile(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte("content"))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	s := serve(t, map[string][]byte{"/log.gz": b.Bytes()})
	j := newJob(t)
	require.NoError(t, j.all(uri(s.URL+"/log.gz", packed), uri(s.URL+"/log.gz", as("other.gz")), uri(s.URL+"/log.gz", cache)))
	for _, name := range []string{"other", "log"} {
		content, err := os.ReadFile(filepath.Join(j.Sandbox, name))
		require.NoError(t, err)
		require.Equal(t, "content", string(content))
	}
	require.FileExists(t, filepath.Join(j.Sandbox, "other.gz"))
}

func TestTar_LinksTimesAndDirectories(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_500_000_000, 0)
	s := serve(t, map[string][]byte{"/a.tgz": targz(t,
		tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x"}},
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, ModTime: at},
		tar.Header{Typeflag: tar.TypeDir, Name: "./closed/", Mode: 0o555, ModTime: at},
		tar.Header{Typeflag: tar.TypeReg, Name: "closed/file", Mode: 0o600, ModTime: at},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "current", Linkname: "closed"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "shell", Linkname: "/bin/sh"},
		tar.Header{Typeflag: tar.TypeLink, Name: "hard", Linkname: "./closed/file"},
		tar.Header{Typeflag: tar.TypeReg, Name: "/absolute", Mode: 0o600},
		tar.Header{Typeflag: tar.TypeReg, Name: "current/through", Mode: 0o600},
		tar.Header{Typeflag: tar.TypeReg, Name: "absolute", Mode: 0o644},
	)})
	j := newJob(t)
	t.Cleanup(func() { require.NoError(t, os.Chmod(filepath.Join(j.Sandbox, "closed"), 0o755)) })
	require.NoError(t, j.all(uri(s.URL+"/a.tgz", cache)), j.Sandbox)
	j.requireFiles("-rw------- closed/file: in closed/file", "current -> closed", "shell -> /bin/sh", "-rw------- hard: in closed/file",
		"-rw-r--r-- absolute: in absolute", "-rw------- closed/through: in current/through")
	for _, name := range []string{"closed", "closed/file"} {
		fi, err := os.Stat(filepath.Join(j.Sandbox, name))
		require.NoError(t, err)
		require.Equal(t, at.Unix(), fi.ModTime().Unix(), name)
	}
	fi, err := os.Stat(filepath.Join(j.Sandbox, "closed"))
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o555, fi.Mode())
}

func TestArchives_StayInTheSandbox(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for name, headers := range map[string][]tar.Header{
		"..":                 {regular("../escaped")},
		".. that comes back": {regular("a/../inside")},
		".. inside":          {regular("a/../../escaped")},
		"through a link":     {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: outside}, regular("l/escaped")},
		"onto a link":        {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: outside + "/escaped"}, regular("l")},
		"a hard link":        {{Typeflag: tar.TypeLink, Name: "l", Linkname: "../../../../../../../../etc/passwd"}},
		"a directory beyond": {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: outside}, {Typeflag: tar.TypeDir, Name: "l/escaped", Mode: 0o755}},
		"a device":           {{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string][]byte{"/a.tar": tarball(t, headers...)})
			j := newJob(t)
			err := j.all(uri(s.URL + "/a.tar"))
			if name == "onto a link" {
				require.NoError(t, err, "the link is replaced")
			} else {
				require.ErrorContains(t, err, "Failed to fetch all URIs")
				require.Contains(t, j.stderr(), `entry "`)
			}
			left, err := filepath.Glob(outside + "/*")
			require.NoError(t, err)
			require.Empty(t, left)
			require.NoFileExists(t, filepath.Join(j.Sandbox, "..", "escaped"))
		})
	}
}
