package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
)

// shared is the cluster, and the scheduler of most tests.
var shared cluster

type cluster struct {
	once      sync.Once
	err       error
	master    string // host:port
	processes []*program.Process
	scheduler *scheduler
}

func (c *cluster) open() error {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if c.master = realMesos; c.master == "" {
			if c.err = c.startMesos(ctx); c.err != nil {
				return
			}
		}
		c.scheduler, c.err = c.startScheduler(ctx, "shared")
	})
	return c.err
}

func (c *cluster) startMesos(ctx context.Context) error {
	args := []string{"devcluster", "--dir", filepath.Join(built.dir, "mesos"), "--listen", "127.0.0.1:0", "--agents", "3",
		"--attributes", "rack:r{n}", "--allocation-interval", "200ms", "--ephemeral"}
	// Agents share this machine's ports, and so do tests that run beside these.
	for n := range 3 {
		first := firstPort() + n*50
		args = append(args, "--resources", fmt.Sprintf("cpus:8;mem:8192;disk:20480;ports:[%d-%d]", first, first+49))
	}
	p, err := program.Start(built.dir, "devcluster", built.perigee, args...)
	if err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	line, err := p.Stdout.Await(ctx, "master http://")
	if err != nil {
		return fmt.Errorf("devcluster: %w", err)
	}
	_, c.master, _ = strings.Cut(line, "master http://")
	return nil
}

// firstPort is where this process's ports for tasks begin: a few hundred of
// their own for each of the processes that test at the same time.
func firstPort() int { return 10000 + os.Getpid()%40*400 }

// scheduler is one that tests started, which they may kill and start again.
type scheduler struct {
	*program.Process
	cluster   *cluster
	name      string
	framework string
	url       string
	args      []string
}

// startScheduler starts a scheduler with a journal of its own.
func (c *cluster) startScheduler(ctx context.Context, name string, more ...string) (*scheduler, error) {
	name = program.Again(name)
	framework := fmt.Sprintf("e2e-%d-%s", os.Getpid(), name)
	s := &scheduler{cluster: c, name: name, framework: framework, args: append([]string{"scheduler", "--config", os.DevNull,
		"--mesos-master", c.master, "--mesos-framework-name", framework, "--mesos-failover-timeout", "10m",
		"--journal-url", "file://" + filepath.Join(built.dir, "journal-"+name),
		"--executor-cache-dir", filepath.Join(built.dir, "cache")}, more...)}
	if os.Geteuid() == 0 {
		s.args = append(s.args, "--defaults-user", "nobody")
	}
	return s, s.start(ctx, "127.0.0.1:0")
}

// start starts the process, and waits until it leads and is subscribed.
func (s *scheduler) start(ctx context.Context, listen string) error {
	p, err := program.Start(built.dir, "scheduler-"+s.name, built.perigee, append(s.args, "--api-listen", listen)...)
	if err != nil {
		return err
	}
	s.Process = p
	line, err := p.Stdout.Await(ctx, "answers at ")
	if err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	_, s.url, _ = strings.Cut(line, "answers at ")
	return ready(ctx, s.url)
}

// ready waits until the scheduler at a URL can do its work.
func ready(ctx context.Context, url string, options ...client.Option) error {
	c, err := client.New(url, options...)
	if err != nil {
		return err
	}
	for {
		err := c.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// restart kills the scheduler with -9 and starts it again at the same address.
func (s *scheduler) restart(ctx context.Context) error {
	if err := s.End(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	return s.start(ctx, strings.TrimPrefix(s.url, "http://"))
}

// close ends everything. On a cluster that is not ours, frameworks are torn
// down: their tasks would go on.
func (c *cluster) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var errs []error
	if c.scheduler != nil && c.scheduler.Process != nil {
		errs = append(errs, c.scheduler.End(ctx, syscall.SIGTERM))
	}
	if realMesos != "" && c.master != "" {
		errs = append(errs, c.tearDown(""))
	}
	for _, p := range c.processes {
		errs = append(errs, p.End(ctx, syscall.SIGTERM))
	}
	return errors.Join(errs...)
}

// tearDown removes these tests' frameworks: the one of that name, or all when it
// is "".
func (c *cluster) tearDown(framework string) error {
	var answer struct {
		GetFrameworks struct {
			Frameworks []struct {
				FrameworkInfo struct {
					Name string
					ID   struct{ Value string }
				} `json:"framework_info"`
			}
		} `json:"get_frameworks"`
	}
	if err := c.operate(map[string]any{"type": "GET_FRAMEWORKS"}, &answer); err != nil {
		return err
	}
	ours := fmt.Sprintf("e2e-%d-", os.Getpid())
	for _, f := range answer.GetFrameworks.Frameworks {
		if info := f.FrameworkInfo; strings.HasPrefix(info.Name, ours) && (framework == "" || framework == info.Name) {
			err := c.operate(map[string]any{"type": "TEARDOWN", "teardown": map[string]any{
				"framework_id": map[string]any{"value": info.ID.Value}}}, nil)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// operate asks the master's operator API.
func (c *cluster) operate(call, answer any) error {
	body, err := json.Marshal(call)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+c.master+"/api/v1", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		return fmt.Errorf("operator call %s: %s %s %w", body, resp.Status, text, err)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}
