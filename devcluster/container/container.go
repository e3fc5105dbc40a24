// Package container starts and supervises the processes of executors like the
// posix launcher of Apache Mesos 1.12, and finds them again after a restart of
// the agent.
//
// Each container has a supervisor, which is this very program started again
// (see Supervise): it leads a session of its own, starts the executor in it,
// forwards signals to it, and writes its wait status to the state directory.
// So an exit status is known even when the executor ended while the agent was
// away, and the executor does not lead its process group. Mesos's
// mesos-containerizer does the same. A shell would be smaller, but cannot tell
// exit 137 from SIGKILL.
//
// What is fetched into the sandbox, and the environment, are the agent's matter.
// Linux 5.3 or later.
package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/perigee-sched/perigee/devcluster/sandbox"
)

// Spec says what to run: Shell, or else Path and Argv.
type Spec struct {
	Sandbox string   // working directory, existing; stdout and stderr are appended to its files of these names
	Shell   string   // run by /bin/sh -c
	Path    string   // executable, sought in the sandbox and then in Env's PATH; default Argv[0]
	Argv    []string // all arguments, the program's name first; default Path
	Env     []string // NAME=value, all of it; of two with one name the last counts; only PATH has a default
	User    string   // account to switch to; empty for this process's own
	// StateDir holds what Adopt needs. It is made when it is missing, and must be
	// a directory of this container's own.
	StateDir string
}

// order is what the supervisor reads from its standard input.
type order struct {
	Path     string // no slash: to be sought
	Argv     []string
	Env      []string
	Owner    *sandbox.Owner
	StateDir string
}

func (s Spec) order(owner *sandbox.Owner) (order, error) {
	o := order{Path: s.Path, Argv: s.Argv, Env: environment(s.Env), Owner: owner, StateDir: s.StateDir}
	switch {
	case s.Shell != "" && (s.Path != "" || len(s.Argv) > 0):
		return o, errors.New("both a shell command and an executable are given; give one")
	case s.Shell != "":
		o.Path, o.Argv = "/bin/sh", []string{"sh", "-c", s.Shell}
	case s.Path == "" && len(s.Argv) == 0:
		return o, errors.New("no command is given")
	case s.Path == "":
		o.Path = s.Argv[0]
	case len(s.Argv) == 0:
		o.Argv = []string{s.Path}
	}
	return o, nil
}

// Start starts a container. When it fails nothing runs. That a command cannot
// be executed is no failure of Start: the executor then ends with status 256
// (exit 1), and the sandbox's stderr says why.
func Start(spec Spec) (*Process, error) {
	p, err := start(spec)
	if err != nil {
		return nil, fmt.Errorf("start container in %s: %w", spec.Sandbox, err)
	}
	return p, nil
}

func start(spec Spec) (*Process, error) {
	if !supervises.Load() {
		return nil, errors.New("this program does not call container.Supervise first thing in main")
	}
	owner, err := sandbox.LookupOwner(spec.User)
	if err != nil {
		return nil, err
	}
	if spec.StateDir, err = filepath.Abs(spec.StateDir); err != nil {
		return nil, err
	}
	o, err := spec.order(owner)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(spec.StateDir, 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(spec.StateDir, checkpointFile)); err == nil {
		return nil, fmt.Errorf("state directory %s has a container already: %w", spec.StateDir, fs.ErrExist)
	}
	// The supervisor starts the executor only on its order, and the order is
	// given only after the checkpoint: whenever we die, either there is no
	// executor or the next agent finds it.
	child, orders, err := startSupervisor(spec, owner)
	if err != nil {
		return nil, err
	}
	p, err := watchNew(child.Pid, spec.StateDir)
	if err == nil {
		if _, err = orders.Write(text); err != nil {
			err = fmt.Errorf("give the supervisor its order: %w", err)
		}
	}
	if err = errors.Join(err, orders.Close()); err != nil {
		return nil, errors.Join(err, abandon(p, child), removeIfThere(filepath.Join(spec.StateDir, checkpointFile)))
	}
	return p, child.Release() // Process.watch reaps it, as it serves adopted ones too
}

// abandon ends a supervisor that shall not start its executor. It signals the
// handle, not the number: a wrong number such as -1 is every process there is.
func abandon(p *Process, child *os.Process) error {
	if err := child.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if p != nil {
		<-p.Done()
		return errors.Join(p.Close(), child.Release())
	}
	_, err := child.Wait()
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func startSupervisor(spec Spec, owner *sandbox.Owner) (child *os.Process, orders *os.File, err error) {
	stdin, orders, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer stdin.Close()
	stdout, err := sandbox.OpenLog(spec.Sandbox, "stdout", owner)
	if err != nil {
		return nil, nil, errors.Join(err, orders.Close())
	}
	defer stdout.Close()
	stderr, err := sandbox.OpenLog(spec.Sandbox, "stderr", owner)
	if err != nil {
		return nil, nil, errors.Join(err, orders.Close())
	}
	defer stderr.Close()
	child, err = os.StartProcess("/proc/self/exe", []string{supervisorName, spec.Sandbox}, &os.ProcAttr{
		Dir:   spec.Sandbox,
		Env:   []string{"GOMAXPROCS=1", "GOGC=off"},
		Files: []*os.File{stdin, stdout, stderr},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start supervisor: %w", err), orders.Close())
	}
	return child, orders, nil
}
