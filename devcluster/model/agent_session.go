package model

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
)

func (m *Model) ExecutorSubscribe(now time.Time, agent string, c *executor.Call) (answer Answer) {
	m.step(now, func() {
		a, f, e, refused := m.executorOf(agent, c)
		if refused != nil {
			answer = *refused
			return
		}
		answer = Answer{Code: 200, Stream: m.newStream()}
		a.subscribe(f, e, c.Subscribe, answer.Stream)
	})
	return answer
}

func (m *Model) ExecutorCall(now time.Time, agent string, c *executor.Call) (answer Answer) {
	m.step(now, func() {
		a, f, e, refused := m.executorOf(agent, c)
		switch {
		case refused != nil:
			answer = *refused
			return
		case e.state == executorRegistering:
			answer = refuse(403, "Executor is not subscribed")
			return
		}
		answer = accepted()
		switch c.Type {
		case executor.Call_UPDATE:
			a.executorUpdate(f, c)
		case executor.Call_MESSAGE:
			a.executorMessage(e, c.Message.Data)
		}
	})
	return answer
}

func (m *Model) executorOf(name string, c *executor.Call) (*agent, *agentFramework, *agentExecutor, *Answer) {
	a := m.agentOf(name)
	no := func(answer Answer) (*agent, *agentFramework, *agentExecutor, *Answer) { return nil, nil, nil, &answer }
	if a == nil {
		return no(refuse(503, "Agent is down"))
	}
	if err := ValidateExecutor(c); err != nil {
		return no(badRequest("Failed to validate Executor::Call: %v", err))
	}
	switch {
	case c.Type == executor.Call_HEARTBEAT:
		return no(accepted())
	case a.state == recovering && c.Type != executor.Call_SUBSCRIBE:
		return no(refuse(503, "Agent has not finished recovery"))
	}
	f := a.frameworks.get(c.FrameworkID.Value)
	if f == nil {
		return no(badRequest("Framework cannot be found"))
	}
	e := f.executors.get(c.ExecutorID.Value)
	if e == nil {
		return no(badRequest("Executor cannot be found"))
	}
	return a, f, e, nil
}

func (a *agent) subscribe(f *agentFramework, e *agentExecutor, c *executor.Call_Subscribe, stream StreamID) {
	if f.terminating || e.state == executorTerminating || e.state == executorTerminated {
		a.m.emit(ExecutorEvent{Agent: a.spec.Name, Container: e.container, Stream: stream,
			Event: &executor.Event{Type: executor.Event_SHUTDOWN}})
		a.m.emit(CloseStream{stream})
		return
	}
	if e.stream != 0 {
		a.m.emit(CloseStream{e.stream})
		delete(a.streams, e.stream)
	}
	e.state, e.stream = executorRunning, stream
	a.streams[stream] = e
	a.dropUnknown(f, e, c)
	if !e.sentTask && e.queued.len() == 0 {
		a.shutdown(e)
		return
	}
	a.send(e, &executor.Event{Type: executor.Event_SUBSCRIBED, Subscribed: &executor.Event_Subscribed{
		ExecutorInfo: *e.info, FrameworkInfo: *f.info, AgentInfo: *a.info,
		ContainerID: &mesos.ContainerID{Value: e.container}}})
	for i := range c.UnacknowledgedUpdates {
		a.executorStatus(f, c.UnacknowledgedUpdates[i].Status)
	}
	for _, t := range e.queued.values() {
		e.queued.delete(t.TaskID.Value)
		a.launch(e, t)
	}
}

func (a *agent) dropUnknown(f *agentFramework, e *agentExecutor, c *executor.Call_Subscribe) {
	named := map[string]bool{}
	for i := range c.UnacknowledgedTasks {
		named[c.UnacknowledgedTasks[i].TaskID.Value] = true
	}
	for _, t := range e.launched.values() {
		if t.GetState() == mesos.TASK_STAGING && !named[t.TaskID.Value] {
			s := a.m.status(statusOf{task: t.TaskID.Value, agent: a.id, state: orLost(f.aware, mesos.TASK_DROPPED),
				source: mesos.SOURCE_AGENT, reason: mesos.REASON_AGENT_RESTARTED,
				message: "Task launched during agent restart", executor: &e.info.ExecutorID})
			a.statusUpdate(f, a.withUUID(s), false)
		}
	}
}

func (a *agent) executorMessage(e *agentExecutor, data []byte) {
	if a.state != running || e.framework.terminating {
		return
	}
	fid, id := e.framework.id(), e.info.ExecutorID.Value
	a.toMaster(func(ma *master) { ma.executorMessage(a.id, fid, id, data) })
}

func (a *agent) streamClosed(stream StreamID) bool {
	e := a.streams[stream]
	if e == nil {
		return false
	}
	delete(a.streams, stream)
	if e.stream == stream {
		e.stream = 0
	}
	return true
}
