package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pidfd is a process that cannot be mistaken for a later one with its pid.
type pidfd struct {
	file *os.File // in the runtime's poller, so waiting holds no thread
}

// openPid fails with ESRCH when there is no such process.
func openPid(pid int) (pidfd, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return pidfd{}, fmt.Errorf("open process %d: %w", pid, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // the flag of PidfdOpen asks for Linux 5.10
		return pidfd{}, errors.Join(fmt.Errorf("open process %d: %w", pid, err), unix.Close(fd))
	}
	return pidfd{os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid))}, nil
}

// wait returns nil once the process has ended, reaped or not, and otherwise
// ctx's error. One caller at a time.
func (p pidfd) wait(ctx context.Context) error {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { p.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = conn.Read(func(fd uintptr) (ended bool) {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, 0)
		return err == nil && n > 0
	})
	if ctx.Err() != nil && err != nil {
		return ctx.Err()
	}
	return err
}

// signal is nil too when the process has ended.
func (p pidfd) signal(s unix.Signal) error {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), s, nil, 0) })
	if errors.Is(sent, unix.ESRCH) {
		sent = nil
	}
	return errors.Join(err, sent)
}

func (p pidfd) close() error { return p.file.Close() }
