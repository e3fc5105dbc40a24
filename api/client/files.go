package client

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/perigee-sched/perigee/api"
)

// Files lists a directory of a task's sandbox; path is relative to it, "" is
// the sandbox itself.
func (c *Client) Files(ctx context.Context, task, path string) ([]api.File, error) {
	q := url.Values{}
	set(q, "path", path)
	list, err := get[api.Page[api.File]](ctx, c, "/v1/tasks/"+url.PathEscape(task)+"/files", q)
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// Content is a part of a file in a sandbox.
type Content struct {
	Data   []byte
	Offset int64 // of Data in the file
	Size   int64 // of the file when it was read
}

// ReadFile returns at most length bytes from offset on; to the file's end when
// length is negative. A negative offset counts from the end.
func (c *Client) ReadFile(ctx context.Context, task, path string, offset, length int64) (*Content, error) {
	q := content(path, offset)
	if length >= 0 {
		q.Set("length", strconv.FormatInt(length, 10))
	}
	resp, err := c.send(ctx, request{method: http.MethodGet, path: contentPath(task), query: q})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	read := &Content{Data: data}
	read.Offset, _ = strconv.ParseInt(resp.Header.Get(api.HeaderOffset), 10, 64)
	read.Size, _ = strconv.ParseInt(resp.Header.Get(api.HeaderSize), 10, 64)
	return read, nil
}

// FollowFile reads a file from offset on (a negative one counts from the end)
// and goes on as it grows, also across rotations. It waits for a task that is
// not placed yet, and for a file that is not there yet. The reader ends with
// io.EOF when the task has ended and all of the file was read, with
// io.ErrUnexpectedEOF when the connection or the scheduler went away. The
// caller closes it.
func (c *Client) FollowFile(ctx context.Context, task, path string, offset int64) (io.ReadCloser, error) {
	return c.FollowFileAfter(ctx, task, path, offset, nil)
}

// followMark is how many of the last bytes are enough to find them again.
const followMark = 256

// FollowFileAfter goes on after a FollowFile that broke off: offset is where it
// was if the file was not rotated since then, last the last bytes that it read
// (some hundreds are enough), by which the place is found otherwise.
func (c *Client) FollowFileAfter(ctx context.Context, task, path string, offset int64, last []byte) (io.ReadCloser, error) {
	q := content(path, offset)
	q.Set("follow", "true")
	if len(last) > 0 {
		q.Set("after", base64.RawURLEncoding.EncodeToString(last[max(0, len(last)-followMark):]))
	}
	return c.stream(ctx, contentPath(task), q)
}

// DownloadFile reads a whole file. The caller closes it.
func (c *Client) DownloadFile(ctx context.Context, task, path string) (io.ReadCloser, error) {
	return c.stream(ctx, "/v1/tasks/"+url.PathEscape(task)+"/files/download", url.Values{"path": {path}})
}

func (c *Client) stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func contentPath(task string) string { return "/v1/tasks/" + url.PathEscape(task) + "/files/content" }

func content(path string, offset int64) url.Values {
	q := url.Values{"path": {path}}
	if offset != 0 {
		q.Set("offset", strconv.FormatInt(offset, 10))
	}
	return q
}
