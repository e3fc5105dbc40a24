package command

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

const (
	termSignal = syscall.SIGTERM
	killSignal = syscall.SIGKILL
)

// start runs the task's command in the sandbox, in a process group of its own:
// in a session of its own the agent would not find it when this executor dies.
func start(t *mesos.TaskInfo, sandbox string) (*os.Process, error) {
	c := t.GetCommand()
	path, argv := "/bin/sh", []string{"sh", "-c", c.GetValue()}
	if !c.GetShell() {
		path, argv = c.GetValue(), c.GetArguments()
		if len(argv) == 0 {
			argv = []string{path}
		}
		if !strings.Contains(path, "/") {
			found, err := exec.LookPath(path)
			if err != nil {
				return nil, err
			}
			path = found
		}
	}
	env := os.Environ()
	for _, v := range c.GetEnvironment().GetVariables() {
		env = append(env, v.Name+"="+v.GetValue())
	}
	if len(t.Resources) > 0 {
		env = append(env, "MESOS_ALLOCATION_ROLE="+t.Resources[0].GetAllocationInfo().GetRole())
	}
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Dir: sandbox, Env: lastOfEach(env),
		Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err == nil {
		fmt.Printf("Forked command at %d\n", p.Pid)
	}
	return p, err
}

// lastOfEach keeps the last of several variables of one name.
func lastOfEach(env []string) []string {
	at := map[string]int{}
	out := env[:0:0]
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		if i, ok := at[name]; ok {
			out[i] = v
			continue
		}
		at[name] = len(out)
		out = append(out, v)
	}
	return out
}

// signalAll signals the command and what it started in its group.
func (x *Executor) signalAll(s syscall.Signal) {
	if x.process != nil && x.process.Pid > 1 {
		syscall.Kill(-x.process.Pid, s) // all may have ended already
	}
}

// outcome is the last state of a command that nobody killed, and what to say
// of its end.
func outcome(s *os.ProcessState) (mesos.TaskState, string) {
	if s == nil {
		return mesos.TASK_FAILED, "Failed to get exit status for Command"
	}
	status := s.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return mesos.TASK_FAILED, "Command terminated with signal " + signalName(status.Signal())
	}
	message := fmt.Sprintf("Command exited with status %d", status.ExitStatus())
	if status.ExitStatus() == 0 {
		return mesos.TASK_FINISHED, message
	}
	return mesos.TASK_FAILED, message
}

// signalName is strsignal's: Go's, with a capital.
func signalName(s syscall.Signal) string {
	name := s.String()
	return strings.ToUpper(name[:1]) + name[1:]
}
