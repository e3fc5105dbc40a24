package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"github.com/perigee-sched/perigee/api"
)

const (
	// forwardTimeout bounds a request that is passed on to the leader: longer
	// than that waits for its journal.
	forwardTimeout = doTimeout + 10*time.Second
	// connectTimeout bounds the connection to it. A scheduler that takes longer
	// is not there.
	connectTimeout = 3 * time.Second
)

func newPeers(trust func() *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout}
	return &http.Transport{ // not through a proxy of the environment
		DialContext: dialer.DialContext,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialTLS(ctx, dialer, trust, network, address)
		},
		MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
		ResponseHeaderTimeout: forwardTimeout,
	}
}

// dialTLS connects to a scheduler that speaks TLS. What fails before there is a
// connection has changed nothing: it is an error of dialling.
func dialTLS(ctx context.Context, dialer *net.Dialer, trust func() *tls.Config, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout) // the handshake's time, too
	defer cancel()
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if trust != nil {
		config = trust()
	}
	conn, err := (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, network, address)
	if at := new(net.OpError); err != nil && !(errors.As(err, &at) && at.Op == "dial") {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return conn, err
}

// tellRole says who answers, from which state, and who leads.
func (s *Server) tellRole(w *response) {
	v, leader := s.Scheduler.View(), s.Scheduler.Leader()
	w.setIndex(v)
	w.Header().Set(api.HeaderRole, api.RoleStandby)
	if s.Scheduler.Leads() {
		w.Header().Set(api.HeaderRole, api.RoleLeader)
	}
	if leader != "" {
		w.Header().Set(api.HeaderLeader, leader)
	}
}

// observed are reads of what only the leader knows: it is not in the journal.
var observed = map[string]bool{
	"/v1/agents": true, "/v1/agents/{agent}": true, "/v1/pending": true, jobPath + "/pending": true,
	webhookPath + "/deliveries": true,
}

// toLeader has a standby pass on what only the leader can answer.
func (s *Server) toLeader(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := responseOf(r.Context())
		if r.Method == http.MethodGet && !observed[w.route] || s.Scheduler.View().Leads || !s.Scheduler.Standby() {
			next.ServeHTTP(rw, r)
			return
		}
		leader, self := s.Scheduler.Leader(), s.Scheduler.Status().Address
		refuse := func(format string, args ...any) {
			if !s.tells(r) {
				format, args = notPassedOn, nil
			}
			newProblem(http.StatusServiceUnavailable, format, args...).kind("unavailable").retryAfter(1).write(w)
		}
		target, err := url.Parse(leader)
		switch by := r.Header.Get(api.HeaderForwardedBy); {
		case leader == "":
			refuse("this scheduler does not lead, and %s; nothing was changed", nobodyLeads(s.Scheduler.Status()))
		case leader == self:
			refuse("this scheduler is about to lead; nothing was changed")
		case by != "":
			refuse("%s passed this on to a scheduler that does not lead; nothing was changed", by)
		case err != nil || target.Host == "":
			refuse("the leader's address, %q, is not a URL; nothing was changed", leader)
		default:
			s.forward(w, r, target, self)
		}
	})
}

// notPassedOn is all that strangers are told.
const notPassedOn = "this cannot be passed on to the scheduler that leads; nothing was changed"

// tells says whether who sends a request may know of schedulers who leads.
func (s *Server) tells(r *http.Request) bool {
	c, p := s.authenticate(r)
	return p == nil && s.seen(c)
}

// forward has the leader answer. A write is answered once this scheduler shows
// it too, so that whoever wrote here reads here what was written.
func (s *Server) forward(w *response, r *http.Request, leader *url.URL, self string) {
	ctx, cancel := context.WithTimeout(r.Context(), forwardTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	r.Body = http.MaxBytesReader(w, r.Body, maxRunsBody)
	if w.head {
		r.Method = http.MethodHead
	}
	proxy := httputil.ReverseProxy{
		Transport: s.peers,
		ErrorLog:  nil,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(leader)
			p.SetXForwarded()
			p.Out.Header.Set(api.HeaderForwardedBy, self)
			client := s.clientOf(r, false)
			if s.Access == nil && p.Out.Header.Get(api.HeaderActor) == "" {
				p.Out.Header.Set(api.HeaderActor, client)
			}
			s.prove(p.Out, client)
			for _, checked := range []string{"Origin", "Sec-Fetch-Site"} { // by around, and not for the leader's address
				p.Out.Header.Del(checked)
			}
		},
		ModifyResponse: func(answer *http.Response) error {
			if answer.Header.Get(api.HeaderRole) != "" { // else who asks is not told
				s.tellRole(w)
			}
			for _, ours := range []string{api.HeaderRole, api.HeaderLeader, "X-Content-Type-Options"} {
				answer.Header.Del(ours)
			}
			w.Header().Del(api.HeaderIndex)
			s.awaitShown(ctx, r, answer)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) { s.notForwarded(w, r, leader, err) },
	}
	proxy.ServeHTTP(w, r)
}

// awaitShown waits, for a while, until what a write changed is shown here.
func (s *Server) awaitShown(ctx context.Context, r *http.Request, answer *http.Response) {
	index, err := strconv.ParseUint(answer.Header.Get(api.HeaderIndex), 10, 64)
	if err != nil || answer.StatusCode >= 400 || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, maxIndexWait)
	defer cancel()
	_, _ = s.Scheduler.WaitIndex(waiting, index) // too late: it is durable all the same
}

// notForwarded answers when the leader did not.
func (s *Server) notForwarded(w *response, r *http.Request, leader *url.URL, err error) {
	var tooLong *http.MaxBytesError
	var dial *net.OpError
	p := unknownOutcome()
	switch {
	case errors.As(err, &tooLong):
		p = newProblem(http.StatusRequestEntityTooLarge, "the body is longer than the %d bytes that are allowed", maxRunsBody)
	case errors.As(err, &dial) && dial.Op == "dial", r.Method == http.MethodGet, r.Method == http.MethodHead:
		p = newProblem(http.StatusServiceUnavailable, "the leader, %s, cannot be reached from here: %v; nothing was changed", leader, err).
			kind("unavailable").retryAfter(1)
		if !s.tells(r) {
			p.Detail = notPassedOn
		}
	}
	s.Log.Info("a request could not be passed on to the leader", "leader", leader.String(), "method", r.Method, "path", r.URL.Path, "error", err)
	p.write(w)
}
