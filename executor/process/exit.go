package process

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit is how a process ended.
type Exit struct{ status syscall.WaitStatus }

// Code is the exit status, or 128+signal when a signal ended the process, as
// shells have it.
func (e Exit) Code() int {
	if e.status.Signaled() {
		return 128 + int(e.status.Signal())
	}
	return e.status.ExitStatus()
}

// OK says whether the process ended by itself with status 0.
func (e Exit) OK() bool { return e.Code() == 0 }

// String is what a person is told: "exited with status 3", "killed by SIGKILL
// (out of memory?)".
func (e Exit) String() string {
	if e.status.Signaled() {
		return "killed by " + signalName(e.status.Signal())
	}
	switch code := e.status.ExitStatus(); {
	case code == 126:
		return "exited with status 126 (the command is not executable)"
	case code == 127:
		return "exited with status 127 (command not found)"
	case code > 128 && unix.SignalName(syscall.Signal(code-128)) != "":
		return fmt.Sprintf("exited with status %d (%s)", code, signalName(syscall.Signal(code-128)))
	default:
		return fmt.Sprintf("exited with status %d", code)
	}
}

func signalName(s syscall.Signal) string {
	name := unix.SignalName(s)
	if name == "" {
		name = fmt.Sprintf("signal %d", s)
	}
	if s == syscall.SIGKILL {
		return name + " (out of memory?)"
	}
	return name
}
