package fetch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// content is what a source has. Closing it ends what reading began.
type content struct {
	io.Reader
	mode  fs.FileMode // for the file it becomes
	close func()
}

func (c *content) Close() { c.close() }

func (f *fetcher) open(ctx context.Context, src source) (*content, error) {
	if src.url != "" {
		return f.download(ctx, src.url)
	}
	if f.owner != nil && !src.cached {
		return f.openAsOwner(ctx, src.path)
	}
	return openFile(src.path)
}

func openFile(path string) (*content, error) {
	fi, err := regular(path)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &content{file, fi.Mode().Perm(), func() { file.Close() }}, nil
}

func regular(path string) (fs.FileInfo, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	return fi, nil
}

// openAsOwner reads a file of the machine as the sandbox's owner, since Mesos's
// fetcher runs as that user: what the user may not read is not fetched.
func (f *fetcher) openAsOwner(ctx context.Context, path string) (*content, error) {
	fi, err := regular(path)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "cat", "--", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: f.owner.UID, Gid: f.owner.GID, Groups: f.owner.Groups}}
	out, err := startReading(cmd)
	if err != nil {
		return nil, err
	}
	out.mode = fi.Mode().Perm()
	return out, nil
}

// startReading starts cmd and returns its output. Reading ends with an error if
// cmd fails, with what it said.
func startReading(cmd *exec.Cmd) (*content, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &commandOutput{out: out, cmd: cmd, said: &said}
	return &content{Reader: r, close: func() {
		out.Close() // ends a command that is not read to its end
		r.wait()
	}}, nil
}

type commandOutput struct {
	out    io.Reader
	cmd    *exec.Cmd
	said   *bytes.Buffer
	waited bool
	err    error
}

func (r *commandOutput) Read(p []byte) (int, error) {
	n, err := r.out.Read(p)
	if err == io.EOF {
		if failed := r.wait(); failed != nil {
			err = failed
		}
	}
	return n, err
}

func (r *commandOutput) wait() error {
	if !r.waited {
		r.waited = true
		if err := r.cmd.Wait(); err != nil {
			r.err = fmt.Errorf("%s: %w: %s", r.cmd.Args[0], err, bytes.TrimSpace(r.said.Bytes()))
		}
	}
	return r.err
}

func (f *fetcher) download(ctx context.Context, url string) (*content, error) {
	f.log('I', "Downloading resource from '%s'", url)
	ctx, cancel := context.WithCancelCause(ctx)
	stalled := fmt.Errorf("nothing came for %v", f.stall)
	timer := time.AfterFunc(f.stall, func() { cancel(stalled) })
	end := func() {
		timer.Stop()
		cancel(nil)
	}
	resp, err := f.request(ctx, http.MethodGet, url)
	if err != nil {
		err = because(ctx, err)
		end()
		return nil, fmt.Errorf("error downloading resource: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		end()
		return nil, fmt.Errorf("error downloading resource, received HTTP return code %d", resp.StatusCode)
	}
	body := &liveBody{ctx: ctx, body: resp.Body, alive: func() { timer.Reset(f.stall) }}
	return &content{body, 0o644, func() {
		resp.Body.Close()
		end()
	}}, nil
}

func (f *fetcher) request(ctx context.Context, method, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	return f.client.Do(req)
}

// sized fails unless the source announces a length that is more than nothing:
// else Mesos does not cache. So a server must answer HEAD, too.
func (f *fetcher) sized(ctx context.Context, src source) error {
	if src.url == "" {
		_, err := regular(src.path)
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, f.stall, fmt.Errorf("nothing came for %v", f.stall))
	defer cancel()
	resp, err := f.request(ctx, http.MethodHead, src.url)
	if err != nil {
		return because(ctx, err)
	}
	resp.Body.Close()
	if resp.ContentLength <= 0 {
		return fmt.Errorf("HEAD of it tells no length (status %d)", resp.StatusCode)
	}
	return nil
}

// liveBody tells of every read, and why reading was cut off.
type liveBody struct {
	ctx   context.Context
	body  io.Reader
	alive func()
}

func (b *liveBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		b.alive()
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("error downloading resource: %w", because(b.ctx, err))
	}
	return n, err
}

// because is why ctx ended, if it has: err then only says that it did.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
