package container

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
)

// supervisorName is the program name (argv[0]) by which Supervise knows what to do.
const supervisorName = "devcluster-container"

// supervises is set once Supervise was called: a program that never calls it
// would, when started as a supervisor, run all of itself again.
var supervises atomic.Bool

// Supervise runs the supervisor if this process was started as one, and returns
// the exit status to end it with and true. Otherwise it returns false at once.
// Every program that calls Start calls it first thing in main, every test binary
// in TestMain; Start fails in a program that did not.
func Supervise() (code int, ok bool) {
	if len(os.Args) == 0 || os.Args[0] != supervisorName {
		supervises.Store(true)
		return 0, false
	}
	return supervise(), true
}

// supervise never starts anything when the agent died before it had
// checkpointed this process: the order then is missing or cut off.
func supervise() int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	signal.Reset(syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE)
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		fmt.Fprintln(os.Stderr, "The agent ended before it had said what to start:", err)
		return 1
	}
	os.Stdin.Close()
	status := o.run(signals)
	if err := writeStatus(o.StateDir, status); err != nil {
		fmt.Fprintln(os.Stderr, "Cannot tell the agent the wait status", int(status), "of the executor:", err)
		return 1
	}
	return 0
}

// couldNotExecute is exit 1, which is what Mesos makes of it.
const couldNotExecute = syscall.WaitStatus(1 << 8)

func (o order) run(signals <-chan os.Signal) syscall.WaitStatus {
	path := o.find()
	child, err := o.start(path)
	if err != nil {
		fmt.Fprintf(os.Stderr, "Failed to execute '%s': %v\n", path, err)
		return couldNotExecute
	}
	done := make(chan struct{})
	forwarder := make(chan struct{})
	go func() {
		defer close(forwarder)
		for {
			select {
			case s := <-signals:
				child.Signal(s) // it may have ended, which Wait tells
			case <-done:
				return
			}
		}
	}()
	state, err := child.Wait()
	close(done)
	<-forwarder
	if err != nil {
		fmt.Fprintf(os.Stderr, "Failed to wait for '%s': %v\n", path, err)
		return couldNotExecute
	}
	return state.Sys().(syscall.WaitStatus)
}

func (o order) start(path string) (*os.Process, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &os.ProcAttr{Env: o.Env, Files: []*os.File{null, os.Stdout, os.Stderr}}
	if o.Owner != nil {
		attr.Sys = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: o.Owner.UID, Gid: o.Owner.GID, Groups: o.Owner.Groups}}
	}
	return os.StartProcess(path, o.Argv, attr)
}

// find looks for a program named without a slash: in the sandbox, which is the
// working directory, and then in PATH.
func (o order) find() string {
	if strings.Contains(o.Path, "/") {
		return o.Path
	}
	for _, dir := range append([]string{"."}, filepath.SplitList(lookupEnv(o.Env, "PATH"))...) {
		path := filepath.Join(dir, o.Path)
		if !strings.Contains(path, "/") {
			path = "./" + path
		}
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return path
		}
	}
	return o.Path
}

// defaultPath is what Mesos sets when the environment has no PATH.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment keeps the last of variables with one name, at the first's place,
// and adds a PATH when there is none.
func environment(env []string) []string {
	out := make([]string, 0, len(env)+1)
	at := map[string]int{}
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		if i, ok := at[name]; ok {
			out[i] = variable
			continue
		}
		at[name] = len(out)
		out = append(out, variable)
	}
	if _, ok := at["PATH"]; !ok {
		out = append(out, defaultPath)
	}
	return out
}

func lookupEnv(env []string, name string) string {
	for _, variable := range env {
		if n, value, _ := strings.Cut(variable, "="); n == name {
			return value
		}
	}
	return ""
}

const statusFile = "status"

// writeStatus is atomic: the agent may read the moment this process ends, in
// whatever way.
func writeStatus(stateDir string, status syscall.WaitStatus) error {
	return writeFile(filepath.Join(stateDir, statusFile), fmt.Appendln(nil, int(status)))
}

func writeFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, fs.FileMode(0o600)); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
