package model

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/maintenance"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// master is one life of the master's process.
type master struct {
	m       *Model
	id      string
	info    mesos.MasterInfo
	started time.Time

	nextFramework, nextAgent, nextOffer int

	frameworks *ordered[string, *framework]
	completed  *ordered[string, *framework] // the last maxCompleted

	slaves      *ordered[string, *slave]           // registered, by agent id
	recovered   *ordered[string, *mesos.AgentInfo] // in the registry, not registered since the master started
	unreachable *ordered[string, *unreachable]
	gone        map[string]bool
	draining    map[string]*mesos.DrainInfo
	deactivated map[string]bool

	offers        map[string]*offer
	inverseOffers map[string]*inverseOffer

	machines *ordered[machineID, *machine]
	schedule maintenance.Schedule

	schedulers map[StreamID]*framework
	operators  *ordered[StreamID, *operatorStream]

	alloc allocator
}

// unreachable is an agent that the master has given up.
type unreachable struct {
	info *mesos.AgentInfo
	at   time.Time
}

const (
	maxCompleted      = 50   // frameworks that are remembered as removed
	maxCompletedTasks = 1000 // of a framework; also of its unreachable tasks
)

// StartMaster starts the master's process with what an earlier one stored,
// nothing the first time. Agents that run register with it at once.
func (m *Model) StartMaster(now time.Time, registry map[string][]byte) {
	m.step(now, func() {
		if m.master != nil {
			return
		}
		ma := &master{
			m: m, id: m.uuid(), started: m.now,
			frameworks:    newOrdered[string, *framework](),
			completed:     newOrdered[string, *framework](),
			slaves:        newOrdered[string, *slave](),
			recovered:     newOrdered[string, *mesos.AgentInfo](),
			unreachable:   newOrdered[string, *unreachable](),
			gone:          map[string]bool{},
			draining:      map[string]*mesos.DrainInfo{},
			deactivated:   map[string]bool{},
			offers:        map[string]*offer{},
			inverseOffers: map[string]*inverseOffer{},
			machines:      newOrdered[machineID, *machine](),
			schedulers:    map[StreamID]*framework{},
			operators:     newOrdered[StreamID, *operatorStream](),
		}
		ma.info = masterInfo(ma.id, m.opts)
		ma.alloc.init(ma)
		m.master = ma
		ma.recover(registry)
		for _, h := range m.hosts.all() {
			if h.agent != nil {
				h.agent.masterDetected()
			}
		}
	})
}

func masterInfo(id string, o Options) mesos.MasterInfo {
	port, version := uint32(o.Port), Version
	pid := fmt.Sprintf("master@%s:%d", o.IP, o.Port)
	info := mesos.MasterInfo{
		ID: id, Port: &port, PID: &pid, Hostname: &o.Hostname, Version: &version,
		Address: &mesos.Address{Hostname: &o.Hostname, IP: &o.IP, Port: int32(o.Port)},
		Capabilities: []mesos.MasterInfo_Capability{
			{Type: mesos.MasterInfo_Capability_AGENT_UPDATE},
			{Type: mesos.MasterInfo_Capability_AGENT_DRAINING},
			{Type: capabilityQuotaV2},
		},
	}
	if ipv4(o.IP) {
		ip := netip.MustParseAddr(o.IP).Unmap().As4()
		info.IP = binary.LittleEndian.Uint32(ip[:]) // network order, as an integer of the master's machine
	}
	return info
}

// capabilityQuotaV2 is newer than mesos-go.
const capabilityQuotaV2 mesos.MasterInfo_Capability_Type = 3

// StopMaster kills the master's process: all its streams are broken, and it
// forgets everything but the registry.
func (m *Model) StopMaster(now time.Time) {
	m.step(now, func() {
		if m.master == nil {
			return
		}
		m.master.forget()
		m.master = nil
		m.inbox = m.inbox[:0]
		for _, h := range m.hosts.all() {
			if h.agent != nil {
				h.agent.masterLost()
			}
		}
	})
}

