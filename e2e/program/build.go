package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Executor is the path of the executor, in the repository.
const Executor = "./executor/cmd/perigee-executor"

// Build makes programs of the repository at root: packages by the path of what
// is made. They are made as for production, the executor small: without HTTP/2.
func Build(root string, packages map[string]string) error {
	for output, pkg := range packages {
		args := []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", output}
		if pkg == Executor {
			args = append(args, "-tags", "nethttpomithttp2")
		}
		if err := Command(root, append(os.Environ(), "CGO_ENABLED=0"), "go", append(args, pkg)...); err != nil {
			return err
		}
	}
	return nil
}

// Perigee makes perigee and perigee-executor in dir, and returns the path of the
// first.
func Perigee(root, dir string) (string, error) {
	perigee := filepath.Join(dir, "perigee")
	return perigee, Build(root, map[string]string{perigee: ".", perigee + "-executor": Executor})
}

// Command runs a program. What it wrote is in the error.
func Command(dir string, env []string, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, env
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, said)
	}
	return nil
}
