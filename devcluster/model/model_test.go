package model

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"
)

func TestUpdates_RepeatedWithDoublingWait(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	x := c.container("e").start()
	x.update("t", mesos.TASK_RUNNING)
	start := c.now
	f.updates()
	var at []time.Duration
	for len(at) < 8 {
		c.pass(time.Second)
		if got, _ := f.updates(); len(got) > 0 {
			require.Equal(t, []string{"t TASK_RUNNING"}, got)
			at = append(at, c.now.Sub(start))
		}
	}
	s := time.Second
	require.Equal(t, []time.Duration{10 * s, 30 * s, 70 * s, 150 * s, 310 * s, 630 * s, 1230 * s, 1830 * s}, at)
}

func TestUpdates_SentAgainToWhoTakesOver(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID), testTask("u", "e", o.AgentID))
	x := c.container("e").start()
	x.update("t", mesos.TASK_RUNNING)
	x.update("t", mesos.TASK_FINISHED)
	x.update("u", mesos.TASK_RUNNING)
	got, statuses := f.updates()
	require.Equal(t, []string{"t TASK_RUNNING", "u TASK_RUNNING"}, got)
	f.acknowledge(statuses[1])
	next := c.subscribe(f.id)
	got, again := next.updates()
	require.Equal(t, []string{"t TASK_RUNNING"}, got, "at once, and only what is not acknowledged")
	require.Equal(t, statuses[0].UUID, again[0].UUID)
	next.acknowledge(again[0])
	got, _ = next.updates()
	require.Equal(t, []string{"t TASK_FINISHED"}, got)
	c.pass(9 * time.Second)
	got, _ = next.updates()
	require.Empty(t, got)
	c.pass(2 * time.Second)
	got, _ = next.updates()
	require.Equal(t, []string{"t TASK_FINISHED"}, got, "repeated after the first wait")
}

func TestUpdates_OneAtATimePerTask(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID), testTask("u", "e", o.AgentID))
	x := c.container("e").start()
	x.update("t", mesos.TASK_RUNNING)
	x.update("t", mesos.TASK_FINISHED)
	x.update("u", mesos.TASK_RUNNING)
	got, statuses := f.updates()
	require.Equal(t, []string{"t TASK_RUNNING", "u TASK_RUNNING"}, got)
	f.acknowledge(statuses[0])
	got, statuses = f.updates()
	require.Equal(t, []string{"t TASK_FINISHED"}, got)
	wrong := statuses[0]
	wrong.UUID = []byte("0123456789abcdef")
	f.acknowledge(wrong)
	f.reconcile("t", o.AgentID.Value)
	got, _ = f.updates()
	require.Equal(t, []string{"t TASK_FINISHED"}, got, "an acknowledgement of something else acknowledges nothing")
	f.acknowledge(statuses[0])
	f.reconcile("t", o.AgentID.Value)
	got, _ = f.updates()
	require.Equal(t, []string{"t TASK_GONE"}, got)
}

func TestOffers_Filters(t *testing.T) {
	for _, tt := range []struct {
		what    string
		filters *mesos.Filters
		again   time.Duration // from the decline to the next offer
	}{
		{"none given", nil, 5 * time.Second},
		{"negative", refuseSeconds(-1), 5 * time.Second},
		{"zero", refuseSeconds(0), time.Second},
		{"shorter than the interval", refuseSeconds(0.001), time.Second},
		{"7 s", refuseSeconds(7), 7 * time.Second},
	} {
		t.Run(tt.what, func(t *testing.T) {
			c := newCluster(t, 1)
			f := c.subscribe("")
			f.decline(f.offers()["agent1"], tt.filters)
			declined := c.now
			require.Empty(t, f.offers())
			for len(f.offers()) == 0 {
				c.m.Tick(c.m.Wake())
				c.now = c.m.now
				c.perform()
			}
			require.GreaterOrEqual(t, c.now.Sub(declined), tt.again)
			require.LessOrEqual(t, c.now.Sub(declined), tt.again+time.Second, "the interval after the filter's end")
		})
	}
}

