package devcluster

import (
	"net/http"
	"time"

	operator "github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/devcluster/wire"
)

// serveMaster is the leading master's HTTP server.
func (c *Cluster) serveMaster(w http.ResponseWriter, r *http.Request) {
	switch route(r.URL.Path, "/master", "/api/v1/scheduler", "/api/v1", "/health", "/version", "/redirect") {
	case "/api/v1/scheduler":
		c.serveScheduler(w, r)
	case "/api/v1":
		c.serveOperator(w, r)
	case "/health":
	case "/version":
		answerJSON(w, version())
	case "/redirect":
		c.redirect(w, "")
	default:
		notFound(w)
	}
}

// serveStandby is a master that does not lead: it sends everybody to the one
// that does, before it looks at what they want.
func (c *Cluster) serveStandby(w http.ResponseWriter, r *http.Request) {
	endpoint := route(r.URL.Path, "/master", "/api/v1/scheduler", "/api/v1", "/health", "/version", "/redirect", "/state")
	switch endpoint {
	case "/health":
	case "/version":
		answerJSON(w, version())
	case "/redirect":
		c.redirect(w, "")
	case "":
		notFound(w)
	default:
		path := "/master" + endpoint
		if r.URL.RawQuery != "" {
			path += "?" + r.URL.RawQuery
		}
		c.redirect(w, path)
	}
}

// redirect names no scheme, as Mesos does.
func (c *Cluster) redirect(w http.ResponseWriter, path string) {
	w.Header().Set("Location", "//"+c.MasterAddr()+path)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func (c *Cluster) serveScheduler(w http.ResponseWriter, r *http.Request) {
	call := &scheduler.Call{}
	if no := readCall(w, r, call, convertCall); no != nil {
		answerText(w, no.code, no.text)
		return
	}
	if err := model.ValidateScheduler(call); err != nil {
		answerText(w, 400, "Failed to validate scheduler::Call: "+err.Error())
		return
	}
	if call.Type != scheduler.Call_SUBSCRIBE {
		var a model.Answer
		id := r.Header.Get("Mesos-Stream-Id")
		c.do(func(now time.Time) {
			a = c.model.Call(now, id, call)
			c.tell(now, id, call, a.Code)
		})
		answerText(w, a.Code, a.Text)
		return
	}
	format := accepts(r)
	switch {
	case format == "":
		answerText(w, notAcceptable.code, notAcceptable.text)
		return
	case r.Header.Get("Mesos-Stream-Id") != "":
		answerText(w, 400, "Subscribe calls should not include the 'Mesos-Stream-Id' header")
		return
	}
	a, s := c.subscribe(func(now time.Time) model.Answer {
		a := c.model.Subscribe(now, call)
		c.tell(now, a.StreamUUID, call, a.Code)
		return a
	})
	if s == nil {
		answerText(w, a.Code, a.Text)
		return
	}
	w.Header().Set("Mesos-Stream-Id", a.StreamUUID)
	c.stream(w, r, a, s, format)
}

func (c *Cluster) serveOperator(w http.ResponseWriter, r *http.Request) {
	call := &operator.Call{}
	if no := readCall(w, r, call, convertCall); no != nil {
		answerText(w, no.code, no.text)
		return
	}
	if err := model.ValidateOperator(call); err != nil {
		answerText(w, 400, "Failed to validate master::Call: "+err.Error())
		return
	}
	format := accepts(r)
	if format == "" {
		answerText(w, notAcceptable.code, notAcceptable.text)
		return
	}
	if m := aboutMaster(call); m != nil {
		answerMessage(w, format, m, func() any { return wire.Encode(m) })
		return
	}
	a, s := c.subscribe(func(now time.Time) model.Answer { return c.model.Operate(now, call) })
	switch {
	case s != nil:
		c.stream(w, r, a, s, format)
	case a.Master != nil:
		answerMessage(w, format, a.Master, func() any { return operatorJSON(a.Master) })
	default:
		answerText(w, a.Code, a.Text)
	}
}

// aboutMaster answers the calls about the master's process, nil for others.
func aboutMaster(call *operator.Call) *operator.Response {
	switch call.Type {
	case operator.Call_GET_HEALTH:
		return &operator.Response{Type: operator.Response_GET_HEALTH,
			GetHealth: &operator.Response_GetHealth{Healthy: true}}
	case operator.Call_GET_VERSION:
		return &operator.Response{Type: operator.Response_GET_VERSION,
			GetVersion: &operator.Response_GetVersion{VersionInfo: versionInfo()}}
	case operator.Call_GET_LOGGING_LEVEL:
		return &operator.Response{Type: operator.Response_GET_LOGGING_LEVEL,
			GetLoggingLevel: &operator.Response_GetLoggingLevel{}}
	case operator.Call_GET_FLAGS:
		return &operator.Response{Type: operator.Response_GET_FLAGS, GetFlags: &operator.Response_GetFlags{}}
	case operator.Call_GET_METRICS:
		return &operator.Response{Type: operator.Response_GET_METRICS, GetMetrics: &operator.Response_GetMetrics{}}
	}
	return nil
}
