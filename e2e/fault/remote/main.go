// Command remote is a Mesos cluster on this machine as `perigee devcluster` is,
// which a test controls: each line of its standard input, "stop AGENT" or
// "start AGENT", is answered with "done" or what went wrong. It ends, and all
// that it runs with it, when its standard input does. What it and schedulers
// tell each other is in the file "exchanges" of its directory.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/devcluster"
	"github.com/perigee-sched/perigee/e2e/fault/exchange"
)

func main() {
	if code, ok := devcluster.RunHidden(); ok {
		os.Exit(code)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run runs a cluster in dir, with one agent for each of the ports.
func run(dir, listen string, ports []string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	told, err := exchange.Writer(filepath.Join(dir, "exchanges"), func(err error) { log.Error("cannot go on", "error", err); os.Exit(1) })
	if err != nil {
		return err
	}
	opts := devcluster.Options{Dir: dir, Listen: listen, Ephemeral: true, AllocationInterval: 200 * time.Millisecond,
		AgentPingTimeout: time.Second, MaxAgentPingTimeouts: 3, Logger: log, Exchanges: told}
	for _, port := range ports {
		number, err := strconv.Atoi(port)
		if err != nil {
			return err
		}
		opts.Agents = append(opts.Agents, devcluster.AgentOptions{Resources: "cpus:16;mem:16384;disk:20480", Port: number})
	}
	c, err := devcluster.Open(opts)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer stop()
		control(c)
	}()
	fmt.Println("master", c.MasterAddr())
	fmt.Println("agents", strings.Join(c.Agents(), " "))
	return c.Run(ctx)
}

func control(c *devcluster.Cluster) {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		verb, agent, _ := strings.Cut(in.Text(), " ")
		var err error
		switch verb {
		case "stop":
			err = c.StopAgent(agent)
		case "start":
			err = c.StartAgent(agent)
		default:
			err = fmt.Errorf("unknown: %s", verb)
		}
		if err != nil {
			fmt.Println("failed:", err)
		} else {
			fmt.Println("done:", in.Text())
		}
	}
}
