package sim

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	mesosapi "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/scheduler/core"
)

// agent is a machine: its agent's process, which may be down, and executors,
// which run on meanwhile.
type agent struct {
	w         *world
	name      string
	up        bool
	records   map[string][]byte // stored by its agent
	executors map[string]*executorProcess
}

func (w *world) addAgent(i int) {
	a := &agent{w: w, name: fmt.Sprintf("a%02d", i), records: map[string][]byte{}, executors: map[string]*executorProcess{}}
	resources, err := model.ParseResources("cpus:4;mem:4096;disk:10000;ports:[31000-31019]")
	if err != nil {
		panic(err)
	}
	attributes, err := model.ParseAttributes(fmt.Sprintf("rack:r%d;zone:z%d", i%4, i%2))
	if err != nil {
		panic(err)
	}
	w.model.AddAgent(model.AgentSpec{Name: a.name, Hostname: "host-" + a.name, IP: fmt.Sprintf("10.0.1.%d", i), Port: 5051,
		Resources: resources, Attributes: attributes, Durable: true})
	w.agents = append(w.agents, a)
	w.byName[a.name] = a
	a.start()
}

// knownAgents is what GET_AGENTS would say.
func (w *world) knownAgents() core.Agents {
	var list core.Agents
	for i, a := range w.agents {
		if id := w.model.AgentID(a.name); id != "" {
			list.Agents = append(list.Agents, core.Agent{ID: id, Host: "host-" + a.name, URL: "http://" + a.name + ":5051",
				Attributes: core.Attributes{{Name: "rack", Value: fmt.Sprintf("r%d", i%4)}, {Name: "zone", Value: fmt.Sprintf("z%d", i%2)}},
				Total:      core.Amounts{CPUs: 4000, Memory: 4096_000, Disk: 10000_000}, Active: a.up})
		}
	}
	return list
}

// start starts the agent's process, which finds its executors again.
func (a *agent) start() {
	a.w.trace("agent %s starts", a.name)
	a.up = true
	a.w.model.StartAgent(a.w.now, a.name, maps.Clone(a.records))
	for _, container := range a.w.model.Containers(a.name) {
		if x := a.executors[container]; x != nil {
			a.w.model.ContainerStarted(a.w.now, a.name, container, x.pid)
			x.later(a.w.rng.IntN(2050), x.subscribe) // after 2 s it is given up
		} else {
			a.w.model.ContainerExited(a.w.now, a.name, container, -1)
		}
	}
	known := a.w.model.Containers(a.name)
	for _, id := range a.ids() {
		if !slices.Contains(known, id) {
			a.executors[id].die(9)
		}
	}
}

func (a *agent) stop() {
	a.w.trace("agent %s is killed", a.name)
	a.up = false
	a.w.model.StopAgent(a.w.now, a.name)
	for _, id := range a.ids() {
		x := a.executors[id]
		x.stream = 0
		away := x.session
		x.later(15*60_000, func() {
			if x.session == away && x.stream == 0 {
				x.die(0) // the agent stays away past the recovery timeout
			}
		})
	}
}

func (a *agent) ids() []string { return slices.Sorted(maps.Keys(a.executors)) }

func (a *agent) launch(e model.LaunchContainer) {
	w := a.w
	if w.chance(40) && !w.calm {
		w.trace("container of %s cannot start", e.Executor.ExecutorID.Value)
		w.timers.add(w.now.Add(time.Millisecond), func() {
			if a.up {
				w.model.ContainerFailed(w.now, a.name, e.Container, "no space left on device", 0)
			}
		})
		return
	}
	x := &executorProcess{a: a, container: e.Container, framework: *e.Executor.FrameworkID, id: e.Executor.ExecutorID, pid: w.rng.IntN(30000) + 2}
	a.executors[e.Container] = x
	w.model.ContainerStarted(w.now, a.name, e.Container, x.pid)
	x.later(1+w.rng.IntN(300), x.subscribe)
}

func (a *agent) destroy(container string) {
	if x := a.executors[container]; x != nil {
		x.later(1, func() { x.die(9) })
		return
	}
	if a.up {
		a.w.model.ContainerExited(a.w.now, a.name, container, -1)
	}
}

func (a *agent) told(e model.ExecutorEvent) {
	if x := a.executors[e.Container]; x != nil && x.stream == e.Stream {
		x.told(e.Event)
	}
}

func (a *agent) streamClosed(stream model.StreamID) {
	for _, x := range a.executors {
		if x.stream == stream {
			x.stream = 0
		}
	}
}

// executorProcess is a stand-in for perigee-executor: one task.
type executorProcess struct {
	a         *agent
	container string
	framework mesosapi.FrameworkID
	id        mesosapi.ExecutorID
	pid       int
	dead      bool
	stream    model.StreamID
	session   int

	task    *mesosapi.TaskInfo
	def     api.Definition
	running bool // its main process does
	ending  bool
	acked   bool // the first update was, so the task need not be listed any more
	updates []executor.Call_Update
	over    bool
}

// later does something unless the executor is dead by then.
func (x *executorProcess) later(ms int, do func()) {
	x.a.w.timers.add(x.a.w.now.Add(time.Duration(ms)*time.Millisecond), func() {
		if !x.dead {
			do()
		}
	})
}

func (x *executorProcess) die(status int) {
	if x.dead {
		return
	}
	x.dead, x.running = true, false
	delete(x.a.executors, x.container)
	if x.a.up {
		x.a.w.model.ContainerExited(x.a.w.now, x.a.name, x.container, status)
	}
}

