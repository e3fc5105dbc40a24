package program

import (
	"os"
	"path/filepath"
	"strings"
)

// In returns the command lines of the processes that work in a directory or
// below it, as executors and tasks do in their sandboxes.
func In(dir string) ([]string, error) {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, link := range links {
		at, err := os.Readlink(link)
		if err != nil || at != dir && !strings.HasPrefix(at, dir+"/") {
			continue // ended meanwhile, or another's
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
		if err == nil && len(line) > 0 {
			all = append(all, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
		}
	}
	return all, nil
}
