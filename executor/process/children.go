package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is a process to start. It leads a process group of its own, in the
// executor's session: Mesos's posix launcher finds what to kill by session.
type Command struct {
	Args   []string // the first is the absolute path of the program
	Dir    string
	Env    []string
	User   User
	Stdout *os.File // nil is /dev/null, as is stdin always
	Stderr *os.File
}

// Children starts processes and reaps every child of the executor, also those
// that it inherits as their subreaper. Nothing else in the program may wait for
// a child or use os/exec.
type Children struct {
	starts chan start
	ended  chan struct{} // closed when Run returned
}

type start struct {
	command Command
	reply   chan started
}

type started struct {
	process *Process
	err     error
}

// Process is a started child.
type Process struct {
	Pid  int // also the id of its process group
	done chan struct{}
	exit Exit
}

// Done is closed once the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit says how the process ended; it must be called only after Done.
func (p *Process) Exit() Exit { return p.exit }

// Signal signals the process's group. A group that is gone is no error.
func (p *Process) Signal(s syscall.Signal) error {
	if err := syscall.Kill(-p.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to process group %d: %w", unix.SignalName(s), p.Pid, err)
	}
	return nil
}

// NewChildren returns Children to which Run gives life.
func NewChildren() *Children {
	return &Children{starts: make(chan start), ended: make(chan struct{})}
}

// Run starts and reaps until ctx is done. Its goroutine keeps its thread:
// Linux delivers a child's death signal when the *thread* that forked it ends,
// so forking on any thread of the Go runtime could kill a task at random.
func (c *Children) Run(ctx context.Context) error {
	runtime.LockOSThread() // never unlocked: the thread ends with Run
	defer close(c.ended)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of orphaned processes: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer null.Close()
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	running := map[int]*Process{}
	for {
		select {
		case s := <-c.starts:
			p, err := fork(s.command, null)
			if err == nil {
				running[p.Pid] = p
			}
			s.reply <- started{p, err}
		case <-died:
			reap(running)
		case <-ctx.Done():
			return nil
		}
	}
}

// Start starts a process. It fails after Run has returned.
func (c *Children) Start(command Command) (*Process, error) {
	s := start{command, make(chan started, 1)}
	select {
	case c.starts <- s:
		r := <-s.reply
		return r.process, r.err
	case <-c.ended:
		return nil, errors.New("the executor is ending")
	}
}

func fork(command Command, null *os.File) (*Process, error) {
	files := []uintptr{null.Fd(), null.Fd(), null.Fd()}
	for i, f := range []*os.File{command.Stdout, command.Stderr} {
		if f != nil {
			files[i+1] = f.Fd()
		}
	}
	pid, err := syscall.ForkExec(command.Args[0], command.Args, &syscall.ProcAttr{
		Dir:   command.Dir,
		Env:   command.Env,
		Files: files,
		Sys: &syscall.SysProcAttr{
			Setpgid:    true,
			Pdeathsig:  syscall.SIGKILL,
			Credential: command.User.credential(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s as %s in %s: %w", command.Args[0], command.User.Name, command.Dir, err)
	}
	return &Process{Pid: pid, done: make(chan struct{})}, nil
}

// reap takes every dead child; signals coalesce, so one signal may stand for
// many. Those that nobody started here are orphans that were inherited.
func reap(running map[int]*Process) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if p := running[pid]; p != nil {
			delete(running, pid)
			p.exit = Exit{status}
			close(p.done)
		}
	}
}