func TestOffers_RefusedForAYearAtMost(t *testing.T) {
	require.Equal(t, refusal(365*24*time.Hour), refuseFor(refuseSeconds(1e18)))
}

func TestOffers_FilterCoversNoMoreThanWasRefused(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.must(&scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{OfferIDs: []mesos.OfferID{o.ID},
		Filters: refuseSeconds(3600), Operations: []mesos.Offer_Operation{{Type: mesos.Offer_Operation_LAUNCH,
			Launch: &mesos.Offer_Operation_Launch{TaskInfos: []mesos.TaskInfo{testTask("t", "e", o.AgentID)}}}}}})
	c.pass(time.Minute)
	require.Empty(t, f.offers(), "the rest was refused for an hour")
	x := c.container("e").start()
	x.update("t", mesos.TASK_FINISHED)
	c.pass(2 * time.Second)
	require.Len(t, f.offers(), 1, "what the task gave back makes it more than was refused")
}

func TestOffers_SmallestShareFirst(t *testing.T) {
	c := newCluster(t, 6)
	f := c.subscribe("")
	require.Len(t, f.offers(), 6)
	g := c.subscribe("")
	require.Empty(t, g.offers())
	for _, o := range f.offers() {
		f.decline(o, refuseSeconds(0))
	}
	c.pass(2 * time.Second)
	require.Len(t, f.offers(), 3, "two frameworks of equal weight share the agents")
	require.Len(t, g.offers(), 3)
	c.requireBooked()
}

func TestOffers_GPUsOnlyToThoseWhoUseThem(t *testing.T) {
	c := newCluster(t, 1)
	resources, err := ParseResources("cpus:4;mem:4096;gpus:2")
	require.NoError(t, err)
	c.m.AddAgent(AgentSpec{Name: "gpu", Hostname: "gpu", IP: "10.0.1.1", Port: 5051, Resources: resources})
	c.m.StartAgent(c.now, "gpu", nil)
	c.perform()
	f := c.subscribe("")
	require.NotContains(t, f.offers(), "gpu")
	g := c.subscribe("", func(i *mesos.FrameworkInfo) {
		i.Capabilities = append(i.Capabilities, mesos.FrameworkInfo_Capability{Type: mesos.FrameworkInfo_Capability_GPU_RESOURCES})
	})
	require.Contains(t, g.offers(), "gpu")
}

func TestFailover_TimeoutRemovesTheFramework(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	x := c.container("e").start()
	c.m.Closed(c.now, f.answer.Stream)
	c.pass(99 * time.Second)
	require.Equal(t, []string{"SUBSCRIBED", "LAUNCH"}, x.types(), "the task goes on while there is time")
	c.pass(2 * time.Second)
	require.Equal(t, []string{"SUBSCRIBED", "LAUNCH", "SHUTDOWN"}, x.types())
	dead := c.subscribe(f.id)
	require.Equal(t, "Framework has been removed", dead.events()[0].Error.Message)
	require.True(t, c.closed[dead.answer.Stream])
	c.pass(6 * time.Second)
	require.Equal(t, []string{x.launch.Container}, c.destroyed, "an executor that stays is killed after its grace")
	x.exit(9)
	c.requireBooked()
}

func TestExecutor_RegistrationTimeout(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	x := c.container("e")
	c.pass(time.Minute)
	require.Equal(t, []string{x.launch.Container}, c.destroyed)
	x.exit(9)
	got, statuses := f.updates()
	require.Equal(t, []string{"t TASK_FAILED"}, got)
	require.Equal(t, "Executor did not register within 1mins", statuses[0].GetMessage())
	require.Equal(t, mesos.REASON_EXECUTOR_REGISTRATION_TIMEOUT, statuses[0].GetReason())
}