func (x *executorProcess) subscribe() {
	w := x.a.w
	if x.stream != 0 || !x.a.up {
		return
	}
	sub := &executor.Call_Subscribe{UnacknowledgedUpdates: slices.Clone(x.updates)}
	if x.task != nil && !x.acked {
		sub.UnacknowledgedTasks = []mesosapi.TaskInfo{*x.task}
	}
	answer := w.model.ExecutorSubscribe(w.now, x.a.name, &executor.Call{Type: executor.Call_SUBSCRIBE,
		ExecutorID: x.id, FrameworkID: x.framework, Subscribe: sub})
	if answer.Code == 200 {
		x.stream = answer.Stream
		x.session++
		return
	}
	x.later(500, x.subscribe)
}

func (x *executorProcess) told(e *executor.Event) {
	switch e.Type {
	case executor.Event_LAUNCH:
		if x.task == nil {
			x.begin(e.Launch.Task)
		}
	case executor.Event_ACKNOWLEDGED:
		x.acked = true
		x.updates = slices.DeleteFunc(x.updates, func(u executor.Call_Update) bool {
			return string(u.Status.UUID) == string(e.Acknowledged.UUID)
		})
		if x.over && len(x.updates) == 0 {
			x.later(1, func() { x.die(0) })
		}
	case executor.Event_KILL:
		x.kill()
	case executor.Event_SHUTDOWN:
		x.kill()
		x.later(5000, func() { x.die(0) })
	}
}

// behaviour is what a simulated task does, from its command.
type behaviour struct {
	For  int  `json:"for"`  // ms until it exits; 0 is never
	Exit int  `json:"exit"` // status
	Sick bool `json:"sick"` // turns unhealthy now and then
}

func (x *executorProcess) begin(t mesosapi.TaskInfo) {
	w := x.a.w
	x.task = &t
	if err := json.Unmarshal(t.Data, &x.def); err != nil {
		panic(failed(fmt.Sprintf("definition of %s: %v", t.TaskID.Value, err)))
	}
	w.checks.started(x)
	x.update(mesosapi.TASK_STARTING, "fetching", nil)
	x.later(w.rng.IntN(3000), func() {
		if x.ending {
			return
		}
		var b behaviour
		if err := json.Unmarshal([]byte(x.def.Spec.Command), &b); err != nil {
			panic(err)
		}
		x.running = true
		x.update(mesosapi.TASK_RUNNING, "", nil)
		if x.def.Spec.Health != nil {
			healthy := true
			x.later(w.rng.IntN(2000), func() { x.health(healthy) })
			if b.Sick {
				x.later(20_000+w.rng.IntN(100_000), func() { x.health(false) })
			}
		}
		if b.For > 0 {
			x.later(b.For, func() { x.exit(b.Exit) })
		}
	})
}

func (x *executorProcess) health(healthy bool) {
	if !x.running || x.ending {
		return
	}
	x.update(mesosapi.TASK_RUNNING, "checked", &healthy)
	if !healthy {
		x.later(2000, func() { x.exit(1) })
	}
}

func (x *executorProcess) exit(status int) {
	if !x.running || x.ending {
		return
	}
	x.ending, x.running, x.over = true, false, true
	state := mesosapi.TASK_FINISHED
	if status != 0 {
		state = mesosapi.TASK_FAILED
	}
	x.update(state, fmt.Sprintf("exited with status %d", status), nil)
}

func (x *executorProcess) kill() {
	if x.ending {
		return
	}
	x.ending = true
	if x.task == nil {
		return
	}
	x.update(mesosapi.TASK_KILLING, "", nil)
	x.later(x.a.w.rng.IntN(3000), func() {
		x.running, x.over = false, true
		x.update(mesosapi.TASK_KILLED, "", nil)
	})
}

func (x *executorProcess) update(state mesosapi.TaskState, message string, healthy *bool) {
	w := x.a.w
	var uuid [16]byte
	binary.LittleEndian.PutUint64(uuid[:8], w.rng.Uint64())
	binary.LittleEndian.PutUint64(uuid[8:], w.rng.Uint64())
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80
	source, timestamp := mesosapi.SOURCE_EXECUTOR, float64(w.now.UnixMilli())/1000
	report := api.Report{Phase: api.PhaseRun, Sandbox: "/sandbox/" + x.container}
	if healthy != nil && *healthy {
		report.Successes = 1
	}
	data, err := json.Marshal(report)
	if err != nil {
		panic(err)
	}
	status := mesosapi.TaskStatus{TaskID: x.task.TaskID, State: &state, Source: &source, UUID: uuid[:],
		ExecutorID: &x.id, Timestamp: &timestamp, Healthy: healthy, Data: data}
	if message != "" {
		status.Message = &message
	}
	x.updates = append(x.updates, executor.Call_Update{Status: status})
	x.send(len(x.updates) - 1)
}

// send gives an update to the agent; one that is away gets it with the next
// SUBSCRIBE.
func (x *executorProcess) send(i int) {
	w := x.a.w
	if x.stream == 0 || !x.a.up || i >= len(x.updates) {
		return
	}
	u := x.updates[i]
	answer := w.model.ExecutorCall(w.now, x.a.name, &executor.Call{Type: executor.Call_UPDATE,
		ExecutorID: x.id, FrameworkID: x.framework, Update: &u})
	if answer.Code == 503 {
		x.later(200, func() {
			for i := range x.updates {
				x.send(i)
			}
		})
	}
}
