package model

import (
	"encoding/binary"
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

// cluster is a front with a fake clock: it stores records, keeps what frameworks
// and executors are sent, and lets a test be everybody.
type cluster struct {
	t          testing.TB
	m          *Model
	now        time.Time
	records    map[string]map[string][]byte // by agent, "" the master's
	sent       map[StreamID][]*scheduler.Event
	executors  map[StreamID][]*executor.Event
	closed     map[StreamID]bool
	containers map[string]LaunchContainer
	destroyed  []string
	exited     []string // agents
	log        []string // every effect
}

func newCluster(t testing.TB, agents int) *cluster {
	c := &cluster{t: t, now: time.Unix(1_700_000_000, 0), records: map[string]map[string][]byte{},
		sent: map[StreamID][]*scheduler.Event{}, executors: map[StreamID][]*executor.Event{},
		closed: map[StreamID]bool{}, containers: map[string]LaunchContainer{}}
	random := rand.New(rand.NewPCG(1, 2))
	c.m = New(Options{Hostname: "master", IP: "127.0.0.1", Port: 5050, UUID: func() (b [16]byte) {
		binary.LittleEndian.PutUint64(b[:], random.Uint64())
		binary.LittleEndian.PutUint64(b[8:], random.Uint64())
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
		return b
	}})
	resources, err := ParseResources("cpus:4;mem:4096;ports:[31000-31099]")
	require.NoError(t, err)
	c.m.StartMaster(c.now, nil)
	for n := range agents {
		name := fmt.Sprint("agent", n+1)
		c.m.AddAgent(AgentSpec{Name: name, Hostname: name, IP: fmt.Sprint("10.0.0.", n+1), Port: 5051,
			Resources: resources, Durable: true})
		c.m.StartAgent(c.now, name, nil)
	}
	c.perform()
	return c
}

func (c *cluster) perform() {
	for _, e := range c.m.Effects() {
		c.log = append(c.log, e.String())
		switch e := e.(type) {
		case SchedulerEvent:
			c.sent[e.Stream] = append(c.sent[e.Stream], e.Event)
		case ExecutorEvent:
			c.executors[e.Stream] = append(c.executors[e.Stream], e.Event)
		case CloseStream:
			c.closed[e.Stream] = true
		case LaunchContainer:
			c.containers[e.Container] = e
		case DestroyContainer:
			c.destroyed = append(c.destroyed, e.Container)
		case AgentExits:
			c.exited = append(c.exited, e.Agent)
		case Store:
			if c.records[e.Agent] == nil {
				c.records[e.Agent] = map[string][]byte{}
			}
			if e.Value == nil {
				delete(c.records[e.Agent], e.Key)
			} else {
				c.records[e.Agent][e.Key] = e.Value
			}
		}
	}
}

// pass lets time go by, tick by tick.
func (c *cluster) pass(d time.Duration) {
	end := c.now.Add(d)
	for at := c.m.Wake(); !at.IsZero() && !at.After(end); at = c.m.Wake() {
		c.now = at
		c.m.Tick(c.now)
		c.perform()
	}
	c.now = end
	c.m.Tick(c.now)
	c.perform()
}

// testFramework is a scheduler.
type testFramework struct {
	c      *cluster
	id     string
	answer Answer
	seen   int
}

func (c *cluster) subscribe(id string, change ...func(*mesos.FrameworkInfo)) *testFramework {
	checkpoint, timeout := true, 100.0
	info := &mesos.FrameworkInfo{User: "u", Name: "f", Roles: []string{"r"}, Checkpoint: &checkpoint, FailoverTimeout: &timeout,
		Capabilities: []mesos.FrameworkInfo_Capability{{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE},
			{Type: mesos.FrameworkInfo_Capability_PARTITION_AWARE}}}
	call := &scheduler.Call{Type: scheduler.Call_SUBSCRIBE, Subscribe: &scheduler.Call_Subscribe{FrameworkInfo: info}}
	if id != "" {
		info.ID = &mesos.FrameworkID{Value: id}
		call.FrameworkID = info.ID
	}
	for _, f := range change {
		f(info)
	}
	f := &testFramework{c: c, answer: c.m.Subscribe(c.now, call)}
	require.Equal(c.t, 200, f.answer.Code, f.answer.Text)
	c.perform()
	if e := f.events(); e[0].Type == scheduler.Event_SUBSCRIBED {
		f.id = e[0].Subscribed.FrameworkID.Value
	}
	return f
}

func (f *testFramework) events() []*scheduler.Event { return f.c.sent[f.answer.Stream] }

// fresh are the events of a type that came since it was last asked.
func (f *testFramework) fresh(types ...scheduler.Event_Type) []*scheduler.Event {
	var out []*scheduler.Event
	all := f.events()
	for _, e := range all[f.seen:] {
		for _, typ := range types {
			if e.Type == typ {
				out = append(out, e)
			}
		}
	}
	f.seen = len(all)
	return out
}

func (f *testFramework) call(call *scheduler.Call) Answer {
	call.FrameworkID = &mesos.FrameworkID{Value: f.id}
	a := f.c.m.Call(f.c.now, f.answer.StreamUUID, call)
	f.c.perform()
	return a
}

func (f *testFramework) must(call *scheduler.Call) {
	a := f.call(call)
	require.Equal(f.c.t, 202, a.Code, a.Text)
}

// offers are those that are out, by the agent's host name.
func (f *testFramework) offers() map[string]mesos.Offer {
	out := map[string]mesos.Offer{}
	for _, e := range f.events() {
		if e.Type != scheduler.Event_OFFERS {
			continue
		}
		for _, o := range e.Offers.Offers {
			if f.c.m.master != nil && f.c.m.master.offers[o.ID.Value] != nil {
				out[o.Hostname] = o
			}
		}
	}
	return out
}

func refuseSeconds(s float64) *mesos.Filters { return &mesos.Filters{RefuseSeconds: &s} }

func (f *testFramework) decline(o mesos.Offer, filters *mesos.Filters) {
	f.must(&scheduler.Call{Type: scheduler.Call_DECLINE,
		Decline: &scheduler.Call_Decline{OfferIDs: []mesos.OfferID{o.ID}, Filters: filters}})
}

func testTask(id, executorID string, agent mesos.AgentID) mesos.TaskInfo {
	command := "x"
	resources, _ := ParseResources("cpus:1;mem:100")
	t := mesos.TaskInfo{Name: id, TaskID: mesos.TaskID{Value: id}, AgentID: agent, Resources: resources}
	if executorID == "" {
		t.Command = &mesos.CommandInfo{Value: &command}
	} else {
		t.Executor = &mesos.ExecutorInfo{Type: mesos.ExecutorInfo_CUSTOM, ExecutorID: mesos.ExecutorID{Value: executorID},
			Command: &mesos.CommandInfo{Value: &command}}
	}
	return t
}

func (f *testFramework) launch(o mesos.Offer, tasks ...mesos.TaskInfo) {
	f.must(&scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{
		OfferIDs: []mesos.OfferID{o.ID}, Filters: refuseSeconds(0),
		Operations: []mesos.Offer_Operation{{Type: mesos.Offer_Operation_LAUNCH,
			Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks}}}}})
}

