package server

import (
	"net"
	"net/http"
	"time"

	"github.com/perigee-sched/perigee/scheduler/webhook"
)

// outward carries what users have a scheduler ask: gates of deploys, and whether
// artifacts are where they were. Their URLs are users' to choose, and what is
// answered is told to them in part; so what only this machine may ask, a cloud's
// metadata, is not asked. What is private may be: stores and gates often are.
func (p *process) outward() *http.Transport {
	networks, _ := p.Config.Webhooks.Networks() // was checked
	targets := &webhook.Targets{Allowed: networks}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: targets.Control}).DialContext
	return t
}
