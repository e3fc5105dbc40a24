package mesos

import (
	"fmt"
	"slices"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// pool is what is left of the offers of one ACCEPT. Mesos takes a launch only if
// each of its resources is contained in the offers' with the same reservations
// and allocation, so a task's resources are pieces cut from theirs.
type pool struct {
	scalars map[string][]portion
	ports   []portion
}

// portion is what is left of one resource of an offer.
type portion struct {
	of     *mesos.Resource
	amount int64            // of a scalar, in thousandths
	ranges []core.PortRange // of ports, sorted
}

// newPool collects the usable resources of offers; what is reserved comes
// first, so that the unreserved rest stays for everybody.
func newPool(role string, offers []*offer) *pool {
	p := &pool{scalars: make(map[string][]portion)}
	for _, reserved := range []bool{true, false} {
		for _, o := range offers {
			for i := range o.resources {
				r := &o.resources[i]
				if offered(r, role) && (reservedFor(r) != "*") == reserved {
					p.add(r)
				}
			}
		}
	}
	return p
}

func (p *pool) add(r *mesos.Resource) {
	switch {
	case r.Name == "ports":
		p.ports = append(p.ports, portion{of: r, ranges: joined(portRanges(r))})
	case r.Scalar != nil:
		p.scalars[r.Name] = append(p.scalars[r.Name], portion{of: r, amount: fixed(r.Scalar.Value)})
	}
}

// cut takes resources out of the pool, or says what it lacks.
func (p *pool) cut(needs core.Amounts, ports []uint32) ([]mesos.Resource, error) {
	var out []mesos.Resource
	for _, n := range []struct {
		name   string
		amount int64
	}{{"cpus", needs.CPUs}, {"mem", needs.Memory}, {"disk", needs.Disk}} {
		pieces, err := p.cutScalar(n.name, n.amount)
		if err != nil {
			return nil, err
		}
		out = append(out, pieces...)
	}
	pieces, err := p.cutPorts(ports)
	return append(out, pieces...), err
}

func (p *pool) cutScalar(name string, amount int64) ([]mesos.Resource, error) {
	var out []mesos.Resource
	left := amount
	portions := p.scalars[name]
	for i := range portions {
		piece := min(left, portions[i].amount)
		if piece <= 0 {
			continue
		}
		portions[i].amount -= piece
		left -= piece
		r := *portions[i].of
		r.Scalar = &mesos.Value_Scalar{Value: floating(piece)}
		out = append(out, r)
	}
	if left > 0 {
		return nil, fmt.Errorf("the offers have %g too little of %s (%g needed)", floating(left), name, floating(amount))
	}
	return out, nil
}

func (p *pool) cutPorts(ports []uint32) ([]mesos.Resource, error) {
	taken := make(map[int][]core.PortRange) // by index of the portion
	for _, port := range ports {
		i := slices.IndexFunc(p.ports, func(q portion) bool { return contains(q.ranges, port) })
		if i < 0 {
			return nil, fmt.Errorf("port %d is not in the offers", port)
		}
		p.ports[i].ranges = without(p.ports[i].ranges, port)
		taken[i] = append(taken[i], core.PortRange{First: port, Last: port})
	}
	var out []mesos.Resource
	for i := range p.ports {
		if len(taken[i]) == 0 {
			continue
		}
		r := *p.ports[i].of
		r.Ranges = &mesos.Value_Ranges{}
		for _, q := range joined(taken[i]) {
			r.Ranges.Range = append(r.Ranges.Range, mesos.Value_Range{Begin: uint64(q.First), End: uint64(q.Last)})
		}
		out = append(out, r)
	}
	return out, nil
}

func contains(ranges []core.PortRange, port uint32) bool {
	return slices.ContainsFunc(ranges, func(r core.PortRange) bool { return r.First <= port && port <= r.Last })
}

func without(ranges []core.PortRange, port uint32) []core.PortRange {
	var out []core.PortRange
	for _, r := range ranges {
		if port < r.First || port > r.Last {
			out = append(out, r)
			continue
		}
		if r.First < port {
			out = append(out, core.PortRange{First: r.First, Last: port - 1})
		}
		if port < r.Last {
			out = append(out, core.PortRange{First: port + 1, Last: r.Last})
		}
	}
	return out
}