// updates are the statuses that came since the last question, "task STATE".
func (f *testFramework) updates() (short []string, statuses []mesos.TaskStatus) {
	for _, e := range f.fresh(scheduler.Event_UPDATE) {
		s := e.Update.Status
		short = append(short, s.TaskID.Value+" "+s.GetState().String())
		statuses = append(statuses, s)
	}
	return short, statuses
}

func (f *testFramework) acknowledge(s mesos.TaskStatus) {
	f.must(&scheduler.Call{Type: scheduler.Call_ACKNOWLEDGE, Acknowledge: &scheduler.Call_Acknowledge{
		AgentID: *s.AgentID, TaskID: s.TaskID, UUID: s.UUID}})
}

func (f *testFramework) kill(task string) {
	f.must(&scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: mesos.TaskID{Value: task}}})
}

func (f *testFramework) reconcile(task string, agent string) {
	t := scheduler.Call_Reconcile_Task{TaskID: mesos.TaskID{Value: task}}
	if agent != "" {
		t.AgentID = &mesos.AgentID{Value: agent}
	}
	f.must(&scheduler.Call{Type: scheduler.Call_RECONCILE,
		Reconcile: &scheduler.Call_Reconcile{Tasks: []scheduler.Call_Reconcile_Task{t}}})
}

