package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster/sandbox"
)

// shown is a sandbox under two virtual paths, as an agent shows it.
type shown struct {
	*testing.T
	dir     string
	files   *sandbox.Files
	handler http.Handler
}

func show(t *testing.T) shown {
	t.Helper()
	// t.TempDir itself may lie behind a link, which no root does.
	temp, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	dir := filepath.Join(temp, "runs", "c1")
	require.NoError(t, sandbox.Create(dir, ""))
	files := sandbox.New(func(path string) (string, bool) {
		return dir, path == dir || path == "/frameworks/f/executors/e/runs/latest"
	})
	s := shown{t, dir, files, files.Handler()}
	s.write("data.txt", "0123456789")
	return s
}

func (s shown) write(name, content string) {
	s.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(s, os.WriteFile(path, []byte(content), 0o644))
}

func (s shown) get(endpoint, path, more string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequest("GET", "/files/"+endpoint+"?path="+url.QueryEscape(path)+more, nil))
	return w
}

func (s shown) requireAnswer(w *httptest.ResponseRecorder, code int, contentType, body string) {
	s.Helper()
	require.Equal(s, code, w.Code, w.Body)
	require.Equal(s, contentType, w.Header().Get("Content-Type"))
	require.Equal(s, body, w.Body.String())
}

const plain = "text/plain; charset=utf-8"

func TestRead_OffsetsAndLengths(t *testing.T) {
	t.Parallel()
	s := show(t)
	for more, want := range map[string]string{
		"":                     `{"data":"","offset":10}`,
		"&offset=0":            `{"data":"0123456789","offset":0}`,
		"&offset=3&length=4":   `{"data":"3456","offset":3}`,
		"&offset=0x3&length=4": `{"data":"3456","offset":3}`,
		"&offset=10":           `{"data":"","offset":10}`,
		"&offset=1000":         `{"data":"","offset":1000}`,
		"&offset=0&length=99":  `{"data":"0123456789","offset":0}`,
		"&offset=0&length=0":   `{"data":"","offset":0}`,
		"&offset=-1":           `{"data":"","offset":10}`,
		"&offset=-1&length=4":  `{"data":"","offset":10}`,
		"&offset=0&length=-1":  `{"data":"0123456789","offset":0}`,
	} {
		s.requireAnswer(s.get("read", s.dir+"/data.txt", more), 200, "application/json", want)
	}
	for more, want := range map[string]string{
		"&offset=-2":          "Negative offset provided: -2.\n",
		"&offset=x":           "Failed to parse offset: Failed to convert 'x' to number.\n",
		"&offset=":            "Failed to parse offset: Failed to convert '' to number.\n",
		"&offset=0&length=-2": "Negative length provided: -2.\n",
		"&offset=0&length=y":  "Failed to parse length: Failed to convert 'y' to number.\n",
	} {
		s.requireAnswer(s.get("read", s.dir+"/data.txt", more), 400, plain, want)
	}
}

func TestRead_AtMost16Pages(t *testing.T) {
	t.Parallel()
	s := show(t)
	page := 16 * os.Getpagesize()
	s.write("big", strings.Repeat("x", 2*page+5))
	for _, more := range []string{"&offset=0", "&offset=0&length=-1", "&offset=0&length=" + strconv.Itoa(2*page)} {
		var chunk struct{ Data string }
		require.NoError(t, json.Unmarshal(s.get("read", s.dir+"/big", more).Body.Bytes(), &chunk))
		require.Len(t, chunk.Data, page)
	}
	data, size, err := s.files.Read(s.dir+"/big", uint64(2*page), nil)
	require.NoError(t, err)
	require.Equal(t, "xxxxx", string(data))
	require.EqualValues(t, 2*page+5, size)
}

func TestRead_KeepsBytesThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	s := show(t)
	s.write("umlaut", "a\x00\x1b\"\\\n/ü")
	w := s.get("read", s.dir+"/umlaut", "&offset=0&length=8")
	require.Equal(t, "{\"data\":\"a\\u0000\\u001B\\\"\\\\\\n/\xc3\",\"offset\":0}", w.Body.String())
}

func TestRead_JSONP(t *testing.T) {
	t.Parallel()
	s := show(t)
	s.requireAnswer(s.get("read", s.dir+"/data.txt", "&jsonp=cb"), 200, "text/javascript", `cb({"data":"","offset":10})`)
}

func TestBrowse(t *testing.T) {
	t.Parallel()
	s := show(t)
	s.write("sub/inner.txt", "inner")
	s.write("sub-dir", "")
	require.NoError(t, os.Chmod(filepath.Join(s.dir, "data.txt"), 0o641))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(s.dir, "dangling")))
	require.NoError(t, os.Symlink("sub", filepath.Join(s.dir, "to-sub")))
	me, err := user.Current()
	require.NoError(t, err)

	w := s.get("browse", s.dir, "")
	require.Equal(t, 200, w.Code)
	var list []map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list))
	var got []string
	for _, e := range list {
		require.ElementsMatch(t, []string{"gid", "mode", "mtime", "nlink", "path", "size", "uid"}, keys(e))
		require.Equal(t, me.Username, e["uid"])
		got = append(got, fmt.Sprint(e["mode"], " ", strings.TrimPrefix(e["path"].(string), s.dir)))
	}
	require.Equal(t, []string{"-rw-r----x /data.txt", "drwxr-xr-x /sub", "-rw-r--r-- /sub-dir", "drwxr-xr-x /to-sub"}, got)
	require.EqualValues(t, 10, list[0]["size"])
	require.EqualValues(t, 1, list[0]["nlink"])
	fi, err := os.Stat(filepath.Join(s.dir, "data.txt"))
	require.NoError(t, err)
	require.EqualValues(t, fi.ModTime().Unix(), list[0]["mtime"])

	virtual := "/frameworks/f/executors/e/runs/latest"
	for _, path := range []string{virtual + "/sub", virtual + "/sub/", virtual + "//sub"} {
		require.Contains(t, s.get("browse", path, "").Body.String(), `"path":"`+strings.TrimSuffix(path, "/")+`/inner.txt","size":5,`)
	}
	s.requireAnswer(s.get("browse", s.dir+"/data.txt", ""), 200, "application/json", "[]")
}

