package sim

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	mesosapi "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/devcluster/model"
)

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
	proved  bool // it has said that it is healthy
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
	For     int  `json:"for,omitempty"`     // ms until it exits; 0 is never
	Exit    int  `json:"exit,omitempty"`    // status
	Sick    bool `json:"sick,omitempty"`    // turns unhealthy after a while, for good
	Mute    bool `json:"mute,omitempty"`    // is never healthy
	Flaps   bool `json:"flaps,omitempty"`   // is healthy, and not, and again
	Nowhere bool `json:"nowhere,omitempty"` // fits on no agent
}

// well says whether a task that does so serves for good.
func (b behaviour) well() bool { return b == behaviour{} }

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
			x.check(b)
		}
		if b.For > 0 {
			x.later(b.For, func() { x.exit(b.Exit) })
		}
	})
}

// check has the health checks go as a behaviour says.
func (x *executorProcess) check(b behaviour) {
	w := x.a.w
	if b.Mute {
		x.later(int(x.def.Spec.Health.Startup.Millis()), func() { x.exit(1) }) // no success when its startup is over
		return
	}
	x.later(w.rng.IntN(2000), func() { x.health(true) })
	if b.Sick {
		x.later(20_000+w.rng.IntN(100_000), func() {
			x.health(false)
			x.later(2000, func() { x.exit(1) })
		})
	}
	if b.Flaps {
		x.later(5_000+w.rng.IntN(30_000), func() { x.flap(false) })
	}
}

// flap changes a task's health now and then, but never so long that it ends.
func (x *executorProcess) flap(healthy bool) {
	if x.a.w.calm && healthy {
		x.health(true)
		return
	}
	x.health(healthy)
	x.later(3_000+x.a.w.rng.IntN(20_000), func() { x.flap(!healthy) })
}

func (x *executorProcess) health(healthy bool) {
	if x.running && !x.ending {
		x.proved = x.proved || healthy
		x.update(mesosapi.TASK_RUNNING, "checked", &healthy)
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
