package model

import (
	"net/netip"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	allocatorpb "github.com/mesos/mesos-go/api/v1/lib/allocator"
	"github.com/mesos/mesos-go/api/v1/lib/maintenance"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
)

// machine is what maintenance is planned for. Agents on it share it.
type machine struct {
	id             *mesos.MachineID
	unavailability *mesos.Unavailability // nil while none is planned
	answers        *ordered[string, allocatorpb.InverseOfferStatus]
}

// machine returns the machine of that name, a new one if there is none.
func (ma *master) machine(id machineID) *machine {
	if x := ma.machines.get(id); x != nil {
		return x
	}
	x := &machine{id: id.proto(), answers: newOrdered[string, allocatorpb.InverseOfferStatus]()}
	ma.machines.set(id, x)
	return x
}

func (id machineID) proto() *mesos.MachineID {
	out := &mesos.MachineID{}
	if id.hostname != "" {
		out.Hostname = &id.hostname
	}
	if id.ip != "" {
		out.IP = &id.ip
	}
	return out
}

// String is how errors quote a machine.
func (id machineID) String() string {
	var parts []string
	if id.hostname != "" {
		parts = append(parts, `"hostname":"`+id.hostname+`"`)
	}
	if id.ip != "" {
		parts = append(parts, `"ip":"`+id.ip+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// updateSchedule is UPDATE_MAINTENANCE_SCHEDULE.
func (ma *master) updateSchedule(s maintenance.Schedule) Answer {
	seen := map[machineID]bool{}
	for i := range s.Windows {
		w := &s.Windows[i]
		if len(w.MachineIDs) == 0 {
			return badRequest("List of machines in the maintenance window is empty")
		}
		if w.Unavailability.Duration.GetNanoseconds() < 0 {
			return badRequest("Unavailability 'duration' is negative")
		}
		if a := validMachines(w.MachineIDs, seen, "appears more than once in the schedule"); a.Code != 200 {
			return a
		}
	}
	ma.m.emit(Store{Key: maintenanceRecord, Value: encode(&s)})
	ma.setSchedule(s)
	return okay()
}

func validMachines(ids []mesos.MachineID, seen map[machineID]bool, twice string) Answer {
	for i := range ids {
		id := machineOf(&ids[i])
		switch {
		case id.hostname == "" && id.ip == "":
			return badRequest("Both 'hostname' and 'ip' for a machine are empty")
		case id.ip != "" && !ipv4(id.ip):
			return badRequest("Failed to parse IP address '%s'", id.ip)
		case seen[id]:
			return badRequest("Machine '%v' %s", id, twice)
		}
		seen[id] = true
	}
	return okay()
}

func isIPv4(text string) bool {
	ip, err := netip.ParseAddr(text)
	return err == nil && ip.Is4()
}

// setSchedule replaces the schedule. Whoever has an offer on a machine whose
// plan changes gets a new one that says so.
func (ma *master) setSchedule(s maintenance.Schedule) {
	planned := map[machineID]bool{}
	for i := range s.Windows {
		for j := range s.Windows[i].MachineIDs {
			planned[machineOf(&s.Windows[i].MachineIDs[j])] = true
		}
	}
	for id, x := range ma.machines.all() {
		if !planned[id] && x.unavailability != nil {
			ma.plan(x, nil)
		}
	}
	for i := range s.Windows {
		for j := range s.Windows[i].MachineIDs {
			u := s.Windows[i].Unavailability
			ma.plan(ma.machine(machineOf(&s.Windows[i].MachineIDs[j])), &u)
		}
	}
	ma.schedule = s
}

func (ma *master) plan(x *machine, u *mesos.Unavailability) {
	for _, s := range ma.slaves.all() {
		if s.machine != x {
			continue
		}
		for _, o := range s.offers.values() {
			ma.rescindOffer(o)
		}
		for _, o := range s.inverse.values() {
			ma.removeInverseOffer(o, true)
		}
		for _, f := range ma.frameworks.all() {
			delete(f.inverseFilters, s.id)
		}
	}
	x.unavailability = u
	x.answers = newOrdered[string, allocatorpb.InverseOfferStatus]()
	ma.alloc.now()
}

// startMaintenance and stopMaintenance are refused: taking a machine down ends
// its agent for good, which is left out.
func (ma *master) startMaintenance(ids []mesos.MachineID) Answer {
	return ma.refuseMaintenance(ids, func(id machineID, x *machine) string {
		if x == nil || x.unavailability == nil {
			return "is not in DRAINING mode and cannot be brought down"
		}
		return "cannot be brought down: this cluster leaves START_MAINTENANCE out"
	})
}

func (ma *master) stopMaintenance(ids []mesos.MachineID) Answer {
	return ma.refuseMaintenance(ids, func(machineID, *machine) string {
		return "is not in DOWN mode and cannot be brought up"
	})
}

func (ma *master) refuseMaintenance(ids []mesos.MachineID, why func(machineID, *machine) string) Answer {
	if len(ids) == 0 {
		return badRequest("List of machines is empty")
	}
	if a := validMachines(ids, map[machineID]bool{}, "appears more than once in the schedule"); a.Code != 200 {
		return a
	}
	id := machineOf(&ids[0])
	if !ma.machines.has(id) {
		return badRequest("Machine '%v' is not part of a maintenance schedule", id)
	}
	return badRequest("Machine '%v' %s", id, why(id, ma.machines.get(id)))
}

func (ma *master) maintenanceStatus() *operator.Response_GetMaintenanceStatus {
	out := &operator.Response_GetMaintenanceStatus{}
	for _, x := range ma.machines.all() {
		if x.unavailability != nil {
			d := maintenance.ClusterStatus_DrainingMachine{ID: *x.id}
			d.Statuses = append(d.Statuses, x.answers.values()...)
			out.Status.DrainingMachines = append(out.Status.DrainingMachines, d)
		}
	}
	return out
}

func ipv4(text string) bool {
	ip, err := netip.ParseAddr(text)
	return err == nil && ip.Unmap().Is4()
}