func TestAgent_RestartKeepsWhatWasStored(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("runs", "e", o.AgentID), testTask("unsent", "e", o.AgentID), testTask("queued", "late", o.AgentID))
	x, late := c.container("e").start(), c.container("late")
	x.update("runs", mesos.TASK_RUNNING)
	_, statuses := f.updates()
	first := statuses[0]
	x.update("runs", mesos.TASK_FINISHED)

	c.stopAgent("agent1")
	require.Equal(t, 503, x.update("unsent", mesos.TASK_RUNNING).Code, "nobody answers")
	c.startAgent("agent1")
	require.ElementsMatch(t, []string{x.launch.Container, late.launch.Container}, c.m.Containers("agent1"))
	c.m.ContainerStarted(c.now, "agent1", x.launch.Container, 77)
	c.m.ContainerStarted(c.now, "agent1", late.launch.Container, 78)
	x.pending = []mesos.TaskStatus{x.status("unsent", mesos.TASK_RUNNING)}
	x.subscribe("unsent")
	require.Equal(t, []string{"SUBSCRIBED", "ACKNOWLEDGED"}, x.types(), "nothing is launched twice")
	late.subscribe()
	require.Equal(t, 503, x.update("unsent", mesos.TASK_RUNNING).Code, "it recovers")
	c.pass(3 * time.Second)
	got, statuses := f.updates()
	require.ElementsMatch(t, []string{"runs TASK_RUNNING", "unsent TASK_RUNNING", "queued TASK_DROPPED"}, got)
	for _, s := range statuses {
		if s.TaskID.Value == "runs" {
			require.Equal(t, first.UUID, s.UUID)
		}
		f.acknowledge(s)
	}
	got, _ = f.updates()
	require.Equal(t, []string{"runs TASK_FINISHED"}, got, "what waited behind the first update was stored too")
	require.Equal(t, o.AgentID.Value, c.m.AgentID("agent1"))
	c.requireBooked()
}

func TestAgent_ExecutorThatStaysAwayIsGone(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	x := c.container("e").start()
	x.update("t", mesos.TASK_RUNNING)
	_, statuses := f.updates()
	f.acknowledge(statuses[0])
	c.stopAgent("agent1")
	c.startAgent("agent1")
	c.m.ContainerStarted(c.now, "agent1", x.launch.Container, 77)
	c.pass(2 * time.Second)
	require.Equal(t, []string{x.launch.Container}, c.destroyed)
	x.exit(9)
	got, statuses := f.updates()
	require.Equal(t, []string{"t TASK_GONE"}, got)
	require.Equal(t, "Executor did not reregister within 2secs", statuses[0].GetMessage())
}

func TestMaster_RestartRelearnsFromAgents(t *testing.T) {
	c := newCluster(t, 2)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	x := c.container("e").start()
	x.update("t", mesos.TASK_RUNNING)
	_, statuses := f.updates()
	f.acknowledge(statuses[0])
	c.stopAgent("agent2")
	c.m.StopMaster(c.now)
	require.Equal(t, 202, x.update("t", mesos.TASK_FINISHED).Code, "the agent goes on alone")
	require.Equal(t, 503, f.call(&scheduler.Call{Type: scheduler.Call_REVIVE}).Code)
	c.pass(time.Minute)
	c.m.StartMaster(c.now, c.records[""])
	c.perform()

	g := c.subscribe(f.id)
	require.Equal(t, f.id, g.id)
	c.pass(11 * time.Second)
	got, statuses := g.updates()
	require.Contains(t, got, "t TASK_FINISHED", "the agent repeats what was not acknowledged")
	require.Equal(t, o.AgentID, *statuses[0].AgentID)
	other := f.events()[2].Offers.Offers[1].AgentID.Value
	g.reconcile("unknown", other)
	got, _ = g.updates()
	require.Empty(t, got, "an agent that may still come back is not spoken for")
	c.pass(11 * time.Minute)
	g.reconcile("unknown", other)
	got, _ = g.updates()
	require.Contains(t, got, "unknown TASK_UNREACHABLE")
	c.requireBooked()
}

