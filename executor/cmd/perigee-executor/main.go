// Command perigee-executor runs one task of Perigee on a Mesos agent, which
// starts it. It takes no arguments; docs/executor.md has its environment.
//
// Build it small: CGO_ENABLED=0 go build -trimpath -tags nethttpomithttp2 -ldflags '-s -w'
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/perigee-sched/perigee/executor"
)

func main() {
	// An executor idles beside its task for as long as that lives, on an agent
	// with hundreds of others: a small heap matters more than the little time
	// that collecting it more often takes.
	debug.SetGCPercent(25)
	runtime.GOMAXPROCS(1)
	log.SetFlags(log.LstdFlags | log.Lmicroseconds | log.LUTC | log.Lmsgprefix)
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "perigee-executor takes no arguments: a Mesos agent starts it, and tells it what to do in its environment")
		os.Exit(2)
	}
	if err := run(); err != nil {
		log.Print(err)
		os.Exit(1)
	}
}

func run() error {
	config, err := executor.ReadConfig(os.Getenv, os.Environ())
	if err != nil {
		return err
	}
	// Not for anyone who reads this process's environment later.
	if err := os.Unsetenv("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"); err != nil {
		return err
	}
	// A reader of stderr may go away. Ignoring the signal would be inherited by
	// the task; catching it is not.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return executor.Run(ctx, config)
}
