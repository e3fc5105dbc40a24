package model

import (
	"errors"
	"fmt"
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

type connection int

const (
	connected    connection = iota
	disconnected            // its scheduler went away, and may come back in time
	recovered               // known from agents only, since the master restarted
)

// framework is what the master knows of one.
type framework struct {
	id         string
	info       *mesos.FrameworkInfo // replaced, never changed
	roles      []string
	suppressed map[string]bool
	aware      bool // PARTITION_AWARE
	state      connection
	active     bool // gets offers
	stream     StreamID
	streamUUID string

	registered, reregistered, unregistered time.Time

	tasks       *ordered[string, *task]
	unreachable *ordered[string, *task]
	done        []*task // completed, oldest first
	offers      *ordered[string, *offer]
	inverse     *ordered[string, *inverseOffer]

	filters        map[roleOn][]filter
	inverseFilters map[string]time.Time // agent id: until

	failover, heartbeat *timer
}

// task is what the master knows of one.
type task struct {
	*mesos.Task
	bag       bag
	framework *framework
	slave     *slave // nil once the agent was given up
}

// Subscribe is SUBSCRIBE of a scheduler. The answer's stream is open unless
// its code is not 200; a stream that is refused gets an ERROR and is closed.
func (m *Model) Subscribe(now time.Time, c *scheduler.Call) (a Answer) {
	m.step(now, func() {
		if m.master == nil {
			a = refuse(503, "No master")
		} else if err := ValidateScheduler(c); err != nil {
			a = badRequest("Failed to validate scheduler::Call: %v", err)
		} else {
			a = Answer{Code: 200, Stream: m.newStream(), StreamUUID: m.uuid()}
			m.master.subscribe(c.Subscribe, a)
		}
	})
	return a
}

func (ma *master) subscribe(c *scheduler.Call_Subscribe, a Answer) {
	info := *c.FrameworkInfo
	err := ma.validateFramework(&info)
	if err == nil {
		err = validateSuppressed(&info, c.SuppressedRoles)
	}
	if err != nil {
		ma.refuseStream(a.Stream, err.Error())
		return
	}
	if info.GetID().GetValue() == "" {
		info.ID = &mesos.FrameworkID{Value: fmt.Sprintf("%s-%04d", ma.id, ma.nextFramework)}
		ma.nextFramework++
		f := ma.addFramework(&info, c.SuppressedRoles)
		f.registered, f.reregistered = ma.m.now, ma.m.now
		ma.connect(f, a)
		ma.publishFrameworkAdded(f)
		return
	}
	f := ma.frameworks.get(info.ID.Value)
	if f == nil {
		f = ma.addFramework(&info, c.SuppressedRoles)
		f.state = recovered
	}
	// The user and checkpoint of a framework stay as they are, silently.
	info.User, info.Checkpoint = f.info.User, f.info.Checkpoint
	if err := validateFrameworkChange(f.info, &info); err != nil {
		ma.refuseStream(a.Stream, err.Error())
		return
	}
	ma.changeFramework(f, &info, c.SuppressedRoles)
	ma.resubscribe(f, a)
}

// resubscribe gives a known framework a new stream. The last one to subscribe
// always wins.
func (ma *master) resubscribe(f *framework, a Answer) {
	if f.state == recovered {
		f.registered = ma.m.now
	}
	f.reregistered = ma.m.now
	if f.state == connected {
		ma.closeScheduler(f, "Framework failed over")
	}
	for _, o := range f.offers.values() {
		ma.discardOffer(o, noFilter)
	}
	for _, o := range f.inverse.values() {
		ma.removeInverseOffer(o, false)
	}
	ma.connect(f, a)
	ma.publishFrameworkUpdated(f)
	ma.tellAgents(f)
}

func (ma *master) validateFramework(info *mesos.FrameworkInfo) error {
	if err := validateFrameworkInfo(info); err != nil {
		return err
	}
	if ma.completed.has(info.GetID().GetValue()) {
		return errors.New("Framework has been removed")
	}
	return nil
}

func validateSuppressed(info *mesos.FrameworkInfo, suppressed []string) error {
	for _, role := range suppressed {
		if !slices.Contains(rolesOf(info), role) {
			return fmt.Errorf("Suppressed roles { %s } are not contained in the set of roles", role)
		}
	}
	return nil
}

func (ma *master) refuseStream(stream StreamID, why string) {
	ma.m.emit(SchedulerEvent{stream, &scheduler.Event{Type: scheduler.Event_ERROR,
		Error: &scheduler.Event_Error{Message: why}}})
	ma.m.emit(CloseStream{stream})
}

func (ma *master) addFramework(info *mesos.FrameworkInfo, suppressed []string) *framework {
	f := &framework{
		id: info.ID.Value, tasks: newOrdered[string, *task](), unreachable: newOrdered[string, *task](),
		offers: newOrdered[string, *offer](), inverse: newOrdered[string, *inverseOffer](),
		suppressed: map[string]bool{}, filters: map[roleOn][]filter{}, inverseFilters: map[string]time.Time{},
	}
	f.setInfo(info)
	for _, role := range suppressed {
		f.suppressed[role] = true
	}
	ma.frameworks.set(f.id, f)
	return f
}

func (f *framework) setInfo(info *mesos.FrameworkInfo) {
	f.info = info
	f.roles = rolesOf(info)
	f.aware = hasCapability(info, mesos.FrameworkInfo_Capability_PARTITION_AWARE)
}

// recoverFramework adds a framework that an agent knows and the master forgot.
// It is removed unless its scheduler comes within its failover_timeout.
func (ma *master) recoverFramework(info *mesos.FrameworkInfo) *framework {
	f := ma.addFramework(info, nil)
	f.state = recovered
	ma.giveTime(f)
	return f
}

// connect opens the framework's new stream, on which SUBSCRIBED and the first
// heartbeat come first.
func (ma *master) connect(f *framework, a Answer) {
	ma.m.stop(f.failover)
	ma.m.stop(f.heartbeat)
	f.state, f.stream, f.streamUUID = connected, a.Stream, a.StreamUUID
	ma.schedulers[a.Stream] = f
	interval := ma.m.opts.HeartbeatInterval.Seconds()
	info := ma.info
	ma.send(f, &scheduler.Event{Type: scheduler.Event_SUBSCRIBED, Subscribed: &scheduler.Event_Subscribed{
		FrameworkID: &mesos.FrameworkID{Value: f.id}, HeartbeatIntervalSeconds: &interval, MasterInfo: &info}})
	ma.heartbeat(f)
	f.active = true
	ma.alloc.now()
}

var heartbeat = &scheduler.Event{Type: scheduler.Event_HEARTBEAT}

func (ma *master) heartbeat(f *framework) {
	ma.send(f, heartbeat)
	f.heartbeat = ma.m.after(ma.m.opts.HeartbeatInterval, func() { ma.heartbeat(f) })
}

// send is lost when the framework is not connected, as in Mesos.
func (ma *master) send(f *framework, e *scheduler.Event) {
	if f.state == connected {
		ma.m.emit(SchedulerEvent{f.stream, e})
	}
}

// closeScheduler ends the present stream of a framework; why, unless it is "",
// goes out as an ERROR first.
func (ma *master) closeScheduler(f *framework, why string) {
	if why != "" {
		ma.send(f, &scheduler.Event{Type: scheduler.Event_ERROR, Error: &scheduler.Event_Error{Message: why}})
	}
	ma.m.emit(CloseStream{f.stream})
	delete(ma.schedulers, f.stream)
	ma.m.stop(f.heartbeat)
}

// Closed says that a client closed a stream, or that it broke.
// removeFramework is TEARDOWN, and what happens when failover_timeout is over.
// Its tasks are counted as killed before their executors are gone.
// updateFramework is UPDATE_FRAMEWORK, the one call with an answer of its own.
// changeFramework takes over a new FrameworkInfo. Offers of roles that are
// left are rescinded, and their filters forgotten.
// tellAgents passes on a framework's changed info.
// revive and suppress ignore calls with a role the framework is not in.
