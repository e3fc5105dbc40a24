package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// patience is for what should take a moment, on a machine that is busy.
const patience = 40 * time.Second

// built is made once for all tests.
var built struct {
	dir      string // entered by any user, since tasks run as nobody
	perigee  string
	remote   string // see package remote
	executor string // URL of perigee-executor, which outlives schedulers
}

// ensemble is one for all tests: three JVMs take a while to start.
var ensemble struct {
	once    sync.Once
	err     error
	servers []*zktest.Server
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "perigee-fault-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		built.dir = dir
		err = build()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fault: cannot build what is tested:", err)
		return 1
	}
	stop, err := serveExecutor()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fault:", err)
		return 1
	}
	defer stop()
	code := m.Run()
	for _, s := range ensemble.servers {
		s.Close()
	}
	if code == 0 {
		os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "fault: logs are in", dir)
	}
	return code
}

func build() error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	if built.perigee, err = program.Perigee(root, built.dir); err != nil {
		return err
	}
	built.remote = filepath.Join(built.dir, "remote")
	return program.Build(root, map[string]string{built.remote: "./e2e/fault/remote"})
}

// serveExecutor gives agents a URL of the executor that does not depend on which
// scheduler lives, as it should be.
func serveExecutor() (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	built.executor = "http://" + l.Addr().String() + "/perigee-executor"
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, built.perigee+"-executor")
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	return func() {
		_ = server.Close()
		<-served
	}, nil
}

// needsCluster skips the test where the cluster to test with is another's.
func needsCluster(t *testing.T) {
	t.Helper()
	if os.Getenv("PERIGEE_TEST_MESOS") != "" {
		t.Skip("faults need a Mesos cluster that may be killed, not that of PERIGEE_TEST_MESOS")
	}
}

// needsZooKeeper starts the ensemble, or skips the test where there is none.
func needsZooKeeper(t *testing.T) []*zktest.Server {
	t.Helper()
	needsCluster(t)
	ensemble.once.Do(func() {
		ensemble.servers, ensemble.err = zktest.StartEnsemble(filepath.Join(built.dir, "zookeeper"), 3, zktest.Options{})
	})
	zktest.Require(t, ensemble.err)
	return ensemble.servers
}

// slow is how long a wait takes that is worth telling.
const slow = time.Second

// eventually waits until a condition holds, and tells what kept it when that
// took long.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	begun, kept := time.Now(), error(nil)
	err := within(patience, func() error {
		err := holds()
		if err != nil {
			kept = err
		}
		return err
	})
	require.NoError(t, err, what)
	if took := time.Since(begun); took > slow {
		t.Logf("%v until %s: %v", took.Round(time.Millisecond), what, kept)
	}
}

func within(most time.Duration, holds func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := holds()
		if err == nil {
			return nil
		}
		if v := (violation{}); errors.As(err, &v) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", most, err)
		}
	}
}

// endAll ends processes, the last first.
func endAll(t *testing.T, processes ...*program.Process) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for i := len(processes) - 1; i >= 0; i-- {
		if p := processes[i]; p != nil {
			_ = p.Cmd.Process.Signal(syscall.SIGCONT)
			errs = append(errs, p.End(ctx, syscall.SIGKILL))
		}
	}
	require.NoError(t, errors.Join(errs...))
}
