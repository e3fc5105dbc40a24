// Package container starts and supervises the processes of executors like the
// posix launcher of Apache Mesos 1.12, and finds them again after a restart of
// the agent.
//
// Each container has a supervisor, which is this very program started again
// (see Supervise): it leads a session of its own, starts the executor in it,
// forwards signals to it, and writes its wait status to the state directory.
// So an exit status is known even when the executor ended while the agent was
// away, and the executor does not lead its process group. Mesos's
// mesos-containerizer does the same.
//
// What is fetched into the sandbox, and the environment, are the agent's matter.
package container

import (
	"context"
	"errors"
)

// Spec says what to run. Exactly one of Shell and Path or Argv is used.
type Spec struct {
	Sandbox string   // working directory, existing; stdout and stderr are appended to its files of these names
	Shell   string   // run by /bin/sh -c
	Path    string   // executable, sought in the sandbox and then in Env's PATH; default Argv[0]
	Argv    []string // all arguments, the program's name first; default Path
	Env     []string // NAME=value, all of it; only PATH has a default
	User    string   // account to switch to; empty for this process's own
	// StateDir holds what Adopt needs. It is made when it is missing, and must be
	// a directory of this container's own.
	StateDir string
}

// Process is a container: the supervisor and all that descends from it.
type Process struct{}

// Supervise runs the supervisor if this process was started as one, and returns
// the exit status to end it with and true. Otherwise it returns false at once.
// Every program that calls Start calls it first thing in main, every test binary
// in TestMain; Start fails in a program that did not.
func Supervise() (code int, ok bool) { return 0, false }

// Start starts a container. When it fails nothing runs.
func Start(spec Spec) (*Process, error) { return nil, errors.New("not yet") }

// Adopt finds the container that Start put into stateDir, in this process or an
// earlier one. A container that has ended is found too, with Done closed. The
// error is fs.ErrNotExist if nothing was ever started there.
func Adopt(stateDir string) (*Process, error) { return nil, errors.New("not yet") }

// Pid is the supervisor's process id: executor_pid of Mesos's ContainerStatus.
func (p *Process) Pid() int { return 0 }

// Done is closed once the executor has ended. Processes it started may still
// run: Destroy is for them, and an agent calls it in any case, as Mesos's does.
func (p *Process) Done() <-chan struct{} { return nil }

// Status is the executor's wait status (exit 3 is 768, SIGKILL is 9); known is
// false until Done is closed. When the supervisor itself was killed it is 9, as
// in Mesos.
func (p *Process) Status() (wait int, known bool) { return 0, false }

// Destroy kills the whole container with SIGKILL and returns when none of it is
// left: every descendant, and every member of a session or process group that
// one of them belongs to. It is harmless to repeat, and after Done.
func (p *Process) Destroy(ctx context.Context) error { return errors.New("not yet") }

// Close stops watching and leaves the container alone. Done stays open if it was.
func (p *Process) Close() error { return nil }
