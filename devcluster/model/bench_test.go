package model

import (
	"fmt"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/require"
)

// BenchmarkSteps runs the life of tasks on 20 agents, state stored, as a
// simulation does. A task takes 8 steps: ACCEPT, the container's start, the
// executor's SUBSCRIBE, two updates, their acknowledgements, the exit.
func BenchmarkSteps(b *testing.B) {
	for _, agents := range []int{20, 5000} {
		b.Run(fmt.Sprint(agents, " agents"), func(b *testing.B) {
			c := newCluster(b, agents)
			c.log = nil
			f := c.subscribe("")
			steps := 0
			for n := 0; b.Loop(); n++ {
				steps += lifeOfATask(f, fmt.Sprint("t", n))
			}
			b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "steps/s")
			c.requireBooked()
		})
	}
}

func lifeOfATask(f *testFramework, id string) int {
	c := f.c
	var o mesos.Offer
	for len(c.m.master.offers) == 0 {
		c.now = c.now.Add(time.Second)
		c.m.Tick(c.now)
		c.perform()
	}
	for _, out := range c.m.master.frameworks.first.value.offers.all() {
		o.ID.Value, o.AgentID.Value = out.id, out.slave.id
		break
	}
	f.launch(o, testTask(id, id, o.AgentID))
	x := c.container(id).start()
	clear(c.containers)
	for _, state := range []mesos.TaskState{mesos.TASK_RUNNING, mesos.TASK_FINISHED} {
		x.update(id, state)
		_, statuses := f.updates()
		require.Len(c.t, statuses, 1)
		f.acknowledge(statuses[0])
	}
	x.exit(0)
	c.sent[f.answer.Stream], f.seen, c.log = nil, 0, nil
	delete(c.executors, x.stream)
	return 8
}
