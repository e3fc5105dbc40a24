package model

import (
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

func (m *Model) Closed(now time.Time, stream StreamID) {
	m.step(now, func() {
		if m.master != nil && m.master.streamClosed(stream) {
			return
		}
		for _, h := range m.hosts.all() {
			if h.agent != nil && h.agent.streamClosed(stream) {
				return
			}
		}
	})
}

func (ma *master) streamClosed(stream StreamID) bool {
	if f := ma.schedulers[stream]; f != nil {
		ma.disconnect(f)
		return true
	}
	if o := ma.operators.get(stream); o != nil {
		ma.m.stop(o.heartbeat)
		ma.operators.delete(stream)
		return true
	}
	return false
}

func (ma *master) disconnect(f *framework) {
	delete(ma.schedulers, f.stream)
	ma.m.stop(f.heartbeat)
	f.state, f.stream, f.streamUUID = disconnected, 0, ""
	ma.deactivateFramework(f)
	ma.giveTime(f)
}

func (ma *master) deactivateFramework(f *framework) {
	f.active = false
	for _, o := range f.offers.values() {
		ma.discardOffer(o, noFilter)
	}
	for _, o := range f.inverse.values() {
		ma.removeInverseOffer(o, false)
	}
}

func (ma *master) giveTime(f *framework) {
	timeout := time.Duration(min(f.info.GetFailoverTimeout(), 1e9) * float64(time.Second))
	f.failover = ma.m.after(max(timeout, 0), func() {
		if ma.alive() && f.state != connected {
			ma.removeFramework(f)
		}
	})
}

func (ma *master) removeFramework(f *framework) {
	m := ma.m
	ma.deactivateFramework(f)
	for _, s := range ma.slaves.all() {
		ma.toAgent(s, func(a *agent) { a.shutdownFramework(f.id) })
	}
	for _, t := range append(f.tasks.values(), f.unreachable.values()...) {
		s := m.status(statusOf{task: t.TaskID.Value, agent: t.AgentID.Value, state: mesos.TASK_KILLED,
			source: mesos.SOURCE_MASTER, reason: mesos.REASON_FRAMEWORK_REMOVED,
			message: "Framework " + f.id + " removed", executor: t.ExecutorID})
		ma.updateTask(t, s, mesos.TASK_KILLED)
		ma.removeTask(t, false)
	}
	for _, s := range ma.slaves.all() {
		for _, e := range s.executors.values() {
			if e.framework == f {
				ma.removeExecutor(s, e)
			}
		}
		ma.drained(s)
	}
	if f.state == connected {
		ma.closeScheduler(f, "")
	}
	m.stop(f.failover)
	f.state, f.unregistered = disconnected, m.now
	ma.frameworks.delete(f.id)
	ma.alloc.forget(f)
	ma.completed.set(f.id, f)
	if ma.completed.len() > maxCompleted {
		ma.completed.delete(ma.completed.first.key)
	}
	ma.publishFrameworkRemoved(f)
}

func (ma *master) updateFramework(f *framework, c *scheduler.Call_UpdateFramework) Answer {
	info := c.FrameworkInfo
	if err := ma.validateFramework(&info); err != nil {
		return badRequest("Supplied FrameworkInfo is not valid: %v", err)
	}
	if err := validateFrameworkChange(f.info, &info); err != nil {
		return badRequest("FrameworkInfo update is not valid: %v", err)
	}
	if err := validateSuppressed(&info, c.SuppressedRoles); err != nil {
		return badRequest("'UpdateFramework' call is not valid: %v", err)
	}
	changed := !f.info.Equal(&info)
	ma.changeFramework(f, &info, c.SuppressedRoles)
	if changed {
		ma.publishFrameworkUpdated(f)
		ma.tellAgents(f)
	}
	return okay()
}

func (ma *master) changeFramework(f *framework, info *mesos.FrameworkInfo, suppressed []string) {
	left, was := f.roles, f.suppressed
	f.setInfo(info)
	f.suppressed = map[string]bool{}
	for _, role := range suppressed {
		f.suppressed[role] = true
	}
	for _, role := range left {
		if !slices.Contains(f.roles, role) || was[role] && !f.suppressed[role] {
			f.forgetFilters(role)
		}
	}
	for _, o := range f.offers.values() {
		if !slices.Contains(f.roles, o.role) {
			ma.rescindOffer(o)
		}
	}
	ma.alloc.soon(ma.m.now)
}

func (ma *master) tellAgents(f *framework) {
	info := f.info
	for _, s := range ma.slaves.all() {
		ma.toAgent(s, func(a *agent) { a.updateFramework(info) })
	}
}

func (ma *master) revive(f *framework, roles []string) {
	roles, ok := f.named(roles)
	if !ok {
		return
	}
	for _, role := range roles {
		delete(f.suppressed, role)
		f.forgetFilters(role)
	}
	ma.alloc.now()
}

func (ma *master) suppress(f *framework, roles []string) {
	roles, _ = f.named(roles)
	for _, role := range roles {
		f.suppressed[role] = true
	}
}

func (f *framework) named(roles []string) ([]string, bool) {
	if len(roles) == 0 {
		return f.roles, true
	}
	for _, role := range roles {
		if !slices.Contains(f.roles, role) {
			return nil, false
		}
	}
	return roles, true
}
