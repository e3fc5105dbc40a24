package fault

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// scheduler is a process, which reaches ZooKeeper and Mesos through proxies of
// its own. It is called by one goroutine, but for what loads and consumers use.
type scheduler struct {
	*program.Process
	*client.Client // which does not repeat by itself
	t              *testing.T
	name           string
	binary         string
	listen, url    string
	args           []string
	zookeeper      []*zktest.Proxy
	mesos          *zktest.Proxy
}

// schedulerOptions say what a scheduler works with.
type schedulerOptions struct {
	name, cluster string
	directory     string   // of a file journal; or
	zookeepers    []string // host:port
	credentials   string   // user:password
	chroot        string
	master        string
	more          []string
}

// arguments of the command line.
func (o schedulerOptions) arguments() []string {
	args := []string{"scheduler", "--config", os.DevNull, "--cluster", o.cluster, "--mesos-master", o.master,
		"--mesos-framework-name", "fault-" + o.cluster, "--mesos-failover-timeout", "10m",
		"--executor-url", built.executor, "--executor-cache-dir", filepath.Join(built.dir, "cache")}
	if o.directory != "" {
		args = append(args, "--journal-url", "file://"+o.directory)
	} else {
		args = append(args, "--journal-url", "zk://"+strings.Join(o.zookeepers, ",")+o.chroot,
			"--journal-session-timeout", sessionTimeout.String(), "--journal-credentials", o.credentials, "--new-cluster",
			"--history-url", "sqlite://"+filepath.Join(built.dir, o.name+"-history.db"))
	}
	if os.Geteuid() == 0 {
		args = append(args, "--defaults-user", "nobody")
	}
	return append(args, o.more...)
}

// sessionTimeout is how long a leader may be away before another leads.
const sessionTimeout = 4 * time.Second

// farAway is how long what a scheduler writes takes to ZooKeeper. So what it
// tells others before it should is told before it is written.
const farAway = 5 * time.Millisecond

// newScheduler does not start it yet.
func newScheduler(t *testing.T, o schedulerOptions) *scheduler {
	t.Helper()
	s := &scheduler{t: t, name: o.name, binary: built.perigee}
	proxy := func(target string) *zktest.Proxy {
		p, err := zktest.NewProxy(target)
		require.NoError(t, err)
		t.Cleanup(p.Close)
		return p
	}
	for i, z := range o.zookeepers {
		s.zookeeper = append(s.zookeeper, proxy(z))
		s.zookeeper[i].Delay(farAway)
		o.zookeepers[i] = s.zookeeper[i].Address
	}
	s.mesos = proxy(o.master)
	o.master = s.mesos.Address
	s.args = o.arguments()
	port, err := zktest.ClaimPort() // which it has again after each start
	require.NoError(t, err)
	t.Cleanup(port.Release)
	s.listen = port.String()
	s.url = "http://" + s.listen
	s.Client, err = client.New(s.url, client.WithActor("tester"), client.WithPatience(0),
		client.WithHTTPClient(&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}))
	require.NoError(t, err)
	t.Cleanup(func() { endAll(t, s.Process) })
	return s
}

// start starts the process, and waits until its API answers.
func (s *scheduler) start() {
	s.t.Helper()
	p, err := program.Start(built.dir, s.name, s.binary, append(s.args, "--api-listen", s.listen)...)
	require.NoError(s.t, err)
	s.Process = p
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = p.Stdout.Await(ctx, "answers at ")
	require.NoError(s.t, err, s.Stderr)
}

// kill kills the process with -9.
func (s *scheduler) kill() { s.end(syscall.SIGKILL) }

// end sends a signal and waits for the end.
func (s *scheduler) end(signal os.Signal) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(s.t, s.End(ctx, signal))
}

func (s *scheduler) signal(signal os.Signal) {
	s.t.Helper()
	require.NoError(s.t, s.Cmd.Process.Signal(signal))
}

// alive says that the process is still the one that was started.
func (s *scheduler) alive() error {
	select {
	case <-s.Ended:
		return fmt.Errorf("%s ended by itself: %s", s.name, lastLines(s.Stderr.String(), 5))
	default:
		return nil
	}
}

// cutZooKeeper cuts the scheduler off from all of ZooKeeper.
func (s *scheduler) cutZooKeeper() {
	for _, p := range s.zookeeper {
		p.Cut(true)
	}
}

func (s *scheduler) restoreZooKeeper() {
	for _, p := range s.zookeeper {
		p.Restore()
	}
}

// metrics are the figures that have no labels.
func (s *scheduler) metrics() (map[string]float64, error) {
	ctx, cancel := quickly()
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = n
		}
	}
	return all, nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// quickly is a context for one request.
func quickly() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 8*time.Second)
}
