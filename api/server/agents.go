package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// agents reads sandboxes through the file endpoints of Mesos agents.
type agents struct{ http *http.Client }

// agentTimeout bounds one question to an agent, a download's body excepted.
const agentTimeout = 10 * time.Second

func newAgents(carry http.RoundTripper) *agents {
	if carry == nil {
		carry = &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			ResponseHeaderTimeout: agentTimeout,
			MaxIdleConnsPerHost:   4,
			IdleConnTimeout:       30 * time.Second,
			DisableCompression:    true,
		}
	}
	return &agents{&http.Client{
		Transport:     carry,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// sandbox is where an agent shows a task's directory.
type sandbox struct {
	agents *agents
	url    string // of the agent
	host   string
	dir    string // virtual path of the directory
}

// sandboxOf finds a task's sandbox. The path that the executor reported is used
// only where it names the task, since a task could have it report another's.
func (s *Server) sandboxOf(v *engine.View, t *record.Task) (*sandbox, error) {
	if t.AgentUrl == "" {
		return nil, newProblem(http.StatusConflict, "task %s has no sandbox: it was not placed on an agent", t.Id).kind("not-placed")
	}
	box := &sandbox{agents: s.agents, url: strings.TrimRight(t.AgentUrl, "/"), host: t.Host, dir: t.SandboxDir()}
	if !strings.Contains(box.dir, "/executors/"+t.Id+"/runs/") {
		framework := ""
		if c := v.Cluster(); c != nil {
			framework = c.FrameworkId
		}
		box.dir = "/frameworks/" + framework + "/executors/" + t.Id + "/runs/latest"
	}
	return box, nil
}

// inside checks a path that a user gave, relative to the sandbox. Links that
// lead out are the agent's to refuse.
func inside(file string) (string, error) {
	switch {
	case strings.ContainsRune(file, 0):
		return "", newProblem(http.StatusBadRequest, "the path has a NUL character").kind("invalid")
	case strings.HasPrefix(file, "/"):
		return "", newProblem(http.StatusBadRequest, "the path %q is absolute: paths are relative to the sandbox, for example logs/stdout", file).kind("invalid")
	}
	for _, part := range strings.Split(file, "/") {
		if part == ".." {
			return "", newProblem(http.StatusBadRequest, "the path %q leads out of the sandbox", file).kind("invalid")
		}
	}
	if file = path.Clean(file); file == "." {
		file = ""
	}
	return file, nil
}

// ask sends a question about a file to the agent. Answers other than 200 are
// problems. The caller closes the answer's body.
func (b *sandbox) ask(ctx context.Context, endpoint, file string, query url.Values) (*http.Response, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("path", strings.TrimSuffix(b.dir+"/"+file, "/"))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/files/"+endpoint+"?"+query.Encode(), nil)
	if err != nil {
		return nil, newProblem(http.StatusBadGateway, "agent %s has no usable address: %v", b.host, err).kind("agent")
	}
	resp, err := b.agents.http.Do(req)
	if err != nil {
		return nil, b.unreachable(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	return nil, b.refused(resp.StatusCode, file, strings.TrimSpace(string(text)))
}

func (b *sandbox) unreachable(err error) error {
	var network net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() {
		return newProblem(http.StatusGatewayTimeout, "agent %s (%s) does not answer", b.host, b.url).kind("agent").retryAfter(5)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return newProblem(http.StatusBadGateway, "agent %s (%s) cannot be reached: %v", b.host, b.url, err).kind("agent").retryAfter(5)
}

func (b *sandbox) refused(status int, file, text string) error {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return newProblem(http.StatusBadGateway, "agent %s does not let this scheduler read sandboxes (%d): see mesos.principal and mesos.secret in its configuration, and the agent's --credentials and --acls", b.host, status).kind("agent")
	case status == http.StatusNotFound && file == "":
		return newProblem(http.StatusNotFound, "agent %s no longer has the sandbox", b.host).kind("not-found")
	case status == http.StatusNotFound:
		return newProblem(http.StatusNotFound, "the sandbox on %s has no %s", b.host, file).kind("not-found")
	case status == http.StatusBadRequest && strings.Contains(text, "inaccessible"):
		return newProblem(http.StatusForbidden, "%s leads out of the sandbox", file).kind("outside")
	case status == http.StatusBadRequest:
		return newProblem(http.StatusBadRequest, "%s: %s", file, text).kind("invalid")
	}
	return newProblem(http.StatusBadGateway, "agent %s answered %d: %s", b.host, status, text).kind("agent")
}

// fileInfo is a file as an agent tells it.
type fileInfo struct {
	Path  string  `json:"path"`
	Size  int64   `json:"size"`
	Mode  string  `json:"mode"`
	UID   string  `json:"uid"`
	GID   string  `json:"gid"`
	Mtime float64 `json:"mtime"` // Unix seconds
}

// browse lists a directory.
func (b *sandbox) browse(ctx context.Context, dir string) ([]api.File, error) {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	resp, err := b.ask(ctx, "browse", dir, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var found []fileInfo
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&found); err != nil {
		return nil, newProblem(http.StatusBadGateway, "agent %s answered what cannot be read: %v", b.host, err).kind("agent")
	}
	files := make([]api.File, len(found))
	for i, f := range found {
		files[i] = api.File{
			Path: path.Join(dir, path.Base(f.Path)), Directory: strings.HasPrefix(f.Mode, "d"), Size: f.Size, Mode: f.Mode,
			User: f.UID, Group: f.GID, Modified: time.Unix(int64(f.Mtime), 0).UTC(),
		}
	}
	return files, nil
}

// size of a file.
func (b *sandbox) size(ctx context.Context, file string) (int64, error) {
	_, size, err := b.read(ctx, file, -1, -1)
	return size, err
}

// maxAnswer bounds an agent's answer to a read: 64 KiB, each byte written as an
// escape.
const maxAnswer = 1 << 20

// read returns at most length bytes of a file from offset on; an agent gives
// 64 KiB at most. With offset -1 it returns no data, and the file's size as at.
func (b *sandbox) read(ctx context.Context, file string, offset, length int64) (data []byte, at int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	query := url.Values{"offset": {strconv.FormatInt(offset, 10)}}
	if length >= 0 {
		query.Set("length", strconv.FormatInt(length, 10))
	}
	resp, err := b.ask(ctx, "read", file, query)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, 0, b.unreachable(err)
	}
	if data, at, err = readAnswer(answer); err != nil {
		return nil, 0, newProblem(http.StatusBadGateway, "agent %s answered what cannot be read: %v", b.host, err).kind("agent")
	}
	return data, at, nil
}

// readAnswer reads {"data": …, "offset": …}. The data's string holds the file's
// bytes as they are, where encoding/json would replace what is not UTF-8: a
// binary file, or one character in two reads.
func readAnswer(answer []byte) (data []byte, offset int64, err error) {
	begin := strings.Index(string(answer), `"data":"`)
	if begin < 0 {
		return nil, 0, errors.New("it has no data")
	}
	rest := answer[begin+len(`"data":"`):]
	data, n, err := unquote(rest)
	if err != nil {
		return nil, 0, err
	}
	// What is left is plain JSON.
	var others struct{ Offset *int64 }
	plain := append(append([]byte{}, answer[:begin]...), `"data":"`...)
	plain = append(plain, rest[n:]...)
	if err := json.Unmarshal(plain, &others); err != nil {
		return nil, 0, err
	}
	if others.Offset == nil {
		return nil, 0, errors.New("it has no offset")
	}
	return data, *others.Offset, nil
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unquote decodes a JSON string up to its closing quote, which is at n.
func unquote(s []byte) (data []byte, n int, err error) {
	data = make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return data, i, nil
		case s[i] != '\\':
			data = append(data, s[i])
			continue
		}
		if i++; i == len(s) {
			break
		}
		if c, ok := escapes[s[i]]; ok {
			data = append(data, c)
			continue
		}
		if s[i] != 'u' || i+4 >= len(s) {
			return nil, 0, fmt.Errorf("it has the escape %q", s[i])
		}
		c, err := strconv.ParseUint(string(s[i+1:i+5]), 16, 16)
		if err != nil {
			return nil, 0, fmt.Errorf("it has the escape %q", s[i:i+5])
		}
		data = append(data, string(rune(c))...)
		i += 4
	}
	return nil, 0, errors.New("it ends in the middle of the data")
}
