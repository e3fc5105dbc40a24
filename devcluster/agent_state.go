package devcluster

import (
	"os"
	"strconv"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/devcluster/wire"
)

// usage is what the supervisor of a container says of its own; what its
// descendants use is not added up.
func usage(e model.ExecutorView) *mesos.ResourceStatistics {
	var cpus float64
	var mem uint64
	for _, r := range e.Used {
		switch r.Name {
		case "cpus":
			cpus = r.GetScalar().GetValue()
		case "mem":
			mem = uint64(r.GetScalar().GetValue()) << 20
		}
	}
	user, system, rss := processUsage(e.PID)
	return &mesos.ResourceStatistics{Timestamp: float64(time.Now().UnixMicro()) / 1e6,
		CPUsSoftLimit: &cpus, CPUsUserTimeSecs: &user, CPUsSystemTimeSecs: &system,
		MemLimitBytes: &mem, MemSoftLimitBytes: &mem, MemRSSBytes: &rss}
}

// processUsage reads /proc; a process that is gone has used nothing.
func processUsage(pid uint32) (user, system float64, rss uint64) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
	if err != nil {
		return 0, 0, 0
	}
	// The second field is a name in parentheses, which may contain anything.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	number := func(i int) float64 {
		if i >= len(fields) {
			return 0
		}
		n, _ := strconv.ParseFloat(fields[i], 64)
		return n
	}
	const ticks = 100 // a second, on every Linux that Go runs on
	return number(11) / ticks, number(12) / ticks, uint64(number(21)) * uint64(os.Getpagesize())
}

// plainContainers is /containers.
func (a *agentProcess) plainContainers() []any {
	out := []any{}
	for _, e := range a.running() {
		out = append(out, wire.Object{
			"container_id": e.Container, "executor_id": e.Info.ExecutorID.Value, "executor_name": e.Info.GetName(),
			"framework_id": e.Framework, "source": e.Info.GetSource(), "statistics": wire.Encode(usage(e)),
			"status": wire.Object{"container_id": wire.Object{"value": e.Container}, "executor_pid": e.PID},
		})
	}
	return out
}

// state is /state, of which clients use the directories of sandboxes.
func (a *agentProcess) state() wire.Object {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	id := a.c.model.AgentID(a.name)
	frameworks, order := map[string]wire.Object{}, []any{}
	for _, e := range a.c.model.Executors(a.name) {
		f := frameworks[e.Framework]
		if f == nil {
			f = wire.Object{"id": e.Framework, "executors": []any{}, "completed_executors": []any{}}
			frameworks[e.Framework] = f
			order = append(order, f)
		}
		f["executors"] = append(f["executors"].([]any), a.executorState(id, e))
	}
	attributes := wire.Object{}
	for _, attr := range a.spec.Attributes {
		if attr.Text != nil {
			attributes[attr.Name] = attr.Text.GetValue()
		}
	}
	return wire.Object{"id": id, "hostname": a.spec.Hostname, "pid": "slave(1)@" + a.addr(), "version": model.Version,
		"frameworks": order, "completed_frameworks": []any{}, "attributes": attributes,
		"resources": plainResources(a.spec.Resources)}
}

func (a *agentProcess) executorState(agentID string, e model.ExecutorView) wire.Object {
	tasks, queued, completed := []any{}, []any{}, []any{}
	for _, t := range e.Launched {
		tasks = append(tasks, taskState(t))
	}
	for _, t := range e.Queued {
		queued = append(queued, wire.Object{"id": t.TaskID.Value, "name": t.Name, "slave_id": agentID})
	}
	for _, t := range e.Completed {
		completed = append(completed, taskState(t))
	}
	role := ""
	if len(e.Used) > 0 {
		role = e.Used[0].GetAllocationInfo().GetRole()
	}
	return wire.Object{"id": e.Info.ExecutorID.Value, "name": e.Info.GetName(), "source": e.Info.GetSource(),
		"container": e.Container, "role": role, "resources": plainResources(e.Used),
		"directory": a.sandboxDir(agentID, e.Framework, e.Info.ExecutorID.Value, e.Container),
		"tasks":     tasks, "queued_tasks": queued, "completed_tasks": completed}
}

func taskState(t *mesos.Task) wire.Object {
	return wire.Object{"id": t.TaskID.Value, "name": t.Name, "framework_id": t.FrameworkID.Value,
		"slave_id": t.AgentID.Value, "state": t.GetState().String(), "resources": plainResources(t.Resources)}
}

// plainResources is how the endpoints that are older than v1 show resources.
func plainResources(resources []mesos.Resource) wire.Object {
	out := wire.Object{}
	for i := range resources {
		if r := &resources[i]; r.Scalar != nil {
			out[r.Name] = r.Scalar.Value
		} else if r.Ranges != nil {
			var parts []string
			for _, x := range r.Ranges.Range {
				parts = append(parts, strconv.FormatUint(x.Begin, 10)+"-"+strconv.FormatUint(x.End, 10))
			}
			out[r.Name] = "[" + strings.Join(parts, ", ") + "]"
		}
	}
	return out
}