// forget stops the timers of a master whose process is gone.
func (ma *master) forget() {
	for _, f := range ma.frameworks.all() {
		ma.m.stop(f.heartbeat)
		ma.m.stop(f.failover)
	}
	for _, s := range ma.slaves.all() {
		ma.m.stop(s.ping)
	}
	for _, o := range ma.operators.all() {
		ma.m.stop(o.heartbeat)
	}
}

// alive says whether this process is still the master: timers outlive it.
func (ma *master) alive() bool { return ma.m.master == ma }

func (ma *master) newOfferID() string {
	ma.nextOffer++
	return fmt.Sprintf("%s-O%d", ma.id, ma.nextOffer-1)
}

// Call is a call of a scheduler other than SUBSCRIBE. stream is what it says
// in Mesos-Stream-Id, "" when the header is not there.
func (m *Model) Call(now time.Time, stream string, c *scheduler.Call) (a Answer) {
	m.step(now, func() { a = m.call(stream, c) })
	return a
}

func (m *Model) call(stream string, c *scheduler.Call) Answer {
	ma := m.master
	if ma == nil {
		return refuse(503, "No master")
	}
	if err := ValidateScheduler(c); err != nil {
		return badRequest("Failed to validate scheduler::Call: %v", err)
	}
	f := ma.frameworks.get(c.FrameworkID.GetValue())
	switch {
	case f == nil:
		return badRequest("Framework cannot be found")
	case f.state != connected:
		return refuse(403, "Framework is not subscribed")
	case stream == "":
		return badRequest("All non-subscribe calls should include the 'Mesos-Stream-Id' header")
	case stream != f.streamUUID:
		return badRequest("The stream ID '%s' included in this request didn't match the stream ID currently "+
			"associated with framework ID %s", stream, f.id)
	}
	return ma.handle(f, c)
}

func (ma *master) handle(f *framework, c *scheduler.Call) Answer {
	switch c.Type {
	case scheduler.Call_TEARDOWN:
		ma.removeFramework(f)
	case scheduler.Call_ACCEPT:
		ma.accept(f, c.Accept)
	case scheduler.Call_DECLINE:
		for _, id := range c.Decline.OfferIDs {
			if o := ma.offers[id.Value]; o != nil && o.framework == f {
				ma.discardOffer(o, refuseFor(c.Decline.Filters))
			}
		}
	case scheduler.Call_ACCEPT_INVERSE_OFFERS:
		ma.answerInverseOffers(f, c.AcceptInverseOffers.InverseOfferIDs, c.AcceptInverseOffers.Filters, true)
	case scheduler.Call_DECLINE_INVERSE_OFFERS:
		ma.answerInverseOffers(f, c.DeclineInverseOffers.InverseOfferIDs, c.DeclineInverseOffers.Filters, false)
	case scheduler.Call_REVIVE:
		ma.revive(f, c.Revive.GetRoles())
	case scheduler.Call_SUPPRESS:
		ma.suppress(f, c.Suppress.GetRoles())
	case scheduler.Call_KILL:
		ma.kill(f, c.Kill)
	case scheduler.Call_SHUTDOWN:
		ma.shutdownExecutor(f, c.Shutdown)
	case scheduler.Call_ACKNOWLEDGE:
		ma.acknowledge(f, c.Acknowledge)
	case scheduler.Call_RECONCILE:
		ma.reconcile(f, c.Reconcile)
	case scheduler.Call_MESSAGE:
		ma.message(f, c.Message)
	case scheduler.Call_UPDATE_FRAMEWORK:
		return ma.updateFramework(f, c.UpdateFramework)
	case scheduler.Call_SUBSCRIBE:
		return badRequest("Subscribe calls should not include the 'Mesos-Stream-Id' header")
	}
	// REQUEST and the calls about operations are accepted and change nothing.
	return accepted()
}

// machineID is how maintenance names a machine: lower case, as Mesos compares.
type machineID struct{ hostname, ip string }

func machineOf(id *mesos.MachineID) machineID {
	return machineID{strings.ToLower(id.GetHostname()), id.GetIP()}
}
