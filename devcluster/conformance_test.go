package devcluster_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster"
)

// conformance is where the program and the transcripts recorded from Apache
// Mesos are, when they are there.
const conformance = "../../shared/mesos-conformance"

// atOnce is how many scenarios run at a time, each on a cluster of its own:
// most of them wait for what Mesos does by the clock.
const atOnce = 8

// TestConformance_Mesos compares what a client can tell of a devcluster with
// what it can tell of Apache Mesos, scenario by scenario.
func TestConformance_Mesos(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs(conformance)
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(dir, "main.go")); err != nil {
		t.Skipf("the conformance program is not beside the checkout (%s), so nothing is compared with Mesos", dir)
	}
	program := filepath.Join(t.TempDir(), "conformance")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = dir
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	type result struct {
		out string
		err error
	}
	names := scenarios(t, dir)
	results := map[string]chan result{}
	for _, name := range names {
		results[name] = make(chan result, 1)
	}
	slots := make(chan struct{}, atOnce)
	for _, name := range names {
		work := t.TempDir()
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out, err := runScenario(t, program, dir, work, name)
			results[name] <- result{out, err}
		}()
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			r := <-results[name]
			require.NoError(t, r.err, r.out)
			require.Contains(t, r.out, "1 passed, 0 failed", "the scenario must not be skipped")
		})
	}
}

// scenarios reads the names from the program's list, in its order.
func scenarios(t *testing.T, dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, "main.go"))
	require.NoError(t, err)
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\t\{"([a-z-]+)", [a-zA-Z]+Scenario\},$`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	require.GreaterOrEqual(t, len(names), 23, "scenarios found in the program's source")
	return names
}

func runScenario(t *testing.T, program, dir, work, name string) (string, error) {
	c := start(t, conformanceOptions(work))
	hook := hooks(t, c)
	cmd := exec.Command(program, "-master", "http://"+c.MasterAddr(), "-master2", "http://"+c.StandbyAddr(),
		"-golden", filepath.Join(dir, "golden"), "-run", "^"+name+"$",
		"-agent-stop", hook("stop"), "-agent-start", hook("start"), "-agent-new", hook("new"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// hooks serves what the hooks do, and returns their commands.
func hooks(t *testing.T, c *devcluster.Cluster) func(what string) string {
	agent := c.Agents()[0]
	mux := http.NewServeMux()
	for what, do := range map[string]func(string) error{"stop": c.StopAgent, "start": c.StartAgent, "new": c.NewAgent} {
		mux.HandleFunc("/"+what, func(w http.ResponseWriter, r *http.Request) {
			if err := do(agent); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: mux}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	self, err := os.Executable()
	require.NoError(t, err)
	return func(what string) string {
		return strings.Join([]string{"'" + self + "'", hookArgument, "http://" + l.Addr().String() + "/" + what}, " ")
	}
}
