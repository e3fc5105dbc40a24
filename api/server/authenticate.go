package server

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Access says how callers are known, and what strangers may.
type Access struct {
	// Reads: ReadsOpen, ReadsAuthenticated or ReadsTeam.
	Reads string
	// Proxies are believed when they say for whom they ask.
	Proxies []netip.Prefix
	// OIDC knows those for whom an issuer vouches; nobody is when nil.
	OIDC Verifier
	// InitCodeKnown: whoever has configured this scheduler knows InitCode, which
	// is not logged.
	InitCodeKnown bool
}

// Verifier knows who shows a JWT. Its errors are access.ErrExpired,
// access.ErrInvalid and access.ErrUnavailable.
type Verifier interface {
	Verify(ctx context.Context, jwt string) (p *access.Principal, expires time.Time, err error)
}

// maxCredentials bounds what is read of Authorization: JWTs can be long.
const maxCredentials = 16 << 10

// bearer returns the token that a request shows: "" when it shows nothing,
// false when what it shows is none.
func bearer(h http.Header) (token string, ok bool) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return "", true
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	if len(values) > 1 || len(token) > maxCredentials || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return "", false
		}
	}
	return token, true
}

// errShown is what is said of everything that is shown and no token that is
// known: malformed, of nobody, forged.
func errShown() *problem { return unauthorized("unauthorized", "the token is not valid") }

// authenticate finds out who a request is from, once.
func (s *Server) authenticate(r *http.Request) (*caller, *problem) {
	if is, ok := r.Context().Value(identifiedKey{}).(identified); ok {
		return is.caller, is.problem
	}
	c := s.origin(r)
	return c, s.identify(r, c)
}

// origin finds out where a request is from, and does not look at what it shows.
func (s *Server) origin(r *http.Request) *caller {
	c := &caller{peer: s.fromPeer(r)}
	c.from = s.clientOf(r, c.peer)
	return c
}

// identify fills in who shows what a request shows.
func (s *Server) identify(r *http.Request, c *caller) *problem {
	if s.Access == nil {
		c.free, c.Name = true, c.from
		return nil
	}
	c.reads = s.Access.Reads
	token, ok := bearer(r.Header)
	switch {
	case !ok:
		return errShown()
	case token == "":
		c.stranger, c.Name = true, c.from
		return nil
	case strings.HasPrefix(token, access.TokenPrefix):
		return s.byToken(r, c, token)
	case s.Access.OIDC != nil && strings.Count(token, ".") == 2:
		return s.byIssuer(r.Context(), c, token)
	}
	return errShown()
}

// byToken fills in who shows a token of ours.
func (s *Server) byToken(r *http.Request, c *caller, text string) *problem {
	v := s.Scheduler.View()
	if !v.Loaded {
		return newProblem(http.StatusServiceUnavailable, "this scheduler has not read its journal yet, and knows no token").kind("unavailable").retryAfter(1)
	}
	id, _ := access.TokenID(text)
	t := v.Token(id)
	known := make([]byte, len(access.HashToken("")))
	if t != nil {
		known = t.Hash
	}
	if subtle.ConstantTimeCompare(known, access.HashToken(text)) != 1 {
		return errShown()
	}
	// Who knows the token's text may be told what became of it.
	now := time.Now().UnixMilli()
	switch {
	case t.RevokedAt != 0:
		return revoked(t)
	case t.ExpiresAt != 0 && t.ExpiresAt <= now:
		return unauthorized("token-expired", "token %s expired at %s", t.Id, millis(t.ExpiresAt).Format(time.RFC3339))
	}
	c.token = true
	c.Principal = access.Principal{ID: t.Id, Name: nameOf(t), Grants: []access.Grant{grantOf(t)}}
	c.ends = t.ExpiresAt
	s.uses.note(core.TokenUse{ID: t.Id, From: c.from, At: now})
	return nil
}

func revoked(t *record.Token) *problem {
	return unauthorized("token-revoked", "token %s was revoked at %s", t.Id, millis(t.RevokedAt).Format(time.RFC3339))
}

// expired is said of what expires while it is answered.
func expired(c *caller) *problem {
	return unauthorized("token-expired", "the token of %s expired at %s", c.Name, millis(c.ends).Format(time.RFC3339))
}

// nameOf is what people read of a token.
func nameOf(t *record.Token) string {
	if t.Description == "" {
		return "token " + t.Id
	}
	return t.Description + " (" + t.Id + ")"
}

// grantOf is what a token may. A role that a newer version knows is none.
func grantOf(t *record.Token) access.Grant {
	role, err := access.ParseRole(t.Role)
	if err != nil {
		return access.Grant{Team: t.Team, Stages: t.Stages}
	}
	return access.Grant{Role: role, Team: t.Team, Stages: t.Stages}
}

// byIssuer fills in for whom an OIDC issuer vouches.
func (s *Server) byIssuer(ctx context.Context, c *caller, jwt string) *problem {
	p, expires, err := s.Access.OIDC.Verify(ctx, jwt)
	switch {
	case errors.Is(err, access.ErrUnavailable):
		return newProblem(http.StatusServiceUnavailable, "%v", err).kind("unavailable").retryAfter(5)
	case errors.Is(err, access.ErrExpired):
		return unauthorized("token-expired", "the token has expired")
	case err != nil:
		s.Log.Debug("a JWT was refused", "from", c.from, "error", err)
		return errShown()
	}
	c.Principal, c.ends = *p, expires.UnixMilli()
	return nil
}
