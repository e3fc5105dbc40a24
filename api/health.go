package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api/strict"
)

// health checks how a task of any kind is watched, and stopped.
func (p *problems) health(s Spec) {
	if h := s.Health; h != nil {
		p.checks(h, s.Ports)
		p.duration("health.interval", h.Interval, shortest, hour)
		p.duration("health.timeout", h.Timeout, Duration(10*time.Millisecond), hour)
		p.duration("health.startup", h.Startup, shortest, day)
		p.optional("health.failures", h.Failures, 1, 1000)
	}
	if stop := s.Stop; stop != nil {
		p.duration("stop.drain", stop.Drain, Duration(time.Millisecond), hour)
		if stop.HTTP != nil {
			p.port("stop.http.port", stop.HTTP.Port, s.Ports)
			p.path("stop.http.path", stop.HTTP.Path)
		}
		if stop.Grace != nil {
			p.duration("stop.grace", *stop.Grace, Duration(time.Millisecond), hour)
		}
	}
	if l := s.Logs; l != nil {
		if l.Size != 0 {
			p.bytes("logs.size", l.Size, 64*KiB, 64*GiB)
		}
		p.optional("logs.keep", l.Keep, 1, 100)
	}
}

func (p *problems) checks(h *Health, ports []string) {
	given := 0
	if c := h.HTTP; c != nil {
		given++
		p.port("health.http.port", c.Port, ports)
		if c.Path != "" {
			p.path("health.http.path", c.Path)
		}
		p.choice("health.http.scheme", c.Scheme, "http", "https")
		p.count("health.http.fail_at_once", len(c.FailAtOnce), 100)
		for i, status := range c.FailAtOnce {
			p.status(strict.Index("health.http.fail_at_once", i), status)
		}
	}
	if h.TCP != nil {
		given++
		p.port("health.tcp.port", h.TCP.Port, ports)
	}
	if h.Command != nil {
		given++
		p.line("health.command.command", h.Command.Command, maxCommand)
	}
	switch {
	case given == 0:
		p.add("health", nil, "says not what to check: give one of http, tcp and command")
	case given > 1:
		p.add("health", nil, "has %d checks: give exactly one of http, tcp and command", given)
	}
}

func (p *problems) status(at string, status int) {
	switch {
	case status < 100 || status > 599:
		p.add(at, status, "%d is not an HTTP status: they are 100 to 599", status)
	case status >= 200 && status < http.StatusBadRequest:
		p.add(at, status, "%d is a success: a check succeeds with 200 to 399", status)
	}
}

// port wants a name among the declared ones.
func (p *problems) port(at, name string, ports []string) {
	switch {
	case slices.Contains(ports, name) && name != "":
	case len(ports) == 0:
		p.add(at, name, "needs a port, and none is declared: add one to ports, for example ports: [http]")
	case name == "":
		p.add(at, nil, "is missing: the ports are %s", andList(ports))
	default:
		p.add(at, name, "%q is not declared: the ports are %s%s", strict.Shorten(name), andList(ports), didYouMean(name, ports))
	}
}

func (p *problems) path(at, path string) {
	switch {
	case path == "":
		p.add(at, nil, "is missing: it must begin with /")
	case !strings.HasPrefix(path, "/"):
		p.add(at, path, "%q must begin with /", strict.Shorten(path))
	case strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		p.add(at, path, "%q must not have spaces or control characters: write %%20 for a space", strict.Shorten(path))
	default:
		p.text(at, path, 2048)
	}
}

// service checks how instances are kept running and replaced.
func (p *problems) service(s Spec) {
	if r := s.Ready; r != nil {
		if r.Successes != 0 && s.Health == nil {
			p.add("ready.successes", r.Successes, "counts successes of the health check, and there is none: add health")
		}
		p.optional("ready.successes", r.Successes, 1, 1000)
		if r.After != nil {
			p.duration("ready.after", *r.After, Duration(time.Millisecond), day)
		}
	}
	if r := s.Restart; r != nil {
		p.duration("restart.min", r.Min, shortest, day)
		p.duration("restart.max", r.Max, shortest, week)
		if r.Max != 0 && r.Min > r.Max {
			p.add("restart.max", r.Max.String(), "is %s, less than restart.min, %s", r.Max, r.Min)
		}
		p.duration("restart.reset", r.Reset, shortest, week)
	}
	p.update(s.Update)
}
