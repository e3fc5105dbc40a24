package webhook

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// Targets says where events may be sent. It is asked about the address that is
// connected to, so that what a name resolves to, then or later, is no way around.
type Targets struct {
	// RefusePrivate refuses all addresses that are not public, where else only
	// those are refused that no consumer has (link-local, of the metadata of clouds,
	// multicast, none).
	RefusePrivate bool
	// Allowed networks may be sent to whatever they are.
	Allowed []netip.Prefix
}

// never are addresses that are no consumer's.
var never = []struct {
	netip.Prefix
	what string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "no address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local, where clouds have their metadata"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a cloud's metadata"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's metadata"},
	{netip.MustParsePrefix("192.0.0.192/32"), "a cloud's metadata"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("::/128"), "no address"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "a cloud's metadata"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "a cloud's metadata"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// private are addresses that are not public, beside those.
var private = []struct {
	netip.Prefix
	what string
}{
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "private to a provider"},
	{netip.MustParsePrefix("127.0.0.0/8"), "this machine itself"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "reserved for examples"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "reserved for measurements"},
	{netip.MustParsePrefix("198.51.100.0/24"), "reserved for examples"},
	{netip.MustParsePrefix("203.0.113.0/24"), "reserved for examples"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::1/128"), "this machine itself"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "private"},
	{netip.MustParsePrefix("100::/64"), "a sink"},
	{netip.MustParsePrefix("2001::/23"), "reserved"},
	{netip.MustParsePrefix("2001:db8::/32"), "reserved for examples"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fec0::/10"), "private"},
}

// refuses says why nothing may be sent to an address, nil when it may.
func (t *Targets) refuses(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	for _, p := range t.Allowed {
		if p.Contains(address) {
			return nil
		}
	}
	for _, p := range never {
		if p.Contains(address) {
			return fmt.Errorf("%s is %s, and not sent to (webhooks.allowed_networks in the scheduler's configuration names exceptions)", address, p.what)
		}
	}
	if t.RefusePrivate {
		for _, p := range private {
			if p.Contains(address) {
				return fmt.Errorf("%s is %s, and webhooks.private_targets in the scheduler's configuration refuses that", address, p.what)
			}
		}
	}
	if inner, ok := embedded(address); ok {
		return t.refuses(inner)
	}
	return nil
}

// embedded is the IPv4 address that a gateway would pass on to what is sent to an
// IPv6 address.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return a, false
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a): // NAT64
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case netip.MustParsePrefix("2002::/16").Contains(a): // 6to4
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case binary.BigEndian.Uint64(b[:8]) == 0 && binary.BigEndian.Uint32(b[8:12]) == 0 && b[12] != 0: // IPv4-compatible
		return netip.AddrFrom4([4]byte(b[12:16])), true
	}
	return a, false
}

// refusesURL says why nothing may be sent to a URL whose host is an address.
func (t *Targets) refusesURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return nil // said elsewhere
	}
	address, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		if host := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")); host == "localhost" || strings.HasSuffix(host, ".localhost") {
			return t.refuses(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		}
		return nil // its host is resolved when it is sent to
	}
	return t.refuses(address)
}

// Control is a net.Dialer's: it sees each address before it is connected to.
func (t *Targets) Control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address that may be sent to", address)
	}
	if err := t.refuses(at.Addr()); err != nil {
		return &refusedError{err}
	}
	return nil
}

// refusedError is that an address may not be sent to.
type refusedError struct{ error }
