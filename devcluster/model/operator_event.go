package model

import (
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
)

// operatorStream is one subscriber of the operator API.
type operatorStream struct {
	id        StreamID
	heartbeat *timer
}

func (ma *master) subscribeOperator() Answer {
	o := &operatorStream{id: ma.m.newStream()}
	ma.operators.set(o.id, o)
	interval := ma.m.opts.HeartbeatInterval.Seconds()
	ma.m.emit(OperatorEvent{o.id, &operator.Event{Type: operator.Event_SUBSCRIBED,
		Subscribed: &operator.Event_Subscribed{GetState: ma.getState(), HeartbeatIntervalSeconds: &interval}}})
	ma.operatorHeartbeat(o)
	return Answer{Code: 200, Stream: o.id}
}

func (ma *master) operatorHeartbeat(o *operatorStream) {
	ma.m.emit(OperatorEvent{o.id, &operator.Event{Type: operator.Event_HEARTBEAT}})
	o.heartbeat = ma.m.after(ma.m.opts.HeartbeatInterval, func() { ma.operatorHeartbeat(o) })
}

// publish makes an event only when somebody listens.
func (ma *master) publish(event func() *operator.Event) {
	if ma.operators.len() == 0 {
		return
	}
	e := event()
	for id := range ma.operators.all() {
		ma.m.emit(OperatorEvent{id, e})
	}
}

func (ma *master) publishTaskAdded(t *mesos.Task) {
	ma.publish(func() *operator.Event {
		return &operator.Event{Type: operator.Event_TASK_ADDED,
			TaskAdded: &operator.Event_TaskAdded{Task: *copyTask(t)}}
	})
}

func (ma *master) publishTaskUpdated(t *task, s mesos.TaskStatus) {
	ma.publish(func() *operator.Event {
		return &operator.Event{Type: operator.Event_TASK_UPDATED, TaskUpdated: &operator.Event_TaskUpdated{
			FrameworkID: t.FrameworkID, Status: s, State: t.GetState().Enum()}}
	})
}

func (ma *master) publishFrameworkAdded(f *framework) {
	ma.publish(func() *operator.Event {
		return &operator.Event{Type: operator.Event_FRAMEWORK_ADDED,
			FrameworkAdded: &operator.Event_FrameworkAdded{Framework: describeInEvent(f)}}
	})
}

func (ma *master) publishFrameworkUpdated(f *framework) {
	ma.publish(func() *operator.Event {
		return &operator.Event{Type: operator.Event_FRAMEWORK_UPDATED,
			FrameworkUpdated: &operator.Event_FrameworkUpdated{Framework: describeInEvent(f)}}
	})
}

// describeInEvent is a framework as events tell of it: without what it has,
// and with a time at which it has not unregistered yet.
func describeInEvent(f *framework) operator.Response_GetFrameworks_Framework {
	d := describeFramework(f)
	d.UnregisteredTime = &mesos.TimeInfo{}
	return d
}

func (ma *master) publishFrameworkRemoved(f *framework) {
	ma.publish(func() *operator.Event {
		return &operator.Event{Type: operator.Event_FRAMEWORK_REMOVED,
			FrameworkRemoved: &operator.Event_FrameworkRemoved{FrameworkInfo: *f.info}}
	})
}

func (ma *master) publishAgentAdded(s *slave) {
	ma.publish(func() *operator.Event {
		return &operator.Event{Type: operator.Event_AGENT_ADDED,
			AgentAdded: &operator.Event_AgentAdded{Agent: ma.describeAgent(s)}}
	})
}

func (ma *master) publishAgentRemoved(id string) {
	ma.publish(func() *operator.Event {
		return &operator.Event{Type: operator.Event_AGENT_REMOVED,
			AgentRemoved: &operator.Event_AgentRemoved{AgentID: mesos.AgentID{Value: id}}}
	})
}
