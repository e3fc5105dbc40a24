package devcluster_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster"
)

func TestSimulated_TasksFinishOrAreKilled(t *testing.T) {
	t.Parallel()
	c := start(t, devcluster.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", AllocationInterval: 10 * time.Millisecond,
		Agents: []devcluster.AgentOptions{{Simulated: &devcluster.Simulation{Starting: true}}}})
	f := subscribe(t, "http://"+c.MasterAddr(), "")
	f.launchAs("short", map[string]any{"data": "MTBtcw=="}) // 10ms
	f.state("short", "TASK_STARTING")
	f.state("short", "TASK_RUNNING")
	f.state("short", "TASK_FINISHED")
	f.launch("long", "whatever")
	f.state("long", "TASK_RUNNING")
	f.call("KILL", map[string]any{"task_id": map[string]any{"value": "long"}})
	killed := f.state("long", "TASK_KILLED")
	require.Equal(t, "SOURCE_EXECUTOR", text(killed, "update", "status", "source"))
	f.launch("torn-down", "whatever")
	f.state("torn-down", "TASK_RUNNING")
	f.call("TEARDOWN", nil)
}
