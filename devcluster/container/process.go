package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a container: the supervisor and all that descends from it.
type Process struct {
	checkpoint checkpoint
	stateDir   string

	stop    context.CancelFunc // ends watch
	stopped chan struct{}      // watch has ended
	done    chan struct{}
	status  int // wait status; written before done is closed

	destroying sync.Mutex
}

// checkpoint names the supervisor.
type checkpoint struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"` // ticks since boot
	Boot  string `json:"boot"`  // the kernel's boot id
}

const checkpointFile = "supervisor.json"

// watchNew checkpoints a supervisor that was just started and watches it.
func watchNew(pid int, stateDir string) (*Process, error) {
	self, err := readProcess(pid)
	if err != nil {
		return nil, err
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	c := checkpoint{Pid: pid, Start: self.start, Boot: boot}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	// Without fsync: it is for a restart of the agent. After one of the machine
	// there is nothing to adopt.
	if err := writeFile(filepath.Join(stateDir, checkpointFile), text); err != nil {
		return nil, fmt.Errorf("checkpoint container: %w", err)
	}
	fd, err := openPid(pid)
	if err != nil {
		return nil, err
	}
	return watch(c, stateDir, fd), nil
}

// Adopt finds the container that Start put into stateDir, in this process or an
// earlier one. A container that has ended is found too, with Done closed. The
// error is fs.ErrNotExist if nothing was ever started there.
func Adopt(stateDir string) (*Process, error) {
	p, err := adopt(stateDir)
	if err != nil {
		return nil, fmt.Errorf("adopt container: %w", err)
	}
	return p, nil
}

func adopt(stateDir string) (*Process, error) {
	text, err := os.ReadFile(filepath.Join(stateDir, checkpointFile))
	if err != nil {
		return nil, err
	}
	var c checkpoint
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(stateDir, checkpointFile), err)
	}
	if c.Pid <= 1 { // to the kernel, these name many processes or all
		return nil, fmt.Errorf("%s: no process id: %d", filepath.Join(stateDir, checkpointFile), c.Pid)
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if c.Boot != boot {
		return ended(c, stateDir)
	}
	fd, err := openPid(c.Pid)
	if errors.Is(err, unix.ESRCH) {
		return ended(c, stateDir)
	} else if err != nil {
		return nil, err
	}
	// In this order: what the pid is now, the descriptor was at most earlier.
	now, err := readProcess(c.Pid)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.start != c.Start {
		if err := fd.close(); err != nil {
			return nil, err
		}
		return ended(c, stateDir)
	} else if err != nil {
		return nil, errors.Join(err, fd.close())
	}
	return watch(c, stateDir, fd), nil
}

func ended(c checkpoint, stateDir string) (*Process, error) {
	p := newProcess(c, stateDir)
	p.stop = func() {}
	close(p.stopped)
	p.end()
	return p, nil
}

func newProcess(c checkpoint, stateDir string) *Process {
	return &Process{checkpoint: c, stateDir: stateDir, stopped: make(chan struct{}), done: make(chan struct{})}
}

func watch(c checkpoint, stateDir string, fd pidfd) *Process {
	p := newProcess(c, stateDir)
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go p.watch(ctx, fd)
	return p
}

// watch waits for the supervisor's end. Close ends it and waits for it.
func (p *Process) watch(ctx context.Context, fd pidfd) {
	defer close(p.stopped)
	defer fd.close()
	if err := fd.wait(ctx); err != nil {
		return
	}
	// Our child if this process started it: an adopted one is not, and has
	// whoever it has. Nobody else reaps our children, so the pid is still its.
	for {
		if _, err := syscall.Wait4(p.checkpoint.Pid, nil, syscall.WNOHANG, nil); err != syscall.EINTR {
			break
		}
	}
	p.end()
}

func (p *Process) end() {
	p.status = readStatus(p.stateDir)
	close(p.done)
}

// readStatus is SIGKILL's when there is none to read: the supervisor was killed
// before it could write one. Mesos reasons the same.
func readStatus(stateDir string) int {
	text, err := os.ReadFile(filepath.Join(stateDir, statusFile))
	if err != nil {
		return int(syscall.SIGKILL)
	}
	status, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return int(syscall.SIGKILL)
	}
	return status
}

// Pid is the supervisor's process id: executor_pid of Mesos's ContainerStatus.
func (p *Process) Pid() int { return p.checkpoint.Pid }

// Done is closed once the executor has ended. Processes it started may still
// run: Destroy is for them, and an agent calls it in any case, as Mesos's does.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status is the executor's wait status (exit 3 is 768, SIGKILL is 9); known is
// false until Done is closed. When the supervisor itself was killed it is 9, as
// in Mesos.
func (p *Process) Status() (wait int, known bool) {
	select {
	case <-p.done:
		return p.status, true
	default:
		return 0, false
	}
}

// Close stops watching and leaves the container alone. Done stays open if it was.
func (p *Process) Close() error {
	p.stop()
	<-p.stopped
	return nil
}
