package server

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"

	"github.com/perigee-sched/perigee/api"
)

// SandboxPath names a file in a task's sandbox.
type SandboxPath struct {
	TaskPath
	Reading
	Path string `query:"path" maxLength:"4096" doc:"Relative to the sandbox; the sandbox itself when absent"`
}

func (s *Server) listFiles(ctx context.Context, in *SandboxPath) (*listed[api.File], error) {
	box, file, err := s.find(ctx, in)
	if err != nil {
		return nil, err
	}
	files, err := box.browse(ctx, file)
	if err != nil {
		return nil, err
	}
	return &listed[api.File]{Body: api.Page[api.File]{Items: files}}, nil
}

// find returns the sandbox of a task and the path in it that is asked for.
func (s *Server) find(ctx context.Context, in *SandboxPath) (*sandbox, string, error) {
	file, err := inside(in.Path)
	if err != nil {
		return nil, "", err
	}
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, "", err
	}
	t, err := in.in(v)
	if err != nil {
		return nil, "", err
	}
	box, err := s.sandboxOf(v, t)
	return box, file, err
}

type readFileInput struct {
	SandboxPath
	Offset int64  `query:"offset" doc:"Where to begin, in bytes; a negative one counts from the file's end"`
	Length int64  `query:"length" default:"-1" minimum:"-1" doc:"Most bytes to read; -1 is to the end"`
	Follow bool   `query:"follow" doc:"Go on as the file grows, until the task has ended"`
	After  string `query:"after" maxLength:"1024" doc:"With follow: the last bytes that were read, in base64url. They are looked for where offset says, then in the whole file and the rotated ones"`
}

func (s *Server) readFile(ctx context.Context, in *readFileInput) (*huma.StreamResponse, error) {
	if in.Follow {
		return s.followFile(ctx, in)
	}
	box, file, err := s.find(ctx, &in.SandboxPath)
	if err != nil {
		return nil, err
	}
	// Errors are answered before the first byte.
	size, err := box.size(ctx, file)
	if err != nil {
		return nil, err
	}
	from, to := part(in.Offset, in.Length, size)
	first, _, err := box.read(ctx, file, from, to-from)
	if err != nil {
		return nil, err
	}
	return stream(func(ctx context.Context, w *response) {
		asBytes(w)
		w.Header().Set(api.HeaderOffset, strconv.FormatInt(from, 10))
		w.Header().Set(api.HeaderSize, strconv.FormatInt(size, 10))
		w.WriteHeader(http.StatusOK)
		for data := first; len(data) > 0; {
			extend(w)
			if _, err := w.Write(data); err != nil || w.head {
				return
			}
			if from += int64(len(data)); from >= to {
				return
			}
			var err error
			if data, _, err = box.read(ctx, file, from, to-from); err != nil {
				panic(http.ErrAbortHandler) // the reader must not take it for the end
			}
		}
	}), nil
}

// part is the bytes [from, to) of a file that a reader asks for.
func part(offset, length, size int64) (from, to int64) {
	if offset < 0 {
		offset += size
	}
	from, to = max(0, offset), size
	if length >= 0 && length < to-from {
		to = from + length
	}
	return from, max(from, to)
}

// stream answers with what write writes.
func stream(write func(context.Context, *response)) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(c huma.Context) {
		r, _ := humamux.Unwrap(c)
		write(r.Context(), responseOf(r.Context()))
	}}
}

// asBytes has a browser not guess what a file is: it is a stranger's.
func asBytes(w *response) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
}

// extend gives the reader of a stream time for what comes. A read deadline
// would end the request, as nothing comes from the reader.
func extend(w *response) { deadline(w, time.Time{}, time.Now().Add(streamWriteTimeout)) }

func (s *Server) downloadFile(ctx context.Context, in *SandboxPath) (*huma.StreamResponse, error) {
	box, file, err := s.find(ctx, in)
	if err != nil {
		return nil, err
	}
	resp, err := box.ask(ctx, "download", file, nil)
	if err != nil {
		return nil, err
	}
	return stream(func(ctx context.Context, w *response) {
		ctx, cancel := s.whileShown(ctx)
		defer cancel()
		defer context.AfterFunc(ctx, func() { resp.Body.Close() })()
		defer resp.Body.Close()
		asBytes(w)
		for _, name := range []string{"Content-Length", "Content-Disposition"} {
			if value := resp.Header.Get(name); value != "" {
				w.Header().Set(name, value)
			}
		}
		buffer := make([]byte, 64<<10)
		for {
			n, err := resp.Body.Read(buffer)
			extend(w)
			if _, err := w.Write(buffer[:n]); err != nil {
				return
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				panic(http.ErrAbortHandler)
			}
		}
	}), nil
}
