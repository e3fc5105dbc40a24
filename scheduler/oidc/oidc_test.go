package oidc_test

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/scheduler/oidc"
	"github.com/perigee-sched/perigee/scheduler/oidc/oidctest"
)

func verifier(i *oidctest.Issuer, change ...func(*oidc.Options)) *oidc.Verifier {
	rules, err := access.ParseRules("perigee-{team}-devs=deployer:{team}:devel;admins=admin:*;member=viewer:{team}")
	require.NoError(i, err)
	o := oidc.Options{Issuer: i.URL, Audience: "perigee", UserClaim: "preferred_username", Claim: "groups", TeamClaim: "org.teams",
		Rules: rules, Now: i.Clock, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	return oidc.New(o)
}

func TestVerify_GrantsByClaims(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	key := i.Rotate("k1", oidctest.RSA(t))
	v := verifier(i)
	for _, c := range []struct {
		change map[string]any
		name   string
		grants []string
	}{
		{nil, "ann", []string{"deployer of web in devel"}},
		{map[string]any{"groups": "admins"}, "ann", []string{"admin of all teams"}},
		{map[string]any{"groups": []string{"member"}, "org": map[string]any{"teams": []string{"web", "shop"}}}, "ann", []string{"viewer of web", "viewer of shop"}},
		{map[string]any{"groups": 7}, "ann", nil},
		{map[string]any{"groups": nil, "preferred_username": nil}, "u-1", nil},
		{map[string]any{"preferred_username": "a\n\x1b[31mnn", "aud": []string{"other", "perigee"}}, "a[31mnn", []string{"deployer of web in devel"}},
	} {
		p, expires, err := v.Verify(t.Context(), i.Sign(jose.RS256, key, i.Claims(c.change)))
		require.NoError(t, err, "%v", c.change)
		require.Equal(t, i.URL+" u-1", p.ID)
		require.Equal(t, c.name, p.Name)
		var got []string
		for _, g := range p.Grants {
			got = append(got, g.String())
		}
		require.Equal(t, c.grants, got)
		require.Equal(t, i.Clock().Add(time.Hour+time.Minute).Unix(), expires.Unix())
	}
	require.EqualValues(t, 1, i.Asked.Load(), "keys are kept")
}

func TestVerify_RefusesWhatIsNotTheIssuersForUs(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	signer := oidctest.RSA(t)
	key := i.Rotate("k1", signer)
	v := verifier(i)
	now := i.Clock()
	for name, change := range map[string]map[string]any{
		"of another issuer":    {"iss": "https://evil.example.com"},
		"for another audience": {"aud": "other"},
		"for nobody":           {"aud": nil},
		"not valid yet":        {"nbf": now.Add(2 * time.Minute).Unix()},
		"of the future":        {"iat": now.Add(2 * time.Minute).Unix()},
		"nbf is no time":       {"nbf": "soon"},
		"without an end":       {"exp": nil},
		"of nobody":            {"sub": nil},
	} {
		_, _, err := v.Verify(t.Context(), i.Sign(jose.RS256, key, i.Claims(change)))
		require.ErrorIs(t, err, access.ErrInvalid, name)
	}
	for _, late := range []time.Duration{time.Minute + time.Second, time.Hour} {
		_, _, err := v.Verify(t.Context(), i.Sign(jose.RS256, key, i.Claims(map[string]any{"exp": now.Add(-late).Unix()})))
		require.ErrorIs(t, err, access.ErrExpired)
	}
	for _, change := range []map[string]any{{"exp": now.Add(-30 * time.Second).Unix()}, {"nbf": now.Add(30 * time.Second).Unix()}, {"iat": now.Add(30 * time.Second).Unix()}} {
		_, _, err := v.Verify(t.Context(), i.Sign(jose.RS256, key, i.Claims(change)))
		require.NoError(t, err, "clocks differ a little")
	}

	good := i.Sign(jose.RS256, key, i.Claims(nil))
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	public, err := key.Public().MarshalJSON()
	require.NoError(t, err)
	secret := jose.JSONWebKey{Key: public, KeyID: "k1"} // what anybody knows, as a key to sign with
	for name, jwt := range map[string]string{
		"unsigned":                      none + "." + parts[1] + ".",
		"signature left out":            parts[0] + "." + parts[1] + ".",
		"signed with what all know":     i.Sign(jose.HS256, secret, i.Claims(nil)),
		"signed by another of the name": i.Sign(jose.RS256, jose.JSONWebKey{Key: oidctest.RSA(t), KeyID: "k1"}, i.Claims(nil)),
		"signed by another":             i.Sign(jose.RS256, oidctest.RSA(t), i.Claims(nil)),
		"changed":                       parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+i.URL+`"}`)) + "." + parts[2],
		"no JWT":                        "a.b.c",
		"nothing":                       "..",
	} {
		_, _, err := v.Verify(t.Context(), jwt)
		require.ErrorIs(t, err, access.ErrInvalid, name)
	}
}

