package devcluster

import (
	"container/heap"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/perigee-sched/perigee/devcluster/model"
)

// Simulation says how the tasks of a simulated agent behave: each is
// TASK_RUNNING at once and TASK_FINISHED after Duration. A task whose data
// reads as a Go duration, such as "250ms", lasts that long instead. KILL ends a
// task at once with TASK_KILLED. Nothing is fetched and no process runs.
//
// Simulated agents are for measuring schedulers through the real HTTP API.
type Simulation struct {
	Duration time.Duration // 0 means that tasks run until they are killed
	Starting bool          // TASK_STARTING comes first
}

// simulator is the executors of a simulated agent. The cluster's mutex guards
// it.
type simulator struct {
	agent     *agentProcess
	how       Simulation
	executors map[string]*simulatedExecutor // by container
	ends      taskEnds
	timer     *time.Timer
}

type simulatedExecutor struct {
	container string
	call      executor.Call // with the ids filled in
	tasks     map[string]*taskEnd
	gone      bool
}

// taskEnd is a task that runs and when it finishes.
type taskEnd struct {
	at       time.Time
	id       string
	executor *simulatedExecutor
	over     bool
}

type taskEnds []*taskEnd

func (h taskEnds) Len() int           { return len(h) }
func (h taskEnds) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h taskEnds) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *taskEnds) Push(x any)        { *h = append(*h, x.(*taskEnd)) }
func (h *taskEnds) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func newSimulator(a *agentProcess, how Simulation) *simulator {
	return &simulator{agent: a, how: how, executors: map[string]*simulatedExecutor{}}
}

// launch is an executor that subscribes as soon as it is asked for.
func (s *simulator) launch(l model.LaunchContainer) {
	x := &simulatedExecutor{container: l.Container, tasks: map[string]*taskEnd{}, call: executor.Call{
		ExecutorID: l.Executor.ExecutorID, FrameworkID: *l.Framework.ID}}
	s.executors[l.Container] = x
	m, now := s.agent.c.model, time.Now()
	m.ContainerStarted(now, s.agent.name, l.Container, 1)
	call := x.call
	call.Type, call.Subscribe = executor.Call_SUBSCRIBE, &executor.Call_Subscribe{}
	m.ExecutorSubscribe(now, s.agent.name, &call)
}

func (s *simulator) event(e model.ExecutorEvent) {
	x := s.executors[e.Container]
	if x == nil {
		return
	}
	switch e.Event.Type {
	case executor.Event_LAUNCH:
		s.run(x, &e.Event.Launch.Task)
	case executor.Event_KILL:
		id := e.Event.Kill.TaskID.Value
		if t := x.tasks[id]; t != nil {
			t.over = true
			delete(x.tasks, id)
			s.update(x, id, mesos.TASK_KILLED)
			s.leaveIfIdle(x)
		}
	case executor.Event_SHUTDOWN:
		s.exit(x, 0)
	}
}

func (s *simulator) run(x *simulatedExecutor, info *mesos.TaskInfo) {
	t := &taskEnd{id: info.TaskID.Value, executor: x}
	x.tasks[t.id] = t
	if s.how.Starting {
		s.update(x, t.id, mesos.TASK_STARTING)
	}
	s.update(x, t.id, mesos.TASK_RUNNING)
	lasts := s.how.Duration
	if d, err := time.ParseDuration(string(info.Data)); err == nil {
		lasts = d
	}
	if lasts > 0 {
		t.at = time.Now().Add(lasts)
		heap.Push(&s.ends, t)
		s.rearm()
	}
}

func (s *simulator) rearm() {
	if len(s.ends) == 0 {
		return
	}
	d := max(time.Until(s.ends[0].at), time.Millisecond) // tasks that end together are one step of work
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.finishDue)
		return
	}
	s.timer.Reset(d)
}

// finishDue runs by the timer. After the end of Run it finds an agent that is
// down.
func (s *simulator) finishDue() {
	c := s.agent.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.agent.up {
		return
	}
	c.doLocked(func(now time.Time) {
		for len(s.ends) > 0 && !s.ends[0].at.After(now) {
			t := heap.Pop(&s.ends).(*taskEnd)
			if t.over || t.executor.gone {
				continue
			}
			delete(t.executor.tasks, t.id)
			s.update(t.executor, t.id, mesos.TASK_FINISHED)
			s.leaveIfIdle(t.executor)
		}
	})
	s.rearm()
}

func (s *simulator) update(x *simulatedExecutor, task string, state mesos.TaskState) {
	uuid, now := newUUID(), time.Now()
	at := float64(now.UnixMicro()) / 1e6
	call := x.call
	call.Type = executor.Call_UPDATE
	call.Update = &executor.Call_Update{Status: mesos.TaskStatus{TaskID: mesos.TaskID{Value: task}, State: state.Enum(),
		Source: mesos.SOURCE_EXECUTOR.Enum(), ExecutorID: &call.ExecutorID, UUID: uuid[:], Timestamp: &at}}
	s.agent.c.model.ExecutorCall(now, s.agent.name, &call)
}

// leaveIfIdle ends an executor that has nothing more to do, as Perigee's own
// do, which run one task each.
func (s *simulator) leaveIfIdle(x *simulatedExecutor) {
	if len(x.tasks) == 0 {
		s.exit(x, 0)
	}
}

func (s *simulator) destroy(container string) {
	if x := s.executors[container]; x != nil {
		s.exit(x, 9)
		return
	}
	s.agent.c.model.ContainerExited(time.Now(), s.agent.name, container, -1)
}

func (s *simulator) exit(x *simulatedExecutor, status int) {
	x.gone = true
	delete(s.executors, x.container)
	s.agent.c.model.ContainerExited(time.Now(), s.agent.name, x.container, status)
}