func keys(m map[string]any) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestFileInfos(t *testing.T) {
	t.Parallel()
	s := show(t)
	list, err := s.files.Browse(s.dir)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.EqualValues(t, 0o100644, *list[0].Mode)
	require.Zero(t, list[0].Mtime.Nanoseconds%1e9)
	var e *sandbox.Error
	_, err = s.files.Browse(s.dir + "/missing")
	require.ErrorAs(t, err, &e)
	require.Equal(t, sandbox.Error{Status: 404}, *e)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := show(t)
	outside := filepath.Join(filepath.Dir(s.dir), "c10") // begins with the sandbox's own name
	require.NoError(t, os.Mkdir(outside, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(s.dir, "link")))
	require.NoError(t, os.Symlink(outside, filepath.Join(s.dir, "dir")))
	require.NoError(t, os.Symlink("loop", filepath.Join(s.dir, "loop")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(s.dir, "fifo"), 0o644))

	for _, endpoint := range []string{"browse", "read", "download"} {
		missing := ""
		if endpoint == "download" {
			missing = "404 Not Found."
		}
		for _, path := range []string{"/etc/passwd", "/", "x", s.dir + "/missing", s.dir + "/data.txt/x", s.dir + strings.Repeat("/..", 30) + "/no-such/passwd"} {
			s.requireAnswer(s.get(endpoint, path, "&offset=0"), 404, plain, missing)
		}
		for _, rest := range []string{"/link", "/dir/secret", "/../c10/secret", "/../../runs/c10", strings.Repeat("/..", 30) + "/etc/passwd"} {
			s.requireAnswer(s.get(endpoint, s.dir+rest, "&offset=0"), 400, plain, "'"+s.dir+rest+"' is inaccessible.\n")
		}
		w := s.get(endpoint, s.dir+"/loop", "&offset=0")
		require.Equal(t, 400, w.Code)
		require.Contains(t, w.Body.String(), "Failed to determine canonical path of '"+s.dir+"/loop'")

		w = httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequest("GET", "/files/"+endpoint, nil))
		s.requireAnswer(w, 400, plain, "Expecting 'path=value' in query.\n")
	}
	s.requireAnswer(s.get("read", s.dir, "&offset=0"), 400, plain, "Cannot read a directory.\n")
	s.requireAnswer(s.get("download", s.dir, ""), 400, plain, "Cannot download a directory.\n")
	// A FIFO that nobody writes to must not hold up the answer.
	require.Equal(t, 500, s.get("read", s.dir+"/fifo", "&offset=0").Code)
	require.Equal(t, 404, s.get("download", s.dir+"/fifo", "").Code)
}

func TestLinksInsideAreFollowed(t *testing.T) {
	t.Parallel()
	s := show(t)
	require.NoError(t, os.Symlink(filepath.Join(s.dir, "data.txt"), filepath.Join(s.dir, "absolute")))
	require.NoError(t, os.Symlink("./data.txt", filepath.Join(s.dir, "relative")))
	for _, name := range []string{"/absolute", "/relative"} {
		require.Equal(t, `{"data":"0123456789","offset":0}`, s.get("read", s.dir+name, "&offset=0").Body.String())
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	s := show(t)
	content := bytes.Repeat([]byte{0, 0xff, 'x'}, 100_000)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "binary.bin"), content, 0o644))
	w := s.get("download", s.dir+"/data.txt", "")
	s.requireAnswer(w, 200, "text/plain", "0123456789")
	require.Equal(t, "attachment; filename=data.txt", w.Header().Get("Content-Disposition"))
	w = s.get("download", s.dir+"/binary.bin", "")
	require.Equal(t, "application/octet-stream", w.Header().Get("Content-Type"))
	require.Equal(t, strconv.Itoa(len(content)), w.Header().Get("Content-Length"))
	require.True(t, bytes.Equal(content, w.Body.Bytes()), "the file comes as it is")
}

func TestCreate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, sandbox.Create(dir, ""))
	fi, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.ModeDir|0o750, fi.Mode())
	require.ErrorContains(t, sandbox.Create(filepath.Join(dir, "c"), "no-such-user"), `find user "no-such-user"`)
	require.NoDirExists(t, filepath.Join(dir, "c"))

	if os.Geteuid() != 0 {
		require.ErrorContains(t, sandbox.Create(filepath.Join(dir, "c"), "root"), "takes root")
		return
	}
	require.NoError(t, sandbox.Create(filepath.Join(dir, "c"), "nobody"))
	fi, err = os.Stat(filepath.Join(dir, "c"))
	require.NoError(t, err)
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	require.Equal(t, nobody.Uid, fmt.Sprint(fi.Sys().(*syscall.Stat_t).Uid))
}
