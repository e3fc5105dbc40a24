package devcluster

import (
	"os"

	"github.com/perigee-sched/perigee/devcluster/command"
	process "github.com/perigee-sched/perigee/devcluster/container"
)

// RunHidden is what this program does when a cluster started it for one of its
// own purposes: as the supervisor of a container, or as the default executor.
// It returns the exit status and true then, false at once otherwise. Every
// program that runs a cluster calls it first thing in main, every test binary
// in TestMain.
func RunHidden() (code int, ok bool) {
	if code, ok := process.Supervise(); ok {
		return code, true
	}
	if len(os.Args) == 2 && os.Args[1] == command.Argument {
		return command.Main(), true
	}
	return 0, false
}