// testExecutor is an executor whose container was launched.
type testExecutor struct {
	c       *cluster
	launch  LaunchContainer
	stream  StreamID
	pending []mesos.TaskStatus
}

// container is the newest one of an executor.
func (c *cluster) container(executorID string) *testExecutor {
	for _, l := range c.containers {
		if l.Executor.ExecutorID.Value == executorID {
			return &testExecutor{c: c, launch: l}
		}
	}
	require.FailNow(c.t, "no container of "+executorID)
	return nil
}

func (x *testExecutor) start() *testExecutor {
	x.c.m.ContainerStarted(x.c.now, x.launch.Agent, x.launch.Container, 77)
	x.subscribe()
	return x
}

func (x *testExecutor) call(typ executor.Call_Type) *executor.Call {
	return &executor.Call{Type: typ, ExecutorID: x.launch.Executor.ExecutorID, FrameworkID: *x.launch.Framework.ID}
}

func (x *testExecutor) subscribe(tasks ...string) {
	call := x.call(executor.Call_SUBSCRIBE)
	call.Subscribe = &executor.Call_Subscribe{}
	for _, id := range tasks {
		call.Subscribe.UnacknowledgedTasks = append(call.Subscribe.UnacknowledgedTasks, mesos.TaskInfo{TaskID: mesos.TaskID{Value: id}})
	}
	for _, s := range x.pending {
		call.Subscribe.UnacknowledgedUpdates = append(call.Subscribe.UnacknowledgedUpdates, executor.Call_Update{Status: s})
	}
	a := x.c.m.ExecutorSubscribe(x.c.now, x.launch.Agent, call)
	require.Equal(x.c.t, 200, a.Code, a.Text)
	x.stream = a.Stream
	x.c.perform()
}

func (x *testExecutor) status(task string, state mesos.TaskState) mesos.TaskStatus {
	uuid := x.c.m.opts.UUID()
	return mesos.TaskStatus{TaskID: mesos.TaskID{Value: task}, State: state.Enum(),
		Source: mesos.SOURCE_EXECUTOR.Enum(), UUID: uuid[:]}
}

func (x *testExecutor) update(task string, state mesos.TaskState) Answer {
	call := x.call(executor.Call_UPDATE)
	call.Update = &executor.Call_Update{Status: x.status(task, state)}
	a := x.c.m.ExecutorCall(x.c.now, x.launch.Agent, call)
	x.c.perform()
	return a
}

func (x *testExecutor) exit(status int) {
	x.c.m.ContainerExited(x.c.now, x.launch.Agent, x.launch.Container, status)
	x.c.perform()
}

// types are the events the executor was sent on its present stream.
func (x *testExecutor) types() (out []string) {
	for _, e := range x.c.executors[x.stream] {
		out = append(out, e.Type.String())
	}
	return out
}

func (c *cluster) stopAgent(name string) {
	c.m.StopAgent(c.now, name)
	c.perform()
}

func (c *cluster) startAgent(name string) {
	c.m.StartAgent(c.now, name, c.records[name])
	c.perform()
}

func (c *cluster) restartMaster(after time.Duration) {
	c.m.StopMaster(c.now)
	c.perform()
	c.pass(after)
	c.m.StartMaster(c.now, c.records[""])
	c.perform()
}

func (c *cluster) operate(call *operator.Call) Answer {
	a := c.m.Operate(c.now, call)
	c.perform()
	return a
}

// requireBooked checks that every agent's resources are each in one place.
func (c *cluster) requireBooked() {
	if c.m.master == nil {
		return
	}
	for _, s := range c.m.master.slaves.all() {
		sum := s.free.clone()
		for _, o := range s.offers.all() {
			sum = sum.add(o.bag.allocated(""))
		}
		for _, e := range s.executors.all() {
			sum = sum.add(e.bag.allocated(""))
		}
		for _, t := range s.tasks.all() {
			if !terminal(t.GetState()) {
				sum = sum.add(t.bag.allocated(""))
			}
		}
		require.True(c.t, sum.contains(s.total) && s.total.contains(sum), "agent %s has %v, booked are %v", s.id, s.total, sum)
	}
}
