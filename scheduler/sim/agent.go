package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/scheduler/core"
)

// agent is a machine: its agent's process, which may be down, and executors,
// which run on meanwhile.
type agent struct {
	w           *world
	name        string
	up          bool
	unreachable bool              // the master gave it up
	lastID      string            // that the master gave it, once it is down
	records     map[string][]byte // stored by its agent
	executors   map[string]*executorProcess
}

// What every agent has.
const (
	agentResources = "cpus:4;mem:4096;disk:10000;ports:[31000-31019]"
	agentPorts     = 20
)

var agentTotal = core.Amounts{CPUs: 4000, Memory: 4096_000, Disk: 10000_000}

// hasRoom says whether an agent has room for one task more.
func (a *agent) hasRoom(spec *api.Spec) bool {
	free, ports := agentTotal, agentPorts
	for _, x := range a.executors {
		if x.task == nil {
			return false // not known yet
		}
		need := withOverhead(x.def.Spec)
		free.CPUs -= need.CPUs
		free.Memory -= need.Memory
		ports -= len(x.def.Spec.Ports)
	}
	need := withOverhead(*spec)
	return free.CPUs >= need.CPUs && free.Memory >= need.Memory && ports >= len(spec.Ports)
}

// overhead is what an executor takes beside its task.
var overhead = core.Amounts{CPUs: 10, Memory: 32_000}

func withOverhead(spec api.Spec) core.Amounts {
	return core.Amounts{CPUs: int64(spec.Resources.CPUs*1000+0.5) + overhead.CPUs,
		Memory: int64(spec.Resources.Memory.Mebi()*1000+0.5) + overhead.Memory}
}

func (w *world) addAgent(i int) {
	a := &agent{w: w, name: fmt.Sprintf("a%02d", i), records: map[string][]byte{}, executors: map[string]*executorProcess{}}
	resources, err := model.ParseResources(agentResources)
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

// start starts the agent's process, which finds its executors again.
func (a *agent) start() {
	a.w.trace("agent %s starts", a.name)
	a.up = true
	switch {
	case a.unreachable:
		a.w.sees("agent returns after it was unreachable")
	case a.w.n > 0:
		a.w.sees("agent restarts")
	}
	a.unreachable = false
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
	a.lastID = a.w.model.AgentID(a.name)
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
		w.sees("container cannot start")
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
