// Package oidctest runs OpenID Connect issuers for tests.
//
// It owns what an issuer is to who checks its JWTs: discovery, keys that rotate,
// and JWTs of any kind, wrong ones too. There is nobody to log in.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

// Issuer is a real one, for tests: discovery, keys that rotate, and JWTs signed with them.
type Issuer struct {
	testing.TB
	*httptest.Server
	Down  atomic.Bool  // it answers nothing of use
	Asked atomic.Int64 // how often for its keys

	mu   sync.Mutex
	keys []jose.JSONWebKey
	now  time.Time
}

// New starts an issuer, whose clock stands still.
func New(t testing.TB) *Issuer {
	i := &Issuer{TB: t, now: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256", "ES256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.Asked.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		public := jose.JSONWebKeySet{}
		for _, k := range i.keys {
			public.Keys = append(public.Keys, k.Public())
		}
		i.answer(w, public)
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *Issuer) answer(w http.ResponseWriter, v any) {
	if i.Down.Load() {
		http.Error(w, "down", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// Rotate has the issuer sign with a key of its own from now on.
func (i *Issuer) Rotate(id string, key crypto.Signer) jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	k := jose.JSONWebKey{Key: key, KeyID: id, Use: "sig"}
	i.keys = []jose.JSONWebKey{k}
	return k
}

// RSA makes a key.
func RSA(t testing.TB) crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return k
}

// EC makes a key.
func EC(t testing.TB) crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

// Clock is the time that the issuer goes by.
func (i *Issuer) Clock() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

// Pass has time pass.
func (i *Issuer) Pass(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = i.now.Add(d)
}

// Claims are what a valid JWT says, changed.
func (i *Issuer) Claims(change map[string]any) map[string]any {
	now := i.Clock()
	c := map[string]any{"iss": i.URL, "sub": "u-1", "aud": "perigee", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"preferred_username": "ann", "groups": []string{"perigee-web-devs"}}
	maps.Copy(c, change)
	for name, value := range change {
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

// Sign makes a JWT.
func (i *Issuer) Sign(alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	i.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	require.NoError(i, err)
	payload, err := json.Marshal(claims)
	require.NoError(i, err)
	signed, err := s.Sign(payload)
	require.NoError(i, err)
	text, err := signed.CompactSerialize()
	require.NoError(i, err)
	return text
}