func TestMaster_RestartForgetsAFrameworkThatStaysAway(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	x := c.container("e").start()
	c.restartMaster(0)
	c.pass(101 * time.Second)
	require.Equal(t, []string{"SUBSCRIBED", "LAUNCH", "SHUTDOWN"}, x.types())
}

func TestDrain_MarkGone(t *testing.T) {
	c := newCluster(t, 2)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	x := c.container("e").start()
	gone := true
	a := c.operate(&operator.Call{Type: operator.Call_DRAIN_AGENT,
		DrainAgent: &operator.Call_DrainAgent{AgentID: o.AgentID, MarkGone: &gone}})
	require.Equal(t, 200, a.Code, a.Text)
	require.Equal(t, []string{"SUBSCRIBED", "LAUNCH", "KILL"}, x.types())
	x.update("t", mesos.TASK_KILLED)
	got, statuses := f.updates()
	require.Equal(t, []string{"t TASK_GONE_BY_OPERATOR"}, got)
	require.Empty(t, c.exited)
	f.acknowledge(statuses[0])
	require.Equal(t, []string{"agent1"}, c.exited, "marked gone once the last task has left")
	c.startAgent("agent1")
	c.pass(3 * time.Second)
	require.Equal(t, []string{"agent1", "agent1"}, c.exited, "it never comes back under its id")
}

func TestDrain_DropsNewTasksUntilTheFrameworkHasLeft(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	x := c.container("e").start()
	drain := &operator.Call{Type: operator.Call_DRAIN_AGENT, DrainAgent: &operator.Call_DrainAgent{AgentID: o.AgentID}}
	require.Equal(t, 200, c.operate(drain).Code)
	x.update("t", mesos.TASK_KILLED)
	_, statuses := f.updates()
	f.acknowledge(statuses[0])
	reactivate := &operator.Call{Type: operator.Call_REACTIVATE_AGENT, ReactivateAgent: &operator.Call_ReactivateAgent{AgentID: o.AgentID}}
	require.Equal(t, 200, c.operate(reactivate).Code)
	c.pass(2 * time.Second)
	f.launch(f.offers()["agent1"], testTask("early", "e2", o.AgentID))
	got, _ := f.updates()
	require.Equal(t, []string{"early TASK_DROPPED"}, got)
	x.exit(0)
	c.pass(2 * time.Second)
	f.launch(f.offers()["agent1"], testTask("later", "e3", o.AgentID))
	c.container("e3").start().update("later", mesos.TASK_RUNNING)
	got, _ = f.updates()
	require.Contains(t, got, "later TASK_RUNNING")
}

func TestUnreachable_KeepsItsTaskIds(t *testing.T) {
	c := newCluster(t, 2)
	f := c.subscribe("")
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	c.container("e").start().update("t", mesos.TASK_RUNNING)
	c.stopAgent("agent1")
	c.pass(74 * time.Second)
	got, _ := f.updates()
	require.Equal(t, []string{"t TASK_RUNNING", "t TASK_RUNNING"}[:len(got)], got, "it has 75 s to come back")
	c.pass(2 * time.Second)
	got, _ = f.updates()
	require.Equal(t, []string{"t TASK_UNREACHABLE"}, got)
	f.launch(f.offers()["agent2"], testTask("t", "e", f.offers()["agent2"].AgentID))
	got, statuses := f.updates()
	require.Equal(t, []string{"t TASK_ERROR"}, got)
	require.Equal(t, "Task reuses the ID of an unreachable task: t", statuses[0].GetMessage())
}

