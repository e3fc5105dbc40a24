// Command perigee runs services, crons and batch jobs on Apache Mesos: the
// scheduler, a cluster for development, and the command line for both.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/perigee-sched/perigee/cli"
	"github.com/perigee-sched/perigee/devcluster"
	"github.com/perigee-sched/perigee/devcluster/command"
	"github.com/perigee-sched/perigee/devcluster/container"
)

func main() {
	// The agents of devcluster start this program again: to supervise an
	// executor, and as the executor of tasks that bring none.
	if code, ok := container.Supervise(); ok {
		os.Exit(code)
	}
	if len(os.Args) > 1 && os.Args[1] == command.Argument {
		os.Exit(command.Main())
	}
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends at once, but not one that came along with the first:
	// programs that run others pass it on to all of them.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })()
	return cli.Run(ctx, os.Args[1:], cli.Standard(), devcluster.Command())
}
