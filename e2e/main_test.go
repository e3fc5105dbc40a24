package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built are the programs and the PEX, made once for all tests.
var built struct {
	dir      string // entered by any user, since tasks run as nobody
	perigee  string
	pex      string
	examples string
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "perigee-e2e-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		built.dir = dir
		err = build()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: cannot build what is tested:", err)
		return 1
	}
	code := m.Run()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: clean up:", err)
		code = max(code, 1)
	}
	if code == 0 {
		os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "e2e: logs are in", dir)
	}
	return code
}

// build makes bin/ and the PEX, at the same time.
func build() error {
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	built.examples = filepath.Join(root, "examples")
	built.perigee = filepath.Join(built.dir, "bin", "perigee")
	built.pex = filepath.Join(built.dir, "app.pex")
	var work sync.WaitGroup
	errs := make([]error, 2)
	work.Go(func() { errs[0] = buildPrograms(root) })
	work.Go(func() {
		errs[1] = command(root, nil, filepath.Join(built.examples, "build_pex.py"), filepath.Join(root, "e2e/testdata/app"), "app.__main__", built.pex)
	})
	work.Wait()
	return errors.Join(errs...)
}

func buildPrograms(root string) error {
	static := append(os.Environ(), "CGO_ENABLED=0")
	for output, pkg := range map[string]string{"perigee": ".", "perigee-executor": "./executor/cmd/perigee-executor"} {
		err := command(root, static, "go", "build", "-trimpath", "-tags", "nethttpomithttp2", "-ldflags", "-s -w", "-o", filepath.Join(built.dir, "bin", output), pkg)
		if err != nil {
			return err
		}
	}
	return nil
}

func command(dir string, env []string, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, env
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, said)
	}
	return nil
}

// process is one that tests started. Its standard error is in a file.
type process struct {
	cmd    *exec.Cmd
	stdout *lines
	log    string // path of the file
	ended  chan struct{}
}

// start starts perigee with arguments; what it logs is in a file of that name.
func start(name string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(built.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(built.perigee, args...), stdout: newLines(), log: log.Name(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = io.MultiWriter(p.stdout, log), log
	p.cmd.Env = environment("")
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		log.Close()
		close(p.ended)
		p.stdout.end()
	}()
	return p, nil
}

// signal sends a signal and waits for the end.
func (p *process) signal(ctx context.Context, s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%v did not end on %v", p.cmd.Args, s)
	}
}

// environment is that of this process without what is about other schedulers.
func environment(api string) []string {
	var env []string
	for _, v := range os.Environ() {
		if len(v) < 8 || v[:8] != "PERIGEE_" {
			env = append(env, v)
		}
	}
	if api != "" {
		env = append(env, "PERIGEE_API="+api)
	}
	return env
}
