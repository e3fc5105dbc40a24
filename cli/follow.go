package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// others follows the tasks that come, until ctx ends or the run it is about is
// over.
func (r *logReader) others(ctx context.Context, w *watch, t target, several bool) error {
	if t.run() {
		if run, err := r.client.Run(ctx, t.job, t.rest); err != nil || overStates[run.State] {
			return err
		}
	}
	n, instance := t.instance()
	for {
		e, missed, err := w.next(ctx, time.Hour)
		if err != nil {
			return err
		}
		if missed {
			if err := r.again(ctx, t, several); err != nil {
				return err
			}
		}
		if e == nil {
			continue
		}
		d := e.Data
		switch {
		case instance && (d.Instance == nil || int(*d.Instance) != n), t.run() && d.Run != t.rest:
		case strings.HasPrefix(shortType(e), "run."):
			if t.run() && overStates[d.State] {
				return nil
			}
		case d.Host != "" && d.State != "killed":
			name := t.job + "/" + d.Run
			if d.Instance != nil && d.Run == "" {
				name = fmt.Sprintf("%s/%d", t.job, *d.Instance)
			}
			r.followTask(ctx, r.writer(d.Task, name, several))
		}
	}
}

// again follows the tasks there are now: some may have come unseen.
func (r *logReader) again(ctx context.Context, t target, several bool) error {
	tasks, err := r.tasks(ctx, t)
	if err != nil {
		return err
	}
	for i := range tasks {
		r.followTask(ctx, r.writer(tasks[i].ID, nameOf(&tasks[i]), several))
	}
	return nil
}

// followTask prints what a task writes until it has ended. It does not wait for
// that, and does nothing for a task it was told of before.
func (r *logReader) followTask(ctx context.Context, w logWriter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started[w.task] {
		return
	}
	if r.started == nil {
		r.started = map[string]bool{}
	}
	r.started[w.task] = true
	r.work.Go(func() {
		if err := r.followOne(ctx, w); err != nil && ctx.Err() == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.failed == nil {
				r.failed = err
			}
		}
	})
}

func (r *logReader) wait() { r.work.Wait() }

// followOne follows a file, and goes on where it was when the connection or the
// scheduler went away.
func (r *logReader) followOne(ctx context.Context, w logWriter) error {
	read := &countingReader{}
	for begun := false; ; {
		err := error(nil)
		if !begun {
			read.n, err = r.beginFollowing(ctx, w.task)
			begun = err == nil
		}
		if begun {
			err = r.followOn(ctx, w, read)
		}
		if err == nil || ctx.Err() != nil || !away(err) {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// beginFollowing is begin for a file that may not be there yet.
func (r *logReader) beginFollowing(ctx context.Context, task string) (int64, error) {
	from, err := r.begin(ctx, task)
	var p *api.Problem
	if errors.As(err, &p) && (p.Status == http.StatusNotFound || p.Status == http.StatusConflict) {
		return 0, nil
	}
	return from, err
}

// followOn prints what comes after what was read, until the task has ended.
func (r *logReader) followOn(ctx context.Context, w logWriter, read *countingReader) error {
	body, err := r.client.FollowFileAfter(ctx, w.task, r.file, read.n, read.last)
	if err != nil {
		return err
	}
	defer body.Close()
	read.r = body
	return r.copy(read, w)
}

// away says whether there was no scheduler to answer, or none that could: one
// that begins, and whose journal is not loaded yet.
func away(err error) bool {
	var network net.Error // of a connection that broke off within an answer
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) || codeOf(err) == codeUnavailable
}

// pause is how long a reader waits for a scheduler that went away.
func pause(ctx context.Context) error {
	select {
	case <-time.After(500 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// countingReader knows where in a file it is.
type countingReader struct {
	r    io.Reader
	n    int64
	last []byte // bytes before n
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.last = append(c.last, b[:n]...)
	c.last = bytes.Clone(c.last[max(0, len(c.last)-512):])
	return n, err
}

// begin is the offset of the lines that are asked for.
func (r *logReader) begin(ctx context.Context, task string) (int64, error) {
	if r.lines < 0 {
		return 0, nil
	}
	for back := int64(r.lines)*200 + 4096; ; back *= 4 {
		c, err := r.client.ReadFile(ctx, task, r.file, -back, -1)
		if err != nil {
			return 0, err
		}
		data := c.Data
		if i := tail(data, r.lines); i > 0 || c.Offset == 0 {
			return c.Offset + int64(max(i, 0)), nil
		}
	}
}

// tail is where the last n lines of data begin, 0 when it has no more than
// those.
func tail(data []byte, n int) int {
	end := len(data)
	if n == 0 {
		return end
	}
	if end > 0 && data[end-1] == '\n' {
		end--
	}
	for ; n > 0; n-- {
		if end = bytes.LastIndexByte(data[:end], '\n'); end < 0 {
			return 0
		}
	}
	return end + 1
}

// copy prints lines after a prefix, whole ones unless it is the only task's.
func (r *logReader) copy(from io.Reader, w logWriter) error {
	lines := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			out := append([]byte(w.prefix), line...)
			if w.prefix != "" && line[len(line)-1] != '\n' {
				out = append(out, '\n')
			}
			if r.json() {
				out = w.json(line)
			}
			r.mu.Lock()
			_, werr := r.Out.Write(out)
			r.mu.Unlock()
			if werr != nil {
				return werr
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
