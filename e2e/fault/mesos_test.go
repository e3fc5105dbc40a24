package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/fault/exchange"
	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// cluster is a Mesos cluster of three agents in a process of its own.
type cluster struct {
	*program.Process
	t      *testing.T
	dir    string
	ports  []string // the master's host:port, and the agents' numbers; they are the same after each start
	master string   // host:port
	agents []string
	orders io.WriteCloser
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp(built.dir, "mesos-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	c := &cluster{t: t, dir: dir}
	for n := range 4 {
		p, err := zktest.ClaimPort()
		require.NoError(t, err)
		t.Cleanup(p.Release)
		if n == 0 {
			c.ports = append(c.ports, p.String())
		} else {
			c.ports = append(c.ports, strconv.Itoa(p.Number))
		}
	}
	c.start()
	t.Cleanup(c.end)
	return c
}

func (c *cluster) start() {
	c.t.Helper()
	cmd := exec.Command(built.remote, append([]string{c.dir}, c.ports...)...)
	var err error
	c.orders, err = cmd.StdinPipe()
	require.NoError(c.t, err)
	c.Process, err = program.StartWith(built.dir, filepath.Base(c.dir), cmd)
	require.NoError(c.t, err)
	_, c.master, _ = strings.Cut(c.await("master "), " ")
	_, agents, _ := strings.Cut(c.await("agents "), " ")
	c.agents = strings.Fields(agents)
}

func (c *cluster) await(part string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	line, err := c.Stdout.Await(ctx, part)
	require.NoError(c.t, err)
	return line
}

// kill kills master and agents with -9. Executors go on.
func (c *cluster) kill() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(c.t, c.Process.End(ctx, os.Kill))
}

// order stops or starts an agent.
func (c *cluster) order(text string) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.orders, text)
	require.NoError(c.t, err)
	c.await("done: " + text)
}

// end ends the cluster and everything that runs in it.
func (c *cluster) end() {
	select {
	case <-c.Ended: // a test has failed: another ends what it has left
		c.start()
	default:
	}
	_ = c.orders.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-c.Ended:
	case <-ctx.Done():
		c.t.Error("the Mesos cluster does not end")
		_ = c.Cmd.Process.Kill()
	}
	left, err := program.In(c.dir)
	require.NoError(c.t, err)
	require.Empty(c.t, left, "processes of the cluster go on")
}

// exchanges are what schedulers and the master said to each other up to now.
func (c *cluster) exchanges() ([]exchange.Line, error) {
	return exchange.Read(filepath.Join(c.dir, "exchanges"))
}

// killed are the tasks that the master was told to kill.
func (c *cluster) killed() (map[string]bool, error) {
	lines, err := c.exchanges()
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, l := range lines {
		if l.Kind == "KILL" && l.Accepted() {
			all[l.Tasks[0].ID] = true
		}
	}
	return all, nil
}

// operate asks the master's operator API.
func (c *cluster) operate(typ string, answer any) error {
	body, err := json.Marshal(map[string]string{"type": typ})
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
		return errors.Join(fmt.Errorf("operator call %s: %s %s", typ, resp.Status, text), err)
	}
	return json.Unmarshal(text, answer)
}

// running are the tasks that have not ended, as the master knows, by their
// states.
func (c *cluster) running() (map[string]string, error) {
	type task struct {
		State string
		ID    struct{ Value string } `json:"task_id"`
	}
	var answer struct {
		GetTasks struct {
			Pending     []task `json:"pending_tasks"`
			Tasks       []task
			Unreachable []task `json:"unreachable_tasks"`
			Orphan      []task `json:"orphan_tasks"`
		} `json:"get_tasks"`
	}
	if err := c.operate("GET_TASKS", &answer); err != nil {
		return nil, err
	}
	running := map[string]string{}
	g := answer.GetTasks
	for _, tasks := range [][]task{g.Pending, g.Tasks, g.Unreachable, g.Orphan} {
		for _, t := range tasks {
			if !ended[t.State] {
				running[t.ID.Value] = t.State
			}
		}
	}
	return running, nil
}

// known are the agents that the master has, those that it expects back included.
func (c *cluster) known() (map[string]bool, error) {
	type info struct{ ID struct{ Value string } }
	var answer struct {
		GetAgents struct {
			Agents []struct {
				Info info `json:"agent_info"`
			}
			Recovered []info `json:"recovered_agents"`
		} `json:"get_agents"`
	}
	if err := c.operate("GET_AGENTS", &answer); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, a := range answer.GetAgents.Agents {
		known[a.Info.ID.Value] = true
	}
	for _, a := range answer.GetAgents.Recovered {
		known[a.ID.Value] = true
	}
	return known, nil
}

// ended are Mesos's terminal states.
var ended = map[string]bool{"TASK_FINISHED": true, "TASK_FAILED": true, "TASK_KILLED": true, "TASK_LOST": true,
	"TASK_ERROR": true, "TASK_DROPPED": true, "TASK_GONE": true}

// subscriber is the URL of the scheduler that is subscribed, "" when none is.
func (c *cluster) subscriber() (string, error) {
	var answer struct {
		GetFrameworks struct {
			Frameworks []struct {
				Connected bool
				Active    bool
				Info      struct {
					WebUI string `json:"webui_url"`
				} `json:"framework_info"`
			}
		} `json:"get_frameworks"`
	}
	if err := c.operate("GET_FRAMEWORKS", &answer); err != nil {
		return "", err
	}
	url, n := "", 0
	for _, f := range answer.GetFrameworks.Frameworks {
		n++
		if f.Connected && f.Active {
			url = f.Info.WebUI
		}
	}
	if n > 1 {
		return "", fmt.Errorf("the schedulers made %d frameworks of one", n)
	}
	return url, nil
}
