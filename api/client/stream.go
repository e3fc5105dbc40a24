package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
)

const (
	// maxQuiet is how long a connection may be silent: the server sends a
	// heartbeat every 15 s.
	maxQuiet = 45 * time.Second
	// maxEvent bounds one line of the stream, in bytes.
	maxEvent = 16 << 20
	// minPause and maxPause are how long to wait before connecting again.
	minPause, maxPause = 100 * time.Millisecond, 5 * time.Second
)

// message is one event of a stream. One without data tells how far the stream
// is.
type message struct{ id, data string }

// stream is one connection with server-sent events.
type stream struct {
	body  io.ReadCloser
	lines *bufio.Reader
	stop  context.CancelFunc
	quiet *time.Timer
}

// open connects. The connection lives on after ctx has ended, since ctx is that
// of one call.
func (c *Client) open(ctx context.Context, r request) (*stream, error) {
	if r.header == nil {
		r.header = http.Header{}
	}
	r.method = http.MethodGet
	r.header.Set("Accept", "text/event-stream")
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	opening := context.AfterFunc(ctx, stop)
	resp, err := c.send(life, r)
	if err == nil && !opening() {
		resp.Body.Close()
		err = ctx.Err()
	}
	if err != nil {
		stop()
		return nil, err
	}
	return &stream{body: resp.Body, lines: bufio.NewReader(resp.Body), stop: stop, quiet: time.AfterFunc(maxQuiet, stop)}, nil
}

func (s *stream) close() {
	s.quiet.Stop()
	s.stop()
	s.body.Close()
}

// next reads one message.
func (s *stream) next(ctx context.Context) (m message, err error) {
	defer context.AfterFunc(ctx, s.stop)()
	for {
		line, err := readLine(s.lines)
		if err != nil {
			return message{}, err
		}
		s.quiet.Reset(maxQuiet)
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && m != message{}:
			return m, nil
		case name == "id":
			m.id = value
		case name == "data":
			m.data += value
		}
	}
}

func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxEvent {
			return "", err
		}
	}
}

// forGood says whether connecting again would be refused again.
func forGood(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Status < 500 && p.Status != http.StatusTooManyRequests || hopeless(err)
}

// states has see look at each message of a stream of states until it wants no
// more, and connects again whenever the connection is lost.
func (c *Client) states(ctx context.Context, path string, see func(data string) (more bool, err error)) error {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		s, err := c.open(ctx, request{path: path})
		for err == nil {
			var m message
			if m, err = s.next(ctx); err != nil || m.data == "" {
				continue
			}
			if more, err := see(m.data); !more || err != nil {
				s.close()
				return err
			}
			pause = minPause
		}
		if s != nil {
			s.close()
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case forGood(err):
			return err
		}
		if s == nil {
			c.lost(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow yields what a stream below a job's path tells, each message the whole
// state, until last of one that was yielded. An error is yielded last.
func follow[T any](ctx context.Context, c *Client, job, rest string, last func(*T) bool) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		path, err := jobPath(job)
		if err == nil {
			err = c.states(ctx, path+rest, func(data string) (bool, error) {
				state := new(T)
				if err := json.Unmarshal([]byte(data), state); err != nil {
					return false, fmt.Errorf("read what %s%s tells: %w", path, rest, err)
				}
				return yield(state, nil) && !last(state), nil
			})
		}
		if err != nil {
			yield(nil, err)
		}
	}
}
