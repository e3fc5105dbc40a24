package devcluster_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster"
)

// TestExchanges: what passes between a scheduler and the master is told in its
// order, calls that were refused too.
func TestExchanges(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []devcluster.Exchange
	c := start(t, devcluster.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", AllocationInterval: 10 * time.Millisecond,
		Agents: []devcluster.AgentOptions{{Simulated: &devcluster.Simulation{}}},
		Exchanges: func(e devcluster.Exchange) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e)
		}})
	before := time.Now()
	f := subscribe(t, "http://"+c.MasterAddr(), "")
	f.launch("t", "whatever")
	f.state("t", "TASK_RUNNING")
	next := subscribe(t, "http://"+c.MasterAddr(), f.id)
	require.Equal(t, 400, f.status("SUPPRESS", nil), "its stream is not the framework's any more")
	next.call("SUPPRESS", nil)

	mu.Lock()
	defer mu.Unlock()
	var kinds []string
	var answers []int // to SUPPRESS
	for i, e := range told {
		require.False(t, e.At.Before(before))
		require.False(t, i > 0 && e.At.Before(told[i-1].At))
		require.Contains(t, []string{f.stream, next.stream}, e.Stream)
		if e.Call != nil && e.Call.Type.String() == "SUPPRESS" {
			answers = append(answers, e.Status)
		}
		switch {
		case e.Call == nil && e.Event.Type.String() != "HEARTBEAT" && e.Event.Type.String() != "OFFERS":
			kinds = append(kinds, e.Event.Type.String())
		case e.Call != nil && e.Stream == f.stream:
			kinds = append(kinds, "first: "+e.Call.Type.String())
		case e.Call != nil:
			kinds = append(kinds, "next: "+e.Call.Type.String())
		}
	}
	require.Equal(t, []string{"first: SUBSCRIBE", "SUBSCRIBED", "first: ACCEPT", "UPDATE", "first: ACKNOWLEDGE",
		"next: SUBSCRIBE", "ERROR", "SUBSCRIBED", "first: SUPPRESS", "next: SUPPRESS"}, kinds)
	require.Equal(t, []int{400, 202}, answers)
}
