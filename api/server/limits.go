package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// Limits of requests. 0 is none.
type Limits struct {
	// Requests a second of one token, of one subject of an issuer, or of one address
	// where nobody is asked who they are.
	Requests int
	// Strangers is how many a second come from one address without a token.
	Strangers int
	// Failures is how often a minute one address may show what is no token.
	Failures int
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

const (
	// burstSeconds is for how many seconds' worth of requests may come at once: a
	// build that starts thousands of runs does, once in a while.
	burstSeconds = 20
	// failureSeconds is the same for what is no token.
	failureSeconds = 60
)

// limits has what callers have left.
type limits struct {
	Limits
	requests, strangers, failures *limit
	// proven are credentials that were valid where they came from. When others at
	// their address try tokens, they go on: they may be behind the same proxy.
	proven *remembered
}

func newLimits(o Limits) *limits {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &limits{Limits: o,
		requests:  newLimit("requests", float64(o.Requests), burstSeconds),
		strangers: newLimit("strangers", float64(o.Strangers), burstSeconds),
		failures:  newLimit("failures", float64(o.Failures)/60, failureSeconds),
		proven:    newRemembered(),
	}
}

// unlimited are operations that are asked for by those who cannot wait, and show
// no token: load balancers, and agents that launch many tasks at a time.
var unlimited = map[string]bool{"alive": true, "ready": true, "get-executor": true}

// identified is who a request was found to be from.
type identified struct {
	caller  *caller
	problem *problem
}

type identifiedKey struct{}

// limited answers 429 to who asks too often. A request is counted where it enters: the
// scheduler that it is passed on to believes the one that passes it on.
func (s *Server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := responseOf(r.Context())
		id := s.protected[r.Method+" "+w.route].id
		c := s.origin(r)
		if unlimited[id] || c.peer {
			next.ServeHTTP(rw, r)
			return
		}
		tries := len(r.Header.Values("Authorization")) > 0 && s.Access != nil || id == initToken
		if tries {
			if p := s.limits.mayTry(c, r); p != nil {
				s.tooMany(w, r, c, s.limits.failures, p)
				return
			}
		}
		p := s.identify(r, c)
		if l, over := s.limits.count(c, p); over != nil {
			s.tooMany(w, r, c, l, over)
			return
		}
		if tries && p == nil && !c.stranger {
			s.limits.proven.add(provenKey(c, r))
		}
		next.ServeHTTP(rw, r.WithContext(context.WithValue(r.Context(), identifiedKey{}, identified{c, p})))
		if tries && (w.status == http.StatusUnauthorized || w.status == http.StatusForbidden && id == initToken) {
			s.limits.failed(c, r) // here, or at the leader
		}
	})
}

func (s *Server) tooMany(w *response, r *http.Request, c *caller, l *limit, p *problem) {
	s.metrics.limited.WithLabelValues(l.name).Inc()
	s.refused(r, c, p)
	p.write(w)
}

// mayTry returns why what a request shows is not looked at: too much from its
// address was no token, so that more would be guesses.
func (l *limits) mayTry(c *caller, r *http.Request) *problem {
	wait := l.failures.exhausted(addressKey(c.from), l.Now())
	if wait == 0 || l.proven.has(provenKey(c, r)) {
		return nil
	}
	return tooManyRequests(wait, "too much was shown from %s that is no token: tokens and codes are not looked at; limits.failures is %d a minute", c.from, l.Failures)
}

// count takes one of the requests that a caller has left.
func (l *limits) count(c *caller, p *problem) (*limit, *problem) {
	now := l.Now()
	if c.free || p == nil && !c.stranger {
		key, who := c.ID, c.Name
		if c.free {
			key, who = addressKey(c.from), c.from
		}
		if wait := l.requests.take(key, now); wait > 0 {
			return l.requests, tooManyRequests(wait, "%s asks too often: limits.requests is %d a second", who, l.Requests)
		}
		return nil, nil
	}
	if wait := l.strangers.take(addressKey(c.from), now); wait > 0 {
		return l.strangers, tooManyRequests(wait, "too many requests without a token come from %s: limits.strangers is %d a second", c.from, l.Strangers)
	}
	return nil, nil
}

// failed notes that what a request showed is no token, or a wrong code.
func (l *limits) failed(c *caller, r *http.Request) {
	l.proven.drop(provenKey(c, r))
	l.failures.take(addressKey(c.from), l.Now())
}

// provenKey is what a request shows, and from where.
func provenKey(c *caller, r *http.Request) [16]byte {
	sum := sha256.Sum256([]byte(addressKey(c.from) + " " + r.Header.Get("Authorization")))
	return [16]byte(sum[:16])
}

func tooManyRequests(wait time.Duration, format string, args ...any) *problem {
	seconds := max(1, int(math.Ceil(wait.Seconds())))
	return newProblem(http.StatusTooManyRequests, "%s; ask again in %s", fmt.Sprintf(format, args...), api.Duration(time.Duration(seconds)*time.Second)).
		kind("too-many-requests").retryAfter(seconds)
}
