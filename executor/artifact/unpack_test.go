package artifact

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/executor/process"
)

func newSandbox(t testing.TB) (Sandbox, string) {
	dir := filepath.Join(t.TempDir(), "sandbox")
	require.NoError(t, os.Mkdir(dir, 0o755))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	return Sandbox{Root: root, Owner: process.Own()}, dir
}

// archive makes a tar of entries; a regular file holds its own name.
func archive(t testing.TB, entries ...tar.Header) *os.File {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		require.NoError(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte(h.Name))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return fileOf(t, b.Bytes())
}

func fileOf(t testing.TB, b []byte) *os.File {
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.Write(b)
	require.NoError(t, err)
	return f
}

func regular(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}
}

func link(name, to string) tar.Header {
	return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
}

func hard(name, to string) tar.Header {
	return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeLink}
}

func folder(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}
}

func TestUnpack_NothingLeavesTheSandbox(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		entries []tar.Header
		message string
	}{
		"parent":           {[]tar.Header{regular("../evil")}, "../evil: its path leads out of the sandbox"},
		"parent inside":    {[]tar.Header{regular("a/../../evil")}, "its path leads out of the sandbox"},
		"absolute":         {[]tar.Header{regular("/evil")}, "its path leads out of the sandbox"},
		"absolute link":    {[]tar.Header{link("l", "/etc")}, "it links to /etc, which is out of the sandbox"},
		"link up":          {[]tar.Header{link("l", "..")}, "it links to .., which is out of the sandbox"},
		"through a link":   {[]tar.Header{link("l", "."), regular("l/evil")}, "l is not a directory"},
		"links in a row":   {[]tar.Header{folder("d"), link("d/up", ".."), link("l", "d/up/..")}, "link l: "},
		"hard link":        {[]tar.Header{hard("h", "../../etc/passwd")}, "its path leads out of the sandbox"},
		"device":           {[]tar.Header{{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, `entries of type '3' are not allowed`},
		"reserved":         {[]tar.Header{regular("./stdout")}, "this name is reserved"},
		"file as a folder": {[]tar.Header{regular("f"), regular("f/g")}, "f is not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, dir := newSandbox(t)
			err := s.unpack(context.Background(), ".tar", archive(t, test.entries...), ".")
			require.ErrorContains(t, err, test.message)
			entries, err := os.ReadDir(filepath.Dir(dir))
			require.NoError(t, err)
			require.Len(t, entries, 1, "only the sandbox itself")
		})
	}
}

func TestUnpack_WhatIsAllowed(t *testing.T) {
	t.Parallel()
	s, dir := newSandbox(t)
	setuid := regular("bin/su")
	setuid.Mode = 0o4755
	f := archive(t, folder("./"), folder("closed"), setuid, link("bin/alias", "su"), link("bin/later", "../lib/x"), hard("copy", "bin/su"),
		regular("twice"), regular("twice"), tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "git"}})
	require.NoError(t, s.unpack(context.Background(), ".tar", f, "."))
	for name, want := range map[string]string{"bin/su": "bin/su", "bin/alias": "bin/su", "copy": "bin/su", "twice": "twice"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(b))
	}
	info, err := os.Stat(filepath.Join(dir, "bin/su"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info.Mode(), "never setuid")
}

func TestUnpack_Zip(t *testing.T) {
	t.Parallel()
	pack := func(name string, mode fs.FileMode, body string) *os.File {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		w, err := z.CreateHeader(h)
		require.NoError(t, err)
		_, err = w.Write([]byte(body))
		require.NoError(t, err)
		require.NoError(t, z.Close())
		return fileOf(t, b.Bytes())
	}
	s, dir := newSandbox(t)
	require.NoError(t, s.unpack(context.Background(), ".zip", pack("a/b", 0o755, "body"), "."))
	b, err := os.ReadFile(filepath.Join(dir, "a/b"))
	require.NoError(t, err)
	require.Equal(t, "body", string(b))
	err = s.unpack(context.Background(), ".zip", pack("../evil", 0o644, ""), ".")
	require.ErrorContains(t, err, "leads out of the sandbox")
	err = s.unpack(context.Background(), ".zip", pack("l", fs.ModeSymlink|0o777, "../../etc"), ".")
	require.ErrorContains(t, err, "out of the sandbox")
	require.Error(t, s.unpack(context.Background(), ".zip", fileOf(t, []byte("no zip")), "."))
	require.Error(t, s.unpack(context.Background(), ".tgz", fileOf(t, []byte("no gzip")), "."))
}

// FuzzUnpack lets archives do their worst: nothing may appear beside the sandbox.
func FuzzUnpack(f *testing.F) {
	for _, file := range []*os.File{
		archive(f, regular("a"), link("l", "a"), folder("d")), archive(f, regular("../x")), archive(f, link("l", "."), hard("h", "l")),
	} {
		b, err := os.ReadFile(file.Name())
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, dir := newSandbox(t)
		_ = s.unpack(context.Background(), ".tar", fileOf(t, b), ".") // most are no archives
		entries, err := os.ReadDir(filepath.Dir(dir))
		require.NoError(t, err)
		require.Len(t, entries, 1)
	})
}
