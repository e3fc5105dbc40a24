package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/perigee-sched/perigee/e2e/program"
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

// build makes the programs and the PEX, at the same time.
func build() error {
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	built.examples = filepath.Join(root, "examples")
	built.pex = filepath.Join(built.dir, "app.pex")
	var work sync.WaitGroup
	errs := make([]error, 2)
	work.Go(func() { built.perigee, errs[0] = program.Perigee(root, built.dir) })
	work.Go(func() {
		errs[1] = program.Command(root, nil, filepath.Join(built.examples, "build_pex.py"), filepath.Join(root, "e2e/testdata/app"), "app.__main__", built.pex)
	})
	work.Wait()
	return errors.Join(errs...)
}
