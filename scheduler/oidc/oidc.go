// Package oidc knows callers for whom an OpenID Connect issuer vouches: it
// checks JWTs with the issuer's keys, and grants roles by their claims.
//
// It owns the issuer's keys, which it fetches and keeps, and what of a JWT is
// believed. What a role may do is package api/access's. Signatures, issuer and
// audience are checked by go-oidc.
package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/perigee-sched/perigee/api/access"
)

// Options of a Verifier. Issuer and Audience are required.
type Options struct {
	Issuer   string // its URL, as JWTs have it
	Audience string // that JWTs must be for
	// UserClaim names people; Claim and TeamClaim have the values that Rules are
	// about. A dotted name is a path, unless there is a claim of that name.
	UserClaim, Claim, TeamClaim string
	Rules                       []access.Rule
	// Client asks the issuer; one of its own when nil.
	Client *http.Client
	Now    func() time.Time // time.Now when nil
	Logger *slog.Logger     // slog's default when nil
}

const (
	// leeway is how much the issuer's clock may differ from ours.
	leeway = time.Minute
	// trustedMost is how long a JWT that was checked is not checked again, and
	// trustedLen how many are remembered.
	trustedMost = time.Minute
	trustedLen  = 10_000
	// nameMost bounds names, in bytes.
	nameMost = 128
)

// algorithms are those that only the issuer can sign with: no keys that others
// know, and no signature, are none of them.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// Verifier knows callers by their JWTs. It may be used by many.
type Verifier struct {
	o     Options
	check *oidc.IDTokenVerifier

	mu      sync.Mutex
	trusted map[[sha256.Size]byte]trusted // by the JWT's hash
}

// trusted is a JWT that was checked.
type trusted struct {
	principal *access.Principal
	expires   time.Time
	until     time.Time
}

// New returns a Verifier. The issuer is asked when the first JWT is shown.
func New(o Options) *Verifier {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: askTimeout}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	keys := &keys{issuer: o.Issuer, client: limited(o.Client), now: o.Now, log: o.Logger}
	return &Verifier{o: o, trusted: map[[sha256.Size]byte]trusted{}, check: oidc.NewVerifier(o.Issuer, keys, &oidc.Config{
		ClientID: o.Audience, SupportedSigningAlgs: algorithms, SkipExpiryCheck: true, // times are checked with our leeway
	})}
}

// Verify returns who shows a JWT, and when that is no longer valid. Its errors
// are access.ErrInvalid, ErrExpired and ErrUnavailable, with details for the log.
func (v *Verifier) Verify(ctx context.Context, jwt string) (*access.Principal, time.Time, error) {
	now := v.o.Now()
	hash := sha256.Sum256([]byte(jwt))
	if t, ok := v.remembered(hash, now); ok {
		return t.principal, t.expires, nil
	}
	var why asked
	token, err := v.check.Verify(context.WithValue(ctx, askedKey{}, &why), jwt)
	if err != nil {
		if errors.Is(why.err, access.ErrUnavailable) {
			return nil, time.Time{}, why.err
		}
		return nil, time.Time{}, fmt.Errorf("%w: %w", access.ErrInvalid, err)
	}
	var raw map[string]json.RawMessage
	if err := token.Claims(&raw); err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: %w", access.ErrInvalid, err)
	}
	if err := v.inTime(token, claims(raw), now); err != nil {
		return nil, time.Time{}, err
	}
	t := trusted{principal: v.principal(token, claims(raw)), expires: token.Expiry.Add(leeway), until: now.Add(trustedMost)}
	v.remember(hash, t)
	return t.principal, t.expires, nil
}

func (v *Verifier) inTime(token *oidc.IDToken, c claims, now time.Time) error {
	switch {
	case token.Subject == "":
		return fmt.Errorf("%w: it names no subject", access.ErrInvalid)
	case token.Expiry.Unix() <= 0:
		return fmt.Errorf("%w: it does not expire", access.ErrInvalid)
	case now.After(token.Expiry.Add(leeway)):
		return fmt.Errorf("%w at %s", access.ErrExpired, token.Expiry)
	case token.IssuedAt.After(now.Add(leeway)):
		return fmt.Errorf("%w: it was issued at %s, which is to come", access.ErrInvalid, token.IssuedAt)
	}
	if at, given, err := c.time("nbf"); err != nil || given && at.After(now.Add(leeway)) {
		return fmt.Errorf("%w: it is not valid before %s", access.ErrInvalid, at)
	}
	return nil
}

// principal is whom a JWT is about.
func (v *Verifier) principal(token *oidc.IDToken, c claims) *access.Principal {
	p := &access.Principal{ID: v.o.Issuer + " " + token.Subject, Name: token.Subject,
		Grants: access.Grants(v.o.Rules, c.texts(v.o.Claim), c.texts(v.o.TeamClaim))}
	if names := c.texts(v.o.UserClaim); len(names) == 1 && names[0] != "" {
		p.Name = names[0]
	}
	p.Name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, p.Name)
	if len(p.Name) > nameMost {
		p.Name = strings.ToValidUTF8(p.Name[:nameMost], "")
	}
	return p
}

func (v *Verifier) remembered(hash [sha256.Size]byte, now time.Time) (trusted, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.trusted[hash]
	return t, ok && now.Before(t.until) && now.Before(t.expires)
}

func (v *Verifier) remember(hash [sha256.Size]byte, t trusted) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.trusted) >= trustedLen {
		clear(v.trusted) // they are checked once more
	}
	v.trusted[hash] = t
}
