package server

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/perigee-sched/perigee/api"
)

const (
	// refusalsKept are the latest that can be read.
	refusalsKept = 500
	// refusalsLogged at once, and then one a second, so that somebody who tries
	// tokens does not fill a disk.
	refusalsLogged = 20
	// refusalText bounds what strangers send and is kept, in bytes.
	refusalText = 256
)

func newRefusals() *refusedLately {
	return &refusedLately{logs: newLimit("refusals logged", 1, refusalsLogged)}
}

// refusedLately are the requests that were refused lately.
type refusedLately struct {
	mu   sync.Mutex
	ring []api.RefusedRequest // the latest is before next
	next int
	logs *limit // how many are logged
	left int    // not logged since one was
}

// add keeps one, and says whether it is to be logged and how many were not before.
func (l *refusedLately) add(r api.RefusedRequest) (log bool, left int) {
	r.Time = time.Now()
	r.Path, r.Caller, r.Detail = shownText(r.Path), shownText(r.Caller), shownText(r.Detail)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < refusalsKept {
		l.ring = append(l.ring, r)
	} else {
		l.ring[l.next] = r
	}
	l.next = (l.next + 1) % refusalsKept
	if l.logs.take("", r.Time) > 0 {
		l.left++
		return false, 0
	}
	left, l.left = l.left, 0
	return true, left
}

// shownText is what strangers sent, as people may look at it: of bounded length, and
// with nothing that a terminal would take for a command.
func shownText(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s[:min(len(s), refusalText)])
	if len(s) >= refusalText {
		s += "…"
	}
	return s
}

// latest are those that are kept, the latest first.
func (l *refusedLately) latest() []api.RefusedRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.ring)
	oldest := l.next % max(n, 1)
	out := append(append(make([]api.RefusedRequest, 0, n), l.ring[oldest:]...), l.ring[:oldest]...)
	slices.Reverse(out)
	return out
}

// refused counts and keeps a request that was refused for who it was from, and
// logs it, unless many are.
func (s *Server) refused(r *http.Request, c *caller, p *problem) {
	if p.Status != http.StatusUnauthorized && p.Status != http.StatusForbidden && p.Status != http.StatusTooManyRequests {
		return
	}
	s.metrics.refused(p.Status)
	is := api.RefusedRequest{Status: p.Status, Operation: s.protected[r.Method+" "+responseOf(r.Context()).route].id,
		Path: r.URL.Path, From: c.from, Detail: p.Detail}
	if !c.stranger {
		is.Caller = c.Name
	}
	if log, left := s.refusals.add(is); log {
		s.Log.Warn("a request was refused", "status", is.Status, "operation", is.Operation, "path", is.Path, "from", is.From,
			"caller", is.Caller, "why", is.Detail, "not_logged_before", left)
	}
}