func TestCheckpointOff_NothingSurvivesTheAgent(t *testing.T) {
	c := newCluster(t, 1)
	f := c.subscribe("", func(i *mesos.FrameworkInfo) { i.Checkpoint = nil })
	o := f.offers()["agent1"]
	f.launch(o, testTask("t", "e", o.AgentID))
	c.container("e").start().update("t", mesos.TASK_RUNNING)
	c.stopAgent("agent1")
	got, _ := f.updates()
	require.Equal(t, []string{"t TASK_RUNNING", "t TASK_LOST"}, got)
	c.startAgent("agent1")
	require.Empty(t, c.m.Containers("agent1"), "the front destroys what the agent does not name")
	c.requireBooked()
}

// TestRandom_BooksBalance does whatever can be done, in any order, and checks
// after every step that each agent's resources are in one place, and that the
// same seed gives the same effects.
func TestRandom_BooksBalance(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			require.Equal(t, randomRun(t, seed), randomRun(t, seed))
		})
	}
}

func randomRun(t *testing.T, seed uint64) []string {
	c := newCluster(t, 3)
	r := rand.New(rand.NewPCG(seed, 7))
	f, g := c.subscribe(""), c.subscribe("")
	var executors []*testExecutor
	known := map[string]bool{}
	for n := range 400 {
		one := []*testFramework{f, g}[r.IntN(2)]
		agent := fmt.Sprint("agent", 1+r.IntN(3))
		switch r.IntN(12) {
		case 0, 1, 2:
			if o, ok := one.offers()[agent]; ok {
				id := fmt.Sprint("t", n)
				one.launch(o, testTask(id, id, o.AgentID), testTask(id+"b", id, o.AgentID))
			}
		case 3:
			if o, ok := one.offers()[agent]; ok {
				one.decline(o, refuseSeconds(float64(r.IntN(5))))
			}
		case 4:
			c.pass(time.Duration(r.IntN(3000)) * time.Millisecond)
		case 5:
			c.stopAgent(agent)
		case 6:
			c.startAgent(agent)
			for _, id := range c.m.Containers(agent) {
				c.m.ContainerStarted(c.now, agent, id, 5)
			}
		case 7:
			one.call(&scheduler.Call{Type: scheduler.Call_REVIVE})
		case 8:
			_, statuses := one.updates()
			for _, s := range statuses {
				if s.UUID != nil {
					one.acknowledge(s)
				}
			}
		case 9:
			if r.IntN(10) == 0 {
				c.restartMaster(time.Second)
				f, g = c.subscribe(f.id), c.subscribe(g.id)
			}
		default:
			for id, l := range c.containers {
				if !known[id] {
					known[id] = true
					executors = append(executors, &testExecutor{c: c, launch: l})
				}
			}
			// Go's order of that loop must not decide what happens.
			if len(executors) > 0 {
				act(r, oldest(executors, r.IntN(len(executors))))
			}
		}
		c.requireBooked()
	}
	return c.log
}

func oldest(list []*testExecutor, n int) *testExecutor {
	for i := range list {
		for j := i + 1; j < len(list); j++ {
			if list[j].launch.Executor.ExecutorID.Value < list[i].launch.Executor.ExecutorID.Value {
				list[i], list[j] = list[j], list[i]
			}
		}
	}
	return list[n]
}

func act(r *rand.Rand, x *testExecutor) {
	id := x.launch.Executor.ExecutorID.Value
	switch r.IntN(5) {
	case 0:
		call := x.call(executor.Call_SUBSCRIBE)
		call.Subscribe = &executor.Call_Subscribe{}
		x.c.m.ContainerStarted(x.c.now, x.launch.Agent, x.launch.Container, 9)
		if a := x.c.m.ExecutorSubscribe(x.c.now, x.launch.Agent, call); a.Code == 200 {
			x.stream = a.Stream
		}
		x.c.perform()
	case 1:
		x.update(id, mesos.TASK_RUNNING)
	case 2:
		x.update(id+"b", mesos.TASK_FINISHED)
	case 3:
		x.update(id, mesos.TASK_FAILED)
	case 4:
		x.exit(256)
	}
}
