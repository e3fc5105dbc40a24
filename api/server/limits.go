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
		if c.peer {
			next.ServeHTTP(rw, r)
			return
		}
		try, p := s.limits.try(c, r, s.Access != nil && len(r.Header.Values("Authorization")) > 0, id)
		if p != nil {
			s.tooMany(w, r, c, s.limits.failures, p)
			return
		}
		p = s.identify(r, c)
		try.known(p == nil && !c.stranger)
		if !unlimited[id] { // but a token that is tried there is looked at as elsewhere
			if l, over := s.limits.count(c, p); over != nil {
				s.tooMany(w, r, c, l, over)
				try.over(w.status) // nobody was told what it is
				return
			}
		}
		next.ServeHTTP(rw, r.WithContext(context.WithValue(r.Context(), identifiedKey{}, identified{c, p})))
		try.over(w.status) // here, or at the leader
	})
}

func (s *Server) tooMany(w *response, r *http.Request, c *caller, l *limit, p *problem) {
	s.metrics.limited.WithLabelValues(l.name).Inc()
	s.refused(r, c, p)
	p.write(w)
}

// try is a token or code that is shown, and may be a guess.
type try struct {
	limits  *limits
	address string
	proven  [16]byte // what is shown, and from where
	code    bool     // the first token's
	taken   bool     // counts as a failure so far, so that many at once are no way around
}

// try returns nil when nothing is shown, and a problem when it is not looked at: too
// much from its address was no token, so that more would be guesses.
func (l *limits) try(c *caller, r *http.Request, shown bool, id string) (*try, *problem) {
	if code := id == initToken; shown || code {
		t := &try{limits: l, address: addressKey(c.from), proven: provenKey(c, r), code: code}
		if l.proven.has(t.proven) {
			return t, nil
		}
		if wait := l.failures.take(t.address, l.Now()); wait > 0 {
			return nil, tooManyRequests(wait, "too much was shown from %s that is no token: tokens and codes are not looked at; limits.failures is %d a minute", c.from, l.Failures)
		}
		t.taken = true
		return t, nil
	}
	return nil, nil
}

// known says whether it is a token. The request may last.
func (t *try) known(valid bool) {
	if t == nil || !valid || t.code {
		return
	}
	t.limits.proven.add(t.proven)
	t.giveBack()
}

// over says what it was answered with.
func (t *try) over(status int) {
	switch {
	case t == nil:
	case status != http.StatusUnauthorized && !(t.code && status == http.StatusForbidden):
		t.giveBack()
	default:
		t.limits.proven.drop(t.proven)
		if !t.taken {
			t.limits.failures.take(t.address, t.limits.Now())
		}
	}
}

func (t *try) giveBack() {
	if t.taken {
		t.taken = false
		t.limits.failures.giveBack(t.address)
	}
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