func TestVerify_FollowsTheIssuersKeys(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	old := i.Rotate("k1", oidctest.RSA(t))
	v := verifier(i)
	_, _, err := v.Verify(t.Context(), i.Sign(jose.RS256, old, i.Claims(nil)))
	require.NoError(t, err)
	i.Pass(10 * time.Second)
	next := i.Rotate("k2", oidctest.EC(t))
	_, _, err = v.Verify(t.Context(), i.Sign(jose.ES256, next, i.Claims(nil)))
	require.NoError(t, err, "a new key is looked for")
	_, _, err = v.Verify(t.Context(), i.Sign(jose.RS256, old, i.Claims(map[string]any{"sub": "u-2"})))
	require.ErrorIs(t, err, access.ErrInvalid, "the old one was withdrawn")

	asked := i.Asked.Load()
	for n := range 50 {
		_, _, err = v.Verify(t.Context(), i.Sign(jose.RS256, jose.JSONWebKey{Key: old.Key, KeyID: strings.Repeat("x", n+1)}, i.Claims(nil)))
		require.ErrorIs(t, err, access.ErrInvalid)
	}
	require.LessOrEqual(t, i.Asked.Load(), asked+1, "who shows invented keys has the issuer asked no more often")

	i.Rotate("k3", oidctest.RSA(t)) // k2 is withdrawn, and still shown
	i.Pass(11 * time.Minute)
	_, _, err = v.Verify(t.Context(), i.Sign(jose.ES256, next, i.Claims(nil)))
	require.ErrorIs(t, err, access.ErrInvalid, "what was withdrawn is not believed for long")
}

func TestVerify_WhenTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	i.Down.Store(true)
	key := i.Rotate("k1", oidctest.RSA(t))
	v := verifier(i)
	_, _, err := v.Verify(t.Context(), i.Sign(jose.RS256, key, i.Claims(nil)))
	require.ErrorIs(t, err, access.ErrUnavailable)
	require.False(t, errors.Is(err, access.ErrInvalid))
	i.Down.Store(false)
	i.Pass(6 * time.Second)
	_, _, err = v.Verify(t.Context(), i.Sign(jose.RS256, key, i.Claims(nil)))
	require.NoError(t, err)

	i.Down.Store(true)
	i.Pass(2 * time.Hour)
	_, _, err = v.Verify(t.Context(), i.Sign(jose.RS256, key, i.Claims(nil)))
	require.NoError(t, err, "keys that are known are used while the issuer is down")
	i.Pass(6 * time.Second)
	_, _, err = v.Verify(t.Context(), i.Sign(jose.RS256, jose.JSONWebKey{Key: oidctest.RSA(t), KeyID: "k9"}, i.Claims(nil)))
	require.ErrorIs(t, err, access.ErrUnavailable, "a key that may be new cannot be looked for")
	i.Pass(25 * time.Hour)
	_, _, err = v.Verify(t.Context(), i.Sign(jose.RS256, key, i.Claims(nil)))
	require.ErrorIs(t, err, access.ErrUnavailable, "but not for ever")
}

func TestVerify_WantsTheIssuerToBeItself(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	key := i.Rotate("k1", oidctest.RSA(t))
	v := verifier(i, func(o *oidc.Options) { o.Issuer = i.URL + "/" }) // as it does not call itself
	_, _, err := v.Verify(t.Context(), i.Sign(jose.RS256, key, i.Claims(map[string]any{"iss": i.URL + "/"})))
	require.ErrorIs(t, err, access.ErrUnavailable)
}
