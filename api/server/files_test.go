package server_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// oneTask starts a run and returns its task.
func (w *world) oneTask() string {
	w.Helper()
	w.put("etl/prod/load", batch)
	_, err := w.StartRuns(ctx, "etl/prod/load", []api.NewRun{{}}, client.WriteOptions{})
	require.NoError(w, err)
	return w.running("etl/prod/load", 1)[0].ID
}

func TestFiles_BrowseReadAndDownload(t *testing.T) {
	t.Parallel()
	w := begin(t)
	task := w.oneTask()
	w.mesos.write(task, "data.txt", "0123456789")
	w.mesos.write(task, "logs/stdout", "hello\n")
	// Every byte there is, and more than the 64 KiB that an agent gives at once.
	binary := make([]byte, 200_000)
	for i := range binary {
		binary[i] = byte(i * 7)
	}
	w.mesos.write(task, "core", string(binary))

	files, err := w.Files(ctx, task, "")
	require.NoError(t, err)
	byPath := map[string]api.File{}
	for _, f := range files {
		byPath[f.Path] = f
	}
	require.Len(t, byPath, 3)
	require.True(t, byPath["logs"].Directory)
	require.EqualValues(t, 10, byPath["data.txt"].Size)
	require.WithinDuration(t, time.Now(), byPath["data.txt"].Modified, time.Minute)
	files, err = w.Files(ctx, task, "logs/")
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.Equal(t, "logs/stdout", files[0].Path)

	for _, c := range []struct {
		offset, length int64
		want           string
		at             int64
	}{{0, -1, "0123456789", 0}, {3, 4, "3456", 3}, {-3, -1, "789", 7}, {-3, 1, "7", 7}, {-99, -1, "0123456789", 0}, {99, -1, "", 99}, {0, 0, "", 0}} {
		got, err := w.ReadFile(ctx, task, "data.txt", c.offset, c.length)
		require.NoError(t, err)
		require.Equal(t, c.want, string(got.Data), "%+v", c)
		require.Equal(t, c.at, got.Offset)
		require.EqualValues(t, 10, got.Size)
	}
	whole, err := w.ReadFile(ctx, task, "core", 0, -1)
	require.NoError(t, err)
	require.True(t, bytes.Equal(binary, whole.Data), "bytes that are no text stay as they are")

	r, err := w.DownloadFile(ctx, task, "core")
	require.NoError(t, err)
	defer r.Close()
	downloaded, err := io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, bytes.Equal(binary, downloaded))
}

func TestFiles_NothingOutsideOfTheSandbox(t *testing.T) {
	t.Parallel()
	w := begin(t)
	task := w.oneTask()
	w.mesos.write("another", "secret", "secret")
	require.NoError(t, os.Symlink("/etc", filepath.Join(w.mesos.sandbox(task), "etc")))
	for _, c := range []struct {
		path   string
		status int
	}{{"../another/secret", 400}, {"a/../../another/secret", 400}, {"/etc/passwd", 400}, {"..", 400}, {"%00", 400},
		{"etc/passwd", 403}, {"missing", 404}} {
		for _, endpoint := range []string{"files", "files/content", "files/download"} {
			w.do("GET", "/v1/tasks/"+task+"/"+endpoint+"?path="+c.path, "").problem(c.status)
		}
		if c.status == 400 {
			w.do("GET", "/v1/tasks/"+task+"/files/content?follow=true&path="+c.path, "").problem(c.status)
		}
	}
	w.mesos.write(task, "sub/file", "")
	p := w.do("GET", "/v1/tasks/"+task+"/files/content?path=sub", "").problem(http.StatusBadRequest)
	require.Contains(t, p.Detail, "directory")
}

func TestFiles_AgentThatIsAway(t *testing.T) {
	t.Parallel()
	w := begin(t)
	task := w.oneTask()
	w.mesos.agent.Close()
	p := w.do("GET", "/v1/tasks/"+task+"/files", "").problem(http.StatusBadGateway)
	require.Contains(t, p.Detail, "host-1")
	w.do("GET", "/v1/tasks/none/files", "").problem(http.StatusNotFound)
}

