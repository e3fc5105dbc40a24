package endpoints

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/perigee-sched/perigee/api"
)

// Service is one job, for a template.
type Service struct {
	Job               string // team/stage/name
	Team, Stage, Name string
	// Ports are all that the job's spec has, by name, also those that nobody
	// serves.
	Ports []Port
	// Endpoints are the instances that serve, as of an index of the journal.
	Endpoints []api.Endpoint
	Index     uint64
}

// Port is one port of a job.
type Port struct {
	Name string
	Key  string // team/stage/name/port
	// Backend is a name for it in a load balancer: team_stage_name_port.
	Backend string
	Servers []Server // by instance, then task
}

// Server is one instance's port.
type Server struct {
	Name     string // i3-yqly-000012: the instance and its task
	Host     string
	Port     uint32
	Address  string // HOST:PORT
	Instance int
	Task     string
	Deploy   uint32
}

// NewService arranges what is known of a job by its ports, of which the job's
// spec names some.
func NewService(ports []string, serving *api.Endpoints) Service {
	s := Service{Job: serving.Job, Endpoints: slices.Clone(serving.Endpoints), Index: serving.Index}
	s.Team, s.Stage, s.Name, _ = api.ParseJobKey(s.Job)
	slices.SortFunc(s.Endpoints, func(a, b api.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), strings.Compare(a.Task, b.Task))
	})
	ports = slices.Clone(ports)
	for _, e := range s.Endpoints {
		for name := range e.Ports {
			ports = append(ports, name)
		}
	}
	slices.Sort(ports)
	for _, name := range slices.Compact(ports) {
		s.Ports = append(s.Ports, s.port(name))
	}
	return s
}

func (s *Service) port(name string) Port {
	p := Port{Name: name, Key: s.Job + "/" + name, Backend: strings.ReplaceAll(s.Job, "/", "_") + "_" + name}
	for _, e := range s.Endpoints {
		port, ok := e.Ports[name]
		if !ok {
			continue
		}
		p.Servers = append(p.Servers, Server{Name: fmt.Sprintf("i%d-%s", e.Instance, e.Task), Host: e.Host, Port: port,
			Address: net.JoinHostPort(e.Host, strconv.FormatUint(uint64(port), 10)), Instance: e.Instance, Task: e.Task, Deploy: e.Deploy})
	}
	return p
}
