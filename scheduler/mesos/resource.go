package mesos

import (
	"math"
	"slices"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// fixed is a scalar in thousandths, rounded as Mesos rounds (src/common/values.cpp:
// llround of a thousand times the value).
func fixed(value float64) int64 { return int64(math.Round(value * 1000)) }

func floating(thousandths int64) float64 { return float64(thousandths) / 1000 }

// usable says whether a task of ours may use a resource: not one that may be
// revoked, is shared between tasks, or is a volume or a disk with a source of
// its own.
func usable(r *mesos.Resource) bool {
	return r.Revocable == nil && r.Shared == nil && r.Disk == nil && r.ProviderID == nil
}

// reservedFor is the role that a resource is reserved for, "*" when it is not.
// It reads both formats: reservations (offers to frameworks with
// RESERVATION_REFINEMENT) and role (agents' totals).
func reservedFor(r *mesos.Resource) string {
	if n := len(r.Reservations); n > 0 {
		return r.Reservations[n-1].GetRole()
	}
	if r.Role != nil && *r.Role != "" {
		return *r.Role
	}
	return "*"
}

// allocatable says whether Mesos may ever offer a resource to role: it is
// unreserved, or reserved for the role or one above it.
func allocatable(r *mesos.Resource, role string) bool {
	reserved := reservedFor(r)
	return reserved == "*" || reserved == role || strings.HasPrefix(role, reserved+"/")
}

// total sums the resources that fit accepts.
func total(resources []mesos.Resource, fit func(*mesos.Resource) bool) (core.Amounts, []core.PortRange) {
	var sum core.Amounts
	var ports []core.PortRange
	for i := range resources {
		r := &resources[i]
		if !usable(r) || !fit(r) {
			continue
		}
		amount := int64(0)
		if r.Scalar != nil {
			amount = max(0, fixed(r.Scalar.Value))
		}
		switch r.Name {
		case "cpus":
			sum.CPUs += amount
		case "mem":
			sum.Memory += amount
		case "disk":
			sum.Disk += amount
		case "ports":
			ports = append(ports, portRanges(r)...)
		}
	}
	return sum, joined(ports)
}

const lastPort = 65535

func portRanges(r *mesos.Resource) []core.PortRange {
	var ports []core.PortRange
	for _, p := range r.Ranges.GetRange() {
		if p.Begin <= p.End && p.Begin <= lastPort {
			ports = append(ports, core.PortRange{First: uint32(p.Begin), Last: uint32(min(p.End, lastPort))})
		}
	}
	return ports
}

// joined sorts ranges and joins those that touch or overlap.
func joined(ports []core.PortRange) []core.PortRange {
	if len(ports) < 2 {
		return ports
	}
	slices.SortFunc(ports, func(a, b core.PortRange) int { return int(a.First) - int(b.First) })
	out := ports[:1]
	for _, p := range ports[1:] {
		if last := &out[len(out)-1]; p.First <= last.Last+1 {
			last.Last = max(last.Last, p.Last)
		} else {
			out = append(out, p)
		}
	}
	return out
}
