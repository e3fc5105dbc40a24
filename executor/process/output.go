package process

import (
	"context"
	"fmt"
	"os"
	"syscall"
)

// Output runs a command to its end and returns how it ended and the last limit
// bytes of its output, stdout and stderr together. When ctx is done first, its
// group is killed and the cause of ctx is returned.
func (c *Children) Output(ctx context.Context, command Command, limit int) (Exit, []byte, error) {
	r, w, err := pipe()
	if err != nil {
		return Exit{}, nil, err
	}
	command.Stdout, command.Stderr = w, w
	p, err := c.Start(command)
	w.Close()
	if err != nil {
		r.Close()
		return Exit{}, nil, err
	}
	tail := make(chan []byte)
	go func() { tail <- readTail(r, limit) }()
	var out []byte
	select {
	case out = <-tail: // it has closed its output: everything was read
		select {
		case <-p.Done():
		case <-ctx.Done():
		}
	case <-ctx.Done():
	case <-p.Done():
		// What it left in the background ends with it, and holds the pipe no
		// longer.
	}
	_ = p.Signal(syscall.SIGKILL)
	<-p.Done()
	if out == nil {
		out = lastOf(r, tail)
	}
	r.Close()
	if ctx.Err() != nil {
		return p.Exit(), out, context.Cause(ctx)
	}
	return p.Exit(), out, nil
}

// lastOf waits for what was written before all writers died. Someone outside of
// the group may still hold the pipe; that one is not waited for.
func lastOf(r *os.File, tail <-chan []byte) []byte {
	_ = r.SetReadDeadline(deadlineSoon())
	return <-tail
}

func readTail(r *os.File, limit int) []byte {
	tail := []byte{}
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		tail = append(tail, buf[:n]...)
		if len(tail) > limit {
			tail = append(tail[:0], tail[len(tail)-limit:]...)
		}
		if err != nil {
			return tail
		}
	}
}

// pipe returns a pipe whose read end waits in Go's poller and not in a thread,
// and whose write end blocks, as programs expect of their stdout.
func pipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}