func TestFiles_TaskThatIsNotPlaced(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.put("etl/prod/load", strings.Replace(batch, `"cpus":0.1`, `"cpus":1024`, 1)) // fits nowhere
	_, err := w.StartRuns(ctx, "etl/prod/load", []api.NewRun{{}}, client.WriteOptions{})
	require.NoError(t, err)
	page, err := w.Tasks(ctx, client.TaskFilter{Job: "etl/prod/load"})
	require.NoError(t, err)
	w.do("GET", "/v1/tasks/"+page.Items[0].ID+"/files", "").problem(http.StatusConflict)
}

// follow reads a file in the background, and tells what came so far.
func (w *world) follow(task, path string, offset int64) (so func() string, end func() error) {
	w.Helper()
	r, err := w.FollowFile(ctx, task, path, offset)
	require.NoError(w, err)
	w.Cleanup(func() { r.Close() })
	chunks, done := make(chan string, 1000), make(chan error, 1)
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := r.Read(buffer)
			chunks <- string(buffer[:n])
			if err != nil {
				done <- err
				return
			}
		}
	}()
	got := ""
	so = func() string {
		for {
			select {
			case c := <-chunks:
				got += c
			default:
				return got
			}
		}
	}
	return so, func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return io.ErrNoProgress
		}
	}
}

func TestFollow_GrowsRotatesAndEndsWithTheTask(t *testing.T) {
	t.Parallel()
	w := begin(t)
	task := w.oneTask()
	so, end := w.follow(task, "logs/stdout", 0) // not there yet
	w.mesos.write(task, "logs/stdout", "one\n")
	w.eventually("the first line", func() bool { return so() == "one\n" })
	dir := filepath.Join(w.mesos.sandbox(task), "logs")
	w.mesos.write(task, "logs/stdout", "one\ntwo\n")
	require.NoError(t, os.Rename(dir+"/stdout", dir+"/stdout.1"))
	w.mesos.write(task, "logs/stdout", "three, which is longer than what was there before\n")
	w.eventually("the rest of the old file, and the new one", func() bool {
		return so() == "one\ntwo\nthree, which is longer than what was there before\n"
	})
	w.mesos.write(task, "logs/stdout", "three, which is longer than what was there before\nlast\n")
	w.end(task, 0)
	require.Equal(t, io.EOF, end())
	require.True(t, strings.HasSuffix(so(), "before\nlast\n"), so())
}

func TestFollow_FromTheEndOfAFinishedTask(t *testing.T) {
	t.Parallel()
	w := begin(t)
	task := w.oneTask()
	w.mesos.write(task, "logs/stdout", strings.Repeat("x", 100_000)+"tail")
	w.end(task, 0)
	so, end := w.follow(task, "logs/stdout", -4)
	require.Equal(t, io.EOF, end())
	require.Equal(t, "tail", so())
	w.do("GET", "/v1/tasks/"+task+"/files/content?follow=true&path=missing", "").problem(http.StatusNotFound)
}

// A stream that ends before the file does must not look complete.
func TestFollow_EndOfTheServerIsNotTheEndOfTheFile(t *testing.T) {
	t.Parallel()
	w := begin(t)
	task := w.oneTask()
	w.mesos.write(task, "logs/stdout", "one\n")
	so, end := w.follow(task, "logs/stdout", 0)
	w.eventually("the first line", func() bool { return so() == "one\n" })
	w.api.CloseClientConnections()
	require.ErrorIs(t, end(), io.ErrUnexpectedEOF)
}

func TestFollow_WaitsForThePlacement(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.mesos.hold(true)
	w.put("etl/prod/load", batch)
	w.eventually("no offer is left", func() bool {
		_, err := w.StartRuns(ctx, "etl/prod/load", []api.NewRun{{}}, client.WriteOptions{})
		require.NoError(t, err)
		page, err := w.Tasks(ctx, client.TaskFilter{Job: "etl/prod/load", State: "pending"})
		require.NoError(t, err)
		return len(page.Items) > 0
	})
	page, err := w.Tasks(ctx, client.TaskFilter{Job: "etl/prod/load", State: "pending"})
	require.NoError(t, err)
	task := page.Items[0].ID
	so, _ := w.follow(task, "logs/stdout", 0)
	w.mesos.write(task, "logs/stdout", "here\n")
	w.mesos.hold(false)
	require.NoError(t, w.engine.Deliver(ctx, w.mesos.offer()))
	w.eventually("the file of the task that was placed", func() bool { return so() == "here\n" })
}
