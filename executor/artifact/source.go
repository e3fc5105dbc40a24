package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/perigee-sched/perigee/executor/process"
)

// ChecksumError says that an artifact is not the one the job names.
type ChecksumError struct {
	Expected, Actual string // SHA-256 in hexadecimal
	Size             int64
}

func (e *ChecksumError) Error() string {
	return fmt.Sprintf("wrong checksum, so it does not run: expected SHA-256 %s, got %s (%s)", e.Expected, e.Actual, size(e.Size))
}

// source is where an artifact comes from.
type source struct {
	uri   *url.URL
	owner process.User  // who must be allowed to read a file://
	idle  time.Duration // ends a download that makes no progress
	want  string        // SHA-256 in hexadecimal, "" is any
}

// attempts of a download whose server cannot be reached or has trouble, and the
// pause before the second, doubled for each that follows.
const (
	attempts   = 3
	retryPause = 500 * time.Millisecond
)

// temporary marks an error after which it is worth trying again.
type temporary struct{ error }

func (t temporary) Unwrap() error { return t.error }

// copyTo makes file hold the artifact, or fails.
func (s *source) copyTo(ctx context.Context, file *os.File) error {
	for attempt := 1; ; attempt++ {
		if err := rewind(file); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		err := s.copyOnce(ctx, file)
		if !errors.As(err, new(temporary)) || ctx.Err() != nil {
			return err
		}
		if attempt == attempts {
			return fmt.Errorf("%w (tried %d times)", err, attempts)
		}
		select {
		case <-time.After(retryPause << (attempt - 1)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *source) copyOnce(ctx context.Context, file *os.File) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := s.open(ctx, cancel)
	if err != nil {
		return err
	}
	defer body.Close()
	actual, n, err := copyHashed(file, io.LimitReader(body, MaxSize+1))
	if err != nil {
		return err
	}
	if n > MaxSize {
		return fmt.Errorf("it is larger than %s", size(MaxSize))
	}
	if s.want != "" && actual != s.want {
		return &ChecksumError{Expected: s.want, Actual: actual, Size: n}
	}
	return nil
}

func (s *source) open(ctx context.Context, cancel context.CancelCauseFunc) (io.ReadCloser, error) {
	switch s.uri.Scheme {
	case "file":
		return s.openFile()
	case "http", "https":
		return s.openHTTP(ctx, cancel)
	}
	return nil, fmt.Errorf("cannot fetch %s://: only http, https and file can", s.uri.Scheme)
}

func (s *source) openFile() (io.ReadCloser, error) {
	if s.uri.Host != "" && s.uri.Host != "localhost" {
		return nil, fmt.Errorf("file://%s names a host: write file:///absolute/path", s.uri.Host)
	}
	f, err := s.owner.Open(s.uri.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		host, _ := os.Hostname() // only to tell
		return nil, fmt.Errorf("there is no such file on this agent (%s)", host)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("user %s may not read it", s.owner.Name)
	case err != nil:
		return nil, err
	}
	return f, nil
}

// transport is used for artifacts only, and keeps no connection.
var transport = &http.Transport{
	Proxy:             http.ProxyFromEnvironment,
	DialContext:       (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
	DisableKeepAlives: true,
	// What is hashed is what the server has.
	DisableCompression: true,
}

func (s *source) openHTTP(ctx context.Context, cancel context.CancelCauseFunc) (io.ReadCloser, error) {
	w := &watched{idle: s.idle}
	w.timer = time.AfterFunc(s.idle, func() { cancel(w.stalled()) })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.uri.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		w.timer.Stop()
		return nil, s.explain(ctx, err)
	}
	w.body = resp.Body
	w.explain = func(err error) error { return s.explain(ctx, err) }
	if resp.StatusCode != http.StatusOK {
		w.Close()
		err := fmt.Errorf("the server answered %s", resp.Status)
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			err = temporary{err}
		}
		return nil, err
	}
	return w, nil
}

// explain says in which way the network failed.
func (s *source) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause // stalled, out of time, or no longer wanted
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return temporary{err}
}

// watched is a body that cancels its request when nothing comes for too long.
type watched struct {
	body    io.ReadCloser
	timer   *time.Timer
	idle    time.Duration
	read    atomic.Int64
	explain func(error) error
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.idle)
	n, err := w.body.Read(p)
	w.timer.Stop() // the disk may be slow
	w.read.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		err = w.explain(err)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	return w.body.Close()
}

func (w *watched) stalled() error {
	return fmt.Errorf("the server stalled: it sent nothing for %s, after %s", w.idle, size(w.read.Load()))
}

// copyHashed copies and returns the SHA-256, in hexadecimal, and the size.
func copyHashed(to io.Writer, from io.Reader) (string, int64, error) {
	hash := sha256.New()
	// Not io.Copy: it would hand over to the file, past the hash.
	buf := make([]byte, 64<<10)
	var n int64
	for {
		r, err := from.Read(buf)
		hash.Write(buf[:r])
		n += int64(r)
		if _, err := to.Write(buf[:r]); err != nil {
			return "", n, fmt.Errorf("write: %w", err)
		}
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(hash.Sum(nil)), n, nil
		}
		if err != nil {
			return "", n, err
		}
	}
}

// size writes a number of bytes for people.
func size(n int64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	value, prefix := float64(n)/unit, "KiB"
	for _, p := range []string{"MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, prefix = value/unit, p
	}
	return fmt.Sprintf("%.1f %s", value, prefix)
}
