package zktest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
)

// Port is a TCP port of loopback that stays its owner's while nobody listens on it: a server that was
// killed finds it again. One that the kernel chooses does not. It is of the same range as those of
// outgoing connections, one of which may have it by then.
type Port struct {
	Number int
	claim  net.Listener // tells other processes that it is taken; gone with this one
}

// String is the port's host:port.
func (p *Port) String() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Number)) }

// Release gives the port up.
func (p *Port) Release() { _ = p.claim.Close() }

// firstPort leaves out those that services of a machine are known by.
const firstPort = 12_000

// ClaimPort returns a port that no process listens on and no other test has claimed.
func ClaimPort() (*Port, error) {
	end, err := firstOutgoing()
	if err != nil {
		return nil, err
	}
	if end <= firstPort {
		return nil, fmt.Errorf("no port below %d, where those of outgoing connections begin, is free to claim", end)
	}
	var last error
	for range 1000 {
		p := &Port{Number: firstPort + rand.IntN(end-firstPort)}
		if p.claim, last = net.Listen("unix", fmt.Sprintf("@perigee-test-port-%d", p.Number)); last != nil {
			continue
		}
		l, err := net.Listen("tcp", p.String())
		if err == nil {
			return p, l.Close()
		}
		p.Release()
		last = err
	}
	return nil, fmt.Errorf("claim a port: %w", last)
}

// firstOutgoing is where the ports begin that the kernel gives to who asks for none.
func firstOutgoing() (int, error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, fmt.Errorf("claim a port: %w", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) != 2 {
		return 0, fmt.Errorf("claim a port: the range of outgoing connections is %q", text)
	}
	return strconv.Atoi(fields[0])
}

func claimPorts(n int) ([]*Port, error) {
	var ports []*Port
	for range n {
		p, err := ClaimPort()
		if err != nil {
			releasePorts(ports)
			return nil, err
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func releasePorts(ports []*Port) {
	for _, p := range ports {
		p.Release()
	}
}
