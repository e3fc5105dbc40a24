package mesos

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// offer is what is kept of an outstanding offer, to cut launches from.
type offer struct {
	agent     string
	resources []mesos.Resource
}

// offerBook holds the outstanding offers of the subscription, by id.
type offerBook struct {
	mu     sync.Mutex
	offers map[string]*offer
}

func (b *offerBook) put(offers []mesos.Offer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.offers == nil {
		b.offers = make(map[string]*offer)
	}
	for i := range offers {
		o := &offers[i]
		b.offers[o.ID.Value] = &offer{agent: o.AgentID.Value, resources: o.Resources}
	}
}

// take removes offers. Those that are not there (any more) are named in missing.
func (b *offerBook) take(ids []string) (known []string, offers []*offer, missing []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		o, ok := b.offers[id]
		if !ok {
			missing = append(missing, id)
			continue
		}
		delete(b.offers, id)
		known, offers = append(known, id), append(offers, o)
	}
	return known, offers, missing
}

func (b *offerBook) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offers = nil
}

func (b *offerBook) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.offers)
}

// offered says whether a resource of an offer is for role. Without MULTI_ROLE's
// allocation_info (an old master) all of the offer is.
func offered(r *mesos.Resource, role string) bool {
	return usable(r) && (r.AllocationInfo == nil || r.AllocationInfo.GetRole() == role)
}

func coreOffer(o *mesos.Offer, role string) core.Offer {
	free, ports := total(o.Resources, func(r *mesos.Resource) bool { return offered(r, role) })
	return core.Offer{
		ID:         o.ID.Value,
		Agent:      o.AgentID.Value,
		Host:       o.Hostname,
		URL:        agentURL(o.URL),
		Attributes: attributes(o.Attributes, o.Domain),
		Free:       free,
		Ports:      ports,
	}
}

// agentURL is where an agent's API is: by its address, which needs no resolver.
func agentURL(u *mesos.URL) string {
	if u == nil {
		return ""
	}
	host := u.Address.GetIP()
	if host == "" {
		host = u.Address.GetHostname()
	}
	scheme := u.Scheme
	if scheme == "" {
		scheme = "http"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(u.Address.Port)))
}

// attributes are an agent's, as text, and region and zone of its fault domain
// unless it has attributes of these names: who is REGION_AWARE is offered
// agents far away, and must be able to tell.
func attributes(of []mesos.Attribute, domain *mesos.DomainInfo) core.Attributes {
	out := make(core.Attributes, 0, len(of)+2)
	for i := range of {
		out = append(out, core.Attribute{Name: of[i].Name, Value: attributeText(&of[i])})
	}
	if fault := domain.GetFaultDomain(); fault != nil {
		for _, a := range []core.Attribute{{Name: "region", Value: fault.Region.Name}, {Name: "zone", Value: fault.Zone.Name}} {
			if _, has := out.Attribute(a.Name); !has {
				out = append(out, a)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b core.Attribute) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// attributeText is an attribute's value as Mesos writes it on the command line:
// r1, 2.5, [1-5, 8-9], {a, b}.
func attributeText(a *mesos.Attribute) string {
	switch {
	case a.Text != nil:
		return a.Text.Value
	case a.Scalar != nil:
		return strconv.FormatFloat(floating(fixed(a.Scalar.Value)), 'f', -1, 64)
	case a.Ranges != nil:
		ranges := make([]string, len(a.Ranges.Range))
		for i, r := range a.Ranges.Range {
			ranges[i] = strconv.FormatUint(r.Begin, 10) + "-" + strconv.FormatUint(r.End, 10)
		}
		return "[" + strings.Join(ranges, ", ") + "]"
	case a.Set != nil:
		return "{" + strings.Join(a.Set.Item, ", ") + "}"
	}
	return ""
}
