package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Process is one that tests started.
type Process struct {
	Cmd    *exec.Cmd
	Stdout *Lines
	Stderr *Lines
	Log    string // path of a file with both, of all processes of that name
	Ended  chan struct{}
}

// Start starts a program. Its log is a file in dir, of that name.
func Start(dir, name, program string, args ...string) (*Process, error) {
	return StartWith(dir, name, exec.Command(program, args...))
}

// StartWith is Start for a command with more to it. Its environment is
// Environment, and its output is taken.
func StartWith(dir, name string, cmd *exec.Cmd) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	p := &Process{Cmd: cmd, Stdout: NewLines(), Stderr: NewLines(), Log: log.Name(), Ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(p.Stdout, log), io.MultiWriter(p.Stderr, log)
	cmd.Env = Environment("")
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		log.Close()
		close(p.Ended)
		p.Stdout.End()
		p.Stderr.End()
	}()
	return p, nil
}

// End sends a signal and waits for the end.
func (p *Process) End(ctx context.Context, s os.Signal) error {
	if err := p.Cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.Ended:
		return nil
	case <-ctx.Done():
		_ = p.Cmd.Process.Kill()
		return fmt.Errorf("%v did not end on %v", p.Cmd.Args, s)
	}
}

var taken = struct {
	sync.Mutex
	times map[string]int
}{times: map[string]int{}}

// Again is a name that was not taken before in this process: a test that is run
// more than once (-count) finds nothing that it left behind.
func Again(name string) string {
	taken.Lock()
	defer taken.Unlock()
	taken.times[name]++
	if n := taken.times[name]; n > 1 {
		return fmt.Sprintf("%s-%d", name, n)
	}
	return name
}

// Environment is that of this process without what is about other schedulers.
func Environment(api string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PERIGEE_") {
			env = append(env, v)
		}
	}
	if api != "" {
		env = append(env, "PERIGEE_API="+api)
	}
	return env
}

// Alive says whether a process is there, and not merely waited for.
func Alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
