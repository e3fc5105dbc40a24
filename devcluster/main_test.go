package devcluster_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster"
)

// hookArgument makes this test binary post to a URL and end, for programs that
// take commands as hooks.
const hookArgument = "devcluster-hook"

// clusterArgument makes it a cluster of its own, to be killed.
const clusterArgument = "devcluster-run"

func TestMain(m *testing.M) {
	if code, ok := devcluster.RunHidden(); ok {
		os.Exit(code)
	}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case hookArgument:
			os.Exit(post(os.Args[2]))
		case clusterArgument:
			os.Exit(runCluster(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

func post(url string) int {
	resp, err := http.Post(url, "", nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, string(text))
		return 1
	}
	return 0
}

// conformanceOptions are a cluster as the golden transcripts assume it.
func conformanceOptions(dir string) devcluster.Options {
	return devcluster.Options{
		Dir: dir, Listen: "127.0.0.1:0", Standby: "127.0.0.1:0",
		Agents: []devcluster.AgentOptions{{
			Resources:  "cpus:8;mem:16384;disk:20480;ports:[31000-31999]",
			Attributes: "rack:r1;zone:z1;name:agent1",
		}},
		AllocationInterval: 200 * time.Millisecond, AgentPingTimeout: time.Second, MaxAgentPingTimeouts: 5,
		ExecutorRegistrationTimeout: 5 * time.Second, ExecutorShutdownGracePeriod: 3 * time.Second,
		RecoveryTimeout: 20 * time.Second,
	}
}

// runCluster runs a cluster until this process is killed, and writes the
// master's address to its standard output.
func runCluster(dir string) int {
	c, err := devcluster.Open(conformanceOptions(dir))
	if err == nil {
		fmt.Println(c.MasterAddr())
		err = c.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// start runs a cluster until the test ends, containers included.
func start(t *testing.T, opts devcluster.Options) *devcluster.Cluster {
	t.Helper()
	opts.Ephemeral = true
	if os.Getenv("DEVCLUSTER_LOG") != "" {
		opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c, err := devcluster.Open(opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return c
}
