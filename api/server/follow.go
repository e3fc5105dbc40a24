package server

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const (
	// Mesos has no read that waits, so the agent is asked again and again: often
	// while the file grows.
	minFollowPause = 100 * time.Millisecond
	maxFollowPause = time.Second
	// maxFollowFailures in a row end a stream.
	maxFollowFailures = 10
)

// followFile streams a file until the task has ended and all of it was read.
// Where it cannot tell that this is all, it cuts the stream off.
func (s *Server) followFile(ctx context.Context, in *readFileInput) (*huma.StreamResponse, error) {
	file, err := inside(in.Path)
	if err != nil {
		return nil, err
	}
	last, err := base64.RawURLEncoding.DecodeString(in.After)
	if err != nil {
		return nil, wrongInput("query.after", in.After, "is not base64url without padding")
	}
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	t, err := in.in(v)
	if err != nil {
		return nil, err
	}
	if t.State.Terminal() { // what is not there now never will be
		box, err := s.sandboxOf(v, t)
		if err != nil {
			return nil, err
		}
		if _, err := box.size(ctx, file); err != nil {
			return nil, err
		}
	}
	return stream(func(ctx context.Context, w *response) {
		defer s.metrics.streaming(w, "files")()
		ctx, cancel := s.whileValid(ctx)
		defer cancel()
		asBytes(w)
		w.WriteHeader(http.StatusOK)
		f := following{s: s, w: w, control: http.NewResponseController(w), task: in.Task, file: file, offset: in.Offset, last: last}
		if w.head {
			return
		}
		if !f.run(ctx) {
			panic(http.ErrAbortHandler)
		}
	}), nil
}

// following is one stream of a file.
type following struct {
	s       *Server
	w       *response
	control *http.ResponseController
	task    string
	file    string
	offset  int64
	last    []byte // read before offset by an earlier stream

	tail     *tail
	failures int
}

// run returns true when all of the file was sent.
func (f *following) run(ctx context.Context) bool {
	if !f.flush() || !f.placed(ctx) {
		return false
	}
	pause := minFollowPause
	for ctx.Err() == nil {
		// Whether it is over is asked first: then nothing comes after what is
		// read now.
		v := f.s.Scheduler.View()
		t := v.Task(f.task)
		if t == nil {
			return true // no longer kept: it was over
		}
		box, err := f.s.sandboxOf(v, t)
		var data []byte
		if err == nil {
			data, err = f.read(ctx, box)
		}
		switch {
		case err != nil:
			if f.failures++; f.failures >= maxFollowFailures {
				f.s.Log.Info("a file is no longer followed", "task", f.task, "file", f.file, "error", err)
				return false
			}
		case len(data) > 0:
			if _, err := f.w.Write(data); err != nil || !f.flush() {
				return false
			}
			f.failures, pause = 0, minFollowPause
			continue
		case t.State.Terminal():
			return true
		default:
			f.failures = 0
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, maxFollowPause)
		case <-ctx.Done():
		}
	}
	return false
}

// placed waits until the task is on an agent; false when it never will be, or
// ctx ended.
func (f *following) placed(ctx context.Context) bool {
	for v := f.s.Scheduler.View(); ; {
		t := v.Task(f.task)
		if t == nil || t.AgentUrl != "" || t.State.Terminal() {
			return t != nil && t.AgentUrl != ""
		}
		var err error
		if v, err = f.s.Scheduler.WaitIndex(ctx, v.Index+1); err != nil {
			return false
		}
	}
}

func (f *following) read(ctx context.Context, box *sandbox) ([]byte, error) {
	if f.tail == nil {
		t := &tail{read: box.read, file: f.file}
		begin := func() error { return t.start(ctx, f.offset) }
		if len(f.last) > 0 {
			begin = func() error { return t.resume(ctx, f.offset, f.last) }
		}
		if err := begin(); err != nil {
			return nil, err
		}
		f.tail = t
	}
	f.tail.read = box.read // the sandbox's path may be known better by now
	return f.tail.next(ctx)
}

// flush sends what was written, and has the reader take it in time.
func (f *following) flush() bool {
	extend(f.w)
	return f.control.Flush() == nil
}
